// Wakes followers when the head moves. The appender tells this object, whoever follows waits here: a thousand followers cost
// a thousand entries in a table, no thread, no task and no timer each, and where nobody follows an append costs a look.
//
// Invariants:
// - Who waits is woken once: by a head beyond its position, when its time is up (a quarter of a second late at most), when its
//   task is cancelled, or when the server ends.
// - Heads that come while a follower writes are one wake-up, later.

import EventLog
import LedgerCore
import ServiceLifecycle
import Synchronization

final class HeadWatch: Sendable {
  /// Why somebody was woken.
  enum Wake: Equatable, Sendable {
    case headMoved, timeUp
    /// The server ends.
    case over
  }

  private struct Waiter: Sendable {
    let position: Position
    let deadline: ContinuousClock.Instant
    let continuation: CheckedContinuation<Wake, Never>
  }

  private struct State: Sendable {
    var head: Position = 0
    var next: UInt64 = 0
    var waiters: [UInt64: Waiter] = [:]
    var isOver = false

    /// Takes out whoever is to be woken.
    mutating func take(where isDue: (Waiter) -> Bool) -> [Waiter] {
      var taken: [Waiter] = []
      for (number, waiter) in waiters where isDue(waiter) {
        taken.append(waiter)
        waiters[number] = nil
      }
      return taken
    }
  }

  private let state = Mutex(State())

  /// How many wait now.
  var waiterCount: Int { state.withLock { $0.waiters.count } }
  /// True when the server ends.
  var isOver: Bool { state.withLock { $0.isOver } }

  /// Listens to the log until the server shuts down.
  ///
  /// - Parameter onShutdown: Called when it begins to.
  func run(_ log: EventLog, onShutdown: @escaping @Sendable () -> Void) async {
    let observation = log.observeHead { [self] head in move(to: head) }
    await withGracefulShutdownHandler {
      await tick()
      end()
    } onGracefulShutdown: { [self] in
      end()
      onShutdown()
    }
    observation.end()
  }

  /// The followers' clock.
  private func tick() async {
    do {
      while !isOver {
        try await Task.sleep(for: .milliseconds(250))
        wakeLate()
      }
    } catch {
      // Cancelled: the server ends, and wakes everybody itself.
    }
  }

  /// On the appender's thread: that many may have to be woken is not its business.
  private func move(to head: Position) {
    let due = state.withLock { state in
      state.head = max(state.head, head)
      return state.waiters.isEmpty ? [] : state.take { $0.position < head }
    }
    guard !due.isEmpty else { return }
    Task(name: "waking followers") { for waiter in due { waiter.continuation.resume(returning: .headMoved) } }
  }

  private func wakeLate() {
    let now = ContinuousClock.now
    let due = state.withLock { $0.take { $0.deadline <= now } }
    for waiter in due { waiter.continuation.resume(returning: .timeUp) }
  }

  /// Wakes everybody for good.
  func end() {
    let all = state.withLock { state in
      state.isOver = true
      return state.take { _ in true }
    }
    for waiter in all { waiter.continuation.resume(returning: .over) }
  }

  /// Waits until the head is beyond a position.
  func wait(beyond position: Position, until deadline: ContinuousClock.Instant) async -> Wake {
    let number = state.withLock { state in
      state.next += 1
      return state.next
    }
    return await withTaskCancellationHandler {
      await withCheckedContinuation { (continuation: CheckedContinuation<Wake, Never>) in
        let wake: Wake? = state.withLock { state in
          if state.isOver || Task.isCancelled { return .over }
          if state.head > position { return .headMoved }
          state.waiters[number] = Waiter(position: position, deadline: deadline, continuation: continuation)
          return nil
        }
        if let wake { continuation.resume(returning: wake) }
      }
    } onCancel: {
      state.withLock { $0.waiters.removeValue(forKey: number) }?.continuation.resume(returning: .over)
    }
  }
}
