// An LMDB environment beside the segments, under `log/`: applied schemas, quarantine, subscriptions. It is made with its first row.
//
//   log/<name>/
//     meta    "format" → 1; "confirmed" → 1 when a failed commit was last found to have succeeded
//
// Invariants:
// - It is made under another name, as a segment is: one whose making was cut off, by a kill or a full disk, is never met.
// - After a commit that failed, what its files show is made durable before anybody builds on it (``confirm()``).

import Files
import LMDB

struct SideStore: Sendable {
  private static let format: [UInt8] = [1]

  let environment: Environment
  private let meta: Database<String, [UInt8]>

  /// Opens one that is there.
  init(path: String) throws(LogError) {
    let stored: [UInt8]?
    do throws(LMDBError) {
      environment = try Environment(path: path, options: .init(mapByteCount: 16 << 20))
      meta = try environment.database("meta", String.self, [UInt8].self)
      let (environment, meta) = (environment, meta)
      stored = try environment.read { (transaction) throws(LMDBError) in try transaction.get(meta, "format") }
      // Without a format it was made by a version that did not yet make it under another name, and was cut off.
      if stored == nil { try Self.writeFormat(environment, meta) }
    } catch {
      throw .environment(error)
    }
    guard stored ?? Self.format == Self.format else {
      throw .foreignFormat("\(path) has a format that this ledgerd does not know; use the version that wrote it or a newer one")
    }
  }

  /// Opens the one at a path, and makes it if it is not there.
  static func openOrMake(path: String) throws(LogError) -> SideStore {
    if !Files.isDirectory(path) { try make(path) }
    return try SideStore(path: path)
  }

  private static func make(_ path: String) throws(LogError) {
    let unfinished = path + Segment.unfinishedSuffix
    try files { () throws(FileError) in
      try Files.removeTree(unfinished)
      try Files.createDirectory(unfinished)
    }
    do throws(LMDBError) {
      let environment = try Environment(path: unfinished, options: .init(mapByteCount: 16 << 20))
      try writeFormat(environment, try environment.database("meta", String.self, [UInt8].self))
    } catch {
      throw .environment(error)
    }
    try files { () throws(FileError) in try Files.rename(unfinished, to: path) }
  }

  private static func writeFormat(_ environment: Environment, _ meta: Database<String, [UInt8]>) throws(LMDBError) {
    try environment.write { (transaction) throws(LMDBError) in try transaction.put(meta, "format", format) }
  }

  private static func files(_ body: () throws(FileError) -> Void) throws(LogError) {
    do throws(FileError) {
      try body()
    } catch {
      throw .files(error)
    }
  }

  /// Makes durable what the files show, after a commit that failed: syncing again is not enough (see ``Segment/confirm(_:)``).
  func confirm() throws(LMDBError) {
    try environment.settle()
    try environment.write { (transaction) throws(LMDBError) in try transaction.put(meta, "confirmed", [1]) }
  }

  /// Opens a table, and makes it if it is not there.
  func table<Key: LMDBKey, Value: LMDBValue>(_ name: String, _ key: Key.Type, _ value: Value.Type) throws(LogError) -> Database<Key, Value>
  {
    do throws(LMDBError) {
      return try environment.database(name, key, value)
    } catch {
      throw .environment(error)
    }
  }

  /// The table of the store's own rows.
  var own: Database<String, [UInt8]> { meta }
}
