// Why: answers as Swift values. Members that this client does not know are kept in `json`.
//
// Invariant: an answer that lacks a member of the contract is a protocol violation that names it, never a guess.

public import LedgerHTTP

extension JSONValue {
  func integer(named name: String) throws(ClientError) -> Int64 {
    guard let value = self[name]?.integer else { throw .protocolViolation("the integer “\(name)” is missing") }
    return value
  }

  func text(named name: String) throws(ClientError) -> String {
    guard let value = self[name]?.string else { throw .protocolViolation("the text “\(name)” is missing") }
    return value
  }

  func elements(named name: String) throws(ClientError) -> [JSONValue] {
    guard let value = self[name]?.array else { throw .protocolViolation("the list “\(name)” is missing") }
    return value
  }
}

extension AppendAnswer {
  /// Reads the body of an answer.
  public init(_ json: JSONValue) throws(ClientError) {
    var receipts: [Receipt]?
    if let list = json["receipts"]?.array {
      var read: [Receipt] = []
      for receipt in list {
        read.append(
          Receipt(
            source: try receipt.text(named: "source"), id: try receipt.text(named: "id"),
            position: try receipt.integer(named: "position"), duplicate: receipt["duplicate"]?.bool ?? false))
      }
      receipts = read
    }
    self.init(
      appended: Int(try json.integer(named: "appended")), duplicates: Int(try json.integer(named: "duplicates")),
      erased: Int(try json.integer(named: "erased")), first: json["first"]?.integer, last: json["last"]?.integer,
      head: try json.integer(named: "head"), receipts: receipts)
    quarantined = json["quarantined"]?.integer.map(Int.init)
    quarantine = try json["quarantine"]?.array?.map { (receipt) throws(ClientError) in
      let word = try receipt.text(named: "code")
      guard let code = ErrorCode(rawValue: word) else { throw .protocolViolation("“\(word)” is no code") }
      return QuarantineReceipt(
        index: Int(try receipt.integer(named: "index")), source: try receipt.text(named: "source"), id: try receipt.text(named: "id"),
        number: try receipt.integer(named: "number"), code: code, detail: try receipt.text(named: "detail"))
    }
  }
}

/// One line of `GET /v1/events`.
public enum EventLine: Sendable {
  /// An event; `event` is nil if it was erased.
  case event(position: Int64, recordedTime: String, event: JSONValue?)
  /// A mark of a followed stream: `caught-up`, `heartbeat`, `fell-behind`.
  case mark(name: String, position: Int64)

  /// Reads a line.
  public init(parsing line: [UInt8]) throws(ClientError) {
    let json: JSONValue
    do throws(JSONSyntaxError) {
      json = try JSONValue(parsing: line)
    } catch {
      throw .protocolViolation("a line is no JSON: \(error)")
    }
    if let mark = json["mark"]?.string {
      self = .mark(name: mark, position: try json.integer(named: "position"))
      return
    }
    let event = json["event"]
    self = .event(
      position: try json.integer(named: "position"), recordedTime: json["recordedtime"]?.string ?? "",
      event: event == .null ? nil : event)
  }
}

/// What to read of the log. Values of one filter are alternatives, filters narrow each other.
public struct EventQuery: Sendable {
  /// Read from the position after this one.
  public var after: Int64?
  /// Read up to this position.
  public var until: Int64?
  /// The most events to read.
  public var limit: Int?
  /// Filters in the order given, as the parameters of the call: `type`, `source`, `subject`, `stream`, `channel`,
  /// `campaign`, `since`, `before`.
  public var filters: [(name: String, value: String)]
  /// Stay, and read what is appended.
  public var follow: Bool

  /// Everything, unless narrowed.
  public init(
    after: Int64? = nil, until: Int64? = nil, limit: Int? = nil, filters: [(name: String, value: String)] = [], follow: Bool = false
  ) {
    self.after = after
    self.until = until
    self.limit = limit
    self.filters = filters
    self.follow = follow
  }

  /// Path and query of the call.
  public var target: String {
    var query: [(name: String, value: String)] = []
    if let after { query.append((name: "after", value: String(after))) }
    if let until { query.append((name: "until", value: String(until))) }
    if let limit { query.append((name: "limit", value: String(limit))) }
    query += filters
    if follow { query.append((name: "follow", value: "true")) }
    return LedgerClient.target("/v1/events", query)
  }
}

/// A person as the ledger sees it.
public struct Customer: Sendable {
  /// Opaque; good for the other calls.
  public var id: String
  /// The identifiers that resolve to this person.
  public var identifiers: [(kind: String, value: String)]
  /// The whole view.
  public var json: JSONValue

  /// Reads one customer of an answer.
  public init(_ json: JSONValue) throws(ClientError) {
    id = try json.text(named: "id")
    identifiers = try (json["identifiers"]?.array ?? []).map { (identifier) throws(ClientError) in
      (kind: try identifier.text(named: "kind"), value: try identifier.text(named: "value"))
    }
    self.json = json
  }

  /// Reads the answer of `GET /v1/customers?…`, which holds a list, or of `GET /v1/customers/{id}`, which holds one.
  public static func all(in json: JSONValue) throws(ClientError) -> [Customer] {
    if json["customers"] != nil {
      return try json.elements(named: "customers").map { (customer) throws(ClientError) in try Customer(customer) }
    }
    return [try Customer(json["customer"] ?? json)]
  }
}

/// A part of a customer's journey, oldest first.
public struct JourneyPage: Sendable {
  /// The customer; after a merge, the survivor.
  public var customer: String
  /// The entries, each with position, time, type, channel and more.
  public var entries: [JSONValue]
  /// The log position that the answer reflects.
  public var checkpoint: Int64
  /// Passed back as `cursor` for the next page; nil on the last.
  public var next: String?

  /// Reads an answer.
  public init(_ json: JSONValue) throws(ClientError) {
    customer = try json.text(named: "customer")
    entries = try json.elements(named: "entries")
    checkpoint = try json.integer(named: "checkpoint")
    switch json["next"] {
    case .string(let cursor)?: next = cursor
    case .number(let cursor)?: next = cursor
    default: next = nil
    }
  }
}

/// The state of a projection.
public struct ProjectionState: Sendable {
  /// A generation that is being filled.
  public struct Rebuild: Sendable {
    /// Its number.
    public var generation: Int64
    /// How far it is.
    public var position: Int64
    /// How far it has to go.
    public var head: Int64
  }

  /// The projection's name.
  public var name: String
  /// The generation that answers.
  public var generation: Int64
  /// The position that it reflects.
  public var position: Int64
  /// The generation that is being filled, if one is.
  public var rebuild: Rebuild?
  /// Everything the server says.
  public var json: JSONValue

  /// Reads one projection of an answer.
  public init(_ json: JSONValue) throws(ClientError) {
    name = try json.text(named: "name")
    generation = try json.integer(named: "generation")
    position = try json.integer(named: "position")
    if let rebuild = json["rebuild"], rebuild != .null {
      self.rebuild = Rebuild(
        generation: try rebuild.integer(named: "generation"), position: try rebuild.integer(named: "position"),
        head: try rebuild.integer(named: "head"))
    }
    self.json = json
  }
}

/// A state digest: two generations with the same rows have the same.
public struct ProjectionDigest: Sendable, Equatable {
  /// The projection.
  public var name: String
  /// The version of its fold.
  public var version: Int64
  /// The position it reflects.
  public var position: Int64
  /// How many rows it covers.
  public var rowCount: Int64
  /// 32 hexadecimal digits or more.
  public var digest: String

  /// Reads an answer.
  public init(_ json: JSONValue) throws(ClientError) {
    name = try json.text(named: "name")
    version = try json.integer(named: "version")
    position = try json.integer(named: "position")
    rowCount = try json.integer(named: "rows")
    digest = try json.text(named: "digest")
  }
}
