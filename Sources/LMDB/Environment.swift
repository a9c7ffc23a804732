// One LMDB environment: a directory with `data.mdb` and `lock.mdb`.
//
// Rules of LMDB 0.9.24 that this wrapper keeps for its callers:
// - One directory is open at most once in a process: POSIX locks of the second handle would fall with the first.
// - The map grows only while this process has no transaction in the environment; `gate` sees to that. If another process
//   grew it, the next transaction adopts the new size.
// - A write transaction belongs to its thread; a read transaction (MDB_NOTLS) to the closure it is given to.
// - Full durability unless asked otherwise: never MDB_WRITEMAP, which dies with SIGBUS on a full disk. The lock file, which
//   LMDB does map for writing, gets its blocks before it is mapped, for the same reason.
// - Readers of processes that died are cleared at opening and when asked.
// - What is read from a newly opened environment is on the disk, also if the process that wrote it was killed before it had
//   synced it; and so is the name of its file.
// - A meta page that could not be written (MDB_PANIC) makes LMDB refuse everything, reading too. The next transaction
//   closes the environment and opens it again in place (`reopen`): handles stay what they are, and nothing is written
//   before what the files show then is on the disk. So a panic is over as soon as the disk is well, without a restart.
// - A map that could not be enlarged leaves LMDB without any; the old size is mapped again.

import CLMDB
import Glibc
import Synchronization
import Threads

/// An open environment. Close it by letting go of it.
@safe public final class Environment: @unchecked Sendable {
  // LMDB's environments are safe to share between threads. Growing and opening again happen with `gate` held alone and
  // `state` locked; transactions hold `gate` shared, and what reads LMDB's own fields without one holds `state`.
  let gate = Gate()
  private let state: Mutex<State>
  private let directory: DirectoryIdentity
  private let options: Options
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
      state = Mutex(State(handle: try Self.open(path: path, options: options), isUnsynced: !options.isReadOnly && !options.isVolatile))
    } catch {
      _ = openDirectories.withLock { $0.remove(identity) }
      throw error
    }
    directory = identity
    self.path = path
    self.options = options
    _ = try clearStaleReaders()
    if !options.isReadOnly, !options.isVolatile { try Self.syncNames(in: path) }
    try locked { (state) throws(LMDBError) in try sync(&state) }
  }

  /// LMDB's handle. Whoever uses it sees to it that it is not closed meanwhile.
  @safe private struct Handle: @unchecked Sendable {
    let pointer: OpaquePointer
  }

  private struct State: Sendable {
    /// nil: it was closed after a failure, and could not be opened again yet.
    var handle: Handle?
    /// The databases that have been opened, so that they get the same handles again.
    var names: [DatabaseHandle: String] = [:]
    var reopenCount = 0
    /// What the files show was read at opening and is not known to be on the disk: nothing is written before it is.
    var isUnsynced: Bool
    /// Until when (monotonic, nanoseconds) the last failure to open stands for an attempt.
    var failure: (until: Int64, error: LMDBError)?
  }

  private static func open(path: String, options: Options) throws(LMDBError) -> Handle {
    if !options.isReadOnly { try allocateLockFile(path: path, readerCountMax: options.readerCountMax) }
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
    return unsafe Handle(pointer: env)
  }

  /// Makes the name of the data file durable, which LMDB does not: a file that is synced can still be lost with its name
  /// (fsync(2)). At each opening, since whoever made the file may have died before.
  private static func syncNames(in path: String) throws(LMDBError) {
    let directory = unsafe Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard directory >= 0 else { throw LMDBError(errno, "open") }
    defer { close(directory) }
    guard fsync(directory) == 0 else { throw LMDBError(errno, "fsync") }
  }

  /// Gives the lock file its blocks. LMDB makes it as a hole and writes to it through a map, which on a full disk ends the
  /// process (SIGBUS). Only while this process has not opened it: closing would let go of LMDB's locks (fcntl(2)).
  private static func allocateLockFile(path: String, readerCountMax: Int) throws(LMDBError) {
    let file = unsafe Glibc.open(path + "/lock.mdb", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    // Whatever is wrong, LMDB meets it again and says so.
    guard file >= 0 else { return }
    defer { close(file) }
    // LMDB's own size (mdb_env_setup_locks): from a larger one it would conclude that there are more slots.
    let code = posix_fallocate(file, 0, 128 + 64 * readerCountMax)
    if code == ENOSPC || code == EDQUOT { throw LMDBError(code, "posix_fallocate") }
  }

  deinit {
    state.withLock { state in
      if let handle = state.handle { unsafe mdb_env_close(handle.pointer) }
    }
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

    init(mapByteCount: Int = 0, usedByteCount: Int = 0, lastTransaction: Int = 0, readerCount: Int = 0) {
      self.mapByteCount = mapByteCount
      self.usedByteCount = usedByteCount
      self.lastTransaction = lastTransaction
      self.readerCount = readerCount
    }
  }

  /// Sizes now; zeros while the environment is closed after a failure.
  public var info: Info { state.withLock { $0.handle.map(Self.info) ?? Info() } }

  private static func info(_ handle: Handle) -> Info {
    var info = unsafe MDB_envinfo()
    var stat = MDB_stat()
    unsafe mdb_env_info(handle.pointer, &info)
    unsafe mdb_env_stat(handle.pointer, &stat)
    return unsafe Info(
      mapByteCount: info.me_mapsize, usedByteCount: (info.me_last_pgno + 1) * Int(stat.ms_psize), lastTransaction: info.me_last_txnid,
      readerCount: Int(info.me_numreaders))
  }

  /// Clears the slots of readers whose processes died (`mdb_reader_check`), and tells how many there were.
  @discardableResult
  public func clearStaleReaders() throws(LMDBError) -> Int {
    var dead: Int32 = 0
    let code = state.withLock { state in state.handle.map { unsafe mdb_reader_check($0.pointer, &dead) } ?? MDB_SUCCESS }
    try check(code, "mdb_reader_check")
    return Int(dead)
  }

  /// How many transactions were committed since the oldest open reader, of any process, began (`mdb_reader_list`); 0: no
  /// reader is open, or it sees the newest state. What it sees cannot be used again until it ends.
  public func oldestReaderTransactionCount() throws(LMDBError) -> Int {
    // The rows are texts: process, thread, and the transaction that is seen, or a dash.
    final class Rows { var oldest: Int? }
    let rows = Rows()
    let collect: @convention(c) (UnsafePointer<CChar>?, UnsafeMutableRawPointer?) -> Int32 = { message, context in
      guard let message = unsafe message, let context = unsafe context else { return 0 }
      let rows = unsafe Unmanaged<Rows>.fromOpaque(context).takeUnretainedValue()
      let fields = unsafe String(cString: message).split { $0 == " " || $0 == "\n" }
      guard fields.count == 3, let transaction = Int(fields[2]) else { return 0 }
      rows.oldest = min(rows.oldest ?? transaction, transaction)
      return 0
    }
    let code = state.withLock { state in
      state.handle.map { unsafe mdb_reader_list($0.pointer, collect, Unmanaged.passUnretained(rows).toOpaque()) } ?? MDB_SUCCESS
    }
    guard code >= 0 else { throw LMDBError(code, "mdb_reader_list") }
    return rows.oldest.map { max(0, info.lastTransaction - $0) } ?? 0
  }

  // MARK: Growing

  /// Makes the map large enough for `byteCount` more bytes, twice over, since copied pages need room too. Waits for this
  /// process's transactions to end: the calling thread must hold none.
  ///
  /// - Throws: ``LMDBError`` of kind `noMemory` if the process may not map that much; then everything is as it was.
  public func ensureRoom(for byteCount: Int) throws(LMDBError) {
    let info = info
    let needed = info.usedByteCount + 2 * byteCount + (1 << 20)
    guard info.mapByteCount > 0, needed > info.mapByteCount else { return }
    var target = info.mapByteCount
    while target < needed { target *= 2 }
    try setMapByteCount(target)
  }

  /// Doubles the map: the answer to `mapFull`. The calling thread must hold no transaction.
  ///
  /// - Throws: ``LMDBError`` of kind `noMemory` if the process may not map that much; then everything is as it was.
  public func growMap() throws(LMDBError) {
    try setMapByteCount(info.mapByteCount * 2)
  }

  private func setMapByteCount(_ byteCount: Int) throws(LMDBError) {
    gate.enterAlone()
    defer { gate.leave() }
    try locked { (state) throws(LMDBError) in
      guard let handle = state.handle else { return }
      let before = Self.info(handle).mapByteCount
      // Zero adopts what another process set; one of ours may have grown it further meanwhile.
      if byteCount != 0, before >= byteCount { return }
      let code = unsafe mdb_env_set_mapsize(handle.pointer, byteCount)
      guard code != MDB_SUCCESS else { return }
      // LMDB has let the old map go before it failed.
      try openAgain(&state, mapByteCount: before)
      throw LMDBError(code, "mdb_env_set_mapsize")
    }
  }

  // MARK: Opening again

  /// How often the environment was closed and opened again in place.
  public var reopenCount: Int { state.withLock { $0.reopenCount } }

  /// Closes and opens the environment in place, if nobody else has since `count`. The calling thread must hold no
  /// transaction; those of others are waited for.
  private func reopen(since count: Int) throws(LMDBError) {
    gate.enterAlone()
    defer { gate.leave() }
    try locked { (state) throws(LMDBError) in
      guard state.reopenCount == count else { return }
      if let failure = state.failure, MonotonicClock.nanoseconds() < failure.until { throw failure.error }
      do throws(LMDBError) {
        try openAgain(&state, mapByteCount: state.handle.map { Self.info($0).mapByteCount } ?? options.mapByteCount)
      } catch {
        state.failure = (MonotonicClock.nanoseconds() + 100_000_000, error)
        throw error
      }
    }
  }

  /// With `gate` held alone. Afterwards the environment is open and has its handles, or it is closed.
  private func openAgain(_ state: inout State, mapByteCount: Int) throws(LMDBError) {
    if let handle = state.handle.take() { unsafe mdb_env_close(handle.pointer) }
    var options = options
    options.mapByteCount = max(options.mapByteCount, mapByteCount)
    let handle = try Self.open(path: path, options: options)
    do throws(LMDBError) {
      try Self.openDatabases(state.names, handle)
    } catch {
      unsafe mdb_env_close(handle.pointer)
      throw error
    }
    // After a failed commit LMDB has put the old meta page back, or could not. Whichever the files show must be on the disk
    // before a page is written, since the next transaction uses the failed one's pages again. Reading need not wait.
    state.isUnsynced = !options.isReadOnly
    state.handle = handle
    state.failure = nil
    state.reopenCount += 1
  }

  /// Makes sure that what the files show is on the disk; after a commit that failed, this says whether its outcome is known.
  ///
  /// - Throws: ``LMDBError`` if the environment cannot be opened again, or the disk does not take what it has.
  public func settle() throws(LMDBError) {
    try read { (_) throws(LMDBError) in }
    try locked { (state) throws(LMDBError) in try sync(&state) }
  }

  private func sync(_ state: inout State) throws(LMDBError) {
    guard state.isUnsynced, let handle = state.handle else { return }
    try check(unsafe mdb_env_sync(handle.pointer, 1), "mdb_env_sync")
    state.isUnsynced = false
  }

  /// Opens the databases in the order of their handles, so that each gets its own again.
  private static func openDatabases(_ names: [DatabaseHandle: String], _ handle: Handle) throws(LMDBError) {
    var begun: OpaquePointer?
    try check(unsafe mdb_txn_begin(handle.pointer, nil, UInt32(MDB_RDONLY), &begun), "mdb_txn_begin")
    guard let transaction = unsafe begun else { throw LMDBError(ENOMEM, "mdb_txn_begin") }
    for (number, name) in names.sorted(by: { $0.key < $1.key }) {
      var given: MDB_dbi = 0
      let code = unsafe mdb_dbi_open(transaction, name, 0, &given)
      // One whose creation was not committed is not there, and nobody has its handle.
      if code == MDB_NOTFOUND { continue }
      guard code == MDB_SUCCESS, given == number else {
        unsafe mdb_txn_abort(transaction)
        throw LMDBError(code == MDB_SUCCESS ? MDB_BAD_DBI : code, "mdb_dbi_open")
      }
    }
    try check(unsafe mdb_txn_commit(transaction), "mdb_txn_commit")
  }

  /// `Mutex.withLock` with a typed error.
  private func locked(_ body: (inout State) throws(LMDBError) -> Void) throws(LMDBError) {
    try state.withLock { (state) throws(LMDBError) in try body(&state) }
  }

  func remember(_ name: String, _ handle: DatabaseHandle) { state.withLock { $0.names[handle] = name } }

  // MARK: Transactions

  func begin(isReadOnly: Bool) throws(LMDBError) -> OpaquePointer {
    var hasReopened = false
    while true {
      gate.enterShared()
      let (handle, count, isUnsynced) = state.withLock { ($0.handle, $0.reopenCount, $0.isUnsynced) }
      if isUnsynced, !isReadOnly {
        do throws(LMDBError) {
          try locked { (state) throws(LMDBError) in try sync(&state) }
        } catch {
          gate.leave()
          throw error
        }
      }
      var created: OpaquePointer?
      let code = handle.map { unsafe mdb_txn_begin($0.pointer, nil, isReadOnly ? UInt32(MDB_RDONLY) : 0, &created) } ?? MDB_PANIC
      if code == MDB_SUCCESS, let transaction = unsafe created { return unsafe transaction }
      gate.leave()
      switch code {
      case MDB_MAP_RESIZED: try setMapByteCount(0)
      case MDB_PANIC where !hasReopened:
        hasReopened = true
        try reopen(since: count)
      default: throw LMDBError(code, "mdb_txn_begin")
      }
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
    remember(name, handle)
    try transaction.end()
    return Database(handle: handle, name: name)
  }

  /// Copies the environment, compacted, into an empty directory (`mdb_env_copy2` with `MDB_CP_COMPACT`). A long reader.
  public func copyCompact(to path: String) throws(LMDBError) {
    gate.enterShared()
    defer { gate.leave() }
    let handle = state.withLock { $0.handle }
    try check(handle.map { unsafe mdb_env_copy2($0.pointer, path, UInt32(MDB_CP_COMPACT)) } ?? MDB_PANIC, "mdb_env_copy2")
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
