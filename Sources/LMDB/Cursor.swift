// A position in a database, inside of one transaction.

import Bytes
import CLMDB
import Glibc

/// Walks keys in byte order. Lives inside the closure it is given to.
@safe public struct Cursor: ~Copyable {
  let pointer: OpaquePointer
  private var key = unsafe MDB_val()
  private var value = unsafe MDB_val()

  init(pointer: OpaquePointer) { unsafe self.pointer = pointer }

  deinit { unsafe mdb_cursor_close(pointer) }

  private mutating func move(_ operation: MDB_cursor_op) throws(LMDBError) -> Bool {
    try answer(unsafe mdb_cursor_get(pointer, &key, &value, operation))
  }

  /// After a move that found nothing there is no entry: `key` may still point at a caller's bytes, which will be gone.
  private mutating func answer(_ code: Int32) throws(LMDBError) -> Bool {
    if code == MDB_SUCCESS { return true }
    unsafe key = MDB_val()
    unsafe value = MDB_val()
    if code == MDB_NOTFOUND { return false }
    throw LMDBError(code, "mdb_cursor_get")
  }

  /// Goes to the first key; false if there is none.
  public mutating func first() throws(LMDBError) -> Bool { try move(MDB_FIRST) }
  /// Goes to the last key; false if there is none.
  public mutating func last() throws(LMDBError) -> Bool { try move(MDB_LAST) }
  /// Goes to the next key (the first, if the cursor is new); false at the end.
  public mutating func next() throws(LMDBError) -> Bool { try move(MDB_NEXT) }
  /// Goes to the previous key (the last, if the cursor is new); false at the beginning.
  public mutating func previous() throws(LMDBError) -> Bool { try move(MDB_PREV) }

  /// Goes to the first key that is `bytes` or sorts after it; false if there is none.
  public mutating func seek(_ bytes: RawSpan) throws(LMDBError) -> Bool {
    var code: Int32 = 0
    unsafe bytes.withUnsafeBytes { buffer in
      unsafe key = MDB_val(mv_size: buffer.count, mv_data: UnsafeMutableRawPointer(mutating: buffer.baseAddress))
      code = unsafe mdb_cursor_get(pointer, &key, &value, MDB_SET_RANGE)
    }
    return try answer(code)
  }

  /// Goes to the last key that is `bytes` or sorts before it; false if there is none.
  public mutating func seekAtOrBefore(_ bytes: RawSpan) throws(LMDBError) -> Bool {
    guard try seek(bytes) else { return try last() }
    let isExact = withKey { $0.isEqual(to: bytes) }
    return try isExact ? true : previous()
  }

  /// Removes the key the cursor is at.
  public mutating func delete() throws(LMDBError) {
    try check(unsafe mdb_cursor_del(pointer, 0), "mdb_cursor_del")
  }

  /// Hands the key's bytes to `body`. Only after a move that answered true.
  public borrowing func withKey<R, E: Error>(_ body: (RawSpan) throws(E) -> R) throws(E) -> R {
    let span = unsafe RawSpan(_unsafeStart: UnsafeRawPointer(key.mv_data), byteCount: key.mv_size)
    return try body(span)
  }

  /// Hands key and value to `body`, as they lie in the file. Only after a move that answered true.
  public borrowing func withEntry<R, E: Error>(_ body: (_ key: RawSpan, _ value: RawSpan) throws(E) -> R) throws(E) -> R {
    let keySpan = unsafe RawSpan(_unsafeStart: UnsafeRawPointer(key.mv_data), byteCount: key.mv_size)
    let valueSpan = unsafe RawSpan(_unsafeStart: UnsafeRawPointer(value.mv_data), byteCount: value.mv_size)
    return try body(keySpan, valueSpan)
  }
}

/// A place in a database where rows are written one behind the other: in key order it walks the tree once, where a `put`
/// each would search from the root. Lives inside the closure it is given to.
@safe public struct WriteCursor: ~Copyable {
  let pointer: OpaquePointer

  init(pointer: OpaquePointer) { unsafe self.pointer = pointer }

  deinit { unsafe mdb_cursor_close(pointer) }

  /// Stores bytes under bytes (`mdb_cursor_put`).
  public mutating func put(_ key: RawSpan, _ value: RawSpan, mode: WriteTransaction.PutMode = .upsert) throws(LMDBError) {
    var code: Int32 = 0
    unsafe key.withUnsafeBytes { keyBytes in
      unsafe value.withUnsafeBytes { valueBytes in
        var mdbKey = unsafe MDB_val(mv_size: keyBytes.count, mv_data: UnsafeMutableRawPointer(mutating: keyBytes.baseAddress))
        var mdbValue = unsafe MDB_val(mv_size: valueBytes.count, mv_data: UnsafeMutableRawPointer(mutating: valueBytes.baseAddress))
        code = unsafe mdb_cursor_put(pointer, &mdbKey, &mdbValue, mode.flags)
      }
    }
    try check(code, "mdb_cursor_put")
  }

  /// Removes a key, and tells whether it was there.
  @discardableResult
  public mutating func delete(_ key: RawSpan) throws(LMDBError) -> Bool {
    var code: Int32 = 0
    unsafe key.withUnsafeBytes { bytes in
      var mdbKey = unsafe MDB_val(mv_size: bytes.count, mv_data: UnsafeMutableRawPointer(mutating: bytes.baseAddress))
      var mdbValue = unsafe MDB_val()
      code = unsafe mdb_cursor_get(pointer, &mdbKey, &mdbValue, MDB_SET_KEY)
      if code == MDB_SUCCESS { code = unsafe mdb_cursor_del(pointer, 0) }
    }
    if code == MDB_NOTFOUND { return false }
    try check(code, "mdb_cursor_del")
    return true
  }
}

extension WriteTransaction {
  /// Writes to a database with a cursor. On the transaction's thread.
  public borrowing func withWriteCursor<R>(
    _ database: DatabaseHandle, _ body: (inout WriteCursor) throws(LMDBError) -> R
  ) throws(LMDBError) -> R {
    checkThread()
    var opened: OpaquePointer?
    try check(unsafe mdb_cursor_open(pointer, database, &opened), "mdb_cursor_open")
    guard let pointer = unsafe opened else { throw LMDBError(ENOMEM, "mdb_cursor_open") }
    var cursor = unsafe WriteCursor(pointer: pointer)
    return try body(&cursor)
  }
}
