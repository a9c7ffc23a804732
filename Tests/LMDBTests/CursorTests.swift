// Walking keys in byte order, on databases of no, one and many keys.

import Bytes
import Glibc
import LMDB
import Testing

@Suite struct CursorTests {
  private let scratch: Scratch
  private let environment: Environment
  private let table: Database<[UInt8], [UInt8]>

  init() throws {
    scratch = Scratch()
    environment = try scratch.open()
    table = try environment.database("t", [UInt8].self, [UInt8].self)
  }

  private func fill(_ keys: [UInt8]) throws {
    try environment.write { (transaction) throws(LMDBError) in
      for key in keys { try transaction.put(table, [key], [key, key]) }
    }
  }

  /// Where a cursor is after a move: the key's only byte; nil if the move answered false.
  private func at(_ move: (inout Cursor) throws(LMDBError) -> Bool) throws -> UInt8? {
    try environment.read { (transaction) throws(LMDBError) in
      try transaction.withCursor(table.handle) { (cursor) throws(LMDBError) in
        guard try move(&cursor) else { return nil }
        return cursor.withEntry { key, value in
          key.byteCount == 1 && value.isEqual(to: [key.byte(at: 0), key.byte(at: 0)].rawSpan) ? key.byte(at: 0) : nil
        }
      }
    }
  }

  @Test(arguments: [[], [20], [20, 30, 40], Array(stride(from: 2, through: 252, by: 2))] as [[UInt8]])
  func `first, last and both ways through`(keys: [UInt8]) throws {
    try fill(keys.shuffled())
    #expect(try at { (cursor) throws(LMDBError) in try cursor.first() } == keys.first)
    #expect(try at { (cursor) throws(LMDBError) in try cursor.last() } == keys.last)
    let walks = try environment.read { (transaction) throws(LMDBError) in
      try transaction.withCursor(table.handle) { (cursor) throws(LMDBError) in
        var forward: [UInt8] = []
        while try cursor.next() { forward.append(cursor.withKey { $0.byte(at: 0) }) }
        var backward: [UInt8] = []
        guard try cursor.last() else { return (forward, backward) }
        repeat { backward.append(cursor.withKey { $0.byte(at: 0) }) } while try cursor.previous()
        return (forward, backward)
      }
    }
    #expect(walks.0 == keys)
    #expect(walks.1 == keys.reversed())
    #expect(try at { (cursor) throws(LMDBError) in try cursor.previous() } == keys.last)
  }

  @Test(arguments: [[], [20], [20, 30, 40], Array(stride(from: 2, through: 252, by: 2))] as [[UInt8]])
  func `seeking finds the key or its neighbour, for every key there could be`(keys: [UInt8]) throws {
    try fill(keys)
    for target in 0...255 as ClosedRange<UInt8> {
      let after = try at { (cursor) throws(LMDBError) in try cursor.seek([target].rawSpan) }
      #expect(after == keys.first { $0 >= target }, "seek \(target)")
      let before = try at { (cursor) throws(LMDBError) in try cursor.seekAtOrBefore([target].rawSpan) }
      #expect(before == keys.last { $0 <= target }, "seekAtOrBefore \(target)")
    }
  }

  @Test func `seeking goes by bytes, a prefix before what it begins`() throws {
    try environment.write { (transaction) throws(LMDBError) in
      for key in [[1], [1, 0], [1, 0, 0], [1, 1], [2]] as [[UInt8]] { try transaction.put(table, key, key) }
    }
    let found = try environment.read { (transaction) throws(LMDBError) in
      try transaction.withCursor(table.handle) { (cursor) throws(LMDBError) in
        var found: [[UInt8]] = []
        for target in [[1], [1, 0, 1], [1, 1, 0], [0, 9]] as [[UInt8]] {
          found.append(try cursor.seekAtOrBefore(target.rawSpan) ? cursor.withKey { [UInt8]($0) } : [])
        }
        return found
      }
    }
    #expect(found == [[1], [1, 0, 0], [1, 1], []])
  }

  @Test func `seeking an empty key is refused as one`() throws {
    try fill([1])
    let error = #expect(throws: LMDBError.self) { try at { (cursor) throws(LMDBError) in try cursor.seek([UInt8]().rawSpan) } }
    #expect(error?.kind == .badSize)
  }

  @Test func `a walk can remove as it goes`() throws {
    try fill(Array(1...100))
    try environment.write { (transaction) throws(LMDBError) in
      try transaction.withCursor(table.handle) { (cursor) throws(LMDBError) in
        while try cursor.next() {
          if cursor.withKey({ $0.byte(at: 0) % 2 == 0 }) { try cursor.delete() }
        }
      }
    }
    let left = try environment.read { (transaction) throws(LMDBError) in
      try transaction.withCursor(table.handle) { (cursor) throws(LMDBError) in
        var left: [UInt8] = []
        while try cursor.next() { left.append(cursor.withKey { $0.byte(at: 0) }) }
        return left
      }
    }
    #expect(left == Array(stride(from: 1, through: 99, by: 2)))
  }

  @Test func `a reader's cursor removes nothing`() throws {
    try fill([1])
    let error = #expect(throws: LMDBError.self) {
      try environment.read { (transaction) throws(LMDBError) in
        try transaction.withCursor(table.handle) { (cursor) throws(LMDBError) in
          _ = try cursor.first()
          try cursor.delete()
        }
      }
    }
    #expect(error?.kind == .permission)
    #expect(try at { (cursor) throws(LMDBError) in try cursor.first() } == 1)
  }

  /// A seek that finds nothing has put LMDB's idea of "the key" on the caller's bytes, which may be gone: nothing may be read.
  @Test func `a cursor that found nothing has no entry`() async throws {
    await #expect(processExitsWith: .signal(SIGILL)) { [path = scratch.path as String] in
      let environment = try Environment(path: path, options: .init(isReadOnly: true))
      guard let table = try environment.existingDatabase("t", [UInt8].self, [UInt8].self) else { return }
      try environment.read { (transaction) throws(LMDBError) in
        try transaction.withCursor(table.handle) { (cursor) throws(LMDBError) in
          _ = try cursor.seek([9].rawSpan)
          _ = cursor.withKey { $0.byteCount }
        }
      }
    }
  }
}
