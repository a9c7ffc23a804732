// The write-back cache between a fold and its environment. Live following and full rebuild are the same code with
// another batch size: a row touched a thousand times in a batch is encoded and written once.
//
// Invariants:
// - What a fold reads is what it wrote last, whether that is still in memory or already below.
// - The digest is a multiset hash: the sum (mod 2^128) of XXH3-128(table, key, value) over all rows. It changes with the
//   rows, in the flush that writes them, so it depends on the rows alone and not on batches or on order.
// - A flush writes each table in key order.
// - Owned by one worker, used on its thread only.

public import Bytes

/// The rows of one generation, as its fold sees them.
public final class RowStore {
  @usableFromInline let shared: RowStoreState
  /// The units whose rows changed since the last ``takeChangedUnits()``.
  private var changedUnits: Set<UInt64> = []
  private var tables: [OpenTable] = []

  /// A table and its flush, compiled for its own rows by the module that opened it.
  private struct OpenTable {
    let table: any FlushableTable
    let flush: () throws(RowError) -> Void
  }

  /// Continues from a stored digest and count.
  public init(backing: (any RowBacking)? = nil, digest: Hash128 = Hash128(high: 0, low: 0), rowCount: Int64 = 0) {
    shared = RowStoreState(backing: backing, digest: digest, rowCount: rowCount)
  }

  /// Where flushed rows go. Rows are read and written only while there is one.
  public var backing: (any RowBacking)? {
    get { shared.backing }
    set {
      if newValue !== shared.backing { for open in tables { open.table.forgetHandle() } }
      shared.backing = newValue
    }
  }
  /// The digest of the flushed rows.
  public var digest: Hash128 { shared.digest }
  /// How many rows are flushed.
  public var rowCount: Int64 { shared.rowCount }
  /// How many rows the caches hold.
  public var cachedRowCount: Int { shared.cachedRowCount }

  /// Opens a table. Each name once.
  @inlinable
  public func table<Key: RowKey, Row: StoredRow>(_ name: TableName<Key, Row>) -> Table<Key, Row> {
    let table = Table(name, of: shared)
    register(table) { () throws(RowError) in try table.flush() }
    return table
  }

  @usableFromInline
  func register(_ table: any FlushableTable, flush: @escaping () throws(RowError) -> Void) {
    precondition(!tables.contains { $0.table.name.utf8.elementsEqual(table.name.utf8) }, "table \(table.name) is already open")
    tables.append(OpenTable(table: table, flush: flush))
  }

  /// The names of the open tables, in the order they were opened.
  public var tableNames: [String] { tables.map { $0.table.name } }

  /// Says that a unit (a customer, usually) is not what it was: projections that depend on this one will look again.
  public func markChanged(unit: UInt64) { changedUnits.insert(unit) }

  /// The changed units, ascending, and none from now on.
  public func takeChangedUnits() -> [UInt64] {
    if changedUnits.isEmpty { return [] }
    defer { changedUnits.removeAll(keepingCapacity: true) }
    return changedUnits.sorted()
  }

  /// Writes all that is dirty to the backing.
  public func flush() throws(RowError) {
    for open in tables { try open.flush() }
  }

  /// Forgets clean rows: the cache's bound.
  public func evictCleanRows() {
    for open in tables { open.table.evictCleanRows() }
  }

  /// Forgets everything, also what is dirty, and goes back to a stored digest: after a batch that was given up.
  public func discard(digest: Hash128, rowCount: Int64) {
    for open in tables { open.table.discard() }
    changedUnits.removeAll(keepingCapacity: true)
    shared.digest = digest
    shared.rowCount = rowCount
  }
}

/// What a store and its tables share. An object of its own, so that tables can hold it without holding the store.
@usableFromInline
final class RowStoreState {
  @usableFromInline var backing: (any RowBacking)?
  @usableFromInline var digest: Hash128
  @usableFromInline var rowCount: Int64
  @usableFromInline var cachedRowCount = 0

  init(backing: (any RowBacking)?, digest: Hash128, rowCount: Int64) {
    self.backing = backing
    self.digest = digest
    self.rowCount = rowCount
  }

  @usableFromInline
  func requireBacking() -> any RowBacking {
    guard let backing else { preconditionFailure("rows are read or written only inside a batch") }
    return backing
  }

  /// Counts a row out of the digest and in again.
  @usableFromInline
  func account(before: Hash128?, after: Hash128?) {
    if let before {
      digest &-= before
      rowCount -= 1
    }
    if let after {
      digest &+= after
      rowCount += 1
    }
  }

  @inlinable
  func changeCachedRowCount(by difference: Int) { cachedRowCount += difference }
}

/// A row about to be written. The first sixteen bytes of the key stand beside it, so that sorting rarely looks further.
@usableFromInline
struct PendingRow {
  @usableFromInline let prefix: UInt64
  @usableFromInline let secondPrefix: UInt64
  @usableFromInline let keyStart: Int
  @usableFromInline let keyEnd: Int
  /// For an inserted row: the end of the value, which follows its key. For a cached row: its index.
  @usableFromInline let extra: Int

  @inlinable
  init(_ bytes: [UInt8], _ keyStart: Int, _ keyEnd: Int, extra: Int) {
    let key = bytes.rawSpan.slice(keyStart..<keyEnd)
    prefix = key.sortPrefix(at: 0)
    secondPrefix = key.sortPrefix(at: 8)
    self.keyStart = keyStart
    self.keyEnd = keyEnd
    self.extra = extra
  }

  /// Sorts by key. Not generic, and so compiled once for what it is.
  @usableFromInline
  static func sort(_ pending: inout [PendingRow], keys: [UInt8]) {
    pending.sort { left, right in
      if left.prefix != right.prefix { return left.prefix < right.prefix }
      if left.secondPrefix != right.secondPrefix { return left.secondPrefix < right.secondPrefix }
      let span = keys.rawSpan
      return span.slice(left.keyStart..<left.keyEnd).precedes(span.slice(right.keyStart..<right.keyEnd))
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

@usableFromInline
protocol FlushableTable: AnyObject {
  var name: String { get }
  func evictCleanRows()
  func discard()
  func forgetHandle()
}

/// One table of a fold.
///
/// A row is looked up once per ``update(_:_:)``, changed where it is, and encoded once per flush. The methods are
/// inlinable so that a fold's module compiles them for its own rows.
public final class Table<Key: RowKey, Row: StoredRow>: FlushableTable {
  @usableFromInline
  struct Entry {
    @usableFromInline let key: Key
    /// Nil: there is no such row.
    @usableFromInline var row: Row?
    /// The digest's term of what is stored below; nil: nothing is.
    @usableFromInline var stored: Hash128?
    @usableFromInline var isDirty: Bool

    @usableFromInline
    init(key: Key, row: Row?, stored: Hash128?, isDirty: Bool) {
      self.key = key
      self.row = row
      self.stored = stored
      self.isDirty = isDirty
    }
  }

  @usableFromInline let store: RowStoreState
  @usableFromInline let tableName: TableName<Key, Row>
  @usableFromInline let seed: UInt64
  @usableFromInline var handle: TableHandle?
  @usableFromInline var indexOfKey: [Key: Int] = [:]
  @usableFromInline var entries: [Entry] = []
  @usableFromInline var dirty: [Int] = []
  @usableFromInline var inserts: [PendingRow] = []
  @usableFromInline var insertArena = ByteWriter()
  @usableFromInline var scratch = ByteWriter(capacity: 64)

  @usableFromInline
  init(_ name: TableName<Key, Row>, of store: RowStoreState) {
    self.store = store
    tableName = name
    seed = RowDigest.seed(table: name.name)
  }

  /// The table's name.
  public var name: String { tableName.name }

  /// One row.
  @inlinable
  public func row(_ key: Key) throws(FoldFailure) -> Row? {
    entries[try index(of: key)].row
  }

  /// Changes a row in place; nil stands for no row, before and after. `body` may not touch this table.
  @inlinable
  public func update<R>(_ key: Key, _ body: (inout Row?) throws(FoldFailure) -> R) throws(FoldFailure) -> R {
    let index = try index(of: key)
    if !entries[index].isDirty {
      entries[index].isDirty = true
      dirty.append(index)
    }
    return try body(&entries[index].row)
  }

  /// Stores a row; nil removes it.
  @inlinable
  public func set(_ key: Key, _ row: Row?) throws(FoldFailure) {
    try update(key) { (stored: inout Row?) throws(FoldFailure) in stored = row }
  }

  /// Stores a row under a key that has never been stored: cheaper than ``set(_:_:)``, since nothing is looked up.
  /// The row must not be read by key before the next flush; scanning flushes. A key that is there already is an error of
  /// the flush.
  @inlinable
  public func insert(_ key: Key, _ row: Row) {
    let keyStart = insertArena.count
    key.write(to: &insertArena)
    let keyEnd = insertArena.count
    row.write(to: &insertArena)
    inserts.append(PendingRow(insertArena.bytes, keyStart, keyEnd, extra: insertArena.count))
    store.changeCachedRowCount(by: 1)
  }

  /// Visits the rows whose encoded keys begin with `prefix`, in key order, until `body` answers false. Flushes first, so
  /// it costs what is dirty. `body` may not touch this table: collect, then change.
  @inlinable
  public func scan(prefix: [UInt8], _ body: (Key, Row) throws(FoldFailure) -> Bool) throws(FoldFailure) {
    var failure: FoldFailure?
    do throws(RowError) {
      try flush()
      let table = try requireHandle()
      try store.requireBacking().scan(table: table, prefix: prefix, from: prefix) { (keyBytes, value) throws(RowError) in
        let (key, row) = try tableName.decode(keyBytes, value)
        do throws(FoldFailure) {
          return try body(key, row)
        } catch {
          failure = error
          return false
        }
      }
    } catch {
      throw .storage(error)
    }
    if let failure { throw failure }
  }

  @inlinable
  func index(of key: Key) throws(FoldFailure) -> Int {
    if let index = indexOfKey[key] { return index }
    let entry = try load(key)
    let index = entries.count
    entries.append(entry)
    indexOfKey[key] = index
    store.changeCachedRowCount(by: 1)
    return index
  }

  @inlinable
  func load(_ key: Key) throws(FoldFailure) -> Entry {
    var entry = Entry(key: key, row: nil, stored: nil, isDirty: false)
    do throws(RowError) {
      if !inserts.isEmpty { try flushInserts() }
      let table = try requireHandle()
      scratch.removeAll()
      key.write(to: &scratch)
      let keyBytes = scratch.bytes
      _ = try store.requireBacking().read(table: table, key: keyBytes.rawSpan) { (value) throws(RowError) in
        entry.stored = term(key: keyBytes.rawSpan, value: value)
        do throws(ByteError) {
          var reader = ByteReader(value)
          entry.row = try Row(from: &reader)
        } catch {
          throw .malformedRow(table: tableName.name)
        }
      }
    } catch {
      throw .storage(error)
    }
    return entry
  }

  @usableFromInline
  func requireHandle() throws(RowError) -> TableHandle {
    if let handle { return handle }
    guard let found = try store.requireBacking().table(named: tableName.name) else {
      throw .environment("table \(tableName.name) is not there; rebuild the projection")
    }
    handle = found
    return found
  }

  @usableFromInline
  func term(key: RawSpan, value: RawSpan) -> Hash128 { RowDigest.term(seed: seed, key: key, value: value) }

  @usableFromInline
  func forgetHandle() { handle = nil }

  // What follows runs once per flush but touches every row: it is inlinable for the rows' sake, and reached through the
  // closure that the opening module made.

  @inlinable
  func flush() throws(RowError) {
    try flushInserts()
    guard !dirty.isEmpty else { return }
    let table = try requireHandle()
    var arena = ByteWriter(capacity: 24 * dirty.count)
    var pending: [PendingRow] = []
    pending.reserveCapacity(dirty.count)
    for index in dirty {
      let keyStart = arena.count
      entries[index].key.write(to: &arena)
      pending.append(PendingRow(arena.bytes, keyStart, arena.count, extra: index))
    }
    let keys = arena.bytes
    PendingRow.sort(&pending, keys: keys)
    let backing = store.requireBacking()
    var value = ByteWriter(capacity: 256)
    for item in pending {
      let key = keys.rawSpan.slice(item.keyStart..<item.keyEnd)
      let before = entries[item.extra].stored
      var after: Hash128?
      if let row = entries[item.extra].row {
        value.removeAll()
        row.write(to: &value)
        after = term(key: key, value: value.bytes.rawSpan)
        if after != before { try backing.write(table: table, key: key, value: value.bytes.rawSpan) }
      } else if before != nil {
        try backing.delete(table: table, key: key)
      }
      if after != before { store.account(before: before, after: after) }
      entries[item.extra].stored = after
      entries[item.extra].isDirty = false
    }
    dirty.removeAll(keepingCapacity: true)
  }

  @inlinable
  func flushInserts() throws(RowError) {
    guard !inserts.isEmpty else { return }
    let table = try requireHandle()
    PendingRow.sort(&inserts, keys: insertArena.bytes)
    try writeInserts(insertArena.bytes, to: table)
    store.changeCachedRowCount(by: -inserts.count)
    inserts.removeAll(keepingCapacity: true)
    insertArena.removeAll()
  }

  @usableFromInline
  func writeInserts(_ bytes: [UInt8], to table: TableHandle) throws(RowError) {
    let backing = store.requireBacking()
    for item in inserts {
      let key = bytes.rawSpan.slice(item.keyStart..<item.keyEnd)
      let value = bytes.rawSpan.slice(item.keyEnd..<item.extra)
      try backing.insert(table: table, key: key, value: value)
      store.account(before: nil, after: term(key: key, value: value))
    }
  }

  @usableFromInline
  func evictCleanRows() {
    let kept = dirty.map { entries[$0] }
    store.changeCachedRowCount(by: kept.count - entries.count)
    entries.removeAll(keepingCapacity: true)
    indexOfKey.removeAll(keepingCapacity: true)
    dirty.removeAll(keepingCapacity: true)
    for entry in kept {
      indexOfKey[entry.key] = entries.count
      dirty.append(entries.count)
      entries.append(entry)
    }
  }

  @usableFromInline
  func discard() {
    store.changeCachedRowCount(by: -(entries.count + inserts.count))
    entries.removeAll()
    indexOfKey.removeAll()
    dirty.removeAll()
    inserts.removeAll()
    insertArena.removeAll()
  }
}
