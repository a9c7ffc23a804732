// The open events of one subscription: a state machine over positions. It knows no clock, no disk and no thread: times are
// handed in, what must be durable is handed out.
//
// Words: an event is open from when it was looked at and found wanted until it is settled: acknowledged or parked. Everything
// up to the checkpoint is settled, except events that were parked and asked for again (revived).
//
// Invariants:
// - The checkpoint never falls, and is below every open event that is not revived.
// - Events of one stream are in hand at one consumer at a time, and are given out in the order of their positions. If one
//   fails, those behind it that are still in hand are taken back: they come again behind it.
// - An event that failed as often as it may is parked, never dropped; while there is no room for parked events it is
//   delivered on.
// - What is open, and what is settled above the checkpoint, is bounded: nothing is looked at while there is too much.

import Bytes
import LedgerCore

/// Times of a monotonic clock, in nanoseconds.
typealias MonotonicTime = Int64

struct SubscriptionWindow {
  /// Open events and events settled above the checkpoint, together.
  static let countMax = 8_192
  /// Parked events of one subscription.
  static let parkedCountMax = 10_000
  /// Consumers that have something in hand.
  static let consumerCountMax = 256

  private struct Entry {
    let stream: Hash128
    var failureCount: Int
    var isRevived: Bool
    /// Who has it in hand.
    var consumer: SubscriptionName?
    /// Which delivery it is; tells a deadline that counts from one that does not.
    var delivery: UInt64 = 0
    var wasDelivered = false
    /// Not to be delivered before.
    var notBefore: MonotonicTime = .min
  }

  /// What must be written so that it survives.
  struct Changes {
    /// Rows to write, by position; nil: to remove.
    fileprivate(set) var rows: [Position: SubscriptionRow?] = [:]
    /// True if somebody waits for it: not if the log was only looked at.
    fileprivate(set) var isUrgent = false
    /// Settled since the last commit, and without a row before.
    fileprivate var fresh: Set<Position> = []

    fileprivate mutating func put(_ row: SubscriptionRow?, at position: Position) {
      rows.updateValue(row, forKey: position)
      isUrgent = true
    }
  }

  private(set) var checkpoint: Position
  /// Everything up to here has been looked at.
  private(set) var scanned: Position
  private(set) var parkedCount = 0
  private(set) var deliveredCount: UInt64 = 0
  private(set) var redeliveredCount: UInt64 = 0
  private(set) var changes = Changes()

  private var open: [Position: Entry] = [:]
  /// Positions of the open events that are not revived, ascending; settled ones among them are passed over.
  private var order: [Position] = []
  /// Where the open ones begin in `order`.
  private var orderStart = 0
  /// Revived ones, ascending.
  private var revived: [Position] = []
  /// Above the checkpoint, with a row each.
  private var settledAbove: Set<Position> = []
  private var parkedAbove: Set<Position> = []
  /// Failures of events that have not been looked at since the start.
  private var failures: [Position: Int] = [:]
  private var inHand: [SubscriptionName: Int] = [:]
  private var holders: [Hash128: (consumer: SubscriptionName, count: Int)] = [:]
  /// Deadlines in the order of deliveries, which is that of time: all have the same length until the settings change.
  private var deadlines: [(time: MonotonicTime, position: Position, delivery: UInt64)] = []
  private var deadlineStart = 0

  /// A subscription as its rows say.
  init(checkpoint: Position, rows: [(position: Position, row: SubscriptionRow)]) {
    self.checkpoint = checkpoint
    scanned = checkpoint
    for (position, row) in rows {
      switch row {
      case .settled: if position > checkpoint { settledAbove.insert(position) }
      case .failed(let count): if position > checkpoint { failures[position] = count }
      case .parked:
        parkedCount += 1
        // One that was asked for again is revived by whoever reads the log; until then it is passed over like the others.
        if position > checkpoint { parkedAbove.insert(position) }
      }
    }
  }

  /// What has to be written has been.
  mutating func forgetChanges() { changes = Changes() }

  var inFlightCount: Int { inHand.values.reduce(0, +) }
  var consumers: [(name: SubscriptionName, inFlightCount: Int)] {
    inHand.map { ($0.key, $0.value) }.sorted { $0.0.description < $1.0.description }
  }
  func inHandCount(of consumer: SubscriptionName) -> Int { inHand[consumer] ?? 0 }
  /// True if the window takes more.
  var hasRoom: Bool { open.count - revived.count + settledAbove.count + parkedAbove.count < Self.countMax }

  // MARK: Looking at the log

  /// Takes in the next event of the log.
  ///
  /// - Parameter stream: Its stream; nil if the filter does not want it.
  mutating func look(at position: Position, stream: Hash128?) {
    precondition(position == scanned + 1, "the log is looked at in order")
    scanned = position
    if let stream, !settledAbove.contains(position), !parkedAbove.contains(position) {
      open[position] = Entry(stream: stream, failureCount: failures.removeValue(forKey: position) ?? 0, isRevived: false)
      order.append(position)
    }
    advance()
  }

  /// True if an event is open again.
  func isRevived(_ position: Position) -> Bool { open[position]?.isRevived ?? false }

  /// Opens a parked event again. It stays parked until it is settled.
  ///
  /// - Parameter parked: What is written of it; nil if that was read from the disk.
  mutating func revive(_ position: Position, stream: Hash128, _ parked: ParkedDelivery?) {
    guard open[position] == nil else { return }
    open[position] = Entry(stream: stream, failureCount: 0, isRevived: true)
    let index = revived.firstIndex { $0 > position } ?? revived.count
    revived.insert(position, at: index)
    if let parked { changes.put(.parked(parked), at: position) }
  }

  /// A parked event is given up.
  mutating func unpark(_ position: Position) {
    if let entry = open[position], entry.isRevived { close(position, entry) }
    forgetParked(position)
    advance()
  }

  private mutating func forgetParked(_ position: Position) {
    parkedCount -= 1
    if parkedAbove.remove(position) != nil {
      settledAbove.insert(position)
      changes.put(.settled, at: position)
    } else {
      changes.put(nil, at: position)
    }
  }

  // MARK: Giving out

  /// Gives events out to a consumer.
  mutating func take(
    for consumer: SubscriptionName, countMax: Int, now: MonotonicTime, settings: SubscriptionSettings
  ) -> [Delivery] {
    let count = min(countMax, settings.inFlightCountMax - inHandCount(of: consumer))
    guard count > 0 else { return [] }
    var taken: [Delivery] = []
    // Streams with an event that must come first and cannot yet.
    var blocked: Set<Hash128> = []
    for position in revived where taken.count < count {
      consider(position, consumer, now, settings, &blocked, &taken)
    }
    var index = orderStart
    while index < order.count, taken.count < count {
      consider(order[index], consumer, now, settings, &blocked, &taken)
      index += 1
    }
    return taken
  }

  private mutating func consider(
    _ position: Position, _ consumer: SubscriptionName, _ now: MonotonicTime, _ settings: SubscriptionSettings,
    _ blocked: inout Set<Hash128>, _ taken: inout [Delivery]
  ) {
    guard var entry = open[position], entry.consumer == nil, !blocked.contains(entry.stream) else { return }
    if let holder = holders[entry.stream], holder.consumer != consumer { return }
    guard entry.notBefore <= now else {
      blocked.insert(entry.stream)
      return
    }
    deliveredCount += 1
    if entry.failureCount > 0 { redeliveredCount += 1 }
    entry.consumer = consumer
    entry.wasDelivered = true
    entry.delivery = deliveredCount
    open[position] = entry
    inHand[consumer, default: 0] += 1
    holders[entry.stream, default: (consumer, 0)].count += 1
    let time = now + settings.acknowledgeWithin.nanoseconds
    // If the time was made shorter, what was given out before keeps the longer one, and what comes behind it waits for that.
    deadlines.append((time, position, entry.delivery))
    if deadlines.count - deadlineStart > 4 * Self.countMax { dropSettledDeadlines() }
    taken.append(Delivery(position: position, number: entry.failureCount + 1))
  }

  // MARK: Settling

  /// Events are acknowledged, failed or given back.
  mutating func settle(
    _ events: SettledEvents, by consumer: SubscriptionName, _ settlement: Settlement, now: MonotonicTime, clock: Timestamp,
    settings: SubscriptionSettings
  ) -> SettlementResult {
    let positions: [Position]
    switch events {
    case .positions(let named):
      positions = Set(named).sorted()
    case .through(let last):
      positions = (revived + order[orderStart...]).filter { $0 <= last && open[$0]?.consumer == consumer }
    }
    var result = SettlementResult()
    for position in positions {
      guard let entry = open[position] else { continue }
      switch settlement {
      case .acknowledge:
        // Also by somebody whose time had run out: it is done.
        guard entry.wasDelivered else { continue }
        acknowledge(position, entry)
      case .fail(let reason):
        guard entry.consumer != nil else { continue }
        if fail(position, entry, reason: reason, now: now, clock: clock, settings: settings) { result.parkedCount += 1 }
      case .release:
        guard entry.consumer != nil else { continue }
        giveBack(position, entry)
        takeBack(behind: position, stream: entry.stream)
      }
      result.count += 1
    }
    advance()
    result.checkpoint = checkpoint
    return result
  }

  private mutating func acknowledge(_ position: Position, _ entry: Entry) {
    close(position, entry)
    if entry.isRevived { return forgetParked(position) }
    settledAbove.insert(position)
    if entry.failureCount == 0 { changes.fresh.insert(position) }
    changes.put(.settled, at: position)
  }

  /// True if it was parked.
  private mutating func fail(
    _ position: Position, _ entry: Entry, reason: String, now: MonotonicTime, clock: Timestamp, settings: SubscriptionSettings
  ) -> Bool {
    let count = entry.failureCount + 1
    if count >= settings.failureCountMax, entry.isRevived || parkedCount < Self.parkedCountMax {
      if !entry.isRevived {
        parkedCount += 1
        parkedAbove.insert(position)
      }
      let parked = ParkedDelivery(position: position, failureCount: count, time: clock, reason: reason, isRetried: false)
      changes.put(.parked(parked), at: position)
      close(position, entry)
      return true
    }
    var failed = entry
    failed.failureCount = count
    failed.notBefore = now + settings.redeliverAfter.nanoseconds
    if !entry.isRevived { changes.put(.failed(count: count), at: position) }
    giveBack(position, failed)
    takeBack(behind: position, stream: entry.stream)
    return false
  }

  /// Nobody has it in hand any more.
  private mutating func giveBack(_ position: Position, _ entry: Entry) {
    var entry = entry
    letGo(&entry)
    open[position] = entry
  }

  /// Later events of the stream that are in hand come again behind the one that failed.
  private mutating func takeBack(behind position: Position, stream: Hash128) {
    guard holders[stream] != nil else { return }
    for later in (revived + order[orderStart...]) where later > position {
      guard let entry = open[later], entry.stream == stream, entry.consumer != nil else { continue }
      giveBack(later, entry)
      if holders[stream] == nil { return }
    }
  }

  private mutating func letGo(_ entry: inout Entry) {
    guard let consumer = entry.consumer else { return }
    entry.consumer = nil
    inHand[consumer, default: 0] -= 1
    if inHand[consumer] == 0 { inHand[consumer] = nil }
    holders[entry.stream]?.count -= 1
    if holders[entry.stream]?.count == 0 { holders[entry.stream] = nil }
  }

  private mutating func close(_ position: Position, _ entry: Entry) {
    var entry = entry
    letGo(&entry)
    open[position] = nil
    if entry.isRevived, let index = revived.firstIndex(of: position) { revived.remove(at: index) }
  }

  /// Moves the checkpoint up to the first open event, or to where the log was looked at.
  private mutating func advance() {
    while orderStart < order.count, open[order[orderStart]] == nil { orderStart += 1 }
    if orderStart > 1_024, orderStart > order.count / 2 {
      order.removeFirst(orderStart)
      orderStart = 0
    }
    let reached = orderStart < order.count ? order[orderStart] - 1 : scanned
    guard reached > checkpoint else { return }
    checkpoint = reached
    for position in settledAbove where position <= checkpoint {
      settledAbove.remove(position)
      // The checkpoint says it from now on. What was never written need not be removed.
      if changes.fresh.remove(position) != nil {
        changes.rows.removeValue(forKey: position)
      } else {
        changes.put(nil, at: position)
      }
    }
    for position in parkedAbove where position <= checkpoint { parkedAbove.remove(position) }
  }

  // MARK: Time

  /// Fails what was not settled in time.
  ///
  /// - Returns: How many events that were.
  mutating func expire(now: MonotonicTime, clock: Timestamp, settings: SubscriptionSettings) -> Int {
    var count = 0
    while deadlineStart < deadlines.count, deadlines[deadlineStart].time <= now {
      let (_, position, delivery) = deadlines[deadlineStart]
      deadlineStart += 1
      guard let entry = open[position], entry.delivery == delivery, entry.consumer != nil else { continue }
      _ = fail(position, entry, reason: "not acknowledged in time", now: now, clock: clock, settings: settings)
      count += 1
    }
    trimDeadlines()
    if count > 0 { advance() }
    return count
  }

  private mutating func trimDeadlines() {
    while deadlineStart < deadlines.count {
      let (_, position, delivery) = deadlines[deadlineStart]
      if let entry = open[position], entry.delivery == delivery, entry.consumer != nil { break }
      deadlineStart += 1
    }
    if deadlineStart > 1_024, deadlineStart > deadlines.count / 2 {
      deadlines.removeFirst(deadlineStart)
      deadlineStart = 0
    }
  }

  /// One that is in hand for long keeps those behind it from being trimmed.
  private mutating func dropSettledDeadlines() {
    deadlines = deadlines[deadlineStart...].filter { deadline in
      open[deadline.position].map { $0.delivery == deadline.delivery && $0.consumer != nil } ?? false
    }
    deadlineStart = 0
  }

  /// When ``expire(now:clock:settings:)`` has something to do.
  mutating func nextDeadline() -> MonotonicTime? {
    trimDeadlines()
    return deadlineStart < deadlines.count ? deadlines[deadlineStart].time : nil
  }

  /// When an event that waits after a failure may be delivered.
  func nextRedelivery(after now: MonotonicTime) -> MonotonicTime? {
    var next: MonotonicTime?
    for (_, entry) in open where entry.consumer == nil && entry.notBefore > now { next = min(next ?? .max, entry.notBefore) }
    return next
  }
}

extension Duration {
  /// Whole nanoseconds.
  var nanoseconds: Int64 { components.seconds * 1_000_000_000 + components.attoseconds / 1_000_000_000 }
}
