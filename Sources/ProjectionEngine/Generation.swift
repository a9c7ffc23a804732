// One generation of one projection: a directory with an LMDB environment, open.
//
// Invariants:
// - Rows, meta row, changed units and parked events commit in one transaction.
// - The environment closes when the last one who uses it lets go; a doomed generation takes its directory with it then.
// - The engine's own tables have a dot in their names, which a fold's tables may not have.

import Bytes
import Files
import LMDB
import LedgerCore
import Synchronization

/// Why a generation could not be opened, read or written.
struct StorageFailure: Error, Equatable, Sendable {
  enum Kind: Equatable, Sendable {
    /// May pass: try again.
    case passing
    /// There is no room: try again.
    case diskFull
    /// The map is full: grow it and fold again.
    case mapFull
    /// The environment must be opened again before anything else works.
    case reopen
    /// The files cannot be used and can be made again.
    case damaged
    /// Written by a newer program.
    case newerFormat
  }
  let kind: Kind
  let text: String

  init(_ kind: Kind, _ text: String) {
    self.kind = kind
    self.text = text
  }

  init(_ error: LMDBError) {
    text = error.description
    kind =
      switch error.kind {
      case .mapFull: .mapFull
      case .panic: .reopen
      case .diskFull: .diskFull
      case .corrupted, .foreignFile: .damaged
      default: .passing
      }
  }

  init(_ error: FileError) { self.init(error.isDiskFull ? .diskFull : .passing, error.description) }
}

/// An open generation.
final class Generation: Sendable {
  static let metaKey: [UInt8] = Array("state".utf8)

  /// The environment with its handles.
  final class Opened: Sendable {
    let environment: Environment
    let meta: Database<[UInt8], [UInt8]>
    let changes: Database<UInt64, UInt64>
    let parked: Database<UInt64, String>
    let tables: [String: TableHandle]

    /// - Parameter create: False opens only the tables that are there: those of another fold version.
    init(directory: String, tableNames: [String], options: EngineOptions, create: (GenerationState.Stored) -> Bool) throws(LMDBError) {
      environment = try Environment(
        path: directory,
        options: Environment.Options(mapByteCount: options.mapByteCount, databaseCountMax: 64, isVolatile: options.isVolatile))
      meta = try environment.database("engine.meta", [UInt8].self, [UInt8].self)
      changes = try environment.database("engine.changes", UInt64.self, UInt64.self)
      parked = try environment.database("engine.parked", UInt64.self, String.self)
      var tables: [String: TableHandle] = [:]
      let stored = try Self.readState(environment, meta)
      for name in tableNames {
        if create(stored) {
          tables[name] = try environment.database(name, [UInt8].self, [UInt8].self).handle
        } else if let table = try environment.existingDatabase(name, [UInt8].self, [UInt8].self) {
          tables[name] = table.handle
        }
      }
      self.tables = tables
    }

    static func readState(_ environment: Environment, _ meta: Database<[UInt8], [UInt8]>) throws(LMDBError) -> GenerationState.Stored {
      try environment.read { (transaction) throws(LMDBError) in
        try transaction.withValue(meta, Generation.metaKey) { GenerationState.decode($0) } ?? .nothing
      }
    }
  }

  let number: UInt64
  let directory: String
  private let tableNames: [String]
  private let version: UInt32
  private let options: EngineOptions
  private let opened: Mutex<Opened?>
  private let isDoomed = Atomic(false)

  /// Opens what is in the directory, or begins there.
  init(number: UInt64, directory: String, tableNames: [String], version: UInt32, options: EngineOptions) throws(LMDBError) {
    self.number = number
    self.directory = directory
    self.tableNames = tableNames
    self.version = version
    self.options = options
    opened = Mutex(try Self.open(directory, tableNames, version, options))
  }

  private static func open(
    _ directory: String, _ tableNames: [String], _ version: UInt32, _ options: EngineOptions
  ) throws(LMDBError) -> Opened {
    try Opened(directory: directory, tableNames: tableNames, options: options) { stored in
      switch stored {
      case .nothing, .damaged: true
      case .newer: false
      case .state(let state): state.version == version
      }
    }
  }

  deinit {
    // First the environment, so that the directory's inode is free when it is removed.
    opened.withLock { $0 = nil }
    if isDoomed.load(ordering: .acquiring) {
      do throws(FileError) {
        try Files.removeTree(directory)
      } catch {
        // What is left is removed at the next start.
      }
    }
  }

  /// The environment now. Hold it for one batch or one question.
  func environment() throws(StorageFailure) -> Opened {
    guard let opened = opened.withLock({ $0 }) else { throw StorageFailure(.reopen, "the environment is closed") }
    return opened
  }

  /// Sizes now; nil while it cannot be used.
  var sizes: StorageSizes? {
    guard let environment = opened.withLock({ $0 })?.environment else { return nil }
    do throws(LMDBError) {
      let info = environment.info
      return StorageSizes(
        usedByteCount: info.usedByteCount, mapRoomByteCount: info.mapByteCount - info.usedByteCount,
        oldestReaderTransactionCount: try environment.oldestReaderTransactionCount())
    } catch {
      return nil
    }
  }

  /// Closes the environment and opens it again: the only way out of `MDB_PANIC`.
  func reopen() throws(StorageFailure) {
    opened.withLock { $0 = nil }
    do throws(LMDBError) {
      let fresh = try Self.open(directory, tableNames, version, options)
      opened.withLock { $0 = fresh }
    } catch {
      throw StorageFailure(error.kind == .alreadyOpen ? .reopen : .passing, error.description)
    }
  }

  /// Clears the slots of readers whose processes died.
  func clearStaleReaders() throws(StorageFailure) {
    let opened = try environment()
    do throws(LMDBError) {
      try opened.environment.clearStaleReaders()
    } catch {
      throw StorageFailure(error)
    }
  }

  /// The directory goes when the last user lets go.
  func doom() { isDoomed.store(true, ordering: .releasing) }

  /// The meta row.
  func readState() throws(StorageFailure) -> GenerationState.Stored {
    let opened = try environment()
    do throws(LMDBError) {
      return try Opened.readState(opened.environment, opened.meta)
    } catch {
      throw StorageFailure(error)
    }
  }

  /// Removes all rows and begins with `state`.
  func reset(to state: GenerationState) throws(StorageFailure) {
    let opened = try environment()
    do throws(LMDBError) {
      try opened.environment.write { (transaction) throws(LMDBError) in
        for (name, handle) in opened.tables { try transaction.clear(Database<[UInt8], [UInt8]>(handle: handle, name: name)) }
        try transaction.clear(opened.changes)
        try transaction.clear(opened.parked)
        try transaction.put(opened.meta, Self.metaKey, state.encoded)
      }
    } catch {
      throw StorageFailure(error)
    }
  }

  /// The parked positions (units, if the projection depends on another) after `key`, ascending, at most `countMax`.
  func parked(after key: UInt64, countMax: Int) throws(StorageFailure) -> [ParkedEvent] {
    let opened = try environment()
    var found: [ParkedEvent] = []
    do throws(LMDBError) {
      try opened.environment.read { (transaction) throws(LMDBError) in
        try transaction.withCursor(opened.parked.handle) { (cursor) throws(LMDBError) in
          guard key < .max else { return }
          var isThere = try (key + 1).withLMDBBytes { (bytes) throws(LMDBError) in try cursor.seek(bytes) }
          while isThere, found.count < countMax {
            cursor.withEntry { found.append(ParkedEvent(position: $0.uint64(at: 0), reason: String(utf8: $1))) }
            isThere = try cursor.next()
          }
        }
      }
    } catch {
      throw StorageFailure(error)
    }
    return found
  }
}
