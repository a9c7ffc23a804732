// A customer, as far as the view needs it at once; what is long (trait values, the timeline) has rows of its own.
//
// Invariants:
// - The lists stand in the order in which the fold met their members, merged ones behind the survivor's: a function of
//   the log, never of a dictionary.
// - A trait's value here is the newest by (min(occurred, received), position, participant); the row names its key in
//   `traits`, where the value is.
// - A merged customer has no row but a redirect to the survivor, in one step however many merges followed.

import Bytes
import LedgerCore
import ProjectionEngine

enum CustomerTables {
  static let customers = TableName<UInt64, CustomerRow>("customers")
  /// Merged customer → survivor.
  static let redirects = TableName<UInt64, Count>("redirects")
  static let timelines = TableName<TimelineKey, TimelineEntry>("timelines")
  static let traits = TableName<TraitKey, TraitRow>("traits")
}

struct CustomerRow: StoredRow {
  struct Attached {
    /// The identifier's number.
    let number: UInt64
    /// The number of the kind's name.
    let kind: UInt64
    /// When the event happened that attached it: what limits count. A merge leaves it as it is.
    let attachedAt: Int64
    /// The position of that event.
    let position: Position
    /// The latest moment at which an event of the customer had it.
    var lastSeen: Int64
  }

  struct Trait {
    /// The number of the trait's name.
    let name: UInt64
    let effective: Int64
    let position: Position
    let participant: UInt8

    func isOlder(than other: Trait) -> Bool {
      (effective, position, participant) < (other.effective, other.position, other.participant)
    }
  }

  struct Channel {
    /// The number of the channel's name.
    let name: UInt64
    var count: UInt64
    var inbound: UInt64
    var outbound: UInt64
    var firstContact: Int64
    var lastContact: Int64
  }

  struct Total {
    /// The number of the currency's name.
    let currency: UInt64
    var value: Decimal
    var cost: Decimal
  }

  var identifiers: [Attached] = []
  var traits: [Trait] = []
  var channels: [Channel] = []
  var totals: [Total] = []
  /// Customers that were merged into this one, directly or before, ascending: also the count of merges.
  var mergedFrom: [UInt64] = []
  var firstSeen: Int64 = .max
  var lastSeen: Int64 = .min
  var eventCount: UInt64 = 0

  init() {}
}

// What the fold does to it.
extension CustomerRow {
  mutating func see(occurred: Int64) {
    firstSeen = min(firstSeen, occurred)
    lastSeen = max(lastSeen, occurred)
    eventCount += 1
  }

  mutating func see(channel name: UInt64, inbound: Bool, outbound: Bool, occurred: Int64) {
    for index in channels.indices where channels[index].name == name {
      channels[index].count += 1
      channels[index].inbound += inbound ? 1 : 0
      channels[index].outbound += outbound ? 1 : 0
      channels[index].firstContact = min(channels[index].firstContact, occurred)
      channels[index].lastContact = max(channels[index].lastContact, occurred)
      return
    }
    channels.append(
      Channel(
        name: name, count: 1, inbound: inbound ? 1 : 0, outbound: outbound ? 1 : 0, firstContact: occurred, lastContact: occurred))
  }

  mutating func see(trait: Trait) {
    for index in traits.indices where traits[index].name == trait.name {
      if traits[index].isOlder(than: trait) { traits[index] = trait }
      return
    }
    traits.append(trait)
  }

  mutating func add(value: Decimal, cost: Decimal, currency: UInt64) throws(FoldFailure) {
    for index in totals.indices where totals[index].currency == currency {
      guard let valueSum = totals[index].value.adding(value), let costSum = totals[index].cost.adding(cost) else {
        throw .poison("a customer's total has more digits than can be kept exactly")
      }
      totals[index].value = valueSum
      totals[index].cost = costSum
      return
    }
    totals.append(Total(currency: currency, value: value, cost: cost))
  }

  /// Notes that an event had an identifier of the customer.
  mutating func touch(identifier number: UInt64, occurred: Int64) {
    for index in identifiers.indices where identifiers[index].number == number {
      if identifiers[index].lastSeen < occurred { identifiers[index].lastSeen = occurred }
      return
    }
  }

  /// Takes over all of a customer that is merged into this one.
  mutating func absorb(_ other: CustomerRow, id: UInt64) throws(FoldFailure) {
    identifiers.append(contentsOf: other.identifiers)
    for trait in other.traits { see(trait: trait) }
    for channel in other.channels {
      if let index = channels.firstIndex(where: { $0.name == channel.name }) {
        channels[index].count += channel.count
        channels[index].inbound += channel.inbound
        channels[index].outbound += channel.outbound
        channels[index].firstContact = min(channels[index].firstContact, channel.firstContact)
        channels[index].lastContact = max(channels[index].lastContact, channel.lastContact)
      } else {
        channels.append(channel)
      }
    }
    for total in other.totals { try add(value: total.value, cost: total.cost, currency: total.currency) }
    mergedFrom.append(contentsOf: other.mergedFrom)
    mergedFrom.append(id)
    mergedFrom.sort()
    firstSeen = min(firstSeen, other.firstSeen)
    lastSeen = max(lastSeen, other.lastSeen)
    eventCount += other.eventCount
  }
}

// The layout: varints and zigzags, each list behind its count.
extension CustomerRow {
  init(from reader: inout ByteReader) throws(ByteError) {
    firstSeen = try reader.zigzag()
    lastSeen = try reader.zigzag()
    eventCount = try reader.varint()
    for _ in 0..<(try reader.count()) {
      identifiers.append(
        Attached(
          number: try reader.varint(), kind: try reader.varint(), attachedAt: try reader.zigzag(), position: try reader.varint(),
          lastSeen: try reader.zigzag()))
    }
    for _ in 0..<(try reader.count()) {
      traits.append(
        Trait(
          name: try reader.varint(), effective: try reader.zigzag(), position: try reader.varint(), participant: try reader.uint8()))
    }
    for _ in 0..<(try reader.count()) {
      channels.append(
        Channel(
          name: try reader.varint(), count: try reader.varint(), inbound: try reader.varint(), outbound: try reader.varint(),
          firstContact: try reader.zigzag(), lastContact: try reader.zigzag()))
    }
    for _ in 0..<(try reader.count()) {
      totals.append(Total(currency: try reader.varint(), value: try reader.decimal(), cost: try reader.decimal()))
    }
    for _ in 0..<(try reader.count()) { mergedFrom.append(try reader.varint()) }
  }

  func write(to writer: inout ByteWriter) {
    writer.zigzag(firstSeen)
    writer.zigzag(lastSeen)
    writer.varint(eventCount)
    writer.count(identifiers.count)
    for identifier in identifiers {
      writer.varint(identifier.number)
      writer.varint(identifier.kind)
      writer.zigzag(identifier.attachedAt)
      writer.varint(identifier.position)
      writer.zigzag(identifier.lastSeen)
    }
    writer.count(traits.count)
    for trait in traits {
      writer.varint(trait.name)
      writer.zigzag(trait.effective)
      writer.varint(trait.position)
      writer.uint8(trait.participant)
    }
    writer.count(channels.count)
    for channel in channels {
      writer.varint(channel.name)
      writer.varint(channel.count)
      writer.varint(channel.inbound)
      writer.varint(channel.outbound)
      writer.zigzag(channel.firstContact)
      writer.zigzag(channel.lastContact)
    }
    writer.count(totals.count)
    for total in totals {
      writer.varint(total.currency)
      writer.decimal(total.value)
      writer.decimal(total.cost)
    }
    writer.count(mergedFrom.count)
    for id in mergedFrom { writer.varint(id) }
  }
}
