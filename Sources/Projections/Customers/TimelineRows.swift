// Timelines and the history of traits: rows that are written once and moved only when customers merge.
//
// Invariants:
// - Keys sort by unit, then time (with the sign bit flipped, so byte order is time order), then position, then
//   participant: a journey is one sequential scan.
// - An entry holds what metrics need and no more; absent fields take no byte. Its layout is: a varint of presence bits
//   in the order of ``TimelineEntry/Field``, then the present fields in that order.

import Bytes
import LedgerCore
import ProjectionEngine

struct TimelineKey: RowKey {
  let unit: CustomerID
  /// Microseconds.
  let occurred: Int64
  let position: Position
  let participant: UInt8

  init(unit: CustomerID, occurred: Int64, position: Position, participant: UInt8) {
    self.unit = unit
    self.occurred = occurred
    self.position = position
    self.participant = participant
  }
  init(from reader: inout ByteReader) throws(ByteError) {
    unit = CustomerID(raw: try reader.uint64())
    occurred = try reader.sortableInt64()
    position = try reader.uint64()
    participant = try reader.uint8()
  }
  func write(to writer: inout ByteWriter) {
    writer.uint64(unit.raw)
    writer.sortableInt64(occurred)
    writer.uint64(position)
    writer.uint8(participant)
  }

  /// What the keys of a unit begin with.
  static func prefix(_ unit: CustomerID) -> [UInt8] {
    var writer = ByteWriter(capacity: 8)
    writer.uint64(unit.raw)
    return writer.bytes
  }
}

/// An amount in a row.
struct StoredAmount: Equatable {
  let value: Decimal
  /// The number of the currency's name.
  let currency: UInt64
}

/// One event on somebody's timeline. Numbers are those of names, 0 for none.
struct TimelineEntry: StoredRow, Equatable {
  enum Field: UInt64, CaseIterable {
    case type, source, channel, campaign, direction, purpose, role, businessUnit, stage, part, `case`, value, cost, identifiers
    var bit: UInt64 { 1 << rawValue }
  }

  var type: UInt64 = 0
  var source: UInt64 = 0
  var channel: UInt64 = 0
  var campaign: UInt64 = 0
  var direction: UInt64 = 0
  var purpose: UInt64 = 0
  var role: UInt64 = 0
  var businessUnit: UInt64 = 0
  var stage: UInt64 = 0
  /// The participant's part.
  var part: UInt64 = 0
  /// The case's UTF-8; empty for none.
  var `case`: [UInt8] = []
  var value: StoredAmount?
  var cost: StoredAmount?
  /// Numbers of all identifiers that the event named for this participant, set aside or not, ascending: the evidence that
  /// a component is folded again from.
  var identifiers: [UInt64] = []

  init() {}

  init(from reader: inout ByteReader) throws(ByteError) {
    let start = reader.offset
    let bits = try reader.varint()
    guard bits >> UInt64(Field.allCases.count) == 0 else { throw .unknownValue(offset: start, bits) }
    func name(_ field: Field) throws(ByteError) -> UInt64 {
      if bits & field.bit == 0 { return 0 }
      return try reader.varint()
    }
    func amount(_ field: Field) throws(ByteError) -> StoredAmount? {
      if bits & field.bit == 0 { return nil }
      let value = try reader.decimal()
      return StoredAmount(value: value, currency: try reader.varint())
    }
    type = try name(.type)
    source = try name(.source)
    channel = try name(.channel)
    campaign = try name(.campaign)
    direction = try name(.direction)
    purpose = try name(.purpose)
    role = try name(.role)
    businessUnit = try name(.businessUnit)
    stage = try name(.stage)
    part = try name(.part)
    if bits & Field.case.bit != 0 { self.case = try reader.lengthPrefixedArray() }
    value = try amount(.value)
    cost = try amount(.cost)
    if bits & Field.identifiers.bit != 0 {
      let count = try reader.count(max: reader.remaining)
      identifiers.reserveCapacity(count)
      for _ in 0..<count { identifiers.append(try reader.varint()) }
    }
  }

  func write(to writer: inout ByteWriter) {
    let numbers = (type, source, channel, campaign, direction, purpose, role, businessUnit, stage, part)
    var bits: UInt64 = 0
    func mark(_ field: Field, _ isPresent: Bool) { if isPresent { bits |= field.bit } }
    mark(.type, type != 0)
    mark(.source, source != 0)
    mark(.channel, channel != 0)
    mark(.campaign, campaign != 0)
    mark(.direction, direction != 0)
    mark(.purpose, purpose != 0)
    mark(.role, role != 0)
    mark(.businessUnit, businessUnit != 0)
    mark(.stage, stage != 0)
    mark(.part, part != 0)
    mark(.case, !self.case.isEmpty)
    mark(.value, value != nil)
    mark(.cost, cost != nil)
    mark(.identifiers, !identifiers.isEmpty)
    writer.varint(bits)
    func name(_ number: UInt64) { if number != 0 { writer.varint(number) } }
    name(numbers.0)
    name(numbers.1)
    name(numbers.2)
    name(numbers.3)
    name(numbers.4)
    name(numbers.5)
    name(numbers.6)
    name(numbers.7)
    name(numbers.8)
    name(numbers.9)
    if !self.case.isEmpty { writer.lengthPrefixed(self.case) }
    for amount in [value, cost] {
      guard let amount else { continue }
      writer.decimal(amount.value)
      writer.varint(amount.currency)
    }
    if !identifiers.isEmpty {
      writer.count(identifiers.count)
      for number in identifiers { writer.varint(number) }
    }
  }
}

struct TraitKey: RowKey {
  let unit: CustomerID
  /// The number of the trait's name.
  let name: UInt64
  /// min(occurred, received) in microseconds: an event from the future is not newer than one received later.
  let effective: Int64
  let position: Position
  let participant: UInt8

  init(unit: CustomerID, name: UInt64, effective: Int64, position: Position, participant: UInt8) {
    self.unit = unit
    self.name = name
    self.effective = effective
    self.position = position
    self.participant = participant
  }
  init(from reader: inout ByteReader) throws(ByteError) {
    unit = CustomerID(raw: try reader.uint64())
    name = try reader.uint64()
    effective = try reader.sortableInt64()
    position = try reader.uint64()
    participant = try reader.uint8()
  }
  func write(to writer: inout ByteWriter) {
    writer.uint64(unit.raw)
    writer.uint64(name)
    writer.sortableInt64(effective)
    writer.uint64(position)
    writer.uint8(participant)
  }
}

/// One value of a trait, once said.
struct TraitRow: StoredRow {
  /// When the event happened, in microseconds.
  let occurred: Int64
  /// The number of the source's name.
  let source: UInt64
  /// The value as the event has it: JSON.
  let value: [UInt8]

  init(occurred: Int64, source: UInt64, value: [UInt8]) {
    self.occurred = occurred
    self.source = source
    self.value = value
  }
  init(from reader: inout ByteReader) throws(ByteError) {
    occurred = try reader.zigzag()
    source = try reader.varint()
    let span = try reader.bytes(reader.remaining)
    value = [UInt8](span)
  }
  func write(to writer: inout ByteWriter) {
    writer.zigzag(occurred)
    writer.varint(source)
    writer.raw(value)
  }
}
