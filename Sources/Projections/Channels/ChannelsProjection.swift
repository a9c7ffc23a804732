// How much happened where: counts by quarter-hour, channel, campaign, business unit and type. Needs no identity.
//
// Invariants:
// - Every event counts once, in the quarter-hour of UTC in which it occurred; what an event does not say is an empty name.
// - Quarters are stored, zones are applied when asked.

import Bytes
import JSON
public import LedgerCore
public import ProjectionEngine

/// The projection `channels` (DESIGN §7).
public struct ChannelsProjection: Projection {
  /// Makes the projection.
  public init() {}

  /// `channels`.
  public var name: String { "channels" }
  /// The fold version.
  public var version: UInt32 { 1 }
  /// The counters.
  public var queries: [ProjectionQuery] { [ChannelsQuery.counters] }

  /// Opens the tables.
  public func makeFold(rows: RowStore) -> ChannelsFold { ChannelsFold(rows: rows) }
}

/// A quarter of an hour of UTC, counted from 1970.
struct Quarter {
  static let microseconds: Int64 = 900_000_000

  /// The quarter that holds a moment.
  static func of(_ moment: Timestamp) -> Int64 {
    let quotient = moment.microseconds / microseconds
    return moment.microseconds % microseconds < 0 ? quotient - 1 : quotient
  }

  static func beginning(_ quarter: Int64) -> Timestamp { Timestamp(microseconds: quarter * microseconds) }
}

/// What a counter counts. Numbers are those of names, 0 for none.
struct ChannelKey: RowKey {
  static let table = TableName<ChannelKey, Count>("quarters")
  static let byteCount = 40

  let quarter: Int64
  let channel: UInt64
  let campaign: UInt64
  let businessUnit: UInt64
  let type: UInt64

  init(quarter: Int64, channel: UInt64, campaign: UInt64, businessUnit: UInt64, type: UInt64) {
    self.quarter = quarter
    self.channel = channel
    self.campaign = campaign
    self.businessUnit = businessUnit
    self.type = type
  }
  init(from reader: inout ByteReader) throws(ByteError) {
    quarter = try reader.sortableInt64()
    channel = try reader.uint64()
    campaign = try reader.uint64()
    businessUnit = try reader.uint64()
    type = try reader.uint64()
  }
  func write(to writer: inout ByteWriter) {
    writer.sortableInt64(quarter)
    writer.uint64(channel)
    writer.uint64(campaign)
    writer.uint64(businessUnit)
    writer.uint64(type)
  }
  var rowHash: UInt64 {
    let place = channel &+ campaign << 16 &+ businessUnit << 32 &+ type << 48
    return RowHash.combine(RowHash.of(UInt64(bitPattern: quarter)), place)
  }
}

/// The working state of ``ChannelsProjection``.
public final class ChannelsFold: ProjectionFold {
  private let names: Names
  private let quarters: Table<ChannelKey, Count>

  init(rows: RowStore) {
    names = Names(rows: rows, counters: rows.table(Counter.table))
    quarters = rows.table(ChannelKey.table)
  }

  /// Counts one event.
  public func apply(_ event: LoggedEvent) throws(FoldFailure) {
    _ = try names.refresh()
    let attributes = event.attributes
    let key = ChannelKey(
      quarter: Quarter.of(event.occurred), channel: try names.number(of: attributes.channel, in: event.json),
      campaign: try names.number(of: attributes.campaign, in: event.json),
      businessUnit: try names.number(of: attributes.businessUnit, in: event.json),
      type: try names.number(of: attributes.type, in: event.json))
    try quarters.update(key) { (row) throws(FoldFailure) in
      if row == nil { row = Count(0) }
      row?.value += 1
    }
  }
}
