// A ledger in memory for one projection: events in, rows and answers out.

import Bytes
import LedgerCore
import ProjectionEngine

/// One person of an event: kinds and values.
typealias Person = [(kind: String, value: String)]

/// An event to fold, with what tests vary.
struct Sent {
  var people: [Person] = [[]]
  /// Seconds since 1970.
  var occurred: Int64 = 0
  /// Seconds since 1970.
  var received: Int64 = 1_000_000_000
  /// Attributes beside the required ones, as JSON members: `"channel":"web"`.
  var attributes: [String] = []
  /// Members of data beside the people.
  var data: [String] = []
  var source = "/test"
  var type = "t"

  /// The event's JSON. One person is written as `identifiers`, others as `participants`.
  func text(id: Int) -> String {
    func identifiers(_ person: Person) -> String {
      var kinds: [String] = []
      for (kind, _) in person where !kinds.contains(kind) { kinds.append(kind) }
      let members = kinds.map { kind in
        let values = person.filter { $0.kind == kind }.map { "\"\($0.value)\"" }
        return "\"\(kind)\":" + (values.count == 1 ? values[0] : "[\(values.joined(separator: ","))]")
      }
      return "{\(members.joined(separator: ","))}"
    }
    var members = data
    if people.count == 1 {
      members.append("\"identifiers\":\(identifiers(people[0]))")
    } else {
      members.append("\"participants\":[\(people.map { "{\"identifiers\":\(identifiers($0))}" }.joined(separator: ","))]")
    }
    let moment = Timestamp(microseconds: occurred * 1_000_000).rfc3339
    let head = "\"specversion\":\"1.0\",\"id\":\"\(id)\",\"source\":\"\(source)\",\"type\":\"\(type)\",\"time\":\"\(moment)\""
    return "{" + ([head] + attributes + ["\"data\":{\(members.joined(separator: ","))}"]).joined(separator: ",") + "}"
  }
}

final class Bench<P: Projection> {
  let projection: P
  let backing = MemoryBacking()
  let rows: RowStore
  let fold: P.Fold
  private let event = LoggedEvent()
  private(set) var head: UInt64 = 0

  init(_ projection: P) {
    self.projection = projection
    rows = RowStore(backing: backing)
    fold = projection.makeFold(rows: rows)
  }

  func append(_ sent: Sent) throws {
    try append(text: sent.text(id: Int(head) + 1), received: sent.received)
  }

  /// Folds an event at a position of its own: after a batch that was given up.
  func append(_ sent: Sent, at position: UInt64) throws {
    head = position - 1
    try append(sent)
  }

  func append(text: String, received: Int64 = 1_000_000_000) throws {
    head += 1
    let moment = Timestamp(microseconds: received * 1_000_000)
    let envelope = Envelope(recorded: moment, received: moment, revision: 0, door: .process, principal: "")
    try event.read(Array(text.utf8).rawSpan, position: head, envelope: envelope)
    try fold.apply(event)
  }

  /// A snapshot of all that was folded.
  func snapshot() throws -> Snapshot {
    try rows.flush()
    return Snapshot(source: backing, projection: projection.name, version: projection.version, generation: 1, checkpoint: head)
  }

  func ask(_ path: String, id: String? = nil, _ parameters: [(name: String, value: String)] = []) throws -> String {
    guard let query = projection.queries.first(where: { $0.path == path }) else { preconditionFailure("no such query") }
    let request = QueryRequest(path: id.map { ["id": $0] } ?? [:], parameters: parameters, logID: "L", erasureEpoch: 0)
    return String(decoding: try query.answer(request, try snapshot()), as: UTF8.self)
  }
}

/// A transaction over other rows that never commits: what is written stays here.
final class GivenUpBacking: RowBacking {
  private let below: MemoryBacking
  private let above = MemoryBacking()
  private var deleted: Set<ByteString> = []
  /// Handles are places in this list; each backing has handles of its own.
  private var names: [String] = []

  init(_ below: MemoryBacking) { self.below = below }

  func table(named name: String) throws(RowError) -> TableHandle? {
    if let index = names.firstIndex(of: name) { return TableHandle(index) }
    names.append(name)
    return TableHandle(names.count - 1)
  }

  private func handle(_ table: TableHandle, in backing: MemoryBacking) throws(RowError) -> TableHandle {
    guard let handle = backing.table(named: names[Int(table)]) else { throw .environment("no table \(table)") }
    return handle
  }

  private func name(_ table: TableHandle, _ key: RawSpan) -> ByteString { ByteString([UInt8(table)] + [UInt8](key)) }

  func read(table: TableHandle, key: RawSpan, _ body: (RawSpan) throws(RowError) -> Void) throws(RowError) -> Bool {
    if try above.read(table: try handle(table, in: above), key: key, body) { return true }
    guard !deleted.contains(name(table, key)) else { return false }
    return try below.read(table: try handle(table, in: below), key: key, body)
  }

  func scan(
    table: TableHandle, prefix: [UInt8], from start: [UInt8], _ body: (RawSpan, RawSpan) throws(RowError) -> Bool
  ) throws(RowError) {
    let both = MemoryBacking()
    let target = try handle(table, in: both)
    try below.scan(table: try handle(table, in: below), prefix: prefix, from: start) { (key, value) throws(RowError) in
      if !deleted.contains(name(table, key)) { both.write(table: target, key: key, value: value) }
      return true
    }
    try above.scan(table: try handle(table, in: above), prefix: prefix, from: start) { (key, value) throws(RowError) in
      both.write(table: target, key: key, value: value)
      return true
    }
    try both.scan(table: target, prefix: prefix, from: start, body)
  }

  func write(table: TableHandle, _ run: RowRun) throws(RowError) {
    try run.forEach { (change, key, _) throws(RowError) in
      switch change {
      case .put, .insert: deleted.remove(name(table, key))
      case .delete: deleted.insert(name(table, key))
      }
    }
    try above.write(table: try handle(table, in: above), run)
  }
}

/// SplitMix64: the same numbers for the same seed, everywhere.
struct Seeded: RandomNumberGenerator {
  private var state: UInt64

  init(_ seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
    return mixed ^ (mixed >> 31)
  }
}
