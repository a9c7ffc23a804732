// A journey: a unit's timeline, oldest first, a page at a time. `unowned` names the timeline of events without a person.
//
// Invariants:
// - A page reads at most `limit` + 1 rows.
// - A cursor is (occurred, position, participant) of the next entry, so it stays good when customers merge in between.

import Bytes
import JSON
import LedgerCore
import ProjectionEngine

enum JourneyQuery {
  private static let cursorByteCount = 17

  static func answer(_ request: QueryRequest, _ snapshot: Snapshot) throws(QueryFailure) -> [UInt8] {
    let isUnowned = request.path["id"].map { $0.utf8.elementsEqual("unowned".utf8) } ?? false
    guard !isUnowned else { return try page(of: .unowned, named: "unowned", request, snapshot) }
    let customer = try CustomerQueries.customer(of: request, snapshot)
    return try page(of: customer, named: customer.text, request, snapshot)
  }

  private static func page(
    of unit: CustomerID, named name: String, _ request: QueryRequest, _ snapshot: Snapshot
  ) throws(QueryFailure) -> [UInt8] {
    let limit = try Paging.limit(of: request)
    let prefix = TimelineKey.prefix(unit)
    var start = prefix
    if let cursor = try Paging.cursor(of: request, byteCount: cursorByteCount) { start += cursor }
    var texts = NameTexts(snapshot)
    var writer = JSONWriter()
    var count = 0
    var next: [UInt8]?
    writer.beginObject()
    writer.member("customer", name)
    writer.key("entries")
    writer.beginArray()
    try snapshot.scan(CustomerTables.timelines, prefix: prefix, from: start) { (key, entry) throws(QueryFailure) in
      guard count < limit else {
        next = cursor(of: key)
        return false
      }
      count += 1
      try write(key, entry, to: &writer, &texts)
      return true
    }
    writer.endArray()
    writer.frame(request, snapshot, next: next)
    writer.endObject()
    return writer.bytes
  }

  private static func cursor(of key: TimelineKey) -> [UInt8] {
    var bytes = ByteWriter(capacity: 25)
    key.write(to: &bytes)
    return Array(bytes.bytes.suffix(cursorByteCount))
  }

  private static func write(
    _ key: TimelineKey, _ entry: TimelineEntry, to writer: inout JSONWriter, _ texts: inout NameTexts
  ) throws(QueryFailure) {
    writer.beginObject()
    writer.member("position", key.position)
    writer.member("time", microseconds: key.occurred)
    try writer.member("type", ifAny: entry.type, &texts)
    try writer.member("source", ifAny: entry.source, &texts)
    try writer.member("channel", ifAny: entry.channel, &texts)
    try writer.member("campaign", ifAny: entry.campaign, &texts)
    try writer.member("direction", ifAny: entry.direction, &texts)
    try writer.member("purpose", ifAny: entry.purpose, &texts)
    try writer.member("role", ifAny: entry.role, &texts)
    try writer.member("businessunit", ifAny: entry.businessUnit, &texts)
    try writer.member("stage", ifAny: entry.stage, &texts)
    try writer.member("part", ifAny: entry.part, &texts)
    if !entry.case.isEmpty { writer.member("case", utf8: entry.case.rawSpan) }
    if let value = entry.value {
      writer.key("value")
      writer.beginObject()
      writer.member("amount", value.value.text)
      let currency = try texts.text(of: value.currency)
      writer.member("currency", utf8: currency.rawSpan)
      writer.endObject()
    }
    writer.endObject()
  }
}
