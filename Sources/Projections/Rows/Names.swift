// Names that many events share (types, sources, channels, trait names, kinds, currencies) as small numbers.
//
// Invariants:
// - Numbers are dense, from 1, in the order of first appearance in the log; 0 stands for "none". A number never changes
//   its meaning within a generation.
// - Names are told apart as bytes.
// - What is remembered beside the tables is thrown away as soon as the stored count is not the remembered one: after a
//   batch that the engine gave up, numbers may be given out a second time.

import Bytes
import JSON
import ProjectionEngine

/// A number's text: the bytes as they are.
struct NameText: StoredRow {
  let bytes: [UInt8]

  init(_ bytes: [UInt8]) { self.bytes = bytes }
  init(from reader: inout ByteReader) throws(ByteError) {
    let span = try reader.bytes(reader.remaining)
    bytes = [UInt8](span)
  }
  func write(to writer: inout ByteWriter) { writer.raw(bytes) }
}

/// The tables of names, as a fold uses them.
final class Names {
  static let numbersTable = TableName<ByteString, Count>("names")
  static let textsTable = TableName<UInt64, NameText>("name-texts")

  private struct Remembered {
    let number: UInt64
    let text: [UInt8]
  }

  /// What is remembered of the tables.
  private struct Memory {
    var index = HashIndex()
    var names: [Remembered] = []
    /// The stored count.
    var count: UInt64 = 0
  }

  private let numbers: Table<ByteString, Count>
  private let texts: Table<UInt64, NameText>
  private let counters: Table<UInt64, Count>
  private let memory = Confined(Memory())
  private static let rememberedCountMax = 65_536

  init(rows: RowStore, counters: Table<UInt64, Count>) {
    numbers = rows.table(Names.numbersTable)
    texts = rows.table(Names.textsTable)
    self.counters = counters
  }

  /// Call before each event.
  ///
  /// - Returns: False if what was derived from numbers must be forgotten.
  func refresh() throws(FoldFailure) -> Bool {
    let stored = try counters.row(Counter.names)?.value ?? 0
    guard stored != memory.value.count || memory.value.names.count > Names.rememberedCountMax else { return true }
    memory.value = Memory()
    memory.value.count = stored
    return false
  }

  /// The number of a text, given out if it is new.
  func number(of text: RawSpan) throws(FoldFailure) -> UInt64 {
    let hash = RowHash.of(text)
    let known = memory.value.index.find(hash) { place in
      let known = memory.value.names[place].text
      return known.rawSpan.isEqual(to: text)
    }
    if let known { return memory.value.names[known].number }
    let number = try lookUp(text)
    memory.value.index.insert(hash, memory.value.names.count)
    memory.value.names.append(Remembered(number: number, text: [UInt8](text)))
    return number
  }

  /// The number of a prepared text; 0 for none.
  func number(of slice: CustomerEvents.Slice, in arena: [UInt8]) throws(FoldFailure) -> UInt64 {
    if slice.isEmpty { return 0 }
    return try number(of: arena.rawSpan.slice(slice.range))
  }

  /// The number of a node's text; 0 for no node.
  func number(of node: JSONNode?, in json: borrowing JSONReader) throws(FoldFailure) -> UInt64 {
    guard let node else { return 0 }
    return try json.withString(of: node) { (text) throws(FoldFailure) in try number(of: text) }
  }

  /// The text of a number that was given out.
  func text(of number: UInt64) throws(FoldFailure) -> [UInt8] {
    guard let text = try texts.row(number) else { throw .storage(.malformedRow(table: texts.name)) }
    return text.bytes
  }

  private func lookUp(_ text: RawSpan) throws(FoldFailure) -> UInt64 {
    let key = BoundedKey.of(text)
    if let stored = try numbers.row(key) {
      guard BoundedKey.isLong(text) else { return stored.value }
      let whole = try self.text(of: stored.value)
      guard whole.rawSpan.isEqual(to: text) else { throw .poison("two long names have the same hash") }
      return stored.value
    }
    let number = memory.value.count + 1
    memory.value.count = number
    try counters.set(Counter.names, Count(number))
    try numbers.set(key, Count(number))
    texts.insert(number, NameText([UInt8](text)))
    return number
  }
}

/// The tables of names, as a query reads them.
struct NameTexts {
  private let snapshot: Snapshot
  private var known: [UInt64: [UInt8]] = [:]

  init(_ snapshot: Snapshot) { self.snapshot = snapshot }

  mutating func text(of number: UInt64) throws(QueryFailure) -> [UInt8] {
    if let text = known[number] { return text }
    guard let text = try snapshot.row(Names.textsTable, number)?.bytes else {
      throw .storage(.malformedRow(table: Names.textsTable.name))
    }
    known[number] = text
    return text
  }

  /// The number of a name, or nil if no event had it.
  func number(of text: String) throws(QueryFailure) -> UInt64? {
    let bytes = Array(text.utf8)
    guard let number = try snapshot.row(Names.numbersTable, BoundedKey.of(bytes.rawSpan))?.value else { return nil }
    guard BoundedKey.isLong(bytes.rawSpan) else { return number }
    return try snapshot.row(Names.textsTable, number)?.bytes == bytes ? number : nil
  }
}
