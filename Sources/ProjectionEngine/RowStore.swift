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
    let evict: (_ unusedSince: UInt32) -> Void
  }

  /// Continues from a stored digest and count.
  ///
  /// - Parameter isEmpty: There is no row in the backing: then tables remember what they stored, and do not look for the
  ///   rest.
  public init(
    backing: (any RowBacking)? = nil, digest: Hash128 = Hash128(high: 0, low: 0), rowCount: Int64 = 0, isEmpty: Bool = false
  ) {
    shared = RowStoreState(backing: backing, digest: digest, rowCount: rowCount, beganEmpty: isEmpty)
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
  public var digest: Hash128 { shared.sums.digest }
  /// How many rows are flushed.
  public var rowCount: Int64 { shared.sums.rowCount }
  /// How many rows the caches hold.
  public var cachedRowCount: Int { shared.sums.cachedRowCount }
  /// How many bytes wait to be written, beside the rows in the caches.
  public var waitingByteCount: Int { shared.sums.waitingByteCount }
  /// Whether changed units are remembered: only dependents ask for them.
  public var keepsChangedUnits = true
  /// A unit was marked as changed since ``takeChangedUnits()``.
  public private(set) var hasChangedUnits = false

  /// Opens a table. Each name once.
  @inlinable
  public func table<Key: RowKey, Row: StoredRow>(_ name: TableName<Key, Row>) -> Table<Key, Row> {
    let table = Table(name, of: shared)
    register(table) { () throws(RowError) in
      try table.flush()
    } evict: {
      table.evictCleanRows(unusedSince: $0)
    }
    return table
  }

  /// Opens a table of units' rows. Each name once.
  public func unitTable<Key: RowKey, Row: StoredRow>(_ name: TableName<Key, Row>) -> UnitTable<Key, Row> {
    let table = UnitTable(name, of: shared)
    register(table) { () throws(RowError) in
      try table.flush()
    } evict: { _ in
    }
    return table
  }

  @usableFromInline
  func register(
    _ table: any FlushableTable, flush: @escaping () throws(RowError) -> Void, evict: @escaping (_ unusedSince: UInt32) -> Void
  ) {
    precondition(!tables.contains { $0.table.name.utf8.elementsEqual(table.name.utf8) }, "table \(table.name) is already open")
    tables.append(OpenTable(table: table, flush: flush, evict: evict))
  }

  /// The names of the open tables, in the order they were opened.
  public var tableNames: [String] { tables.map { $0.table.name } }

  /// Says that a unit (a customer, usually) is not what it was: projections that depend on this one will look again.
  public func markChanged(unit: UInt64) {
    hasChangedUnits = true
    if keepsChangedUnits { changedUnits.insert(unit) }
  }

  /// The changed units, ascending, and none from now on.
  public func takeChangedUnits() -> [UInt64] {
    hasChangedUnits = false
    if changedUnits.isEmpty { return [] }
    defer { changedUnits.removeAll(keepingCapacity: true) }
    return changedUnits.sorted()
  }

  /// Writes all that is dirty to the backing.
  public func flush() throws(RowError) {
    for open in tables { try open.flush() }
  }

  /// Begins a batch: rows that it uses outlive those that it does not.
  public func beginBatch() { shared.sums.batch &+= 1 }

  /// Forgets clean rows until at most `countMax` are held: first those that the running batch did not use, then, if that
  /// was not enough, all.
  public func evictCleanRows(countMax: Int = 0) {
    guard cachedRowCount > countMax else { return }
    for open in tables { open.evict(shared.batch) }
    guard cachedRowCount > countMax else { return }
    for open in tables { open.evict(.max) }
  }

  /// Forgets everything, also what is dirty, and goes back to a stored digest: after a batch that was given up.
  public func discard(digest: Hash128, rowCount: Int64) {
    for open in tables { open.table.discard() }
    changedUnits.removeAll(keepingCapacity: true)
    hasChangedUnits = false
    shared.sums.digest = digest
    shared.sums.rowCount = rowCount
  }
}

/// What a store and its tables share. An object of its own, so that tables can hold it without holding the store.
@usableFromInline
final class RowStoreState {
  @usableFromInline var backing: (any RowBacking)?
  @usableFromInline let confined: Confined<Sums>
  /// The backing was empty when the store was made.
  @usableFromInline let beganEmpty: Bool

  init(backing: (any RowBacking)?, digest: Hash128, rowCount: Int64, beganEmpty: Bool) {
    self.backing = backing
    confined = Confined(Sums(digest: digest, rowCount: rowCount))
    self.beganEmpty = beganEmpty
  }

  /// What is counted row by row.
  @usableFromInline
  struct Sums {
    @usableFromInline var digest: Hash128
    @usableFromInline var rowCount: Int64
    @usableFromInline var cachedRowCount = 0
    @usableFromInline var waitingByteCount = 0
    /// Counts batches, so that the cache knows what was used lately.
    @usableFromInline var batch: UInt32 = 0
  }

  @inlinable var sums: Sums {
    _read { yield confined.value }
    _modify { yield &confined.value }
  }
  @inlinable var batch: UInt32 { sums.batch }

  @usableFromInline
  func requireBacking() -> any RowBacking {
    guard let backing else { preconditionFailure("rows are read or written only inside a batch") }
    return backing
  }

  @usableFromInline
  func handle(of table: String) throws(RowError) -> TableHandle {
    guard let found = try requireBacking().table(named: table) else {
      throw .environment("table \(table) is not there; rebuild the projection")
    }
    return found
  }

  /// Counts a row out of the digest and in again.
  @usableFromInline
  func account(before: Hash128?, after: Hash128?) {
    if let before {
      sums.digest &-= before
      sums.rowCount -= 1
    }
    if let after {
      sums.digest &+= after
      sums.rowCount += 1
    }
  }

  /// Counts what is held in memory.
  @inlinable
  func count(rows: Int, bytes: Int) {
    sums.cachedRowCount += rows
    sums.waitingByteCount += bytes
  }
}

@usableFromInline
protocol FlushableTable: AnyObject {
  var name: String { get }
  func discard()
  func forgetHandle()
}
