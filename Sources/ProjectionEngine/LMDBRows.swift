// LMDB behind `RowBacking` (the one write transaction of a batch) and `RowSource` (a snapshot).
//
// Invariants:
// - A transaction is begun, used and ended on one thread.
// - A source that was closed answers with an error, so a snapshot that was kept too long does no harm.

import Bytes
import LMDB

/// The rows of a generation inside of its worker's write transaction.
final class LMDBBacking: RowBacking {
  let opened: Generation.Opened
  private var transaction: WriteTransaction?
  /// The first error since ``begin()``: what `RowError` does not carry.
  private(set) var failure: LMDBError?

  init(_ opened: Generation.Opened) { self.opened = opened }

  func begin() throws(LMDBError) {
    failure = nil
    transaction = try opened.environment.beginWrite()
  }

  func abort() { transaction = nil }

  func commit() throws(LMDBError) {
    guard let transaction = transaction.take() else { preconditionFailure("commit without a transaction") }
    try transaction.commit()
  }

  /// Does something with the transaction itself.
  func withTransaction<R>(_ body: (borrowing WriteTransaction) throws(LMDBError) -> R) throws(RowError) -> R {
    switch transaction {
    case .some(let transaction):
      do throws(LMDBError) {
        return try body(transaction)
      } catch {
        if failure == nil { failure = error }
        throw .environment(error.description)
      }
    case .none: throw .environment("rows are used outside of a batch")
    }
  }

  func table(named name: String) throws(RowError) -> TableHandle? { opened.tables[name] }

  func read(table: TableHandle, key: RawSpan, _ body: (RawSpan) throws(RowError) -> Void) throws(RowError) -> Bool {
    var inner: RowError?
    let found = try withTransaction { (transaction) throws(LMDBError) in
      try readRow(transaction, table, key, body, &inner)
    }
    if let inner { throw inner }
    return found
  }

  func scan(
    table: TableHandle, prefix: [UInt8], from start: [UInt8], _ body: (RawSpan, RawSpan) throws(RowError) -> Bool
  ) throws(RowError) {
    var inner: RowError?
    try withTransaction { (transaction) throws(LMDBError) in
      try scanRows(transaction, table, prefix, start, body, &inner)
    }
    if let inner { throw inner }
  }

  func write(table: TableHandle, _ run: RowRun) throws(RowError) {
    try withTransaction { (transaction) throws(LMDBError) in
      try transaction.withWriteCursor(table) { (cursor) throws(LMDBError) in
        try run.forEach { (change, key, value) throws(LMDBError) in
          switch change {
          case .put: try cursor.put(key, value)
          case .insert: try cursor.put(key, value, mode: .insert)
          case .delete: try cursor.delete(key)
          }
        }
      }
    }
  }
}

/// The rows of a generation as they were committed last.
final class LMDBSource: RowSource {
  private let opened: Generation.Opened
  private var transaction: ReadTransaction?

  init(_ opened: Generation.Opened) throws(StorageFailure) {
    self.opened = opened
    do throws(LMDBError) {
      transaction = try opened.environment.beginRead()
    } catch {
      throw StorageFailure(error)
    }
  }

  /// Ends the read transaction, on the thread that began it.
  func close() { transaction = nil }

  func withTransaction<R>(_ body: (borrowing ReadTransaction) throws(LMDBError) -> R) throws(RowError) -> R {
    switch transaction {
    case .some(let transaction):
      do throws(LMDBError) {
        return try body(transaction)
      } catch {
        throw .environment(error.description)
      }
    case .none: throw .environment("the snapshot was closed")
    }
  }

  /// The meta row of this snapshot.
  func state() throws(RowError) -> GenerationState {
    let stored = try withTransaction { (transaction) throws(LMDBError) in
      try transaction.withValue(opened.meta, Generation.metaKey) { GenerationState.decode($0) }
    }
    guard case .state(let state) = stored else { throw .malformedRow(table: opened.meta.name) }
    return state
  }

  /// The changes after `sequence`, at most `countMax`, and the last one's number.
  func changes(after sequence: UInt64, countMax: Int) throws(RowError) -> (units: Set<UInt64>, last: UInt64) {
    var units: Set<UInt64> = []
    var last = sequence
    try withTransaction { (transaction) throws(LMDBError) in
      try transaction.withCursor(opened.changes.handle) { (cursor) throws(LMDBError) in
        var isThere = try (sequence + 1).withLMDBBytes { (bytes) throws(LMDBError) in try cursor.seek(bytes) }
        var count = 0
        while isThere, count < countMax {
          cursor.withEntry { key, value in
            last = key.uint64(at: 0)
            units.insert(value.uint64(at: 0))
          }
          count += 1
          isThere = try cursor.next()
        }
      }
    }
    return (units, last)
  }

  func table(named name: String) throws(RowError) -> TableHandle? { opened.tables[name] }

  func read(table: TableHandle, key: RawSpan, _ body: (RawSpan) throws(RowError) -> Void) throws(RowError) -> Bool {
    var inner: RowError?
    let found = try withTransaction { (transaction) throws(LMDBError) in
      try readRow(transaction, table, key, body, &inner)
    }
    if let inner { throw inner }
    return found
  }

  func scan(
    table: TableHandle, prefix: [UInt8], from start: [UInt8], _ body: (RawSpan, RawSpan) throws(RowError) -> Bool
  ) throws(RowError) {
    var inner: RowError?
    try withTransaction { (transaction) throws(LMDBError) in
      try scanRows(transaction, table, prefix, start, body, &inner)
    }
    if let inner { throw inner }
  }
}

private func readRow<T: Transaction & ~Copyable>(
  _ transaction: borrowing T, _ table: TableHandle, _ key: RawSpan, _ body: (RawSpan) throws(RowError) -> Void, _ inner: inout RowError?
) throws(LMDBError) -> Bool {
  try transaction.withBytes(table, key) { (value) throws(LMDBError) in
    do throws(RowError) {
      try body(value)
    } catch {
      inner = error
    }
    return true
  } ?? false
}

private func scanRows<T: Transaction & ~Copyable>(
  _ transaction: borrowing T, _ table: TableHandle, _ prefix: [UInt8], _ start: [UInt8],
  _ body: (RawSpan, RawSpan) throws(RowError) -> Bool, _ inner: inout RowError?
) throws(LMDBError) {
  try transaction.withCursor(table) { (cursor) throws(LMDBError) in
    // LMDB refuses to look for an empty key.
    var isThere = start.isEmpty ? try cursor.first() : try cursor.seek(start.rawSpan)
    while isThere {
      let goesOn = cursor.withEntry { key, value in
        guard key.hasPrefix(prefix.rawSpan) else { return false }
        do throws(RowError) {
          return try body(key, value)
        } catch {
          inner = error
          return false
        }
      }
      guard goesOn else { return }
      isThere = try cursor.next()
    }
  }
}
