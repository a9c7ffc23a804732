// One LMDB environment of the log: the positions from its first one on.
//
//   log/<first position, 20 digits>/
//     meta    "format" → 1, "log-id" → 16 bytes, "first" → first position; "confirmed" → the head when a failed commit was
//             last found to have succeeded
//     blocks  first position of the block → block (see Block.swift)
//     slots   slot number → version u8 = 1, then the slot's 32-byte secret: the salts of the Merkle tree come from it, and
//             erasing an event will replace it by its survivors' salts

import Bytes
import Files
import LMDB
import LedgerCore

final class Segment: Sendable {
  static let format: UInt64 = 1

  let first: Position
  let environment: Environment
  private let meta: Database<String, [UInt8]>
  let blocks: Database<UInt64, [UInt8]>
  let slots: Database<UInt64, [UInt8]>
  let logID: LogID
  let seed: UInt64

  static func directoryName(first: Position) -> String {
    let digits = String(first)
    return String(repeating: "0", count: 20 - digits.count) + digits
  }

  /// The first position that a directory's name stands for.
  static func first(ofDirectory name: String) -> Position? {
    guard name.utf8.count == 20, name.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else { return nil }
    return Position(name)
  }

  /// What a segment's directory is called while it is being made.
  static let unfinishedSuffix = ".new"

  /// Creates a segment, or opens the empty one that an earlier try has left.
  ///
  /// It is made under another name, so that one whose creation was cut off, by a kill or a full disk, is never met as a
  /// segment.
  static func create(in log: String, first: Position, logID: LogID, mapByteCount: Int) throws(LogError) -> Segment {
    let path = log + "/" + directoryName(first: first)
    if Files.exists(path), let segment = try open(in: log, first: first, mapByteCount: mapByteCount) { return segment }
    let unfinished = path + unfinishedSuffix
    do throws(FileError) {
      try Files.removeTree(path)
      try Files.removeTree(unfinished)
      try Files.createDirectory(unfinished)
    } catch {
      throw .files(error)
    }
    do throws(LMDBError) {
      try fill(unfinished, first: first, logID: logID, mapByteCount: mapByteCount)
    } catch {
      throw .environment(error)
    }
    do throws(FileError) {
      try Files.rename(unfinished, to: path)
    } catch {
      throw .files(error)
    }
    guard let segment = try open(in: log, first: first, mapByteCount: mapByteCount) else {
      throw .damaged(position: first, "the segment that was just made is empty")
    }
    return segment
  }

  private static func fill(_ path: String, first: Position, logID: LogID, mapByteCount: Int) throws(LMDBError) {
    let environment = try Environment(path: path, options: .init(mapByteCount: mapByteCount))
    let meta = try environment.database("meta", String.self, [UInt8].self)
    try environment.write { (transaction) throws(LMDBError) in
      var number = ByteWriter(capacity: 8)
      number.uint64(format)
      try transaction.put(meta, "format", number.bytes)
      try transaction.put(meta, "log-id", logID.bytes)
      number.removeAll()
      number.uint64(first)
      try transaction.put(meta, "first", number.bytes)
    }
    _ = try environment.database("blocks", UInt64.self, [UInt8].self)
    _ = try environment.database("slots", UInt64.self, [UInt8].self)
  }

  /// Opens a stored segment; nil if its creation was cut off before it had a meta table.
  static func open(in log: String, first: Position, mapByteCount: Int) throws(LogError) -> Segment? {
    let path = log + "/" + directoryName(first: first)
    let environment: Environment
    let meta: Database<String, [UInt8]>
    let stored: (format: [UInt8]?, id: [UInt8]?, first: [UInt8]?)
    do throws(LMDBError) {
      environment = try Environment(path: path, options: .init(mapByteCount: mapByteCount))
      guard let found = try environment.existingDatabase("meta", String.self, [UInt8].self) else { return nil }
      meta = found
      stored = try environment.read { (transaction) throws(LMDBError) in
        (try transaction.get(meta, "format"), try transaction.get(meta, "log-id"), try transaction.get(meta, "first"))
      }
    } catch {
      throw .environment(error)
    }
    guard let format = stored.format, let id = stored.id, let storedFirst = stored.first else { return nil }
    guard format.count == 8, id.count == 16, format.rawSpan.uint64(at: 0) == Self.format else {
      throw .foreignFormat("\(path) has a format that this version of ledgerd does not know; open it with the version that wrote it")
    }
    guard storedFirst.count == 8, storedFirst.rawSpan.uint64(at: 0) == first else {
      throw .damaged(position: first, "the segment's directory was renamed")
    }
    do throws(LMDBError) {
      return try Segment(environment: environment, meta: meta, first: first, logID: LogID(bytes: id))
    } catch {
      throw .environment(error)
    }
  }

  private init(environment: Environment, meta: Database<String, [UInt8]>, first: Position, logID: LogID) throws(LMDBError) {
    self.environment = environment
    self.meta = meta
    self.first = first
    self.logID = logID
    seed = logID.seed
    blocks = try environment.database("blocks", UInt64.self, [UInt8].self)
    slots = try environment.database("slots", UInt64.self, [UInt8].self)
  }

  /// The last block's header, checked; nil if the segment is empty.
  func lastBlock() throws(LogError) -> BlockHeader? {
    var failure: LogError?
    var header: BlockHeader?
    do throws(LMDBError) {
      try environment.read { (transaction) throws(LMDBError) in
        try transaction.withCursor(blocks.handle) { (cursor) throws(LMDBError) in
          guard try cursor.last() else { return }
          cursor.withEntry { key, value in
            do throws(LogError) {
              header = try BlockHeader(value, key: key.byteCount == 8 ? key.uint64(at: 0) : 0, seed: seed)
            } catch {
              failure = error
            }
          }
        }
      }
    } catch {
      throw .environment(error)
    }
    if let failure { throw failure }
    return header
  }

  /// Commits a small row, so that everything committed before is durable as well.
  ///
  /// A commit that failed may show all the same: its meta page can lie in the kernel's cache, marked clean, and not on the
  /// disk, and syncing again does not write it (fsync(2), "EIO"). The commit after it does.
  func confirm(_ head: Position) throws(LMDBError) {
    try environment.write { (transaction) throws(LMDBError) in
      var number = ByteWriter(capacity: 8)
      number.uint64(head)
      try transaction.put(meta, "confirmed", number.bytes)
    }
  }

  /// Decodes the block that holds a position into `block`; false if none does.
  func load(_ position: Position, into block: inout DecodedBlock) throws(LogError) -> Bool {
    var target = ByteWriter(capacity: 8)
    target.uint64(position)
    var failure: LogError?
    var found = false
    do throws(LMDBError) {
      let transaction = try environment.beginRead()
      found = try transaction.withCursor(blocks.handle) { (cursor) throws(LMDBError) in
        guard try cursor.seekAtOrBefore(target.bytes.rawSpan) else { return false }
        return cursor.withEntry { key, value in
          do throws(LogError) {
            try block.decode(value, key: key.byteCount == 8 ? key.uint64(at: 0) : 0)
            return block.contains(position)
          } catch {
            failure = error
            return false
          }
        }
      }
    } catch {
      throw .environment(error)
    }
    if let failure { throw failure }
    return found
  }
}
