// Where requests wait for the appender thread: bounded in bytes. When it is full, whoever wants to append waits, and so
// does the socket behind him.

import LedgerCore
import Threads

/// One request on its way to the log.
struct AppendRequest: Sendable {
  let batch: EventBatch
  let expected: ExpectedRevision
  let reply: Reply

  /// Where the answer goes, once, after the commit.
  enum Reply: Sendable {
    /// Called on the appender thread.
    case call(@Sendable (Result<AppendResult, AppendError>) -> Void)
    /// Laid into a mailbox, whose owner is woken once for all that a group left there.
    case mailbox(AppendMailbox, token: UInt64)
  }
}

/// Sends the answers of a group: mailboxes are filled first and their owners woken at the end, so that a thread that
/// waits for many answers wakes up once.
struct ReplySender {
  private var mailboxes: [AppendMailbox] = []

  mutating func send(_ result: Result<AppendResult, AppendError>, to request: AppendRequest) {
    switch request.reply {
    case .call(let complete): complete(result)
    case .mailbox(let mailbox, let token):
      mailbox.put(AppendMailbox.Answer(token: token, result: result))
      // One for each event loop: a list of one or two.
      if !mailboxes.contains(where: { $0 === mailbox }) { mailboxes.append(mailbox) }
    }
  }

  mutating func end() {
    for mailbox in mailboxes { mailbox.wake() }
    mailboxes.removeAll(keepingCapacity: true)
  }
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
    /// Called when there is room again.
    var callbacks: [@Sendable () -> Void] = []

    /// Everybody who waited for room; they wait no longer.
    mutating func release() -> Released {
      defer { (waiting, callbacks) = ([], []) }
      return Released(continuations: waiting, callbacks: callbacks)
    }
  }

  private struct Released: Sendable {
    let continuations: [CheckedContinuation<Void, Never>]
    let callbacks: [@Sendable () -> Void]

    func tell() {
      for continuation in continuations { continuation.resume() }
      for callback in callbacks { callback() }
    }
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
      return state.release()
    }
    released.tell()
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
    Self.refuse(waiting, .refused(detail))
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

  /// True if there is room now; else `body` is called once, from any thread, when there is.
  func hasRoom(orCall body: @escaping @Sendable () -> Void) -> Bool {
    state.withLock { state in
      guard state.byteCount >= byteCountMax, state.phase == .open else { return true }
      state.callbacks.append(body)
      return false
    }
  }

  /// Puts requests into the queue, in their order; if they are refused, they are answered at once.
  func enqueue(_ requests: [AppendRequest]) {
    let refusal: AppendError? = state.signal { state in
      if let refusal = Self.refusal(state.phase) { return refusal }
      state.requests += requests
      for request in requests { state.byteCount += request.batch.byteCount }
      return nil
    }
    if let refusal { Self.refuse(requests, refusal) }
  }

  private static func refuse(_ requests: [AppendRequest], _ error: AppendError) {
    var sender = ReplySender()
    for request in requests { sender.send(.failure(error), to: request) }
    sender.end()
  }

  /// The next group: whatever waits, up to a bound; nil when the log closes and nothing waits. Blocks the appender.
  func takeGroup(byteCountMax groupByteCountMax: Int, eventCountMax: Int) -> [AppendRequest]? {
    typealias Taken = (group: [AppendRequest], released: Released)
    let taken: Taken? = state.wait { state -> Taken? in
      guard !state.requests.isEmpty else { return state.phase == .closing ? ([], state.release()) : nil }
      var taken = 0
      var bytes = 0
      var events = 0
      for request in state.requests {
        if taken > 0, bytes + request.batch.byteCount > groupByteCountMax || events + request.batch.count > eventCountMax { break }
        taken += 1
        bytes += request.batch.byteCount
        events += request.batch.count
      }
      state.byteCount -= bytes
      // Usually all: then nothing is copied.
      if taken == state.requests.count {
        let group = state.requests
        state.requests = []
        return (group, state.release())
      }
      let group = Array(state.requests.prefix(taken))
      state.requests.removeFirst(taken)
      return (group, state.release())
    }
    guard let taken else { return nil }
    taken.released.tell()
    return taken.group.isEmpty ? nil : taken.group
  }
}
