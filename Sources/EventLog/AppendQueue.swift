// Where requests wait for the appender thread: bounded in bytes. When it is full, whoever wants to append waits, and so
// does the socket behind him.

import LedgerCore
import Threads

/// One request on its way to the log.
struct AppendRequest: Sendable {
  let batch: EventBatch
  let expected: ExpectedRevision
  /// Called once, on the appender thread, after the commit.
  let complete: @Sendable (Result<AppendResult, AppendError>) -> Void
}

final class AppendQueue: Sendable {
  enum Phase: Equatable, Sendable {
    case catchingUp(done: Position, of: Position)
    case open
    /// The disk is not well; the appender looks again and again, and appends are refused meanwhile.
    case stalled(String)
    /// What is on the disk cannot be appended to; appends are refused until the next start.
    case failed(String)
    case closing
  }

  private struct State: Sendable {
    var phase = Phase.catchingUp(done: 0, of: 0)
    var requests: [AppendRequest] = []
    var byteCount = 0
    var waiting: [CheckedContinuation<Void, Never>] = []
  }

  private let state = Monitor(State())
  private let byteCountMax: Int

  init(byteCountMax: Int) { self.byteCountMax = byteCountMax }

  var phase: Phase { state.withLock { $0.phase } }
  var byteCount: Int { state.withLock { $0.byteCount } }

  /// Goes to another phase; closing is the last one.
  func set(_ phase: Phase) {
    let released = state.signal { state in
      if state.phase != .closing { state.phase = phase }
      defer { state.waiting = [] }
      return state.waiting
    }
    for continuation in released { continuation.resume() }
  }

  /// Stalls: whoever waits is refused, as whoever comes is from now on.
  func stall(_ detail: String) {
    set(.stalled(detail))
    let waiting: [AppendRequest] = state.withLock { state in
      defer {
        state.requests = []
        state.byteCount = 0
      }
      return state.requests
    }
    for request in waiting { request.complete(.failure(.refused(detail))) }
  }

  /// Repeats something that the disk refuses, stalled meanwhile, until it works.
  ///
  /// - Returns: nil if the log closes first, or what is on the disk is at fault: then the phase says so.
  func insist<R>(report: (LogReport) -> Void, _ body: () throws(LogError) -> R) -> R? {
    var isReported = false
    while true {
      let failure: LogError
      do throws(LogError) {
        return try body()
      } catch {
        failure = error
      }
      guard failure.mayPass else {
        set(.failed(failure.description))
        report(.failed(failure.description))
        return nil
      }
      stall(failure.description)
      if !isReported { report(.stalled(failure.description)) }
      isReported = true
      let isClosing = state.wait(timeout: Self.retryInterval) { $0.phase == .closing ? true : nil }
      if isClosing != nil { return nil }
    }
  }

  /// How long a stalled log waits before it looks at the disk again.
  private static let retryInterval = Duration.milliseconds(500)

  /// Why nothing can be appended now, or nil.
  private static func refusal(_ phase: Phase) -> AppendError? {
    switch phase {
    case .open: nil
    case .catchingUp(let done, let total): .catchingUp(done: done, of: total)
    case .stalled(let detail), .failed(let detail): .refused(detail)
    case .closing: .closed
    }
  }

  /// Suspends while the queue is full. A task that is cancelled goes on waiting: it holds a request that may be half sent.
  func waitForRoom() async {
    await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
      let isRoom = state.withLock { state in
        guard state.byteCount >= byteCountMax, state.phase == .open else { return true }
        state.waiting.append(continuation)
        return false
      }
      if isRoom { continuation.resume() }
    }
  }

  /// Puts a request into the queue; one that is refused is completed at once.
  func enqueue(_ request: AppendRequest) {
    let refusal: AppendError? = state.signal { state in
      if let refusal = Self.refusal(state.phase) { return refusal }
      state.requests.append(request)
      state.byteCount += request.batch.byteCount
      return nil
    }
    if let refusal { request.complete(.failure(refusal)) }
  }

  /// The next group: whatever waits, up to a bound; nil when the log closes and nothing waits. Blocks the appender.
  func takeGroup(byteCountMax groupByteCountMax: Int, eventCountMax: Int) -> [AppendRequest]? {
    typealias Taken = (group: [AppendRequest], released: [CheckedContinuation<Void, Never>])
    let taken: Taken? = state.wait { state -> Taken? in
      guard !state.requests.isEmpty else { return state.phase == .closing ? ([], []) : nil }
      var taken = 0
      var bytes = 0
      var events = 0
      for request in state.requests {
        if taken > 0, bytes + request.batch.byteCount > groupByteCountMax || events + request.batch.count > eventCountMax { break }
        taken += 1
        bytes += request.batch.byteCount
        events += request.batch.count
      }
      let group = Array(state.requests.prefix(taken))
      state.requests.removeFirst(taken)
      state.byteCount -= bytes
      let released = state.waiting
      state.waiting = []
      return (group, released)
    }
    guard let taken else { return nil }
    for continuation in taken.released { continuation.resume() }
    return taken.group.isEmpty ? nil : taken.group
  }
}
