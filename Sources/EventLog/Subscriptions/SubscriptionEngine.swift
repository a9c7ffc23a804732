// What the subscriptions' thread does: calls, deadlines, looking at the log for those who wait, one commit, answers.

import Bytes
import LedgerCore
import Threads

final class SubscriptionEngine {
  /// Events looked at for one subscription before another has its turn.
  static let sliceEventCountMax = 2_048
  /// Events found in one such turn.
  static let sliceFoundCountMax = 512
  /// A checkpoint that nobody waits for is written when it is so far ahead of the written one.
  static let idleCheckpointEventCount: UInt64 = 10_000
  /// How long whoever waits is kept beyond his time while the log is being looked through.
  static let searchNanoseconds: MonotonicTime = 5_000_000_000
  /// After a commit that failed the next one is tried so much later.
  static let retryNanoseconds: MonotonicTime = 1_000_000_000

  private struct Waiter {
    let consumer: SubscriptionName
    let countMax: Int
    let deadline: MonotonicTime
    let reply: @Sendable (Result<[Delivery], SubscriptionError>) -> Void
  }

  /// An object, so that its window is changed in place and never copied.
  private final class Subscription {
    let name: SubscriptionName
    var record: SubscriptionRecord
    var window: SubscriptionWindow
    var waiters: [Waiter] = []
    /// What the disk says.
    var savedCheckpoint: Position
    /// Parked events that were asked for again before the start.
    var toRevive: [Position]

    init(_ stored: StoredSubscription) {
      name = stored.name
      record = stored.record
      window = SubscriptionWindow(checkpoint: stored.checkpoint, rows: stored.rows)
      savedCheckpoint = stored.checkpoint
      toRevive = stored.rows.compactMap { position, row in
        if case .parked(let parked) = row, parked.isRetried { position } else { nil }
      }
    }

    var isDirty: Bool { window.changes.isUrgent || !window.changes.rows.isEmpty }
  }

  private let path: String
  private let log: LogStore
  private let clock: @Sendable () -> Timestamp
  private var disk: SubscriptionStore?
  private var subscriptions: [SubscriptionName: Subscription] = [:]
  private let reader: LogReader
  private let event = LoggedEvent()
  private var hasher: EventHasher
  private var answers: [@Sendable (SubscriptionError?) -> Void] = []
  private var isStopped = false
  private var now = MonotonicTime(0)
  private var isLastCommitFailed = false
  private let start = ContinuousClock.now

  init(
    path: String, disk: SubscriptionStore?, stored: [StoredSubscription], log: LogStore, clock: @escaping @Sendable () -> Timestamp
  ) {
    self.path = path
    self.disk = disk
    self.log = log
    self.clock = clock
    reader = LogReader(store: log, after: 0)
    hasher = EventHasher(keys: log.keys)
    for one in stored { subscriptions[one.name] = Subscription(one) }
  }

  // MARK: The thread

  func run(_ state: Monitor<Subscriptions.State>) {
    var seenHead: Position = 0
    var timeout: Duration?
    while true {
      let work = state.wait(timeout: timeout) { state -> (commands: [Subscriptions.Command], isStopped: Bool, isClosing: Bool)? in
        let isWoken = state.hasWaiters && state.head > seenHead
        guard !state.commands.isEmpty || isWoken || state.isClosing || state.isStopped != self.isStopped else { return nil }
        defer { state.commands = [] }
        return (state.commands, state.isStopped, state.isClosing)
      }
      now = (ContinuousClock.now - start).nanoseconds
      if let work {
        isStopped = work.isStopped
        for command in work.commands { command(self) }
      }
      expire()
      seenHead = log.head
      let isSearching = serve()
      commit(isLast: work?.isClosing == true)
      if work?.isClosing == true { return }
      timeout = isSearching ? .zero : self.timeout()
      let hasWaiters = subscriptions.values.contains { !$0.waiters.isEmpty }
      state.withLock { $0.hasWaiters = hasWaiters }
    }
  }

  /// Until when there is nothing to do if nobody calls.
  private func timeout() -> Duration? {
    var next: MonotonicTime?
    func consider(_ time: MonotonicTime?) { if let time { next = min(next ?? .max, time) } }
    for subscription in subscriptions.values {
      consider(subscription.window.nextDeadline())
      guard !subscription.waiters.isEmpty else { continue }
      for waiter in subscription.waiters { consider(waiter.deadline) }
      consider(subscription.window.nextRedelivery(after: now))
    }
    if isLastCommitFailed { consider(now + Self.retryNanoseconds) }
    return next.map { .nanoseconds(max(0, $0 - now)) }
  }

  private func expire() {
    for subscription in subscriptions.values {
      _ = subscription.window.expire(now: now, clock: clock(), settings: subscription.record.settings)
    }
  }

  // MARK: Serving those who wait

  /// True if it is to be called again soon.
  private func serve() -> Bool {
    var isSearching = false
    for subscription in subscriptions.values where !subscription.waiters.isEmpty {
      deliver(subscription)
      if !subscription.waiters.isEmpty, !isStopped { isSearching = search(subscription) || isSearching }
      dismiss(subscription)
    }
    return isSearching
  }

  /// First come, first served; who gets nothing waits on.
  private func deliver(_ subscription: Subscription) {
    var waiting: [Waiter] = []
    for waiter in subscription.waiters {
      let taken = subscription.window.take(
        for: waiter.consumer, countMax: waiter.countMax, now: now, settings: subscription.record.settings)
      if taken.isEmpty { waiting.append(waiter) } else { waiter.reply(.success(taken)) }
    }
    subscription.waiters = waiting
  }

  /// Looks at more of the log. True if there is more to look at, and somebody waits.
  private func search(_ subscription: Subscription) -> Bool {
    do throws(LogError) {
      try revive(subscription)
      if subscription.window.hasRoom, subscription.window.scanned < log.head { try look(subscription) }
    } catch {
      for waiter in subscription.waiters { waiter.reply(.failure(.log(error))) }
      subscription.waiters = []
      return false
    }
    deliver(subscription)
    return !subscription.waiters.isEmpty && subscription.window.hasRoom && subscription.window.scanned < log.head
  }

  private func look(_ subscription: Subscription) throws(LogError) {
    var failure: LogError?
    var found = 0
    let filter = subscription.record.settings.filter
    reader.seek(after: subscription.window.scanned)
    _ = try reader.read(maxCount: Self.sliceEventCountMax, through: .max) { position, envelope, bytes in
      do throws(EventError) {
        try event.read(bytes, position: position, envelope: envelope)
      } catch {
        failure = .damaged(position: position, error.message)
        return false
      }
      let isWanted = filter.takes(event)
      if isWanted { found += 1 }
      subscription.window.look(at: position, stream: isWanted ? hasher.hashes(of: event.attributes, event.json).stream : nil)
      return found < Self.sliceFoundCountMax && subscription.window.hasRoom
    }
    if let failure { throw failure }
  }

  /// Opens what was asked for again before the start.
  private func revive(_ subscription: Subscription) throws(LogError) {
    while let position = subscription.toRevive.first {
      subscription.window.revive(position, stream: try stream(at: position), nil)
      subscription.toRevive.removeFirst()
    }
  }

  private func stream(at position: Position) throws(LogError) -> Hash128 {
    var found: Hash128?
    reader.seek(after: position - 1)
    _ = try reader.read(maxCount: 1, through: position) { position, envelope, bytes in
      do throws(EventError) {
        try event.read(bytes, position: position, envelope: envelope)
        found = hasher.hashes(of: event.attributes, event.json).stream
      } catch {
        found = nil
      }
      return false
    }
    guard let found else { throw .damaged(position: position, "the event cannot be read") }
    return found
  }

  /// Answers those whose time is up.
  private func dismiss(_ subscription: Subscription) {
    let isThrough = subscription.window.scanned >= log.head || !subscription.window.hasRoom
    subscription.waiters.removeAll { waiter in
      let isOver = isStopped || (waiter.deadline <= now && (isThrough || waiter.deadline + Self.searchNanoseconds <= now))
      if isOver { waiter.reply(.success([])) }
      return isOver
    }
  }

  // MARK: Committing

  /// Calls back when what has changed so far is on the disk, or is not.
  func answerAfterCommit(_ reply: @escaping @Sendable (SubscriptionError?) -> Void) { answers.append(reply) }

  /// Writes what has changed, and answers whoever waits for that.
  ///
  /// - Returns: Why it is not on the disk; nil: it is.
  @discardableResult
  private func commit(isLast: Bool) -> SubscriptionError? {
    var failure: SubscriptionError?
    let isUrgent = isLast || subscriptions.values.contains { $0.isDirty }
    let changed = subscriptions.values.filter { subscription in
      let ahead = subscription.window.checkpoint - subscription.savedCheckpoint
      return subscription.isDirty || ahead >= Self.idleCheckpointEventCount || (isUrgent && ahead > 0)
    }
    if !changed.isEmpty, let disk {
      do throws(SubscriptionError) {
        try disk.save(changed.map { ($0.record.number, $0.window.checkpoint, $0.window.changes.rows) })
        for subscription in changed {
          subscription.savedCheckpoint = subscription.window.checkpoint
          subscription.window.forgetChanges()
        }
      } catch {
        // It is kept, and written with the next commit.
        failure = error
      }
    }
    isLastCommitFailed = failure != nil
    for answer in answers { answer(failure) }
    answers.removeAll()
    guard isLast else { return failure }
    for subscription in subscriptions.values {
      for waiter in subscription.waiters { waiter.reply(.failure(.closed)) }
      subscription.waiters = []
    }
    return failure
  }

  // MARK: Calls

  private func find(_ name: SubscriptionName) throws(SubscriptionError) -> Subscription {
    guard let found = subscriptions[name] else { throw .unknown(name) }
    return found
  }

  func statuses() -> [SubscriptionStatus] {
    subscriptions.values.map { Self.status($0) }.sorted { $0.name.description < $1.name.description }
  }

  func status(of name: SubscriptionName) throws(SubscriptionError) -> SubscriptionStatus { Self.status(try find(name)) }

  private static func status(_ subscription: Subscription) -> SubscriptionStatus {
    let window = subscription.window
    return SubscriptionStatus(
      name: subscription.name, settings: subscription.record.settings, start: subscription.record.start,
      created: subscription.record.created,
      checkpoint: window.checkpoint, inFlightCount: window.inFlightCount, parkedCount: window.parkedCount, consumers: window.consumers,
      deliveredCount: window.deliveredCount, redeliveredCount: window.redeliveredCount)
  }

  func put(
    _ name: SubscriptionName, _ settings: SubscriptionSettings, _ start: SubscriptionStart
  ) throws(SubscriptionError) -> (status: SubscriptionStatus, isNew: Bool) {
    if let known = subscriptions[name], let disk = self.disk {
      guard known.record.settings.filter == settings.filter else { throw .differs(name) }
      var record = known.record
      record.settings = settings
      if record != known.record {
        try disk.update(name, record)
        known.record = record
      }
      return (try status(of: name), false)
    }
    guard subscriptions.count < Subscriptions.countMax else { throw .tooMany(countMax: Subscriptions.countMax) }
    let head = log.head
    let position: Position =
      switch start {
      case .after(let position): position
      case .head: head
      }
    guard position <= head else { throw .startBeyondHead(position, head: head) }
    let disk: SubscriptionStore
    if let open = self.disk { disk = open } else { disk = try SubscriptionStore(path: path) }
    self.disk = disk
    let record = try disk.create(name, created: clock(), start: position, settings)
    subscriptions[name] = Subscription(StoredSubscription(name: name, record: record, checkpoint: position, rows: []))
    return (try status(of: name), true)
  }

  func delete(_ name: SubscriptionName) throws(SubscriptionError) {
    let found = try find(name)
    try disk?.delete(name, found.record)
    subscriptions[name] = nil
    for waiter in found.waiters { waiter.reply(.failure(.unknown(name))) }
  }

  func fetch(
    _ name: SubscriptionName, consumer: SubscriptionName, countMax: Int, wait: Duration,
    reply: @escaping @Sendable (Result<[Delivery], SubscriptionError>) -> Void
  ) {
    guard let known = subscriptions[name] else { return reply(.failure(.unknown(name))) }
    let consumers = Set(known.waiters.map(\.consumer)).union(known.window.consumers.map(\.name))
    guard consumers.contains(consumer) || consumers.count < SubscriptionWindow.consumerCountMax else {
      return reply(.failure(.tooManyConsumers(countMax: SubscriptionWindow.consumerCountMax)))
    }
    guard known.waiters.count < 4 * SubscriptionWindow.consumerCountMax else { return reply(.failure(.busy)) }
    known.waiters.append(
      Waiter(consumer: consumer, countMax: countMax, deadline: now + wait.nanoseconds, reply: reply))
  }

  func settle(
    _ name: SubscriptionName, _ consumer: SubscriptionName, _ events: SettledEvents, _ settlement: Settlement
  ) throws(SubscriptionError) -> SettlementResult {
    let found = try find(name)
    return found.window.settle(events, by: consumer, settlement, now: now, clock: clock(), settings: found.record.settings)
  }

  func stopWaiting(_ name: SubscriptionName, _ consumer: SubscriptionName) {
    guard let found = subscriptions[name] else { return }
    for waiter in found.waiters where waiter.consumer == consumer { waiter.reply(.success([])) }
    found.waiters.removeAll { $0.consumer == consumer }
  }

  func leave(_ name: SubscriptionName, _ consumer: SubscriptionName) throws(SubscriptionError) {
    stopWaiting(name, consumer)
    _ = try settle(name, consumer, .through(.max), .fail(reason: "its consumer left"))
  }

  /// Before rows are read: they must be those of now, or an event that has been decided on would be decided on again.
  private func writeOut() throws(SubscriptionError) {
    if let failure = commit(isLast: false) { throw failure }
  }

  func parked(_ name: SubscriptionName, after position: Position, limit: Int) throws(SubscriptionError) -> [ParkedDelivery] {
    let record = try find(name).record
    try writeOut()
    return try rows(record, after: position, limit: limit).map(\.parked)
  }

  private func rows(
    _ record: SubscriptionRecord, after position: Position, limit: Int
  ) throws(SubscriptionError) -> [(position: Position, parked: ParkedDelivery)] {
    guard let disk else { return [] }
    return try disk.rows(of: record.number, after: position, limit: limit) { if case .parked = $0 { true } else { false } }
      .compactMap { position, row in if case .parked(let parked) = row { (position, parked) } else { nil } }
  }

  /// The parked events that are named, all of which must be parked; or all.
  private func parked(_ record: SubscriptionRecord, _ positions: [Position]?) throws(SubscriptionError) -> [ParkedDelivery] {
    guard let positions else { return try rows(record, after: 0, limit: .max).map(\.parked) }
    var found: [ParkedDelivery] = []
    for position in Set(positions).sorted() {
      guard case .parked(let parked) = try disk?.row(of: record.number, at: position) else { throw .notParked(position) }
      found.append(parked)
    }
    return found
  }

  func retryParked(_ name: SubscriptionName, _ positions: [Position]?) throws(SubscriptionError) -> Int {
    let subscription = try find(name)
    try writeOut()
    var count = 0
    for var parked in try parked(subscription.record, positions) where !subscription.window.isRevived(parked.position) {
      do throws(LogError) {
        let stream = try stream(at: parked.position)
        parked.isRetried = true
        subscription.window.revive(parked.position, stream: stream, parked)
        subscription.toRevive.removeAll { $0 == parked.position }
      } catch {
        throw .log(error)
      }
      count += 1
    }
    return count
  }

  func skipParked(_ name: SubscriptionName, _ positions: [Position]?) throws(SubscriptionError) -> Int {
    let subscription = try find(name)
    try writeOut()
    let all = try parked(subscription.record, positions)
    for parked in all {
      subscription.toRevive.removeAll { $0 == parked.position }
      subscription.window.unpark(parked.position)
    }
    return all.count
  }
}
