// What a flush writes to one table: rows in key order, in one go, so that the B-tree is walked once from left to right.
//
// Invariants:
// - Items are sorted by key, and each key stands once.
// - Keys and values lie in one arena; an item is offsets into it, so sorting moves 40 bytes and no row.

public import Bytes

/// Rows to be written to one table, in key order.
public struct RowRun {
  /// What becomes of a row.
  public enum Change: UInt8, Sendable {
    /// It is stored; what was there is replaced.
    case put
    /// It is stored; that the key is there already is an error.
    case insert
    /// It is removed, if it is there.
    case delete
  }

  @usableFromInline var arena: ByteWriter
  @usableFromInline var items: [PendingRow]

  @inlinable
  init(arena: consuming ByteWriter, items: consuming [PendingRow]) {
    self.arena = arena
    self.items = items
  }

  /// True if there is nothing to write.
  public var isEmpty: Bool { items.allSatisfy { $0.isDropped } }

  /// Visits the rows in key order. The value of a removed row is empty.
  @inlinable
  public func forEach<E: Error>(_ body: (Change, _ key: RawSpan, _ value: RawSpan) throws(E) -> Void) throws(E) {
    let bytes = arena.bytes
    for item in items where !item.isDropped {
      let span = bytes.rawSpan
      try body(item.change, span.slice(item.key), span.slice(item.value))
    }
  }
}

/// A row about to be written. The first sixteen bytes of the key stand beside it, so that sorting rarely looks further.
@usableFromInline
struct PendingRow {
  @usableFromInline let prefix: UInt64
  @usableFromInline let secondPrefix: UInt64
  @usableFromInline let keyStart: UInt32
  @usableFromInline let keyEnd: UInt32
  @usableFromInline var valueEnd: UInt32
  /// The row's place in the cache; -1 for one that was inserted.
  @usableFromInline let entry: Int32
  @usableFromInline var change: RowRun.Change
  /// Not written after all: the row is what is stored already, or was read back into the cache.
  @usableFromInline var isDropped = false

  /// - Parameter keyStart: The key lies in `bytes` from there to the end; its value will follow.
  @inlinable
  init(_ bytes: [UInt8], keyStart: Int, keyEnd: Int, valueEnd: Int, entry: Int, change: RowRun.Change) {
    let key = bytes.rawSpan.slice(keyStart..<keyEnd)
    prefix = key.sortPrefix(at: 0)
    secondPrefix = key.sortPrefix(at: 8)
    self.keyStart = UInt32(keyStart)
    self.keyEnd = UInt32(keyEnd)
    self.valueEnd = UInt32(valueEnd)
    self.entry = Int32(truncatingIfNeeded: entry)
    self.change = change
  }

  @inlinable var key: Range<Int> { Int(keyStart)..<Int(keyEnd) }
  @inlinable var value: Range<Int> { Int(keyEnd)..<Int(valueEnd) }

  /// Sorts by key. Not generic, and so compiled once for what it is.
  @usableFromInline
  static func sort(_ pending: inout [PendingRow], keys: [UInt8]) {
    pending.sort { left, right in
      if left.prefix != right.prefix { return left.prefix < right.prefix }
      if left.secondPrefix != right.secondPrefix { return left.secondPrefix < right.secondPrefix }
      let span = keys.rawSpan
      return span.slice(left.key).precedes(span.slice(right.key))
    }
  }
}

/// How rows become a digest; also used to compute one anew from what is stored.
enum RowDigest {
  /// What a table's name contributes.
  static func seed(table: String) -> UInt64 { XXH3.hash64(Array(table.utf8).rawSpan) }

  /// What a row contributes.
  static func term(seed: UInt64, key: RawSpan, value: RawSpan) -> Hash128 {
    XXH3.hash128(value, seed: XXH3.hash64(key, seed: seed))
  }
}
