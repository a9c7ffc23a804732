// The question to `channels`: counters of a stretch of time, filtered, a page at a time.
//
// Invariants:
// - Quarters that begin in [from, to) are listed, so neighbouring stretches never count an event twice.
// - Within a quarter the order is that in which the log first named channels, campaigns, units and types.
// - A page looks at no more than `rowCountMax` rows, however few the filters let pass; `next` says there is more.

import Bytes
import JSON
import LedgerCore
import ProjectionEngine

enum ChannelsQuery {
  static let counters = ProjectionQuery(
    path: "channels", parameters: ["from", "to", "channel", "campaign", "businessunit", "type", "limit", "cursor"]
  ) { (request, snapshot) throws(QueryFailure) in
    try answer(request, snapshot)
  }

  private static let rowCountMax = 1_000_000

  private struct Filter {
    var channel: UInt64?
    var campaign: UInt64?
    var businessUnit: UInt64?
    var type: UInt64?

    func passes(_ key: ChannelKey) -> Bool {
      (channel ?? key.channel) == key.channel && (campaign ?? key.campaign) == key.campaign
        && (businessUnit ?? key.businessUnit) == key.businessUnit && (type ?? key.type) == key.type
    }
  }

  private static func answer(_ request: QueryRequest, _ snapshot: Snapshot) throws(QueryFailure) -> [UInt8] {
    let limit = try Paging.limit(of: request)
    let from = try quarter(request, "from")
    let to = try quarter(request, "to")
    let cursor = try Paging.cursor(of: request, byteCount: ChannelKey.byteCount)
    let start = later(from.map { firstKey(of: $0) }, cursor)
    var texts = NameTexts(snapshot)
    var writer = JSONWriter()
    var next: [UInt8]?
    writer.beginObject()
    writer.key("counters")
    writer.beginArray()
    if let filter = try filter(request, texts) {
      var seen = 0
      var count = 0
      try snapshot.scan(ChannelKey.table, prefix: [], from: start) { (key, row) throws(QueryFailure) in
        if let to, key.quarter >= to { return false }
        guard count < limit, seen < rowCountMax else {
          next = bytes(of: key)
          return false
        }
        seen += 1
        guard filter.passes(key) else { return true }
        count += 1
        try write(key, row.value, to: &writer, &texts)
        return true
      }
    }
    writer.endArray()
    writer.frame(request, snapshot, next: next)
    writer.endObject()
    return writer.bytes
  }

  /// The first quarter that begins at or after the moment a parameter names.
  private static func quarter(_ request: QueryRequest, _ name: StaticString) throws(QueryFailure) -> Int64? {
    guard let text = request.first(name.description) else { return nil }
    guard let moment = Timestamp.parse(text)?.timestamp else {
      throw .invalid("\(name) must be a moment in RFC 3339, such as 2026-03-01T10:15:00Z")
    }
    let quarter = Quarter.of(moment)
    return Quarter.beginning(quarter) == moment ? quarter : quarter + 1
  }

  /// The numbers of the names that were asked for; nil if no event had one of them.
  private static func filter(_ request: QueryRequest, _ texts: NameTexts) throws(QueryFailure) -> Filter? {
    func number(_ name: String) throws(QueryFailure) -> (isAsked: Bool, number: UInt64?) {
      guard let text = request.first(name) else { return (false, nil) }
      return (true, text.isEmpty ? 0 : try texts.number(of: text))
    }
    let channel = try number("channel")
    let campaign = try number("campaign")
    let businessUnit = try number("businessunit")
    let type = try number("type")
    for asked in [channel, campaign, businessUnit, type] where asked.isAsked && asked.number == nil { return nil }
    return Filter(channel: channel.number, campaign: campaign.number, businessUnit: businessUnit.number, type: type.number)
  }

  private static func later(_ left: [UInt8]?, _ right: [UInt8]?) -> [UInt8]? {
    guard let left, let right else { return left ?? right }
    return left.lexicographicallyPrecedes(right) ? right : left
  }

  private static func firstKey(of quarter: Int64) -> [UInt8] {
    bytes(of: ChannelKey(quarter: quarter, channel: 0, campaign: 0, businessUnit: 0, type: 0))
  }

  private static func bytes(of key: ChannelKey) -> [UInt8] {
    var writer = ByteWriter(capacity: ChannelKey.byteCount)
    key.write(to: &writer)
    return writer.bytes
  }

  private static func write(
    _ key: ChannelKey, _ count: UInt64, to writer: inout JSONWriter, _ texts: inout NameTexts
  ) throws(QueryFailure) {
    writer.beginObject()
    writer.member("quarter", utf8: text(of: key.quarter).rawSpan)
    try writer.member("channel", ifAny: key.channel, &texts)
    try writer.member("campaign", ifAny: key.campaign, &texts)
    try writer.member("businessunit", ifAny: key.businessUnit, &texts)
    try writer.member("type", ifAny: key.type, &texts)
    writer.member("count", count)
    writer.endObject()
  }

  /// `2026-03-01T10:15:00Z`: whole seconds.
  private static func text(of quarter: Int64) -> [UInt8] {
    Array(Quarter.beginning(quarter).rfc3339Bytes.prefix(19)) + [UInt8(ascii: "Z")]
  }
}
