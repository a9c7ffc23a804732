// What is stored: layouts byte for byte, and that damage is an error and never a trap.

import Bytes
import LedgerCore
import ProjectionEngine
import Testing

@testable import Projections

private func bytes(_ row: some StoredRow) -> [UInt8] {
  var writer = ByteWriter()
  row.write(to: &writer)
  return writer.bytes
}

private func bytes(ofKey key: some RowKey) -> [UInt8] {
  var writer = ByteWriter()
  key.write(to: &writer)
  return writer.bytes
}

private func decode<Row: StoredRow>(_ type: Row.Type, _ bytes: [UInt8]) throws(ByteError) -> Row {
  var reader = ByteReader(bytes.rawSpan)
  return try Row(from: &reader)
}

private func sampleCustomer() throws -> CustomerRow {
  var row = CustomerRow()
  row.see(occurred: -5)
  row.see(channel: 3, inbound: true, outbound: false, occurred: -5)
  row.see(trait: CustomerRow.Trait(name: 4, effective: -6, position: 1, participant: 2))
  try row.add(value: try #require(Decimal(mantissa: -1, scale: 2)), cost: .zero, currency: 5)
  row.identifiers = [CustomerRow.Attached(number: 1, kind: 2, attachedAt: -5, position: 1, lastSeen: 7)]
  row.mergedFrom = [64, 300]
  return row
}

@Test func `a customer's row has the layout of fold version 2`() throws {
  let expected: [UInt8] = [
    9, 9, 1,  // first and last seen, events
    1, 1, 2, 9, 1, 14,  // identifiers
    1, 4, 11, 1, 2,  // traits
    1, 3, 1, 1, 0, 9, 9,  // channels
    1, 5, 2, 1, 0, 0,  // totals
    2, 64, 0xac, 2,  // merged from
  ]
  let row = try sampleCustomer()
  #expect(bytes(row) == expected)
  #expect(try bytes(decode(CustomerRow.self, expected)) == expected)
}

@Test func `a timeline's entry has the layout of fold version 2`() throws {
  var entry = TimelineEntry()
  entry.type = 1
  entry.channel = 300
  entry.case = Array("A".utf8)
  entry.cost = StoredAmount(value: try #require(Decimal(mantissa: 1 << 70, scale: 1)), currency: 9)
  entry.identifiers = [7, 300]
  let expected: [UInt8] = [
    0x85, 0x68, 1, 0xac, 2, 1, 0x41, 0x81, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 9, 2, 7, 0xac, 2,
  ]
  #expect(bytes(entry) == expected)
  #expect(try decode(TimelineEntry.self, expected) == entry)
}

@Test func `a timeline's keys sort by unit, time, position and participant`() {
  func key(_ unit: UInt64, _ occurred: Int64, _ position: UInt64, _ participant: UInt8) -> [UInt8] {
    bytes(ofKey: TimelineKey(unit: CustomerID(raw: unit), occurred: occurred, position: position, participant: participant))
  }
  let keys = [key(0, 9, 9, 9), key(1, .min, 9, 0), key(1, -1, 9, 0), key(1, 0, 2, 3), key(1, 0, 3, 0), key(1, 0, 3, 1), key(2, -9, 0, 0)]
  #expect(keys.sorted { $0.lexicographicallyPrecedes($1) } == keys)
  #expect(keys.allSatisfy { $0.count == 25 })
}

@Test func `damaged rows are errors, never traps`() throws {
  let whole = bytes(try sampleCustomer())
  for count in whole.indices {
    #expect(throws: ByteError.self) { _ = try decode(CustomerRow.self, Array(whole.prefix(count))) }
  }
  var random = Seeded(7)
  for _ in 0..<3_000 {
    let noise = (0..<Int.random(in: 0..<40, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
    func probe(_ body: () throws(ByteError) -> Void) {
      do throws(ByteError) { try body() } catch { _ = error }
    }
    probe { () throws(ByteError) in _ = try decode(CustomerRow.self, noise) }
    probe { () throws(ByteError) in _ = try decode(TimelineEntry.self, noise) }
    probe { () throws(ByteError) in _ = try decode(TraitRow.self, noise) }
    probe { () throws(ByteError) in _ = try decode(EvidenceRow.self, noise) }
    probe { () throws(ByteError) in _ = try decode(LimitFactRow.self, noise) }
    probe { () throws(ByteError) in _ = try decode(IdentifierValue.self, noise) }
    probe { () throws(ByteError) in _ = try decode(ComponentRow.self, noise) }
  }
  #expect(throws: ByteError.self) { _ = try decode(LimitFactRow.self, [9, 1]) }
  #expect(throws: ByteError.self) { _ = try decode(TimelineEntry.self, [0x80, 0x80, 0x01]) }
}

@Test(arguments: [("1", 1, 0), ("17-2", 17, 2), ("288230376151711743-63", 288_230_376_151_711_743, 63)])
func `a customer's id reads back from its text`(_ text: String, _ position: UInt64, _ participant: Int) {
  let id = CustomerID(position: position, participant: participant)
  #expect(id.text == text)
  #expect(CustomerID(text: text) == id)
}

@Test func `long names that differ only behind their 400th byte are two names`() throws {
  let bench = Bench(ChannelsProjection())
  let stem = String(repeating: "c", count: 450)
  for name in ["a", "b", "b"] { try bench.append(Sent(attributes: [#""channel":"\#(stem)\#(name)""#])) }
  func counters(_ name: String) throws -> [Substring] {
    try bench.ask("channels", [("channel", stem + name)]).split(separator: #""count":"#)
  }
  #expect(try counters("a").last?.first == "1")
  #expect(try counters("b").last?.first == "2")
  #expect(try counters("c").count == 1)
}
