// The schemas in force: those shipped in a directory, and those applied while the daemon runs, which go before them.
//
//   log/schemas/             made with the first schema that is applied
//     meta      as in every side store (SideStore.swift)
//     schemas   type ‖ 0x00 ‖ version (u64) → format u8 = 1, kind u8 (1 applied, 2 removed), time i64, principal, text
//
// Invariants:
// - Versions of a type are 1, 2, 3, …; what is applied again unchanged is no new version. A removal is a version, too.
// - What is acknowledged is on the disk, and only what is on the disk checks events.

import Bytes
import Files
import JSONSchema
import LMDB
import LedgerCore
import Synchronization

/// The schemas, as they are now and as they were. Safe to use from any thread; what writes or reads the past blocks its
/// thread.
public final class SchemaRegistry: Sendable {
  /// Types that may have an applied schema.
  public static let typeCountMax = 1_000
  /// Versions of one type that are kept; older ones are forgotten.
  public static let versionCountMax: UInt64 = 100
  /// Bytes of a type's name.
  public static let typeByteCountMax = 255
  /// A version as it is stored.
  private struct Version: Sendable {
    var isRemoval: Bool
    var applied: Timestamp
    var principal: String
    var text: [UInt8]
  }

  private struct Store: Sendable {
    let side: SideStore
    let schemas: Database<[UInt8], [UInt8]>

    var environment: Environment { side.environment }
  }

  private struct State: Sendable {
    var applied: [ByteString: EventSchema] = [:]
    /// The last version given to each type, removals included.
    var versions: [ByteString: UInt64] = [:]
    var store: Store?
    /// True after a commit that failed: what is on the disk is confirmed and read before the next one.
    var isUnsettled = false
  }

  private let path: String
  private let isStrict: Bool
  private let clock: @Sendable () -> Timestamp
  private let shipped: [ByteString: EventSchema]
  // Held while something is written, so that versions are given out one after another; readers of the snapshot never wait
  // for a disk.
  private let state: Mutex<State>
  private let current: Mutex<SchemaSnapshot>

  /// Reads what was applied earlier, and the shipped schemas.
  ///
  /// - Parameters:
  ///   - path: The directory of the applied ones; made when the first one is.
  ///   - directory: Holds `<type>.json` files; nil: none are shipped.
  init(path: String, directory: String?, isStrict: Bool, clock: @escaping @Sendable () -> Timestamp) throws(SchemaError) {
    self.path = path
    self.isStrict = isStrict
    self.clock = clock
    var shipped: [ByteString: EventSchema] = [:]
    if let directory { shipped = try Self.readDirectory(directory) }
    var state = State()
    if Files.isDirectory(path) {
      let store = try Self.open(path)
      state.store = store
      try Self.load(store, into: &state)
    }
    self.shipped = shipped
    self.state = Mutex(state)
    current = Mutex(SchemaSnapshot(shipped.merging(state.applied) { $1 }.values, isStrict: isStrict))
  }

  /// The schemas now.
  public var snapshot: SchemaSnapshot { current.withLock { $0 } }

  // MARK: Changing

  /// Applies a schema to all events of a type that come from now on.
  ///
  /// - Returns: The schema in force, and whether it is another than before. It is on the disk.
  /// - Throws: ``SchemaError``; nothing has changed then, but after an error of the disk in the commit: what became of it is read
  ///   before the next change, and at the next start.
  public func apply(_ text: [UInt8], to type: String, principal: String) throws(SchemaError) -> (schema: EventSchema, isNew: Bool) {
    try Self.check(type: type)
    let schema: JSONSchema
    do throws(JSONSchemaError) {
      schema = try JSONSchema(text)
    } catch {
      throw .refused(error.description)
    }
    return try state.withLock { (state) throws(SchemaError) in
      try settle(&state)
      let name = ByteString(type)
      if let applied = state.applied[name], applied.text == text { return (applied, false) }
      guard state.applied[name] != nil || state.applied.count < Self.typeCountMax else { throw .tooMany(Self.typeCountMax) }
      let number = (state.versions[name] ?? 0) + 1
      let version = Version(isRemoval: false, applied: clock(), principal: principal, text: text)
      try write(version, number, type, &state)
      let applied = EventSchema(
        type: type, version: number, origin: .applied, applied: version.applied, principal: principal, text: text, schema: schema)
      state.applied[name] = applied
      publish(state)
      return (applied, true)
    }
  }

  /// Removes the applied schema of a type; a shipped one is in force again.
  ///
  /// - Returns: The number that the removal has among the type's versions.
  /// - Throws: ``SchemaError/unknown`` if none was applied.
  public func remove(_ type: String, principal: String) throws(SchemaError) -> UInt64 {
    try state.withLock { (state) throws(SchemaError) in
      try settle(&state)
      let name = ByteString(type)
      guard let applied = state.applied[name] else { throw .unknown }
      let number = applied.version + 1
      try write(Version(isRemoval: true, applied: clock(), principal: principal, text: []), number, type, &state)
      state.applied[name] = nil
      publish(state)
      return number
    }
  }

  /// Reads anew what is on the disk, if a commit failed before and nobody knows; what is there is made durable first.
  private func settle(_ state: inout State) throws(SchemaError) {
    guard state.store == nil || state.isUnsettled, Files.isDirectory(path) else { return }
    let store: Store
    if let open = state.store {
      store = open
      do throws(LMDBError) {
        try store.side.confirm()
      } catch {
        throw .environment(error)
      }
    } else {
      store = try Self.open(path)
    }
    var fresh = State()
    fresh.store = store
    try Self.load(store, into: &fresh)
    state = fresh
    publish(fresh)
  }

  private func publish(_ state: State) {
    let snapshot = SchemaSnapshot(shipped.merging(state.applied) { $1 }.values, isStrict: isStrict)
    current.withLock { $0 = snapshot }
  }

  private func write(_ version: Version, _ number: UInt64, _ type: String, _ state: inout State) throws(SchemaError) {
    let store: Store
    if let open = state.store {
      store = open
    } else {
      store = try Self.open(path)
      state.store = store
    }
    do throws(LMDBError) {
      try store.environment.write { (transaction) throws(LMDBError) in
        try transaction.put(store.schemas, Self.key(type, number), Self.encode(version), mode: .insert)
        if number > Self.versionCountMax { try transaction.delete(store.schemas, Self.key(type, number - Self.versionCountMax)) }
      }
    } catch {
      state.isUnsettled = true
      throw .environment(error)
    }
    state.versions[ByteString(type)] = number
  }

  // MARK: Reading

  /// A version of a type's schema that was applied, whether it is in force or not.
  ///
  /// - Throws: ``SchemaError/unknown`` if there is none, it was a removal, or it has been forgotten.
  public func version(_ number: UInt64, of type: String) throws(SchemaError) -> EventSchema {
    try Self.check(type: type)
    // Reading goes on while the disk takes no writes.
    let open = try state.withLock { (state) throws(SchemaError) in
      if state.store == nil { try settle(&state) }
      return state.store
    }
    guard let store = open else { throw .unknown }
    let bytes: [UInt8]?
    do throws(LMDBError) {
      bytes = try store.environment.read { (transaction) throws(LMDBError) in
        try transaction.get(store.schemas, Self.key(type, number))
      }
    } catch {
      throw .environment(error)
    }
    guard let bytes else { throw .unknown }
    let version = try Self.decode(bytes, path)
    guard !version.isRemoval else { throw .unknown }
    return try Self.compiled(version, number, type)
  }

  private static func compiled(_ version: Version, _ number: UInt64, _ type: String) throws(SchemaError) -> EventSchema {
    do throws(JSONSchemaError) {
      return EventSchema(
        type: type, version: number, origin: .applied, applied: version.applied, principal: version.principal, text: version.text,
        schema: try JSONSchema(version.text))
    } catch {
      throw .refused("version \(number) for \(type), applied earlier: \(error.description)")
    }
  }

  private static func readDirectory(_ directory: String) throws(SchemaError) -> [ByteString: EventSchema] {
    var schemas: [ByteString: EventSchema] = [:]
    let names = try files { () throws(FileError) in try Files.list(directory) }
    for name in names where name.hasSuffix(".json") {
      let type = String(name.dropLast(5))
      try check(type: type)
      let text = try files { () throws(FileError) in
        try Files.read(directory + "/" + name, byteCountMax: JSONSchema.byteCountMax)
      }
      do throws(JSONSchemaError) {
        schemas[ByteString(type)] = EventSchema(
          type: type, version: 0, origin: .shipped, applied: nil, principal: nil, text: text, schema: try JSONSchema(text))
      } catch {
        throw .refused("\(directory)/\(name): \(error.description)")
      }
    }
    guard schemas.count <= typeCountMax else { throw .tooMany(typeCountMax) }
    return schemas
  }

  /// What may be the type of a schema.
  private static func check(type: String) throws(SchemaError) {
    guard !type.isEmpty, type.utf8.count <= typeByteCountMax, type.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f && $0 != 0x2f }) else {
      throw .badType("a type with a schema has 1 to \(typeByteCountMax) bytes, and neither control characters nor slashes")
    }
    guard !type.utf8.starts(with: "ledger.".utf8) else { throw .badType("types that begin with \"ledger.\" are the ledger's own") }
  }

  private static func files<R>(_ body: () throws(FileError) -> R) throws(SchemaError) -> R {
    do throws(FileError) {
      return try body()
    } catch {
      throw .files(error)
    }
  }

  // MARK: Storing

  private static func open(_ path: String) throws(SchemaError) -> Store {
    do throws(LogError) {
      let side = try SideStore.openOrMake(path: path)
      return Store(side: side, schemas: try side.table("schemas", [UInt8].self, [UInt8].self))
    } catch {
      switch error {
      case .environment(let error): throw .environment(error)
      case .files(let error): throw .files(error)
      default: throw .foreignFormat(path)
      }
    }
  }

  private static func load(_ store: Store, into state: inout State) throws(SchemaError) {
    // Versions of a type stand together, in order: the last one counts.
    var last: [ByteString: (number: UInt64, value: [UInt8])] = [:]
    do throws(LMDBError) {
      try store.environment.read { (transaction) throws(LMDBError) in
        try transaction.withCursor(store.schemas.handle) { (cursor) throws(LMDBError) in
          while try cursor.next() {
            cursor.withEntry { key, value in
              guard key.byteCount > 9 else { return }
              let type = [UInt8](key.extracting(0..<key.byteCount - 9))
              last[ByteString(type)] = (key.uint64(at: key.byteCount - 8), [UInt8](value))
            }
          }
        }
      }
    } catch {
      throw .environment(error)
    }
    for (name, row) in last {
      state.versions[name] = row.number
      let version = try decode(row.value, store.environment.path)
      if !version.isRemoval { state.applied[name] = try compiled(version, row.number, String(utf8: name.bytes.rawSpan)) }
    }
  }

  private static func key(_ type: String, _ version: UInt64) -> [UInt8] {
    var key = ByteWriter(capacity: type.utf8.count + 9)
    key.raw(Array(type.utf8))
    key.uint8(0)
    key.uint64(version)
    return key.bytes
  }

  private static func encode(_ version: Version) -> [UInt8] {
    var writer = ByteWriter(capacity: version.text.count + 64)
    writer.uint8(1)
    writer.uint8(version.isRemoval ? 2 : 1)
    writer.int64(version.applied.microseconds)
    writer.string(version.principal)
    writer.lengthPrefixed(version.text)
    return writer.bytes
  }

  private static func decode(_ bytes: [UInt8], _ path: String) throws(SchemaError) -> Version {
    do throws(ByteError) {
      var reader = ByteReader(bytes.rawSpan)
      let (format, kind) = (try reader.uint8(), try reader.uint8())
      guard format == 1, kind == 1 || kind == 2 else { throw .unknownValue(offset: 0, UInt64(format)) }
      return Version(
        isRemoval: kind == 2, applied: Timestamp(microseconds: try reader.int64()), principal: try reader.string(),
        text: try reader.lengthPrefixedArray())
    } catch {
      throw .foreignFormat(path)
    }
  }
}
