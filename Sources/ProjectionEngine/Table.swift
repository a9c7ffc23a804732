// One table of a fold, and its cache.
//
// Invariants:
// - A row is looked up once per access, changed where it is, and encoded once per flush, however often it changed.
// - A row that was inserted can be read at once; it is indexed only when somebody does.
// - The methods are inlinable, so that a fold's module compiles them for its own rows.
// - A table is used on one thread at a time, and no closure of `update` or `scan` touches its own table: so the cache is
//   `Confined`.

public import Bytes

/// Where a row stands in its table's cache: found once, used several times. Valid until the event is folded.
public struct RowPlace: Sendable {
  @usableFromInline let index: Int

  @inlinable
  init(_ index: Int) { self.index = index }
}

/// A table of rows under keys of its own.
public final class Table<Key: RowKey, Row: StoredRow>: FlushableTable {
  @usableFromInline let store: RowStoreState
  @usableFromInline let tableName: TableName<Key, Row>
  @usableFromInline let seed: UInt64
  @usableFromInline let confined: Confined<TableCache<Key, Row>>

  @usableFromInline
  init(_ name: TableName<Key, Row>, of store: RowStoreState) {
    self.store = store
    tableName = name
    seed = RowDigest.seed(table: name.name)
    confined = Confined(TableCache())
    if store.beganEmpty { cache.storedKeys = KeyFilter() }
  }

  @inlinable var cache: TableCache<Key, Row> {
    _read { yield confined.value }
    _modify { yield &confined.value }
  }

  /// The table's name.
  public var name: String { tableName.name }

  /// Finds a row, or the place where it would be.
  @inlinable
  public func place(of key: Key) throws(FoldFailure) -> RowPlace {
    let hash = RowHash.of(key)
    if let found = cache.index.find(hash, { cache.entries[$0].key == key }) {
      if cache.entries[found].lastUse != store.batch { cache.entries[found].lastUse = store.batch }
      return RowPlace(found)
    }
    return RowPlace(try load(key, hash))
  }

  /// The row at a place.
  @inlinable
  public func row(at place: RowPlace) -> Row? { cache.entries[place.index].row }

  /// Looks at a row where it is, without copying it. `body` may not touch this table.
  @inlinable
  public func read<R>(_ key: Key, _ body: (borrowing Row?) throws(FoldFailure) -> R) throws(FoldFailure) -> R {
    let place = try place(of: key)
    return try body(cache.entries[place.index].row)
  }

  /// One row.
  @inlinable
  public func row(_ key: Key) throws(FoldFailure) -> Row? { cache.entries[try place(of: key).index].row }

  /// Changes a row in place; nil stands for no row, before and after. `body` may not touch this table.
  @inlinable
  public func update<R>(at place: RowPlace, _ body: (inout Row?) throws(FoldFailure) -> R) throws(FoldFailure) -> R {
    if !cache.entries[place.index].isDirty {
      cache.entries[place.index].isDirty = true
      cache.dirty.append(place.index)
    }
    return try body(&cache.entries[place.index].row)
  }

  /// Changes a row in place; nil stands for no row, before and after. `body` may not touch this table.
  @inlinable
  public func update<R>(_ key: Key, _ body: (inout Row?) throws(FoldFailure) -> R) throws(FoldFailure) -> R {
    try update(at: try place(of: key), body)
  }

  /// Stores a row; nil removes it.
  @inlinable
  public func set(_ key: Key, _ row: Row?) throws(FoldFailure) {
    try update(key) { (stored: inout Row?) throws(FoldFailure) in stored = row }
  }

  /// Stores a row under a key that has never been stored: cheaper than ``set(_:_:)``, since nothing is looked up and the
  /// row is not kept. A key that is there already is an error of the flush.
  @inlinable
  public func insert(_ key: Key, _ row: Row) {
    let keyStart = cache.arena.count
    key.write(to: &cache.arena)
    let keyEnd = cache.arena.count
    row.write(to: &cache.arena)
    cache.inserts.append(
      PendingRow(cache.arena.bytes, keyStart: keyStart, keyEnd: keyEnd, valueEnd: cache.arena.count, entry: -1, change: .insert))
    if cache.storedKeys != nil { note(RowHash.of(key)) }
    store.count(rows: 1, bytes: cache.arena.count - keyStart)
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
}

// MARK: Looking up
extension Table where Key == ByteString {
  /// Finds a row, or the place where it would be, without making a key of its own unless it must.
  ///
  /// - Parameter hash: ``RowHash`` of the key.
  @inlinable
  public func place(ofKey key: RawSpan, hash: UInt64) throws(FoldFailure) -> RowPlace {
    let found = cache.index.find(hash) { place in
      let known = cache.entries[place].key.bytes
      return known.rawSpan.isEqual(to: key)
    }
    if let found {
      if cache.entries[found].lastUse != store.batch { cache.entries[found].lastUse = store.batch }
      return RowPlace(found)
    }
    return RowPlace(try load(ByteString(key), hash))
  }
}

extension Table {
  /// Brings a row into the cache from what waits or from the file, or notes that there is none.
  @inlinable
  func load(_ key: Key, _ hash: UInt64) throws(FoldFailure) -> Int {
    var row: Row?
    var stored: Hash128?
    var isDirty = false
    if cache.storedKeys?.mayContain(hash) == false {
      note(hash)
    } else {
      do throws(RowError) {
        cache.scratch.removeAll()
        key.write(to: &cache.scratch)
        let keyBytes = cache.scratch.bytes
        if let value = takeInsert(keyBytes) {
          row = try decode(value.rawSpan)
          isDirty = true
          cache.dirty.append(cache.entries.count)
        } else {
          let table = try requireHandle()
          _ = try store.requireBacking().read(table: table, key: keyBytes.rawSpan) { (value) throws(RowError) in
            stored = term(key: keyBytes.rawSpan, value: value)
            row = try decode(value)
          }
        }
      } catch {
        throw .storage(error)
      }
    }
    cache.index.insert(hash, cache.entries.count)
    cache.entries.append(CacheEntry(key: key, row: row, stored: stored, lastUse: store.batch, isDirty: isDirty))
    store.count(rows: 1, bytes: 0)
    return cache.entries.count - 1
  }

  @inlinable
  func decode(_ value: RawSpan) throws(RowError) -> Row {
    do throws(ByteError) {
      var reader = ByteReader(value)
      return try Row(from: &reader)
    } catch {
      throw .malformedRow(table: tableName.name)
    }
  }

  /// Finds an inserted row that is not written yet, and takes it out of what will be inserted: from now on the cache has it.
  @usableFromInline
  func takeInsert(_ key: [UInt8]) -> [UInt8]? {
    guard !cache.inserts.isEmpty else { return nil }
    let bytes = cache.arena.bytes
    while cache.indexedCount < cache.inserts.count {
      let key = bytes.rawSpan.slice(cache.inserts[cache.indexedCount].key)
      cache.insertIndex.insert(RowHash.of(key), cache.indexedCount)
      cache.indexedCount += 1
    }
    let found = cache.insertIndex.find(RowHash.of(key)) { place in
      !cache.inserts[place].isDropped && bytes.rawSpan.slice(cache.inserts[place].key).isEqual(to: key.rawSpan)
    }
    guard let found else { return nil }
    cache.inserts[found].isDropped = true
    return [UInt8](bytes.rawSpan.slice(cache.inserts[found].value))
  }

  @usableFromInline
  func requireHandle() throws(RowError) -> TableHandle {
    if let handle = cache.handle { return handle }
    let found = try store.handle(of: tableName.name)
    cache.handle = found
    return found
  }

  @usableFromInline
  func forgetHandle() { cache.handle = nil }

  @usableFromInline
  func term(key: RawSpan, value: RawSpan) -> Hash128 { RowDigest.term(seed: seed, key: key, value: value) }

  @usableFromInline
  func note(_ hash: UInt64) {
    if cache.storedKeys?.insert(hash) == false { cache.storedKeys = nil }
  }
}

// MARK: Flushing
extension Table {
  /// Writes what was inserted and what is dirty, in key order, and accounts for it in the digest. Reached through the
  /// closure that the opening module made, so that rows are encoded by code made for them.
  @inlinable
  func flush() throws(RowError) {
    guard !cache.inserts.isEmpty || !cache.dirty.isEmpty else { return }
    let changed = cache.dirty
    store.count(rows: -cache.inserts.count, bytes: -cache.arena.count)
    cache.inserts.reserveCapacity(cache.inserts.count + changed.count)
    for place in changed {
      let keyStart = cache.arena.count
      cache.entries[place].key.write(to: &cache.arena)
      let keyEnd = cache.arena.count
      var change = RowRun.Change.delete
      if cache.entries[place].row != nil {
        change = .put
        cache.entries[place].row?.write(to: &cache.arena)
      }
      cache.inserts.append(
        PendingRow(cache.arena.bytes, keyStart: keyStart, keyEnd: keyEnd, valueEnd: cache.arena.count, entry: place, change: change))
    }
    try writePending()
    cache.dirty.removeAll(keepingCapacity: true)
  }

  @inlinable
  func writePending() throws(RowError) {
    var pending: [PendingRow] = []
    swap(&pending, &cache.inserts)
    let bytes = cache.arena.bytes
    PendingRow.sort(&pending, keys: bytes)
    for index in pending.indices where !pending[index].isDropped {
      let item = pending[index]
      var after: Hash128?
      if item.change != .delete { after = term(key: bytes.rawSpan.slice(item.key), value: bytes.rawSpan.slice(item.value)) }
      guard item.entry >= 0 else {
        store.account(before: nil, after: after)
        continue
      }
      let before = cache.entries[Int(item.entry)].stored
      cache.entries[Int(item.entry)].isDirty = false
      if before == after {
        pending[index].isDropped = true
      } else {
        store.account(before: before, after: after)
        cache.entries[Int(item.entry)].stored = after
      }
    }
    let run = RowRun(arena: cache.arena, items: pending)
    if !run.isEmpty { try store.requireBacking().write(table: try requireHandle(), run) }
    forgetInserts(reusing: &pending)
  }

  /// Nothing waits any more. The memory is kept for the next batch.
  @usableFromInline
  func forgetInserts(reusing pending: inout [PendingRow]) {
    pending.removeAll(keepingCapacity: true)
    swap(&pending, &cache.inserts)
    cache.arena.removeAll()
    cache.indexedCount = 0
    cache.insertIndex.removeAll()
  }

  /// Forgets clean rows that no batch from `batch` on has used. Reached as ``flush()`` is.
  @inlinable
  func evictCleanRows(unusedSince batch: UInt32) {
    let count = cache.entries.count
    cache.index.removeAll()
    cache.dirty.removeAll(keepingCapacity: true)
    var kept = 0
    for place in 0..<count where cache.entries[place].isDirty || cache.entries[place].lastUse >= batch {
      if kept != place { cache.entries.swapAt(kept, place) }
      cache.index.insert(RowHash.of(cache.entries[kept].key), kept)
      if cache.entries[kept].isDirty { cache.dirty.append(kept) }
      kept += 1
    }
    cache.entries.removeLast(count - kept)
    store.count(rows: kept - count, bytes: 0)
  }

  @usableFromInline
  func discard() {
    store.count(rows: -(cache.entries.count + cache.inserts.count), bytes: -cache.arena.count)
    cache.entries.removeAll()
    cache.index.removeAll()
    cache.dirty.removeAll()
    var pending = cache.inserts
    forgetInserts(reusing: &pending)
    cache.storedKeys = nil
  }
}

/// A table's rows in memory.
@usableFromInline
struct TableCache<Key: RowKey, Row: StoredRow> {
  @usableFromInline var handle: TableHandle?

  @usableFromInline var index = HashIndex()
  @usableFromInline var entries: [CacheEntry<Key, Row>] = []
  /// Places of changed rows.
  @usableFromInline var dirty: [Int] = []

  /// Rows that wait to be written: keys and values, one behind the other.
  @usableFromInline var arena = ByteWriter()
  @usableFromInline var inserts: [PendingRow] = []
  /// The first `indexedCount` inserts by key.
  @usableFromInline var insertIndex = HashIndex()
  @usableFromInline var indexedCount = 0
  /// What the file can have; nil: anything.
  @usableFromInline var storedKeys: KeyFilter?
  @usableFromInline var scratch = ByteWriter(capacity: 64)

  @usableFromInline
  init() {}
}

/// A row in memory.
@usableFromInline
struct CacheEntry<Key: RowKey, Row: StoredRow> {
  @usableFromInline let key: Key
  /// The batch that used it last.
  @usableFromInline var lastUse: UInt32
  @usableFromInline var isDirty: Bool
  /// The digest's term of what is stored below; nil: nothing is.
  @usableFromInline var stored: Hash128?
  /// Nil: there is no such row.
  @usableFromInline var row: Row?

  @inlinable
  init(key: Key, row: consuming Row?, stored: Hash128?, lastUse: UInt32, isDirty: Bool) {
    self.key = key
    self.row = row
    self.stored = stored
    self.lastUse = lastUse
    self.isDirty = isDirty
  }
}
