// Questions about customers: who an identifier points at, one customer, their identity graph.
//
// Invariants:
// - A merged customer's id answers with the survivor.
// - Lists in answers are sorted by what they show, as bytes: never by an internal number or a dictionary.
// - What was asked is never echoed in a failure: it may be personal data.

import Bytes
import JSON
import LedgerCore
import ProjectionEngine

enum CustomerQueries {
  static let identifierCountMax = 64

  static let all: [ProjectionQuery] = [
    ProjectionQuery(path: "customers", parameters: ["identifier"]) { (request, snapshot) throws(QueryFailure) in
      try find(request, snapshot)
    },
    ProjectionQuery(path: "customers/{id}", parameters: []) { (request, snapshot) throws(QueryFailure) in
      try one(request, snapshot)
    },
    ProjectionQuery(path: "customers/{id}/journey", parameters: ["limit", "cursor"]) { (request, snapshot) throws(QueryFailure) in
      try JourneyQuery.answer(request, snapshot)
    },
    ProjectionQuery(path: "customers/{id}/identity", parameters: []) { (request, snapshot) throws(QueryFailure) in
      try IdentityQuery.answer(request, snapshot)
    },
  ]

  /// The customers that the identifiers point at, each once, the oldest first.
  private static func find(_ request: QueryRequest, _ snapshot: Snapshot) throws(QueryFailure) -> [UInt8] {
    let texts = request.parameters.filter { $0.name.utf8.elementsEqual("identifier".utf8) }.map(\.value)
    guard (1...identifierCountMax).contains(texts.count) else {
      throw .invalid("identifier must be given 1 to \(identifierCountMax) times, as kind:value")
    }
    var found: [CustomerID] = []
    for text in texts {
      switch Identifier.parse(text) {
      case .malformed: throw .invalid("identifier must be kind:value, such as email:ana@example.org or dni:ES:12345678Z")
      case .blocked: continue
      case .identifier(let identifier):
        if let owner = try owner(of: identifier, snapshot), !found.contains(owner) { found.append(owner) }
      }
    }
    return try answer(found.sorted(), request, snapshot)
  }

  private static func owner(of identifier: Identifier, _ snapshot: Snapshot) throws(QueryFailure) -> CustomerID? {
    let key = identifier.rowKey
    guard let row = try snapshot.row(IdentityTables.identifiers, key), row.owner != .unowned else { return nil }
    if key.bytes.count > BoundedKey.byteCountMax {
      let value = try snapshot.row(IdentityTables.values, row.number)
      guard value?.kind == identifier.kind, value?.value == identifier.value else { return nil }
    }
    return row.owner
  }

  private static func one(_ request: QueryRequest, _ snapshot: Snapshot) throws(QueryFailure) -> [UInt8] {
    try answer([try customer(of: request, snapshot)], request, snapshot)
  }

  /// The customer that the path names, or the survivor it was merged into.
  static func customer(of request: QueryRequest, _ snapshot: Snapshot) throws(QueryFailure) -> CustomerID {
    guard let id = request.path["id"].flatMap({ CustomerID(text: $0) }) else {
      throw .invalid("a customer's id is a position, such as 17, or a position and a participant, such as 17-2")
    }
    if let survivor = try snapshot.row(CustomerTables.redirects, id.raw) { return CustomerID(raw: survivor.value) }
    let row = try snapshot.row(CustomerTables.customers, id.raw)
    guard row != nil else { throw .notFound("there is no customer with this id") }
    return id
  }

  private static func answer(_ ids: [CustomerID], _ request: QueryRequest, _ snapshot: Snapshot) throws(QueryFailure) -> [UInt8] {
    var texts = NameTexts(snapshot)
    var writer = JSONWriter()
    writer.beginObject()
    writer.key("customers")
    writer.beginArray()
    for id in ids { try write(id, to: &writer, &texts, snapshot) }
    writer.endArray()
    writer.frame(request, snapshot)
    writer.endObject()
    return writer.bytes
  }
}

// MARK: One customer
extension CustomerQueries {
  private static func write(
    _ id: CustomerID, to writer: inout JSONWriter, _ texts: inout NameTexts, _ snapshot: Snapshot
  ) throws(QueryFailure) {
    guard let row = try snapshot.row(CustomerTables.customers, id.raw) else {
      throw .storage(.malformedRow(table: CustomerTables.customers.name))
    }
    writer.beginObject()
    writer.member("id", id.text)
    try write(row.identifiers, to: &writer, snapshot)
    try write(row.traits, of: id, to: &writer, &texts, snapshot)
    writer.member("firstSeen", microseconds: row.firstSeen)
    writer.member("lastSeen", microseconds: row.lastSeen)
    writer.member("eventCount", row.eventCount)
    try write(row.channels, to: &writer, &texts)
    try write(row.totals, to: &writer, &texts)
    writer.key("mergedFrom")
    writer.beginArray()
    for merged in row.mergedFrom { writer.string(CustomerID(raw: merged).text) }
    writer.endArray()
    writer.endObject()
  }

  private static func write(
    _ identifiers: [CustomerRow.Attached], to writer: inout JSONWriter, _ snapshot: Snapshot
  ) throws(QueryFailure) {
    var values: [IdentifierValue] = []
    for identifier in identifiers {
      guard let value = try snapshot.row(IdentityTables.values, identifier.number) else {
        throw .storage(.malformedRow(table: IdentityTables.values.name))
      }
      values.append(value)
    }
    values.sort { left, right in
      left.kind != right.kind ? left.kind.lexicographicallyPrecedes(right.kind) : left.value.lexicographicallyPrecedes(right.value)
    }
    writer.key("identifiers")
    writer.beginArray()
    for value in values {
      writer.beginObject()
      writer.member("kind", utf8: value.kind.rawSpan)
      writer.member("value", utf8: value.value.rawSpan)
      writer.endObject()
    }
    writer.endArray()
  }

  private static func write(
    _ traits: [CustomerRow.Trait], of id: CustomerID, to writer: inout JSONWriter, _ texts: inout NameTexts, _ snapshot: Snapshot
  ) throws(QueryFailure) {
    var named: [(name: [UInt8], trait: CustomerRow.Trait)] = []
    for trait in traits {
      let name = try texts.text(of: trait.name)
      named.append((name, trait))
    }
    named.sort { $0.name.lexicographicallyPrecedes($1.name) }
    writer.key("traits")
    writer.beginObject()
    for (name, trait) in named {
      let key = TraitKey(
        unit: id, name: trait.name, effective: trait.effective, position: trait.position, participant: trait.participant)
      guard let row = try snapshot.row(CustomerTables.traits, key) else {
        throw .storage(.malformedRow(table: CustomerTables.traits.name))
      }
      writer.key(utf8: name.rawSpan)
      writer.beginObject()
      writer.member("value", raw: row.value.rawSpan)
      let source = try texts.text(of: row.source)
      writer.member("source", utf8: source.rawSpan)
      writer.member("position", trait.position)
      writer.member("time", microseconds: row.occurred)
      writer.endObject()
    }
    writer.endObject()
  }

  private static func write(
    _ channels: [CustomerRow.Channel], to writer: inout JSONWriter, _ texts: inout NameTexts
  ) throws(QueryFailure) {
    var named: [(name: [UInt8], channel: CustomerRow.Channel)] = []
    for channel in channels {
      let name = try texts.text(of: channel.name)
      named.append((name, channel))
    }
    named.sort { $0.name.lexicographicallyPrecedes($1.name) }
    writer.key("channels")
    writer.beginArray()
    for (name, channel) in named {
      writer.beginObject()
      writer.member("channel", utf8: name.rawSpan)
      writer.member("count", channel.count)
      writer.member("inbound", channel.inbound)
      writer.member("outbound", channel.outbound)
      writer.member("lastContact", microseconds: channel.lastContact)
      writer.endObject()
    }
    writer.endArray()
  }

  private static func write(
    _ totals: [CustomerRow.Total], to writer: inout JSONWriter, _ texts: inout NameTexts
  ) throws(QueryFailure) {
    var named: [(name: [UInt8], total: CustomerRow.Total)] = []
    for total in totals {
      let name = try texts.text(of: total.currency)
      named.append((name, total))
    }
    named.sort { $0.name.lexicographicallyPrecedes($1.name) }
    writer.key("totals")
    writer.beginArray()
    for (name, total) in named {
      writer.beginObject()
      writer.member("currency", utf8: name.rawSpan)
      writer.member("value", total.value.text)
      writer.member("cost", total.cost.text)
      writer.endObject()
    }
    writer.endArray()
  }
}
