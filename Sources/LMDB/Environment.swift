// One LMDB environment: a directory with `data.mdb` and `lock.mdb`.
//
// Rules of LMDB 0.9.24 that this wrapper keeps for its callers:
// - One directory is open at most once in a process: POSIX locks of the second handle would fall with the first.
// - The map grows only while this process has no transaction in the environment; `gate` sees to that. If another process
//   grew it, the next transaction adopts the new size.
// - A write transaction belongs to its thread; a read transaction (MDB_NOTLS) to the closure it is given to.
// - Full durability unless asked otherwise: never MDB_WRITEMAP, which dies with SIGBUS on a full disk.
// - Readers of processes that died are cleared at opening and when asked.

import CLMDB
import Glibc
import Synchronization
import Threads

/// An open environment. Close it by letting go of it.
@safe public final class Environment: @unchecked Sendable {
  // `pointer` never changes and LMDB's environments are safe to share between threads; growing is behind `gate`.
  let pointer: OpaquePointer
  let gate = Gate()
  private let directory: DirectoryIdentity
  /// The directory.
  public let path: String

  /// How an environment is opened.
  public struct Options: Sendable {
    /// The size the map starts with; it grows by doubling when needed.
    public var mapByteCount: Int
    /// How many named databases there may be.
    public var databaseCountMax: Int
    /// How many readers there may be at once, over all processes.
    public var readerCountMax: Int
    /// Opens without the right to write.
    public var isReadOnly: Bool
    /// Commits without waiting for the disk. For data that can be made again, in tests and throw-away builds.
    public var isVolatile: Bool

    /// The defaults: 256 MiB to begin with, durable.
    public init(
      mapByteCount: Int = 256 << 20, databaseCountMax: Int = 16, readerCountMax: Int = 126, isReadOnly: Bool = false,
      isVolatile: Bool = false
    ) {
      self.mapByteCount = mapByteCount
      self.databaseCountMax = databaseCountMax
      self.readerCountMax = readerCountMax
      self.isReadOnly = isReadOnly
      self.isVolatile = isVolatile
    }
  }

  /// Opens the environment in an existing directory, and creates its files if need be (mode 0600).
  ///
  /// - Throws: ``LMDBError`` of kind `alreadyOpen` if this process has it open; else what `mdb_env_open` answers.
  public init(path: String, options: Options = Options()) throws(LMDBError) {
    let identity = try DirectoryIdentity(path: path)
    guard openDirectories.withLock({ $0.insert(identity).inserted }) else {
      throw LMDBError(kind: .alreadyOpen, operation: "mdb_env_open")
    }
    do throws(LMDBError) {
      unsafe pointer = unsafe try Self.open(path: path, options: options)
    } catch {
      _ = openDirectories.withLock { $0.remove(identity) }
      throw error
    }
    directory = identity
    self.path = path
    _ = try clearStaleReaders()
  }

  private static func open(path: String, options: Options) throws(LMDBError) -> OpaquePointer {
    var created: OpaquePointer?
    try check(unsafe mdb_env_create(&created), "mdb_env_create")
    guard let env = unsafe created else { throw LMDBError(ENOMEM, "mdb_env_create") }
    do throws(LMDBError) {
      try check(unsafe mdb_env_set_maxdbs(env, MDB_dbi(options.databaseCountMax)), "mdb_env_set_maxdbs")
      try check(unsafe mdb_env_set_maxreaders(env, UInt32(options.readerCountMax)), "mdb_env_set_maxreaders")
      let pageByteCount = 4_096
      let mapByteCount = (options.mapByteCount + pageByteCount - 1) / pageByteCount * pageByteCount
      try check(unsafe mdb_env_set_mapsize(env, mapByteCount), "mdb_env_set_mapsize")
      var flags = UInt32(MDB_NOTLS)
      if options.isReadOnly { flags |= UInt32(MDB_RDONLY) }
      if options.isVolatile { flags |= UInt32(MDB_NOSYNC | MDB_NOMETASYNC) }
      try check(unsafe mdb_env_open(env, path, flags, 0o600), "mdb_env_open")
    } catch {
      unsafe mdb_env_close(env)
      throw error
    }
    return unsafe env
  }

  deinit {
    unsafe mdb_env_close(pointer)
    _ = openDirectories.withLock { $0.remove(directory) }
  }

  /// Sizes, as `mdb_env_info` and `mdb_env_stat` tell them.
  public struct Info: Equatable, Sendable {
    /// The map's size in bytes.
    public var mapByteCount: Int
    /// Bytes of the file that have ever been used.
    public var usedByteCount: Int
    /// The last committed transaction.
    public var lastTransaction: Int
    /// Reader slots in use.
    public var readerCount: Int
  }

  /// Sizes now.
  public var info: Info {
    var info = unsafe MDB_envinfo()
    var stat = MDB_stat()
    unsafe mdb_env_info(pointer, &info)
    unsafe mdb_env_stat(pointer, &stat)
    return unsafe Info(
      mapByteCount: info.me_mapsize, usedByteCount: (info.me_last_pgno + 1) * Int(stat.ms_psize), lastTransaction: info.me_last_txnid,
      readerCount: Int(info.me_numreaders))
  }

  /// Clears the slots of readers whose processes died (`mdb_reader_check`), and tells how many there were.
  @discardableResult
  public func clearStaleReaders() throws(LMDBError) -> Int {
    var dead: Int32 = 0
    try check(unsafe mdb_reader_check(pointer, &dead), "mdb_reader_check")
    return Int(dead)
  }

  /// Makes the map large enough for `byteCount` more bytes, twice over, since copied pages need room too. Waits for this
  /// process's transactions to end: the calling thread must hold none.
  public func ensureRoom(for byteCount: Int) throws(LMDBError) {
    let info = info
    let needed = info.usedByteCount + 2 * byteCount + (1 << 20)
    guard needed > info.mapByteCount else { return }
    var target = info.mapByteCount
    while target < needed { target *= 2 }
    try setMapByteCount(target)
  }

  /// Doubles the map: the answer to `mapFull`. The calling thread must hold no transaction.
  public func growMap() throws(LMDBError) {
    try setMapByteCount(info.mapByteCount * 2)
  }

  private func setMapByteCount(_ byteCount: Int) throws(LMDBError) {
    gate.enterAlone()
    defer { gate.leave() }
    // Zero adopts what another process set; one of ours may have grown it further meanwhile.
    if byteCount != 0, info.mapByteCount >= byteCount { return }
    try check(unsafe mdb_env_set_mapsize(pointer, byteCount), "mdb_env_set_mapsize")
  }

  func begin(parent: OpaquePointer? = nil, isReadOnly: Bool) throws(LMDBError) -> OpaquePointer {
    while true {
      gate.enterShared()
      var created: OpaquePointer?
      let code = unsafe mdb_txn_begin(pointer, parent, isReadOnly ? UInt32(MDB_RDONLY) : 0, &created)
      if code == MDB_SUCCESS, let transaction = unsafe created { return unsafe transaction }
      gate.leave()
      guard code == MDB_MAP_RESIZED else { throw LMDBError(code, "mdb_txn_begin") }
      try setMapByteCount(0)
    }
  }

  /// Reads a consistent state. Keep it short: an open reader stops pages from being used again.
  ///
  /// The transaction is borrowed, so the compiler sees to it that it does not leave the closure.
  public func read<R>(_ body: (borrowing ReadTransaction) throws(LMDBError) -> R) throws(LMDBError) -> R {
    let transaction = unsafe ReadTransaction(pointer: try begin(isReadOnly: true), environment: self)
    return try body(transaction)
  }

  /// Begins a read transaction that its owner ends by letting go of it. For callers whose closures would throw errors of
  /// their own; keep it within one function.
  @available(*, noasync, message: "no transaction may wait for a task; call this from a thread of your own")
  public func beginRead() throws(LMDBError) -> ReadTransaction {
    unsafe ReadTransaction(pointer: try begin(isReadOnly: true), environment: self)
  }

  /// Writes, and commits when `body` returns; an error aborts. If the map is full it grows and `body` runs again, so it
  /// must have no effect outside of the transaction.
  ///
  /// When this returns, the data are on the disk (unless the environment is volatile).
  public func write<R>(_ body: (borrowing WriteTransaction) throws(LMDBError) -> R) throws(LMDBError) -> R {
    while true {
      do throws(LMDBError) {
        let transaction = try beginWrite()
        let result = try body(transaction)
        try transaction.commit()
        return result
      } catch {
        guard error.kind == .mapFull else { throw error }
      }
      try growMap()
    }
  }

  /// Begins a write transaction, waiting for another one to end. Use and end it on this thread.
  @available(*, noasync, message: "a write transaction belongs to its thread; call this from a thread of your own")
  public func beginWrite() throws(LMDBError) -> WriteTransaction {
    unsafe WriteTransaction(pointer: try begin(isReadOnly: false), environment: self)
  }

  /// Opens a named database, and creates it if it is not there.
  public func database<Key: LMDBKey, Value: LMDBValue>(
    _ name: String, _ key: Key.Type, _ value: Value.Type
  ) throws(LMDBError) -> Database<Key, Value> {
    try write { (transaction) throws(LMDBError) in
      Database(handle: try transaction.openDatabase(name, create: true), name: name)
    }
  }

  /// Opens a named database if it is there, without writing.
  public func existingDatabase<Key: LMDBKey, Value: LMDBValue>(
    _ name: String, _ key: Key.Type, _ value: Value.Type
  ) throws(LMDBError) -> Database<Key, Value>? {
    // A handle opened in a read transaction becomes everybody's when that commits.
    let transaction = unsafe ReadTransaction(pointer: try begin(isReadOnly: true), environment: self)
    var handle: MDB_dbi = 0
    let code = unsafe mdb_dbi_open(transaction.pointer, name, 0, &handle)
    if code == MDB_NOTFOUND { return nil }
    try check(code, "mdb_dbi_open")
    try transaction.end()
    return Database(handle: handle, name: name)
  }

  /// Copies the environment, compacted, into an empty directory (`mdb_env_copy2` with `MDB_CP_COMPACT`). A long reader.
  public func copyCompact(to path: String) throws(LMDBError) {
    gate.enterShared()
    defer { gate.leave() }
    try check(unsafe mdb_env_copy2(pointer, path, UInt32(MDB_CP_COMPACT)), "mdb_env_copy2")
  }
}

/// A directory, however it is named.
private struct DirectoryIdentity: Hashable, Sendable {
  let device: UInt
  let inode: UInt

  init(path: String) throws(LMDBError) {
    var status = stat()
    guard unsafe stat(path, &status) == 0 else { throw LMDBError(errno, "stat") }
    device = UInt(status.st_dev)
    inode = UInt(status.st_ino)
  }
}

private let openDirectories = Mutex<Set<DirectoryIdentity>>([])
