// What writers sent to a ledger and what it answered, and the check of a log against that: the promises of an append, as
// seen from outside.
//
// Invariants that a log must keep, and `LogCheck` looks for:
// - Positions are 1, 2, 3, … up to the head, without a gap.
// - What is in it was sent, once, and is as it was sent, byte for byte.
// - A unit (events that first went out together) is there whole, at consecutive positions, or not at all; one that was
//   acknowledged is there, at the position that was answered. Where it once was, it stays.
// - Revisions of each stream are 0, 1, 2, … in the order of positions.

import Bytes
public import EventLog
import LedgerClient
public import LedgerCore
import JSON
public import LedgerHTTP

/// A promise that was broken.
public struct CrashViolation: Error, Equatable, Sendable, CustomStringConvertible {
  /// What was promised and what was found.
  public let description: String

  init(_ description: String) { self.description = description }
}

/// Which events of a ``SeededEvents`` were sent, in which units, and what the ledger answered.
public struct CrashJournal: Sendable {
  /// Events that first went out together: indices from `first` on.
  public struct Unit: Equatable, Sendable {
    /// The index of its first event.
    public var first: UInt64
    /// How many events it has.
    public var count: Int
    /// The position of its first event, once it was acknowledged.
    public var acknowledged: Position?
    /// Its first event's position in the last log that was checked; nil: it was not there.
    public var found: Position?
  }

  /// Every unit, in the order of indices.
  public private(set) var units: [Unit] = []
  /// How many events were acknowledged.
  public private(set) var acknowledgedEventCount = 0
  /// How many events were answered as duplicates.
  public private(set) var duplicateEventCount = 0
  private var nextIndex: UInt64 = 0

  /// An empty one.
  public init() {}

  /// One that goes on from what is known of each unit.
  init(units: [Unit]) {
    self.units = units
    acknowledgedEventCount = units.reduce(0) { $0 + ($1.acknowledged == nil ? 0 : $1.count) }
    nextIndex = units.last.map { $0.first + UInt64($0.count) } ?? 0
  }

  /// Takes the next indices as a new unit, which is about to be sent.
  ///
  /// - Returns: Its number.
  public mutating func begin(count: Int) -> Int {
    units.append(Unit(first: nextIndex, count: count))
    nextIndex += UInt64(count)
    return units.count - 1
  }

  /// Notes the answer to a request.
  ///
  /// - Parameter sent: The units in it, in order.
  /// - Throws: ``CrashViolation`` if the answer contradicts itself or an earlier one.
  public mutating func note(_ answer: AppendAnswer, to sent: [Int]) throws(CrashViolation) {
    let count = sent.reduce(0) { $0 + units[$1].count }
    guard let receipts = answer.receipts, receipts.count == count, answer.appended + answer.duplicates == count else {
      throw CrashViolation("an answer does not account for the \(count) events sent: \(answer.appended) + \(answer.duplicates)")
    }
    let appended = receipts.count { !$0.duplicate }
    guard appended == answer.appended else {
      throw CrashViolation("\(answer.appended) events are counted as appended, the receipts say \(appended)")
    }
    duplicateEventCount += answer.duplicates
    var next = 0
    for number in sent {
      let unit = units[number]
      let positions = receipts[next..<next + unit.count].map(\.position)
      next += unit.count
      guard let first = positions.first.flatMap({ Position(exactly: $0) }), first > 0,
        positions.indices.allSatisfy({ positions[$0] == positions[0] + Int64($0) })
      else { throw CrashViolation("unit \(number) was not given consecutive positions: \(positions)") }
      guard let last = positions.last, last <= answer.head else {
        throw CrashViolation("unit \(number) was answered with positions beyond the head \(answer.head)")
      }
      if let before = unit.acknowledged, before != first {
        throw CrashViolation("unit \(number) was acknowledged at \(before), and later at \(first)")
      }
      if unit.acknowledged == nil { acknowledgedEventCount += unit.count }
      units[number].acknowledged = first
    }
  }

  /// A check of a log against what is noted so far.
  public func makeCheck(of events: SeededEvents) -> LogCheck { LogCheck(self, events) }

  /// Reads a whole log and checks it.
  ///
  /// - Parameter log: At rest.
  /// - Returns: What is wrong with it; at most ``LogCheck/violationCountMax``.
  public mutating func violations(of log: EventLog, events: SeededEvents) throws(LogError) -> [CrashViolation] {
    var check = makeCheck(of: events)
    let reader = log.makeReader(after: 0)
    _ = try reader.read(maxCount: .max, through: log.head) { position, envelope, bytes in
      check.take(position, envelope, bytes)
      return true
    }
    let found = check.finish(head: log.head)
    for number in units.indices { units[number].found = check.position(of: units[number].first) }
    return found
  }
}

/// Looks at the events of a log in order and says what is wrong.
public struct LogCheck {
  /// No more than this are listed: a log that lacks one event is wrong at each later one.
  public static let violationCountMax = 20

  private let journal: CrashJournal
  private let events: SeededEvents
  private let event = LoggedEvent()
  private var expected: [UInt8] = []
  private var violations: [CrashViolation] = []
  /// By index; 0: not seen.
  private var positions: [Position]
  private var revisions: [[UInt8]: UInt64] = [:]
  private var last: Position = 0

  init(_ journal: CrashJournal, _ events: SeededEvents) {
    self.journal = journal
    self.events = events
    positions = Array(repeating: 0, count: journal.units.reduce(0) { $0 + $1.count })
  }

  /// Looks at the next event.
  public mutating func take(_ position: Position, _ envelope: Envelope, _ bytes: RawSpan) {
    if position != last + 1 { report("after position \(last) comes \(position)") }
    last = position
    guard let index = SeededEvents.index(ofEvent: bytes), index < UInt64(positions.count) else {
      return report("the event at \(position) was never sent")
    }
    expected.removeAll(keepingCapacity: true)
    events.append(index: index, to: &expected)
    if !bytes.isEqual(to: expected.rawSpan) { report("the event at \(position) is not as it was sent") }
    if positions[Int(index)] != 0 { report("the event at \(position) is at \(positions[Int(index)]) already") }
    positions[Int(index)] = position
    takeRevision(position, envelope, bytes)
  }

  private mutating func takeRevision(_ position: Position, _ envelope: Envelope, _ bytes: RawSpan) {
    do throws(EventError) {
      try event.read(bytes, position: position, envelope: envelope)
    } catch {
      return report("the event at \(position) cannot be read: \(error)")
    }
    let found = event.attributes
    var stream: [UInt8]
    if let name = found.stream {
      stream = [1] + event.json.bytes(of: name)
    } else {
      let source = event.json.bytes(of: found.source)
      stream = [2] + source + [0] + (found.subject.map { event.json.bytes(of: $0) } ?? [])
    }
    let revision = revisions[stream].map { $0 + 1 } ?? 0
    if envelope.revision != revision { report("the event at \(position) has revision \(envelope.revision) instead of \(revision)") }
    revisions[stream] = envelope.revision
  }

  /// Ends the check.
  ///
  /// - Parameter head: The log's, as it says itself.
  /// - Returns: What is wrong.
  public mutating func finish(head: Position) -> [CrashViolation] {
    if head != last { report("the head is \(head), but the last event is at \(last)") }
    for (number, unit) in journal.units.enumerated() {
      let range = Int(unit.first)..<Int(unit.first) + unit.count
      let first = positions[range.lowerBound]
      if let acknowledged = unit.acknowledged, first != acknowledged {
        report(
          "unit \(number) of \(unit.count) events was acknowledged at \(acknowledged), but is "
            + (first == 0 ? "not in the log" : "at \(first)"))
      }
      if let found = unit.found, first != found { report("unit \(number) was at \(found), and is now at \(first)") }
      let isWhole = range.allSatisfy { positions[$0] == (first == 0 ? 0 : first + Position($0 - range.lowerBound)) }
      if !isWhole { report("unit \(number) of \(unit.count) events is neither whole nor absent") }
    }
    return violations
  }

  /// Where the event of that index was seen.
  func position(of index: UInt64) -> Position? { positions[Int(index)] == 0 ? nil : positions[Int(index)] }

  private mutating func report(_ text: String) {
    if violations.count < Self.violationCountMax { violations.append(CrashViolation(text)) }
  }
}
