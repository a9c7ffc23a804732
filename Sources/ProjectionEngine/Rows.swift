// Rows, their tables, and where they are kept. A fold sees `RowStore` and `Table`; LMDB stands behind `RowBacking`, so a
// fold's tests run in memory and its code knows nothing of files.

public import Bytes

/// A key of a table. Its encoding sorts as the table is to be scanned.
public protocol RowKey: Hashable, Sendable {
  /// Reads a key.
  init(from reader: inout ByteReader) throws(ByteError)
  /// Writes the key; at most 500 bytes.
  func write(to writer: inout ByteWriter)
  /// 64 well-mixed bits for the cache; equal for equal keys. Never stored.
  var rowHash: UInt64 { get }
}

extension RowKey {
  /// The standard library's hash: good, and slow.
  @inlinable public var rowHash: UInt64 { RowHash.of(UInt64(truncatingIfNeeded: hashValue)) }
}

extension RowHash {
  @inlinable
  static func of(_ key: some RowKey) -> UInt64 { key.rowHash }
}

/// A value of a table, in a stable layout that its type documents.
public protocol StoredRow {
  /// Reads a row.
  init(from reader: inout ByteReader) throws(ByteError)
  /// Writes the row. Equal rows write equal bytes.
  func write(to writer: inout ByteWriter)
}

extension UInt64: RowKey {
  /// Eight bytes, big-endian.
  public init(from reader: inout ByteReader) throws(ByteError) { self = try reader.uint64() }
  /// Eight bytes, big-endian.
  @inlinable
  public func write(to writer: inout ByteWriter) { writer.uint64(self) }
  /// The mixed number.
  @inlinable public var rowHash: UInt64 { RowHash.of(self) }
}

extension ByteString: RowKey {
  /// All that is left of the key.
  public init(from reader: inout ByteReader) throws(ByteError) {
    let span = try reader.bytes(reader.remaining)
    self.init(span)
  }
  /// The bytes as they are.
  public func write(to writer: inout ByteWriter) { writer.raw(bytes) }
  /// XXH3 of the bytes.
  public var rowHash: UInt64 { RowHash.of(bytes) }
}

/// The name of a table, with the types of what it holds.
public struct TableName<Key: RowKey, Row: StoredRow>: Sendable {
  /// The name: lower-case letters and hyphens, at most 32 bytes.
  public let name: String

  /// Names a table.
  public init(_ name: String) { self.name = name }

  @inlinable
  func decode(_ key: RawSpan, _ value: RawSpan) throws(RowError) -> (Key, Row) {
    do throws(ByteError) {
      var keyReader = ByteReader(key)
      var valueReader = ByteReader(value)
      return (try Key(from: &keyReader), try Row(from: &valueReader))
    } catch {
      throw .malformedRow(table: name)
    }
  }
}

/// A source's own short name of a table, so that no string is looked up per row.
public typealias TableHandle = UInt32

/// Somewhere rows can be read.
public protocol RowSource: AnyObject {
  /// The handle of a table; nil if there is none of that name. Valid as long as the source.
  func table(named name: String) throws(RowError) -> TableHandle?
  /// Hands the stored value of a key to `body`, without copying; false if there is none.
  func read(table: TableHandle, key: RawSpan, _ body: (RawSpan) throws(RowError) -> Void) throws(RowError) -> Bool
  /// Visits rows in key order whose keys begin with `prefix` and are not before `start`, until `body` answers false.
  /// `body` must not write to the same source.
  func scan(
    table: TableHandle, prefix: [UInt8], from start: [UInt8],
    _ body: (_ key: RawSpan, _ value: RawSpan) throws(RowError) -> Bool
  ) throws(RowError)
}

extension RowSource {
  func decodeRow<Key: RowKey, Row: StoredRow>(table: TableName<Key, Row>, key: Key) throws(RowError) -> Row? {
    guard let handle = try self.table(named: table.name) else { return nil }
    var writer = ByteWriter(capacity: 32)
    key.write(to: &writer)
    var row: Row?
    _ = try read(table: handle, key: writer.bytes.rawSpan) { (value) throws(RowError) in
      do throws(ByteError) {
        var reader = ByteReader(value)
        row = try Row(from: &reader)
      } catch {
        throw .malformedRow(table: table.name)
      }
    }
    return row
  }
}

/// Somewhere rows are kept: one LMDB write transaction, or memory in tests.
public protocol RowBacking: RowSource {
  /// Writes the rows of a run, in its order.
  func write(table: TableHandle, _ run: RowRun) throws(RowError)
}

/// Rows in memory: for tests of folds.
public final class MemoryBacking: RowBacking {
  private var handles: [String: TableHandle] = [:]
  private var tables: [[ByteString: [UInt8]]] = []

  /// Starts empty.
  public init() {}

  /// Every name is a table.
  public func table(named name: String) -> TableHandle? {
    if let handle = handles[name] { return handle }
    let handle = TableHandle(tables.count)
    handles[name] = handle
    tables.append([:])
    return handle
  }

  /// Hands out a stored value.
  public func read(table: TableHandle, key: RawSpan, _ body: (RawSpan) throws(RowError) -> Void) throws(RowError) -> Bool {
    guard let value = tables[Int(table)][ByteString(key)] else { return false }
    try body(value.rawSpan)
    return true
  }

  /// Visits rows in key order.
  public func scan(
    table: TableHandle, prefix: [UInt8], from start: [UInt8], _ body: (RawSpan, RawSpan) throws(RowError) -> Bool
  ) throws(RowError) {
    let lower = ByteString(start)
    let rows = tables[Int(table)].filter { $0.key.bytes.starts(with: prefix) && !($0.key < lower) }
    for (key, value) in rows.sorted(by: { $0.key < $1.key }) {
      guard try body(key.bytes.rawSpan, value.rawSpan) else { return }
    }
  }

  /// Stores a value.
  public func write(table: TableHandle, key: RawSpan, value: RawSpan) {
    tables[Int(table)][ByteString(key)] = [UInt8](value)
  }

  /// Writes the rows of a run.
  public func write(table: TableHandle, _ run: RowRun) throws(RowError) {
    try run.forEach { (change, key, value) throws(RowError) in
      switch change {
      case .put: write(table: table, key: key, value: value)
      case .delete: tables[Int(table)][ByteString(key)] = nil
      case .insert:
        guard tables[Int(table)].updateValue([UInt8](value), forKey: ByteString(key)) == nil else {
          throw .environment("a row was inserted under a key that is already there; this is a fault of the fold")
        }
      }
    }
  }
}
