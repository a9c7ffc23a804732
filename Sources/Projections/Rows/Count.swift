// Rows that are one number or nothing at all.

import Bytes
import ProjectionEngine

/// A count: a varint.
struct Count: StoredRow {
  var value: UInt64

  init(_ value: UInt64) { self.value = value }
  init(from reader: inout ByteReader) throws(ByteError) { value = try reader.varint() }
  func write(to writer: inout ByteWriter) { writer.varint(value) }
}

/// The dense numbers that a generation has given out, each from 1.
enum Counter {
  static let table = TableName<UInt64, Count>("counters")
  static let names: UInt64 = 1
  static let identifiers: UInt64 = 2
}
