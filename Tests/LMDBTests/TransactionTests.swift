// What is put is there after the commit and only then, and each reader sees one state.

import Bytes
import Glibc
import LMDB
import Synchronization
import Testing
import Threads

@Suite struct TransactionTests {
  private let scratch: Scratch
  private let environment: Environment
  private let numbers: Database<UInt64, String>

  init() throws {
    scratch = Scratch()
    environment = try scratch.open()
    numbers = try environment.database("numbers", UInt64.self, String.self)
  }

  private func value(_ key: UInt64) throws -> String? {
    try environment.read { (transaction) throws(LMDBError) in try transaction.get(numbers, key) }
  }

  private func put(_ key: UInt64, _ value: String, mode: WriteTransaction.PutMode = .upsert) throws {
    try environment.write { (transaction) throws(LMDBError) in try transaction.put(numbers, key, value, mode: mode) }
  }

  @Test func `what is put is read, replaced and removed`() throws {
    #expect(try value(1) == nil)
    try put(1, "uno")
    try put(2, "dos")
    #expect(try value(1) == "uno")
    try put(1, "één")
    #expect(try value(1) == "één")
    let removed = try environment.write { (transaction) throws(LMDBError) in
      (try transaction.delete(numbers, 1), try transaction.delete(numbers, 9))
    }
    #expect(removed == (true, false))
    #expect(try value(1) == nil)
    #expect(try value(2) == "dos")
    #expect(try environment.read { (transaction) throws(LMDBError) in try transaction.count(numbers) } == 1)
    try environment.write { (transaction) throws(LMDBError) in try transaction.clear(numbers) }
    #expect(try environment.read { (transaction) throws(LMDBError) in try transaction.count(numbers) } == 0)
  }

  @Test func `an empty value is a value`() throws {
    try put(1, "")
    #expect(try value(1) == "")
    let length = try environment.read { (transaction) throws(LMDBError) in try transaction.withValue(numbers, 1) { $0.byteCount } }
    #expect(length == 0)
  }

  @Test func `a value of many pages is read whole`() throws {
    let bytes = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    let table = try environment.database("big", String.self, [UInt8].self)
    try environment.write { (transaction) throws(LMDBError) in try transaction.put(table, "ñ", bytes) }
    #expect(try environment.read { (transaction) throws(LMDBError) in try transaction.get(table, "ñ") } == bytes)
  }

  @Test func `two forms of é are two keys`() throws {
    let table = try environment.database("names", String.self, UInt64.self)
    try environment.write { (transaction) throws(LMDBError) in
      try transaction.put(table, "caf\u{e9}", 1, mode: .insert)
      try transaction.put(table, "cafe\u{301}", 2, mode: .insert)
    }
    let found = try environment.read { (transaction) throws(LMDBError) in
      (try transaction.get(table, "caf\u{e9}"), try transaction.get(table, "cafe\u{301}"))
    }
    #expect(found == (1, 2))
  }

  @Test func `keys of hashes and numbers come back, and bytes of another length do not`() throws {
    let hash = Hash128(high: 0x0102_0304_0506_0708, low: 0x090a_0b0c_0d0e_0f10)
    let hashes = try environment.database("hashes", Hash128.self, Hash128.self)
    try environment.write { (transaction) throws(LMDBError) in try transaction.put(hashes, hash, hash) }
    let raw = try environment.read { (transaction) throws(LMDBError) in
      (try transaction.get(hashes, hash), try transaction.withValue(hashes, hash) { [UInt8]($0) })
    }
    #expect(raw == (hash, Array(1...16)))
    let asNumbers = Database<Hash128, UInt64>(handle: hashes.handle, name: hashes.name)
    #expect(try environment.read { (transaction) throws(LMDBError) in try transaction.get(asNumbers, hash) } == nil)
  }

  @Test func `inserting what is there is refused and changes nothing`() throws {
    try put(1, "uno", mode: .insert)
    let error = #expect(throws: LMDBError.self) { try put(1, "dos", mode: .insert) }
    #expect(error?.kind == .keyExists && error?.operation == "mdb_put")
    #expect(try value(1) == "uno")
  }

  @Test func `appending out of order is refused and changes nothing`() throws {
    try environment.write { (transaction) throws(LMDBError) in
      for key in 1...1_000 as ClosedRange<UInt64> { try transaction.put(numbers, key, "v\(key)", mode: .append) }
    }
    for key in [1_000, 500, 0] as [UInt64] {
      let error = #expect(throws: LMDBError.self) { try put(key, "no", mode: .append) }
      #expect(error?.kind == .keyExists)
    }
    try put(1_001, "v1001", mode: .append)
    #expect(try value(1_000) == "v1000" && value(0) == nil && value(1_001) == "v1001")
  }

  @Test(arguments: [0, 512, 2_000])
  func `a key of no or too many bytes is refused`(byteCount: Int) throws {
    let table = try environment.database("bytes", [UInt8].self, [UInt8].self)
    let key = [UInt8](repeating: 7, count: byteCount)
    let error = #expect(throws: LMDBError.self) {
      try environment.write { (transaction) throws(LMDBError) in try transaction.put(table, key, []) }
    }
    #expect(error?.kind == .badSize)
    #expect(try environment.read { (transaction) throws(LMDBError) in try transaction.count(table) } == 0)
  }

  @Test(arguments: [1, 511])
  func `a key of the shortest and of the longest length is taken`(byteCount: Int) throws {
    let table = try environment.database("bytes", [UInt8].self, [UInt8].self)
    let key = [UInt8](repeating: 7, count: byteCount)
    try environment.write { (transaction) throws(LMDBError) in try transaction.put(table, key, [1]) }
    #expect(try environment.read { (transaction) throws(LMDBError) in try transaction.get(table, key) } == [1])
  }

  @Test func `an error in the body leaves nothing behind`() throws {
    try put(1, "uno")
    let planted = anyError()
    let thrown = #expect(throws: LMDBError.self) {
      try environment.write { (transaction) throws(LMDBError) in
        try transaction.put(numbers, 1, "changed")
        try transaction.put(numbers, 2, "new")
        throw planted
      }
    }
    #expect(thrown == planted)
    #expect(try value(1) == "uno" && value(2) == nil)
    try put(3, "tres")
    #expect(try value(3) == "tres")
  }

  @Test func `letting go of a writer, or giving it up, leaves nothing behind`() throws {
    do {
      let transaction = try environment.beginWrite()
      try transaction.put(numbers, 1, "lost")
    }
    let given = try environment.beginWrite()
    try given.put(numbers, 2, "lost")
    given.abort()
    #expect(try value(1) == nil && value(2) == nil)
    let kept = try environment.beginWrite()
    try kept.put(numbers, 3, "kept")
    try kept.commit()
    #expect(try value(3) == "kept")
  }

  @Test func `a database made in a transaction that is given up does not exist`() throws {
    do {
      let transaction = try environment.beginWrite()
      _ = try transaction.openDatabase("lost", create: true)
    }
    #expect(try environment.existingDatabase("lost", UInt64.self, String.self) == nil)
    #expect(try environment.existingDatabase("numbers", UInt64.self, String.self)?.handle == numbers.handle)
    let error = #expect(throws: LMDBError.self) {
      try environment.write { (transaction) throws(LMDBError) in _ = try transaction.openDatabase("none", create: false) }
    }
    #expect(error?.operation == "mdb_dbi_open")
  }

  @Test func `a reader sees one state while a writer commits`() throws {
    try put(1, "before")
    let seen = try environment.read { (transaction) throws(LMDBError) in
      var seen = [try transaction.get(numbers, 1)]
      runThreads(1) { _ in
        do { try put(1, "after") } catch { Issue.record(error) }
      }
      seen.append(try transaction.get(numbers, 1))
      return seen
    }
    #expect(seen == ["before", "before"])
    #expect(try value(1) == "after")
  }

  @Test func `a writer sees its own changes before they are anybody else's`() throws {
    let environment = environment
    let numbers = numbers
    let elsewhere = Mutex<String?>("unread")
    let own = try environment.write { (transaction) throws(LMDBError) in
      try transaction.put(numbers, 1, "mine")
      runThreads(1) { _ in
        do {
          let read = try environment.read { (reader) throws(LMDBError) in try reader.get(numbers, 1) }
          elsewhere.withLock { $0 = read }
        } catch { Issue.record(error) }
      }
      return try transaction.get(numbers, 1)
    }
    #expect(own == "mine")
    #expect(elsewhere.withLock { $0 } == nil)
  }

  @Test(.timeLimit(.minutes(1))) func `many threads read and write, and no state is torn`() throws {
    let environment = environment
    let numbers = numbers
    try environment.write { (transaction) throws(LMDBError) in
      for key in 0..<4 as Range<UInt64> { try transaction.put(numbers, key, "0") }
    }
    let torn = Atomic(0)
    let reads = Atomic(0)
    runThreads(6) { index in
      do {
        for _ in 0..<100 {
          if index < 2 {
            try environment.write { (transaction) throws(LMDBError) in
              let next = String((Int(try transaction.get(numbers, 0) ?? "") ?? -1_000_000) + 1)
              for key in 0..<4 as Range<UInt64> { try transaction.put(numbers, key, next) }
            }
          } else {
            let values = try environment.read { (transaction) throws(LMDBError) in
              var values: Set<String?> = []
              for key in 0..<4 as Range<UInt64> { values.insert(try transaction.get(numbers, key)) }
              return values
            }
            if values.count != 1 { torn.add(1, ordering: .relaxed) }
            reads.add(1, ordering: .relaxed)
          }
        }
      } catch { Issue.record(error) }
    }
    #expect(torn.load(ordering: .relaxed) == 0)
    #expect(reads.load(ordering: .relaxed) == 400)
    #expect(try value(3) == "200")
  }

  /// The compiler lets a task or thread borrow an owned transaction, so this is found at run time.
  @Test func `a write transaction on a thread that is not its own traps`() async {
    await #expect(processExitsWith: .failure) { [path = scratch.path as String] in
      let other = path + "-other"
      precondition(unsafe mkdir(other, 0o700) == 0)
      try misuse(try Environment(path: other, options: .init(isVolatile: true)))
    }
    for name in ["/data.mdb", "/lock.mdb"] { unsafe unlink(scratch.path + "-other" + name) }
    unsafe rmdir(scratch.path + "-other")
  }
}

private func misuse(_ environment: Environment) throws(LMDBError) {
  let table = try environment.database("t", UInt64.self, String.self)
  let transaction = try environment.beginWrite()
  let task = Monitor(false)
  Task.detached {
    do { try transaction.put(table, 1, "a") } catch {}
    task.signal { $0 = true }
  }
  task.wait { $0 ? () : nil }
}
