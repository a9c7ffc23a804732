// Named subscriptions: consumers take events, settle them, and never see a settled one again, whatever is killed meanwhile.
//
// One thread has all state, as the appender has the log's: it takes whatever calls wait, gives out and settles, looks at the
// log for those who wait, commits once, and answers. So a commit is shared by everybody who acknowledged meanwhile.
//
// Invariants:
// - What was acknowledged is on the disk before the call returns, and does not come again.
// - What was not comes again: after its time is up, after its consumer has left, after a restart.
// - A commit that fails loses nothing: what it would have written is written with the next one, and nobody has been told that
//   it was.
// - No LMDB transaction is open while a consumer waits, and a waiting consumer has no thread.

import Bytes
import Files
public import LedgerCore
import Synchronization
import Threads

/// The subscriptions of a log. Safe to use from any task; no call blocks its thread.
public final class Subscriptions: Sendable {
  /// Subscriptions at most.
  public static let countMax = 100
  /// Events that one call takes at most.
  public static let fetchCountMax = 4_096
  /// Calls that wait for the thread at most.
  static let commandCountMax = 8_192

  typealias Command = @Sendable (SubscriptionEngine) -> Void

  struct State: Sendable {
    var commands: [Command] = []
    var head: Position = 0
    /// True if the thread is to be woken by the head.
    var hasWaiters = false
    /// Nobody waits for events any more.
    var isStopped = false
    var isClosing = false
  }

  private let state = Monitor(State())
  private let thread: Mutex<NamedThread?>
  private let observation: HeadObservation

  init(path: String, store: LogStore, clock: @escaping @Sendable () -> Timestamp) throws(SubscriptionError) {
    var disk: SubscriptionStore?
    var stored: [StoredSubscription] = []
    if Files.isDirectory(path) {
      let found = try SubscriptionStore(path: path)
      stored = try found.load()
      disk = found
    }
    let state = state
    thread = Mutex(
      NamedThread(name: "ledger-subscr") { [disk, stored] in
        SubscriptionEngine(path: path, disk: disk, stored: stored, log: store, clock: clock).run(state)
      })
    observation = store.observeHead { head in
      let hasWaiters = state.withLock { state in
        state.head = head
        return state.hasWaiters
      }
      // An append wakes nobody who does not wait.
      if hasWaiters { state.signal { _ in } }
    }
  }

  /// Ends: whoever waits gets nothing, and what has been looked at is written.
  func close() {
    state.signal { state in
      state.isStopped = true
      state.isClosing = true
    }
    let thread = thread.withLock { thread in
      defer { thread = nil }
      return thread
    }
    thread?.join()
    observation.end()
  }

  /// Ends waiting, for a shutdown: whoever waits for events gets none, now and from now on.
  public func stopWaiting() { state.signal { $0.isStopped = true } }

  private func perform<R: Sendable>(
    _ body: @escaping @Sendable (SubscriptionEngine, @escaping @Sendable (Result<R, SubscriptionError>) -> Void) -> Void
  ) async throws(SubscriptionError) -> R {
    let result = await withCheckedContinuation { (continuation: CheckedContinuation<Result<R, SubscriptionError>, Never>) in
      let refusal: SubscriptionError? = state.signal { state in
        if state.isClosing { return .closed }
        if state.commands.count >= Self.commandCountMax { return .busy }
        state.commands.append { engine in body(engine) { continuation.resume(returning: $0) } }
        return nil
      }
      if let refusal { continuation.resume(returning: .failure(refusal)) }
    }
    return try result.get()
  }

  /// A call whose answer is known at once.
  private func ask<R: Sendable>(
    _ body: @escaping @Sendable (SubscriptionEngine) throws(SubscriptionError) -> R
  ) async throws(SubscriptionError) -> R {
    try await perform { engine, reply in
      do throws(SubscriptionError) {
        reply(.success(try body(engine)))
      } catch {
        reply(.failure(error))
      }
    }
  }

  /// A call that is answered when what it changed is on the disk.
  private func change<R: Sendable>(
    _ body: @escaping @Sendable (SubscriptionEngine) throws(SubscriptionError) -> R
  ) async throws(SubscriptionError) -> R {
    try await perform { engine, reply in
      do throws(SubscriptionError) {
        let result = try body(engine)
        engine.answerAfterCommit { failure in reply(failure.map { .failure($0) } ?? .success(result)) }
      } catch {
        reply(.failure(error))
      }
    }
  }

  // MARK: Managing

  /// All subscriptions, by name.
  public func list() async throws(SubscriptionError) -> [SubscriptionStatus] {
    try await ask { engine throws(SubscriptionError) in engine.statuses() }
  }

  /// One subscription.
  public func status(of name: SubscriptionName) async throws(SubscriptionError) -> SubscriptionStatus {
    try await ask { engine throws(SubscriptionError) in try engine.status(of: name) }
  }

  /// Makes a subscription, or gives one that is there other settings; on the disk when it returns.
  ///
  /// - Parameters:
  ///   - settings: Within the limits that ``SubscriptionSettings`` names. The filter of one that is there must be the same.
  ///   - start: Where a new one begins; one that is there stays where it is.
  /// - Returns: It, and whether it is new.
  public func put(
    _ name: SubscriptionName, _ settings: SubscriptionSettings, start: SubscriptionStart
  ) async throws(SubscriptionError) -> (status: SubscriptionStatus, isNew: Bool) {
    try await ask { engine throws(SubscriptionError) in try engine.put(name, settings, start) }
  }

  /// Removes a subscription with its checkpoint and its parked events. The log is not touched.
  public func delete(_ name: SubscriptionName) async throws(SubscriptionError) {
    try await ask { engine throws(SubscriptionError) in try engine.delete(name) }
  }

  // MARK: Consuming

  /// Takes events; waits while there are none.
  ///
  /// Events of one stream are in hand at one consumer at a time, in their order. What is not settled in time comes again.
  ///
  /// - Parameters:
  ///   - consumer: Who takes them. Two that work side by side have two names.
  ///   - countMax: At most so many, and at most so many as the consumer may have in hand.
  ///   - wait: How long, if there are none; the log is looked through to its head in any case, a few seconds longer if need
  ///     be.
  /// - Returns: What it has in hand from now on, in the order of the log but for events that come again; none if the time
  ///   was up.
  public func fetch(
    _ name: SubscriptionName, consumer: SubscriptionName, countMax: Int, wait: Duration
  ) async throws(SubscriptionError) -> [Delivery] {
    precondition(countMax > 0, "somebody who fetches wants something")
    return try await perform { engine, reply in
      engine.fetch(name, consumer: consumer, countMax: min(countMax, Self.fetchCountMax), wait: wait, reply: reply)
    }
  }

  /// Says what became of events; on the disk when it returns.
  ///
  /// Events that are settled already, or were not delivered since the log was opened, are passed over: repeating is safe.
  public func settle(
    _ name: SubscriptionName, consumer: SubscriptionName, _ events: SettledEvents, _ settlement: Settlement
  ) async throws(SubscriptionError) -> SettlementResult {
    try await change { engine throws(SubscriptionError) in try engine.settle(name, consumer, events, settlement) }
  }

  /// Answers a consumer's calls that wait for events, with none.
  public func stopWaiting(_ name: SubscriptionName, consumer: SubscriptionName) async {
    do throws(SubscriptionError) {
      try await ask { engine throws(SubscriptionError) in engine.stopWaiting(name, consumer) }
    } catch {
      // It is closed, which has answered everybody, or has too much to do: then waiting ends with its time.
    }
  }

  /// A consumer has gone. What it had in hand has failed, in each stream the first of it, and comes again.
  public func leave(_ name: SubscriptionName, consumer: SubscriptionName) async throws(SubscriptionError) {
    try await change { engine throws(SubscriptionError) in try engine.leave(name, consumer) }
  }

  // MARK: Parked events

  /// Parked events, in the order of their positions.
  public func parked(_ name: SubscriptionName, after position: Position, limit: Int) async throws(SubscriptionError) -> [ParkedDelivery] {
    try await ask { engine throws(SubscriptionError) in try engine.parked(name, after: position, limit: limit) }
  }

  /// Delivers parked events again, as often as if they were new. They are parked until they are settled.
  ///
  /// - Parameter positions: nil: all.
  /// - Returns: How many.
  public func retryParked(_ name: SubscriptionName, _ positions: [Position]?) async throws(SubscriptionError) -> Int {
    try await change { engine throws(SubscriptionError) in try engine.retryParked(name, positions) }
  }

  /// Gives parked events up. They stay in the log, and this subscription never delivers them again.
  ///
  /// - Parameter positions: nil: all.
  /// - Returns: How many.
  public func skipParked(_ name: SubscriptionName, _ positions: [Position]?) async throws(SubscriptionError) -> Int {
    try await change { engine throws(SubscriptionError) in try engine.skipParked(name, positions) }
  }
}
