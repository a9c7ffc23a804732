// The write-back cache, in memory.

import Bytes
import LedgerCore
import ProjectionEngine
import Synchronization
import Testing

/// Keeps the snapshot of one question and uses it in another.
final class SnapshotKeeper: Projection {
  private let kept = Mutex<Kept?>(nil)
  private struct Kept: @unchecked Sendable {
    // Used by one reader after the other: the questions of one test.
    let snapshot: Snapshot
  }
  let name = "keeper"
  let version: UInt32 = 1
  var queries: [ProjectionQuery] {
    [
      ProjectionQuery(path: "keep", parameters: []) { (_, snapshot) throws(QueryFailure) in
        let wrapped = Kept(snapshot: snapshot)
        self.kept.withLock { $0 = wrapped }
        return []
      },
      ProjectionQuery(path: "again", parameters: []) { (_, _) throws(QueryFailure) in
        guard let wrapped = self.kept.withLock({ $0 }) else { return [] }
        do throws(QueryFailure) {
          _ = try wrapped.snapshot.row(unitTable, 7)
          return Array("read".utf8)
        } catch {
          return Array("closed".utf8)
        }
      },
    ]
  }
  func makeFold(rows: RowStore) -> UnitTally.Fold { UnitTally.Fold(rows: rows, projection: UnitTally()) }
}

@Suite struct RowStoreTests {
  let long = TableName<ByteString, Tally>("long")

  func key(_ text: String) -> ByteString { ByteString(text) }

  @Test func `what was written is read, before and after a flush and an eviction`() throws {
    let store = RowStore(backing: MemoryBacking())
    let table = store.table(unitTable)
    try table.set(1, Tally(count: 1, sum: 1))
    #expect(try table.row(1) == Tally(count: 1, sum: 1))
    try store.flush()
    #expect(store.rowCount == 1 && store.cachedRowCount == 1)
    try table.update(2) { (row: inout Tally?) throws(FoldFailure) in row = Tally(count: 2, sum: 2) }
    // Row 2 is dirty and stays.
    store.evictCleanRows()
    #expect(store.cachedRowCount == 1)
    #expect(try table.row(1) == Tally(count: 1, sum: 1))
    #expect(try table.row(2) == Tally(count: 2, sum: 2))
    try store.flush()
    store.evictCleanRows()
    #expect(store.cachedRowCount == 0 && store.rowCount == 2)
    try table.set(1, nil)
    try store.flush()
    #expect(try table.row(1) == nil)
    #expect(store.rowCount == 1)
  }

  @Test func `the digest depends on the rows alone`() throws {
    func digest(_ steps: (Table<UInt64, Tally>, RowStore) throws -> Void) throws -> Hash128 {
      let store = RowStore(backing: MemoryBacking())
      try steps(store.table(unitTable), store)
      try store.flush()
      return store.digest
    }
    let straight = try digest { table, _ in
      try table.set(1, Tally(count: 1))
      try table.set(2, Tally(count: 2))
    }
    let roundabout = try digest { table, store in
      try table.set(2, Tally(count: 7))
      try store.flush()
      try table.set(3, Tally(count: 3))
      table.insert(1, Tally(count: 1))
      try store.flush()
      store.evictCleanRows()
      try table.set(3, nil)
      try table.set(2, Tally(count: 2))
    }
    #expect(straight == roundabout)
    let other = try digest { table, _ in
      try table.set(1, Tally(count: 2))
      try table.set(2, Tally(count: 1))
    }
    #expect(straight != other)
    let empty = try digest { table, store in
      try table.set(1, Tally(count: 1))
      try store.flush()
      try table.set(1, nil)
    }
    #expect(empty == Hash128(high: 0, low: 0))
  }

  @Test func `inserted rows are seen by scans in key order, with long keys too`() throws {
    let store = RowStore(backing: MemoryBacking())
    let table = store.table(long)
    let prefix = "the same thirty bytes for all..-"
    for text in ["c", "a", "", "ab", "b"] { table.insert(key(prefix + text), Tally(count: 1)) }
    #expect(store.cachedRowCount == 5)
    try table.set(key("elsewhere"), Tally(count: 9))
    #expect(store.cachedRowCount == 6)
    var seen: [String] = []
    try table.scan(prefix: Array(prefix.utf8)) { (key: ByteString, _: Tally) throws(FoldFailure) in
      seen.append(String(key.string.dropFirst(prefix.count)))
      return seen.count < 4
    }
    #expect(seen == ["", "a", "ab", "b"])
    #expect(store.rowCount == 6)
  }

  @Test func `an inserted row can be read, changed and removed before it is written`() throws {
    for isEmpty in [true, false] {
      let store = RowStore(backing: MemoryBacking(), isEmpty: isEmpty)
      let table = store.table(unitTable)
      for unit in UInt64(1)...3 { table.insert(unit, Tally(count: Int64(unit))) }
      #expect(try table.row(2) == Tally(count: 2))
      try table.update(2) { (row: inout Tally?) throws(FoldFailure) in row?.sum = 9 }
      try table.set(3, nil)
      #expect(try table.row(4) == nil)
      try store.flush()
      #expect(store.rowCount == 2)
      store.evictCleanRows()
      #expect(store.cachedRowCount == 0 && store.waitingByteCount == 0)
      #expect(try table.row(1) == Tally(count: 1))
      #expect(try table.row(2) == Tally(count: 2, sum: 9))
      #expect(try table.row(3) == nil)
      let other = RowStore(backing: MemoryBacking())
      let straight = other.table(unitTable)
      try straight.set(1, Tally(count: 1))
      try straight.set(2, Tally(count: 2, sum: 9))
      try other.flush()
      #expect(other.digest == store.digest)
    }
  }

  @Test func `rows that the running batch used outlive the others`() throws {
    let store = RowStore(backing: MemoryBacking())
    let table = store.table(unitTable)
    for unit in UInt64(1)...10 { try table.set(unit, Tally(count: 1)) }
    try store.flush()
    store.beginBatch()
    for unit in UInt64(3)...5 { _ = try table.row(unit) }
    store.evictCleanRows(countMax: 20)
    #expect(store.cachedRowCount == 10)
    store.evictCleanRows(countMax: 5)
    #expect(store.cachedRowCount == 3)
    #expect(try table.row(4) == Tally(count: 1))
    store.evictCleanRows(countMax: 2)
    #expect(store.cachedRowCount == 0)
    #expect(try table.row(9) == Tally(count: 1))
  }

  @Test func `a key that is inserted twice is an error of the flush`() throws {
    let store = RowStore(backing: MemoryBacking())
    let table = store.table(unitTable)
    table.insert(1, Tally(count: 1))
    try store.flush()
    table.insert(1, Tally(count: 2))
    #expect(throws: RowError.self) { try store.flush() }
  }

  @Test func `a batch that was given up leaves nothing in memory`() throws {
    let store = RowStore(backing: MemoryBacking())
    let table = store.table(unitTable)
    try table.set(1, Tally(count: 1))
    try store.flush()
    let (digest, rowCount) = (store.digest, store.rowCount)
    try table.set(1, Tally(count: 5))
    table.insert(2, Tally(count: 2))
    store.markChanged(unit: 3)
    store.discard(digest: digest, rowCount: rowCount)
    #expect(try table.row(1) == Tally(count: 1))
    #expect(store.takeChangedUnits().isEmpty)
    try store.flush()
    #expect(store.digest == digest && store.cachedRowCount == 1)
  }

  @Test func `changed units come once, ascending`() {
    let store = RowStore()
    for unit in [5, 1, 5, 3] as [UInt64] { store.markChanged(unit: unit) }
    #expect(store.takeChangedUnits() == [1, 3, 5])
    #expect(store.takeChangedUnits().isEmpty)
  }

  @Test func `a row that cannot be read is said to be so, with its table`() throws {
    let backing = MemoryBacking()
    backing.write(table: backing.table(named: "units") ?? 0, key: [0, 0, 0, 0, 0, 0, 0, 1].rawSpan, value: [0x80].rawSpan)
    let store = RowStore(backing: backing)
    let table = store.table(unitTable)
    #expect(throws: FoldFailure.storage(.malformedRow(table: "units"))) { try table.row(1) }
  }
}
