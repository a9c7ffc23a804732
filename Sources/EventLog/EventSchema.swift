// Which JSON Schema the `data` of an event must follow, and how it is checked: the one function that every way into the log
// goes through.
//
// Invariants:
// - A batch is checked by the schemas as they were when it was begun: a snapshot never changes.
// - A type without a schema costs a hash; without any schema, nothing.
// - A message names a place and a rule, and nothing that the event says.

public import Files
public import JSON
import JSONSchema
public import LMDB
public import LedgerCore
import Bytes

/// Why a schema was not applied, removed or read.
public enum SchemaError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The text is no schema that is taken.
  case refused(String)
  /// The name can be no type.
  case badType(String)
  /// There is no schema for that type, or not that version.
  case unknown
  /// As many types as there may be have one.
  case tooMany(Int)
  /// LMDB answered with an error.
  case environment(LMDBError)
  /// The file system answered with an error.
  case files(FileError)
  /// The directory was written by another version.
  case foreignFormat(String)
  /// The ledger is shutting down.
  case closed

  /// What happened and what to do.
  public var description: String {
    switch self {
    case .refused(let detail): "the schema is not taken: \(detail)"
    case .badType(let detail): detail
    case .unknown: "there is no such schema; GET /v1/schemas lists them"
    case .tooMany(let count): "\(count) types have a schema, which is the most there may be; remove one"
    case .environment(let error): error.description
    case .files(let error): error.description
    case .foreignFormat(let path): "\(path) has a format that this ledgerd does not know; use the version that wrote it or a newer one"
    case .closed: "the ledger is shutting down; nothing was changed, retry when it is back"
    }
  }

  /// True if the disk is full.
  public var isDiskFull: Bool {
    switch self {
    case .environment(let error): error.kind == .diskFull
    case .files(let error): error.isDiskFull
    default: false
    }
  }
}

/// A schema in force.
public struct EventSchema: Sendable {
  /// Where it comes from.
  public enum Origin: String, Sendable {
    /// The directory named at the start.
    case shipped
    /// A call.
    case applied
  }

  /// The type of the events it is for.
  public let type: String
  /// From 1 for applied ones; 0 for a shipped one.
  public let version: UInt64
  /// Where it comes from.
  public let origin: Origin
  /// When it was applied; nil for a shipped one.
  public let applied: Timestamp?
  /// Who applied it; nil for a shipped one.
  public let principal: String?
  /// The schema's text.
  public let text: [UInt8]
  let schema: JSONSchema
}

/// The schemas of one moment, found by the type of an event.
public final class SchemaSnapshot: Sendable {
  /// No schema at all.
  public static let none = SchemaSnapshot([], isStrict: false)

  /// Whether a type without a schema is refused.
  public let isStrict: Bool
  /// All of them, by the bytes of their types.
  public let all: [EventSchema]
  // By the hash of the type's bytes, so that looking one up allocates nothing.
  private let byHash: [UInt64: [(type: [UInt8], schema: EventSchema)]]

  init(_ schemas: some Sequence<EventSchema>, isStrict: Bool) {
    self.isStrict = isStrict
    all = schemas.sorted { $0.type.utf8.lexicographicallyPrecedes($1.type.utf8) }
    var byHash: [UInt64: [(type: [UInt8], schema: EventSchema)]] = [:]
    for schema in all {
      let type = Array(schema.type.utf8)
      byHash[XXH3.hash64(type.rawSpan), default: []].append((type, schema))
    }
    self.byHash = byHash
  }

  /// The schema of a type.
  public func schema(of type: String) -> EventSchema? { schema(Array(type.utf8).rawSpan) }

  private func schema(_ type: RawSpan) -> EventSchema? {
    byHash[XXH3.hash64(type)]?.first { $0.type.rawSpan.isEqual(to: type) }?.schema
  }

  /// How an event's `data` breaks the schema of its type; nil: it does not. An absent `data` is checked as `{}`.
  ///
  /// - Returns: A JSON Pointer into the event and the rule, and no value.
  public func breach(_ event: EventAttributes, of json: borrowing JSONReader) -> String? {
    guard !all.isEmpty || isStrict else { return nil }
    guard let found = json.withString(of: event.type, { schema($0) }) else {
      guard isStrict else { return nil }
      return "/type has no schema, and this daemon is strict; correct the type, or have a schema applied (PUT /v1/schemas/{type})"
    }
    guard !event.hasBinaryData else {
      return "/data_base64 cannot be checked by the schema of its type (\(found.name)); send JSON in data"
    }
    let violation: JSONSchemaViolation?
    if let data = event.data {
      violation = json.withText(of: data) { found.schema.check($0) }
    } else {
      violation = found.schema.check(Self.emptyObject.rawSpan)
    }
    guard let violation else { return nil }
    let place = "/data" + violation.pointer
    return switch violation.kind {
    case .broken: "\(place) breaks \(violation.rule) in the schema of its type (\(found.name))"
    case .tooCostly: "\(place) takes too many steps to check by the schema of its type (\(found.name))"
    case .unreadable: "\(place) cannot be checked by the schema of its type (\(found.name)): \(violation.rule)"
    }
  }

  private static let emptyObject = Array("{}".utf8)
}

extension EventSchema {
  /// For messages.
  fileprivate var name: String { origin == .shipped ? "as shipped" : "version \(version)" }
}
