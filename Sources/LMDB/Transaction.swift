// Transactions. A reader is borrowed inside a closure; a writer is owned, and ends exactly once: committing consumes it,
// and letting go of it aborts. Using it afterwards, or committing twice, does not compile.

public import Bytes
import CLMDB
import Glibc
import Threads

/// What every transaction can do: read.
public protocol Transaction: ~Copyable {
  /// The C handle, for this module.
  var handle: TransactionHandle { borrowing get }
}

/// A transaction's C handle, opaque outside of this module.
@safe public struct TransactionHandle {
  let pointer: OpaquePointer
}

/// A consistent, read-only state.
@safe public struct ReadTransaction: ~Copyable, Transaction {
  let pointer: OpaquePointer
  // Retained: the environment lives at least as long as its transactions. Unmanaged, because `discard` asks for trivially
  // destroyed properties.
  private let environment: Unmanaged<Environment>

  init(pointer: OpaquePointer, environment: Environment) {
    unsafe self.pointer = unsafe pointer
    unsafe self.environment = unsafe .passRetained(environment)
  }

  /// The C handle.
  public var handle: TransactionHandle { unsafe TransactionHandle(pointer: pointer) }

  /// Ends by committing, which a reader does only to publish a database handle.
  consuming func end() throws(LMDBError) {
    let transaction = unsafe pointer
    let environment = unsafe environment
    discard self
    defer { unsafe environment.takeRetainedValue().gate.leave() }
    try check(unsafe mdb_txn_commit(transaction), "mdb_txn_commit")
  }

  deinit {
    unsafe mdb_txn_abort(pointer)
    unsafe environment.takeRetainedValue().gate.leave()
  }
}

/// A write transaction. Committed exactly once, or aborted when it goes out of scope. It belongs to the thread that began
/// it: changing or ending it on another one traps, where the compiler does not refuse it before.
@safe public struct WriteTransaction: ~Copyable, Transaction {
  let pointer: OpaquePointer
  // Retained: the environment lives at least as long as its transactions. Unmanaged, because `discard` asks for trivially
  // destroyed properties.
  private let environment: Unmanaged<Environment>
  private let thread = pthread_self()

  init(pointer: OpaquePointer, environment: Environment) {
    unsafe self.pointer = unsafe pointer
    unsafe self.environment = unsafe .passRetained(environment)
  }

  /// The C handle.
  public var handle: TransactionHandle { unsafe TransactionHandle(pointer: pointer) }

  /// Makes all changes durable and visible, or none. `mdb_txn_commit` frees the handle whatever it answers, so `self` is
  /// given up first.
  ///
  /// - Throws: ``LMDBError``. After `mapFull` nothing has changed. After an error of the disk the outcome is *unknown*
  ///   until the environment is read again.
  public consuming func commit() throws(LMDBError) {
    checkThread()
    let transaction = unsafe pointer
    let environment = unsafe environment
    discard self
    defer { unsafe environment.takeRetainedValue().gate.leave() }
    try check(unsafe mdb_txn_commit(transaction), "mdb_txn_commit")
  }

  /// Gives all changes up.
  public consuming func abort() {}

  deinit {
    checkThread()
    unsafe mdb_txn_abort(pointer)
    unsafe environment.takeRetainedValue().gate.leave()
  }

  /// LMDB's writer lock is its thread's: used elsewhere, it would be unlocked by a stranger.
  borrowing func checkThread() {
    precondition(pthread_equal(thread, pthread_self()) != 0, "a write transaction is used on the thread that began it")
  }

  /// Opens a named database inside of this transaction; the handle is everybody's once it commits.
  public borrowing func openDatabase(_ name: String, create: Bool) throws(LMDBError) -> DatabaseHandle {
    var handle: MDB_dbi = 0
    try check(unsafe mdb_dbi_open(pointer, name, create ? UInt32(MDB_CREATE) : 0, &handle), "mdb_dbi_open")
    unsafe environment._withUnsafeGuaranteedRef { $0.remember(name, handle) }
    return handle
  }

  /// How a value is stored.
  public enum PutMode: Sendable {
    /// A value that is there is replaced.
    case upsert
    /// The key must be new: `keyExists` otherwise.
    case insert
    /// The key must sort after all others: fills pages, several times faster (`MDB_APPEND`).
    case append

    var flags: UInt32 {
      switch self {
      case .upsert: 0
      case .insert: UInt32(MDB_NOOVERWRITE)
      case .append: UInt32(MDB_APPEND)
      }
    }
  }

  /// Stores a value.
  public borrowing func put<Key: LMDBKey, Value: LMDBValue>(
    _ database: Database<Key, Value>, _ key: Key, _ value: Value, mode: PutMode = .upsert
  ) throws(LMDBError) {
    try key.withLMDBBytes { (keyBytes) throws(LMDBError) in
      try value.withLMDBBytes { (valueBytes) throws(LMDBError) in
        try putBytes(database.handle, keyBytes, valueBytes, mode: mode)
      }
    }
  }

  /// Stores bytes under bytes.
  public borrowing func putBytes(
    _ database: DatabaseHandle, _ key: RawSpan, _ value: RawSpan, mode: PutMode = .upsert
  ) throws(LMDBError) {
    checkThread()
    var code: Int32 = 0
    unsafe key.withUnsafeBytes { keyBytes in
      unsafe value.withUnsafeBytes { valueBytes in
        var mdbKey = unsafe MDB_val(mv_size: keyBytes.count, mv_data: UnsafeMutableRawPointer(mutating: keyBytes.baseAddress))
        var mdbValue = unsafe MDB_val(mv_size: valueBytes.count, mv_data: UnsafeMutableRawPointer(mutating: valueBytes.baseAddress))
        code = unsafe mdb_put(pointer, database, &mdbKey, &mdbValue, mode.flags)
      }
    }
    try check(code, "mdb_put")
  }

  /// Removes a key, and tells whether it was there.
  @discardableResult
  public borrowing func delete<Key: LMDBKey, Value: LMDBValue>(_ database: Database<Key, Value>, _ key: Key) throws(LMDBError) -> Bool {
    try key.withLMDBBytes { (bytes) throws(LMDBError) in try deleteBytes(database.handle, bytes) }
  }

  /// Removes a key given as bytes, and tells whether it was there.
  @discardableResult
  public borrowing func deleteBytes(_ database: DatabaseHandle, _ key: RawSpan) throws(LMDBError) -> Bool {
    checkThread()
    var code: Int32 = 0
    unsafe key.withUnsafeBytes { keyBytes in
      var mdbKey = unsafe MDB_val(mv_size: keyBytes.count, mv_data: UnsafeMutableRawPointer(mutating: keyBytes.baseAddress))
      code = unsafe mdb_del(pointer, database, &mdbKey, nil)
    }
    if code == MDB_NOTFOUND { return false }
    try check(code, "mdb_del")
    return true
  }

  /// Removes everything from a database.
  public borrowing func clear<Key: LMDBKey, Value: LMDBValue>(_ database: Database<Key, Value>) throws(LMDBError) {
    try check(unsafe mdb_drop(pointer, database.handle, 0), "mdb_drop")
  }
}

extension Transaction where Self: ~Copyable {
  /// A value, decoded; nil if the key is not there or its bytes are not such a value.
  public borrowing func get<Key: LMDBKey, Value: LMDBValue>(_ database: Database<Key, Value>, _ key: Key) throws(LMDBError) -> Value? {
    let found = try key.withLMDBBytes { (bytes) throws(LMDBError) in
      try withBytes(database.handle, bytes) { Value(lmdbBytes: $0) }
    }
    return found ?? nil
  }

  /// Hands a value's bytes to `body`, as they lie in the file; nil if the key is not there.
  public borrowing func withValue<Key: LMDBKey, Value: LMDBValue, R>(
    _ database: Database<Key, Value>, _ key: Key, _ body: (RawSpan) throws(LMDBError) -> R
  ) throws(LMDBError) -> R? {
    try key.withLMDBBytes { (bytes) throws(LMDBError) in try withBytes(database.handle, bytes, body) }
  }

  /// Hands the bytes stored under a key, given as bytes, to `body`; nil if the key is not there.
  public borrowing func withBytes<R>(
    _ database: DatabaseHandle, _ key: RawSpan, _ body: (RawSpan) throws(LMDBError) -> R
  ) throws(LMDBError) -> R? {
    var value = unsafe MDB_val()
    var code: Int32 = 0
    unsafe key.withUnsafeBytes { keyBytes in
      var mdbKey = unsafe MDB_val(mv_size: keyBytes.count, mv_data: UnsafeMutableRawPointer(mutating: keyBytes.baseAddress))
      unsafe code = mdb_get(handle.pointer, database, &mdbKey, &value)
    }
    if code == MDB_NOTFOUND { return nil }
    try check(code, "mdb_get")
    // The bytes are valid until the transaction ends or writes: the span does not leave the call.
    let span = unsafe RawSpan(_unsafeStart: UnsafeRawPointer(value.mv_data), byteCount: value.mv_size)
    return try body(span)
  }

  /// How many keys a database has.
  public borrowing func count<Key: LMDBKey, Value: LMDBValue>(_ database: Database<Key, Value>) throws(LMDBError) -> Int {
    var statistics = MDB_stat()
    try check(unsafe mdb_stat(handle.pointer, database.handle, &statistics), "mdb_stat")
    return statistics.ms_entries
  }

  /// Walks a database with a cursor.
  public borrowing func withCursor<R>(_ database: DatabaseHandle, _ body: (inout Cursor) throws(LMDBError) -> R) throws(LMDBError) -> R {
    var opened: OpaquePointer?
    try check(unsafe mdb_cursor_open(handle.pointer, database, &opened), "mdb_cursor_open")
    guard let pointer = unsafe opened else { throw LMDBError(ENOMEM, "mdb_cursor_open") }
    var cursor = unsafe Cursor(pointer: pointer)
    return try body(&cursor)
  }
}

// Look-ups by hash are the log's busiest. Generic code is not specialised across modules, and finding out at run time what
// its types are showed in the appender's profile.
extension ReadTransaction {
  /// A number by its hash; nil if the key is not there or its bytes are no number.
  public borrowing func get(_ database: Database<Hash128, UInt64>, _ key: Hash128) throws(LMDBError) -> UInt64? {
    var value = unsafe MDB_val()
    guard try unsafe find(database.handle, key, &value), unsafe value.mv_size == 8 else { return nil }
    return UInt64(bigEndian: unsafe value.mv_data.loadUnaligned(as: UInt64.self))
  }

  /// Two big-endian numbers by their hash; nil if the key is not there or its bytes are not two numbers.
  public borrowing func getPair(_ database: Database<Hash128, [UInt8]>, _ key: Hash128) throws(LMDBError) -> (UInt64, UInt64)? {
    var value = unsafe MDB_val()
    guard try unsafe find(database.handle, key, &value), unsafe value.mv_size == 16 else { return nil }
    return (
      UInt64(bigEndian: unsafe value.mv_data.loadUnaligned(as: UInt64.self)),
      UInt64(bigEndian: unsafe value.mv_data.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
    )
  }

  private borrowing func find(_ database: DatabaseHandle, _ key: Hash128, _ value: inout MDB_val) throws(LMDBError) -> Bool {
    var words = (key.high.bigEndian, key.low.bigEndian)
    var code: Int32 = 0
    unsafe withUnsafeMutableBytes(of: &words) { bytes in
      var mdbKey = unsafe MDB_val(mv_size: bytes.count, mv_data: bytes.baseAddress)
      unsafe code = mdb_get(pointer, database, &mdbKey, &value)
    }
    if code == MDB_NOTFOUND { return false }
    try check(code, "mdb_get")
    return true
  }
}

extension WriteTransaction {
  /// Stores a number under its hash.
  public borrowing func put(_ database: Database<Hash128, UInt64>, _ key: Hash128, _ value: UInt64) throws(LMDBError) {
    checkThread()
    var words = (key.high.bigEndian, key.low.bigEndian)
    var number = value.bigEndian
    var code: Int32 = 0
    unsafe withUnsafeMutableBytes(of: &words) { keyBytes in
      unsafe withUnsafeMutableBytes(of: &number) { valueBytes in
        var mdbKey = unsafe MDB_val(mv_size: keyBytes.count, mv_data: keyBytes.baseAddress)
        var mdbValue = unsafe MDB_val(mv_size: valueBytes.count, mv_data: valueBytes.baseAddress)
        code = unsafe mdb_put(pointer, database.handle, &mdbKey, &mdbValue, 0)
      }
    }
    try check(code, "mdb_put")
  }
}
