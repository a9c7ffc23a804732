// An environment as the world treats it: full maps, other processes, damaged files, no permission.

import Bytes
import Glibc
import LMDB
import Testing
import Threads

@Suite struct MapGrowthTests {
  private let scratch = Scratch()

  private func fill(_ environment: Environment, _ table: Database<UInt64, [UInt8]>, megabytes: UInt64) throws(LMDBError) -> Int {
    var runs = 0
    try environment.write { (transaction) throws(LMDBError) in
      runs += 1
      for key in 0..<megabytes * 16 {
        try transaction.put(table, key, [UInt8](repeating: UInt8(truncatingIfNeeded: key), count: 64 * 1024))
      }
    }
    return runs
  }

  @Test func `a map that cannot grow is an error with advice, and everything goes on as before`() throws {
    let environment = try scratch.open(mapByteCount: 1 << 20)
    let table = try environment.database("t", UInt64.self, [UInt8].self)
    try environment.write { (transaction) throws(LMDBError) in try transaction.put(table, 1, [1]) }
    // More than the 128 TiB that a process may map.
    let error = #expect(throws: LMDBError.self) { try environment.ensureRoom(for: 1 << 46) }
    #expect(error?.kind == .noMemory)
    #expect(error?.description.contains("raise the process's limit") == true)
    #expect(environment.info.mapByteCount == 1 << 20)
    #expect(try environment.read { (transaction) throws(LMDBError) in try transaction.get(table, 1) } == [1])
    try environment.write { (transaction) throws(LMDBError) in try transaction.put(table, 2, [2]) }
    try environment.growMap()
    #expect(environment.info.mapByteCount == 2 << 20)
    #expect(try environment.read { (transaction) throws(LMDBError) in try transaction.count(table) } == 2)
  }

  @Test func `a write that does not fit grows the map and runs again, and is there once`() throws {
    let environment = try scratch.open(mapByteCount: 1 << 20)
    let table = try environment.database("t", UInt64.self, [UInt8].self)
    let runs = try fill(environment, table, megabytes: 5)
    #expect(runs > 1)
    #expect(environment.info.mapByteCount >= 5 << 20)
    let read = try environment.read { (transaction) throws(LMDBError) in
      (try transaction.count(table), try transaction.get(table, 79)?.last)
    }
    #expect(read == (80, 79))
  }

  @Test func `a transaction of one's own meets mapFull, and nothing of it stays`() throws {
    let environment = try scratch.open(mapByteCount: 1 << 20)
    let table = try environment.database("t", UInt64.self, [UInt8].self)
    let error = #expect(throws: LMDBError.self) {
      let transaction = try environment.beginWrite()
      for key in 0..<100 as Range<UInt64> { try transaction.put(table, key, [UInt8](repeating: 1, count: 64 * 1024)) }
      try transaction.commit()
    }
    #expect(error?.kind == .mapFull)
    #expect(try environment.read { (transaction) throws(LMDBError) in try transaction.count(table) } == 0)
    let before = environment.info.mapByteCount
    try environment.growMap()
    #expect(environment.info.mapByteCount == before * 2)
  }

  @Test func `room that was asked for beforehand is there`() throws {
    let environment = try scratch.open(mapByteCount: 1 << 20)
    let table = try environment.database("t", UInt64.self, [UInt8].self)
    try environment.ensureRoom(for: 6 << 20)
    let grown = environment.info.mapByteCount
    #expect(grown >= 6 << 20)
    let runs = try fill(environment, table, megabytes: 5)
    #expect(runs == 1)
    #expect(environment.info.mapByteCount == grown)
    try environment.ensureRoom(for: 0)
    #expect(environment.info.mapByteCount == grown)
  }

  @Test(.timeLimit(.minutes(1))) func `growing waits for readers, who read on`() throws {
    let environment = try scratch.open(mapByteCount: 1 << 20)
    let table = try environment.database("t", UInt64.self, [UInt8].self)
    try environment.write { (transaction) throws(LMDBError) in try transaction.put(table, 0, [7]) }
    let isReading = Monitor(false)
    let reader = NamedThread(name: "reader") {
      do {
        for _ in 0..<200 {
          let value = try environment.read { (transaction) throws(LMDBError) in
            isReading.signal { $0 = true }
            usleep(200)
            return try transaction.withValue(table, 0) { $0.byteCount }
          }
          if value == nil { Issue.record("the value is gone") }
        }
      } catch { Issue.record(error) }
    }
    isReading.wait { $0 ? () : nil }
    for _ in 0..<4 { try environment.growMap() }
    reader.join()
    #expect(environment.info.mapByteCount == 16 << 20)
  }

  @Test(.timeLimit(.minutes(2)), arguments: [true, false])
  func `growth by another process is adopted`(byReading: Bool) async throws {
    let environment = try scratch.open(mapByteCount: 1 << 20)
    let table = try environment.database("t", UInt64.self, [UInt8].self)
    await #expect(processExitsWith: .success) { [path = scratch.path as String] in
      let environment = try Environment(path: path, options: .init(mapByteCount: 1 << 20, isVolatile: true))
      let table = try environment.database("t", UInt64.self, [UInt8].self)
      try environment.write { (transaction) throws(LMDBError) in
        for key in 0..<80 as Range<UInt64> { try transaction.put(table, key, [UInt8](repeating: 3, count: 64 * 1024)) }
      }
    }
    #expect(environment.info.mapByteCount == 1 << 20)
    if !byReading {
      try environment.write { (transaction) throws(LMDBError) in try transaction.put(table, 80, [4]) }
    }
    let read = try environment.read { (transaction) throws(LMDBError) in
      (try transaction.count(table), try transaction.get(table, 79)?.count)
    }
    #expect(read == (byReading ? 80 : 81, 64 * 1024))
    #expect(environment.info.mapByteCount >= 5 << 20)
  }

  @Test func `an environment larger than the size it is opened with opens`() throws {
    do {
      let environment = try scratch.open(mapByteCount: 1 << 20)
      _ = try fill(environment, try environment.database("t", UInt64.self, [UInt8].self), megabytes: 5)
    }
    let environment = try scratch.open(mapByteCount: 64 * 1024)
    let table = try environment.database("t", UInt64.self, [UInt8].self)
    #expect(try environment.read { (transaction) throws(LMDBError) in try transaction.count(table) } == 80)
    try environment.write { (transaction) throws(LMDBError) in try transaction.put(table, 1_000, [UInt8](repeating: 1, count: 1 << 20)) }
  }
}

@Suite struct EnvironmentTests {
  private let scratch = Scratch()

  @Test func `what is committed is there in the next environment`() throws {
    do {
      let environment = try Environment(path: scratch.path)
      let table = try environment.database("t", UInt64.self, String.self)
      try environment.write { (transaction) throws(LMDBError) in try transaction.put(table, 1, "uno") }
      #expect(environment.path == scratch.path)
      #expect(environment.info.lastTransaction >= 2 && environment.info.usedByteCount > 0)
    }
    let environment = try Environment(path: scratch.path)
    let table = try #require(try environment.existingDatabase("t", UInt64.self, String.self))
    #expect(try environment.read { (transaction) throws(LMDBError) in try transaction.get(table, 1) } == "uno")
  }

  @Test func `a directory is open once, however it is named, and free when let go of`() throws {
    let link = scratch.path + "-link"
    #expect(unsafe symlink(scratch.path, link) == 0)
    defer { unsafe unlink(link) }
    var environment: Environment? = try scratch.open()
    for path in [scratch.path, scratch.path + "/", scratch.path + "/.", link] {
      let error = #expect(throws: LMDBError.self) { try Environment(path: path) }
      #expect(error?.kind == .alreadyOpen, "\(path)")
    }
    #expect(environment != nil)
    environment = nil
    let again = try Environment(path: link)
    #expect(again.info.readerCount == 0)
  }

  @Test func `an opening that fails leaves the directory free`() throws {
    try writeFile(scratch.path + "/data.mdb", [UInt8](repeating: 0x41, count: 8_192))
    #expect(throws: LMDBError.self) { try scratch.open() }
    unsafe unlink(scratch.path + "/data.mdb")
    _ = try scratch.open()
  }

  @Test func `a transaction keeps its environment alive`() throws {
    var environment: Environment? = try scratch.open()
    let table = try #require(environment).database("t", UInt64.self, String.self)
    let transaction = try #require(environment).beginWrite()
    environment = nil
    #expect(throws: LMDBError.self) { try scratch.open() }
    try transaction.put(table, 1, "uno")
    try transaction.commit()
    _ = try scratch.open()
  }

  @Test func `a file that is not LMDB's is foreign`() throws {
    try writeFile(scratch.path + "/data.mdb", [UInt8](repeating: 0x41, count: 8_192))
    let error = #expect(throws: LMDBError.self) { try scratch.open() }
    #expect(error?.kind == .foreignFile && error?.operation == "mdb_env_open")
  }

  @Test func `a file that was cut off is foreign`() throws {
    try writeFile(scratch.path + "/data.mdb", [UInt8](repeating: 0, count: 10))
    let error = #expect(throws: LMDBError.self) { try scratch.open() }
    #expect(error?.kind == .foreignFile)
  }

  @Test func `a directory that is not there, or a file in its place, is not found`() throws {
    #expect(#expect(throws: LMDBError.self) { try Environment(path: scratch.path + "/none") }?.kind == .notFound)
    let file = scratch.path + "/data.mdb"
    try writeFile(file, [])
    #expect(#expect(throws: LMDBError.self) { try Environment(path: file) }?.kind == .notFound)
  }

  @Test func `a read-only environment reads and refuses to write`() throws {
    do {
      let environment = try scratch.open()
      let table = try environment.database("t", UInt64.self, String.self)
      try environment.write { (transaction) throws(LMDBError) in try transaction.put(table, 1, "uno") }
    }
    let environment = try scratch.open(isReadOnly: true)
    let table = try #require(try environment.existingDatabase("t", UInt64.self, String.self))
    #expect(try environment.read { (transaction) throws(LMDBError) in try transaction.get(table, 1) } == "uno")
    let error = #expect(throws: LMDBError.self) {
      try environment.write { (transaction) throws(LMDBError) in try transaction.put(table, 1, "dos") }
    }
    #expect(error?.kind == .permission)
    #expect(#expect(throws: LMDBError.self) { try environment.database("u", UInt64.self, String.self) }?.kind == .permission)
    #expect(try environment.read { (transaction) throws(LMDBError) in try transaction.get(table, 1) } == "uno")
  }

  @Test func `a read-only environment makes no files`() throws {
    let error = #expect(throws: LMDBError.self) { try scratch.open(isReadOnly: true) }
    #expect(error?.kind == .notFound)
  }

  @Test(.enabled(if: getuid() == 0, "only root can become somebody else"))
  func `somebody else's directory is a matter of permission`() async throws {
    do { _ = try scratch.open() }
    await #expect(processExitsWith: .exitCode(17)) { [path = scratch.path as String] in
      guard setgid(65_534) == 0, setuid(65_534) == 0 else { exit(19) }
      do throws(LMDBError) {
        _ = try Environment(path: path)
      } catch {
        exit(error.kind == .permission ? 17 : 18)
      }
    }
  }

  @Test(.timeLimit(.minutes(1))) func `the readers of a process that was killed are cleared`() async throws {
    let environment = try scratch.open()
    let table = try environment.database("t", UInt64.self, String.self)
    await #expect(processExitsWith: .signal(SIGKILL)) { [path = scratch.path as String] in
      let environment = try Environment(path: path, options: .init(isVolatile: true))
      try environment.read { (_) throws(LMDBError) in _ = kill(getpid(), SIGKILL) }
    }
    #expect(try environment.clearStaleReaders() == 1)
    #expect(try environment.clearStaleReaders() == 0)
    try environment.write { (transaction) throws(LMDBError) in try transaction.put(table, 1, "uno") }
  }

  @Test func `more readers than there are slots are refused, and a slot that is free is used again`() throws {
    let environment = try Environment(path: scratch.path, options: .init(readerCountMax: 2, isVolatile: true))
    let first = try environment.beginRead()
    let second = try environment.beginRead()
    #expect(environment.info.readerCount == 2)
    let error = #expect(throws: LMDBError.self) { _ = try environment.beginRead() }
    #expect(error?.kind == .readersFull)
    end(first)
    let third = try environment.beginRead()
    end(second)
    end(third)
    #expect(environment.info.readerCount == 2)
  }

  @Test func `a copy is compact and holds everything`() throws {
    let environment = try scratch.open()
    let table = try environment.database("t", UInt64.self, [UInt8].self)
    for round in 0..<5 as Range<UInt8> {
      try environment.write { (transaction) throws(LMDBError) in
        for key in 0..<50 as Range<UInt64> { try transaction.put(table, key, [UInt8](repeating: round, count: 10_000)) }
      }
    }
    let target = Scratch()
    try environment.copyCompact(to: target.path)
    let copy = try target.open()
    #expect(copy.info.usedByteCount < environment.info.usedByteCount)
    let copied = try #require(try copy.existingDatabase("t", UInt64.self, [UInt8].self))
    #expect(try copy.read { (transaction) throws(LMDBError) in try transaction.get(copied, 49) } == [UInt8](repeating: 4, count: 10_000))
    #expect(throws: LMDBError.self) { try environment.copyCompact(to: target.path) }
  }
}

/// A reader ends when it is let go of.
private func end(_ transaction: consuming ReadTransaction) {}

private func writeFile(_ path: String, _ bytes: [UInt8]) throws {
  let file = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
  defer { close(file) }
  let written = unsafe write(file, bytes, bytes.count)
  try #require(written == bytes.count)
}
