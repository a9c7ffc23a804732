// A table of rows that belong to units (customers, usually): written once, read by nobody while folding, and moved as a
// whole when one unit becomes part of another. Timelines are such tables.
//
// Invariants:
// - A key is the unit, eight bytes big-endian, and then what tells the unit's rows apart.
// - Moving costs the rows in the file that are moved and one search for them. Rows that wait to be written keep the unit
//   they came with until the flush, which follows the moves made since: a row added after a move is not moved by it.
// - A unit is moved away at most once between two flushes.

public import Bytes

/// A table of rows under (unit, key within the unit).
public final class UnitTable<Key: RowKey, Row: StoredRow>: FlushableTable {
  /// A row that waits to be written. Its unit is what its key in the arena begins with.
  @usableFromInline
  struct Waiting {
    @usableFromInline let keyStart: UInt32
    @usableFromInline let keyEnd: UInt32
    @usableFromInline let valueEnd: UInt32

    @inlinable
    init(keyStart: Int, keyEnd: Int, valueEnd: Int) {
      self.keyStart = UInt32(keyStart)
      self.keyEnd = UInt32(keyEnd)
      self.valueEnd = UInt32(valueEnd)
    }
  }

  /// All rows of `from` that were there became rows of `unit`.
  @usableFromInline
  struct Move {
    @usableFromInline let from: UInt64
    @usableFromInline let unit: UInt64
    /// How many rows waited then: later ones are not concerned.
    @usableFromInline let rowCount: Int
  }

  /// What waits to be written.
  @usableFromInline
  struct State {
    @usableFromInline var handle: TableHandle?
    @usableFromInline var arena = ByteWriter()
    @usableFromInline var waiting: [Waiting] = []
    @usableFromInline var moves: [Move] = []
    /// By `from`.
    @usableFromInline var moveIndex = HashIndex()
    /// Keys of stored rows that were moved away.
    @usableFromInline var removed: [PendingRow] = []
    /// Units that the file can have rows of; nil: any.
    @usableFromInline var storedUnits: KeyFilter?

    @usableFromInline
    init() {}
  }

  @usableFromInline let store: RowStoreState
  @usableFromInline let tableName: TableName<Key, Row>
  @usableFromInline let seed: UInt64
  @usableFromInline let confined = Confined(State())

  @usableFromInline
  init(_ name: TableName<Key, Row>, of store: RowStoreState) {
    self.store = store
    tableName = name
    seed = RowDigest.seed(table: name.name)
    if store.beganEmpty { state.storedUnits = KeyFilter() }
  }

  @inlinable var state: State {
    _read { yield confined.value }
    _modify { yield &confined.value }
  }

  /// The table's name.
  public var name: String { tableName.name }

  /// Adds a row. A key that is there already is an error of the flush.
  ///
  /// - Parameter key: Begins with the unit.
  @inlinable
  public func insert(_ key: Key, _ row: Row) {
    let keyStart = state.arena.count
    key.write(to: &state.arena)
    let keyEnd = state.arena.count
    row.write(to: &state.arena)
    state.waiting.append(Waiting(keyStart: keyStart, keyEnd: keyEnd, valueEnd: state.arena.count))
    store.count(rows: 1, bytes: state.arena.count - keyStart)
  }

  /// Makes all rows of one unit rows of another.
  public func move(from: UInt64, to unit: UInt64) throws(FoldFailure) {
    precondition(from != unit)
    do throws(RowError) {
      if state.moveIndex.find(RowHash.of(from), { state.moves[$0].from == from }) != nil { try flush() }
      state.moveIndex.insert(RowHash.of(from), state.moves.count)
      state.moves.append(Move(from: from, unit: unit, rowCount: state.waiting.count))
      if state.storedUnits?.mayContain(RowHash.of(from)) ?? true { try moveStored(from, unit) }
    } catch {
      throw .storage(error)
    }
  }

  private func moveStored(_ from: UInt64, _ unit: UInt64) throws(RowError) {
    var prefix = ByteWriter(capacity: 8)
    prefix.uint64(from)
    let table = try requireHandle()
    try store.requireBacking().scan(table: table, prefix: prefix.bytes, from: prefix.bytes) { (key, value) throws(RowError) in
      store.account(before: RowDigest.term(seed: seed, key: key, value: value), after: nil)
      let start = state.arena.count
      state.arena.raw(key)
      let keyEnd = state.arena.count
      state.removed.append(
        PendingRow(state.arena.bytes, keyStart: start, keyEnd: keyEnd, valueEnd: keyEnd, entry: -1, change: .delete))
      state.arena.uint64(unit)
      state.arena.raw(key.slice(8..<key.byteCount))
      let newKeyEnd = state.arena.count
      state.arena.raw(value)
      state.waiting.append(Waiting(keyStart: keyEnd, keyEnd: newKeyEnd, valueEnd: state.arena.count))
      store.count(rows: 1, bytes: state.arena.count - start)
      return true
    }
  }

  private func requireHandle() throws(RowError) -> TableHandle {
    if let handle = state.handle { return handle }
    let found = try store.handle(of: tableName.name)
    state.handle = found
    return found
  }

  @usableFromInline
  func forgetHandle() { state.handle = nil }

  @usableFromInline
  func flush() throws(RowError) {
    guard !state.waiting.isEmpty || !state.removed.isEmpty else { return }
    var pending = state.removed
    pending.reserveCapacity(pending.count + state.waiting.count)
    for (index, row) in state.waiting.enumerated() {
      let keyStart = Int(row.keyStart)
      followMoves(of: index, keyStart)
      pending.append(
        PendingRow(
          state.arena.bytes, keyStart: keyStart, keyEnd: Int(row.keyEnd), valueEnd: Int(row.valueEnd), entry: -1, change: .insert))
    }
    let bytes = state.arena.bytes
    PendingRow.sort(&pending, keys: bytes)
    for item in pending where item.change == .insert {
      let span = bytes.rawSpan
      store.account(before: nil, after: RowDigest.term(seed: seed, key: span.slice(item.key), value: span.slice(item.value)))
    }
    noteUnits(pending)
    try store.requireBacking().write(table: try requireHandle(), RowRun(arena: state.arena, items: pending))
    forgetWaiting()
  }

  /// Puts the unit into a row's key that it belongs to by now.
  private func followMoves(of row: Int, _ keyStart: Int) {
    guard !state.moves.isEmpty else { return }
    let first = unit(at: keyStart)
    var unit = first
    var last = -1
    while let place = state.moveIndex.find(RowHash.of(unit), { state.moves[$0].from == unit }), place > last,
      row < state.moves[place].rowCount
    {
      unit = state.moves[place].unit
      last = place
    }
    if unit != first { state.arena.patch(uint64: unit, at: keyStart) }
  }

  private func unit(at keyStart: Int) -> UInt64 {
    let bytes = state.arena.bytes
    return bytes.rawSpan.uint64(at: keyStart)
  }

  /// - Parameter pending: In key order, so a unit's rows follow each other; the key's first eight bytes are the unit.
  private func noteUnits(_ pending: [PendingRow]) {
    guard state.storedUnits != nil else { return }
    var last: UInt64?
    for item in pending where item.change == .insert && item.prefix != last {
      last = item.prefix
      if state.storedUnits?.insert(RowHash.of(item.prefix)) == false { state.storedUnits = nil }
    }
  }

  private func forgetWaiting() {
    store.count(rows: -state.waiting.count, bytes: -state.arena.count)
    state.arena.removeAll()
    state.waiting.removeAll(keepingCapacity: true)
    state.moves.removeAll(keepingCapacity: true)
    state.moveIndex.removeAll()
    state.removed.removeAll(keepingCapacity: true)
  }

  @usableFromInline
  func discard() {
    forgetWaiting()
    state.storedUnits = nil
  }
}
