// A CloudEvent's attributes, found in one pass over its top-level members, and the checks of everything the ledger
// promises about a stored event.
//
// Invariants:
// - What passes here is a valid CloudEvents 1.0 event in JSON: nothing is stored that a fold would have to doubt.
// - Messages name attributes and limits, never values: values may be personal data.

public import JSON
import Bytes

/// Why a text is not an event that the ledger takes.
public struct EventError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The kinds, as the socket's codes tell them apart.
  public enum Kind: String, Sendable {
    /// Not JSON.
    case invalidJSON = "invalid-json"
    /// JSON, but not a CloudEvent, or one over a limit.
    case invalidEvent = "invalid-event"
    /// Longer than the ledger takes.
    case tooLarge = "event-too-large"
    /// A type that only the ledger may write.
    case forbidden = "forbidden"
    /// A breach of the schema of its type.
    case schema = "schema"
  }
  /// What is wrong.
  public var kind: Kind
  /// What, where and how to mend it.
  public var message: String

  /// Joins the parts.
  public init(_ kind: Kind, _ message: String) {
    self.kind = kind
    self.message = message
  }
  /// The message.
  public var description: String { message }
}

/// Limits on a single event.
public struct EventLimits: Equatable, Sendable {
  /// Bytes of one event as stored.
  public var eventByteCountMax: Int
  /// Bytes of any one attribute.
  public var attributeByteCountMax = 4_096
  /// Top-level members of one event.
  public var attributeCountMax = 128
  /// Bytes of one identifier value.
  public var identifierByteCountMax = 512
  /// Kinds of identifiers of one person in one event.
  public var identifierKindCountMax = 64
  /// People in one event.
  public var participantCountMax = 64

  /// The defaults: 64 KiB an event.
  public init(eventByteCountMax: Int = 64 * 1024) {
    precondition((1...1024 * 1024).contains(eventByteCountMax), "an event may have up to 1 MiB")
    self.eventByteCountMax = eventByteCountMax
  }
}

/// Where an event's attributes stand in the reader's text. Valid until the reader parses again.
public struct EventAttributes: Sendable {
  /// `id`.
  public var id: JSONNode
  /// `source`.
  public var source: JSONNode
  /// `type`.
  public var type: JSONNode
  /// `subject`.
  public var subject: JSONNode?
  /// `stream`: names the stream; else it is that of (source, subject).
  public var stream: JSONNode?
  /// `channel`.
  public var channel: JSONNode?
  /// `campaign`.
  public var campaign: JSONNode?
  /// `direction`: `inbound` or `outbound`.
  public var direction: JSONNode?
  /// `audience`: `one` or `many`.
  public var audience: JSONNode?
  /// `purpose`: `commercial`, `transactional` or `service`.
  public var purpose: JSONNode?
  /// `role`.
  public var role: JSONNode?
  /// `stage`.
  public var stage: JSONNode?
  /// `businessunit`.
  public var businessUnit: JSONNode?
  /// `causationid`.
  public var causationID: JSONNode?
  /// `data`.
  public var data: JSONNode?
  /// True if the event has `data_base64`.
  public var hasBinaryData: Bool
  /// `time`; nil: absent, so it counts as the time received.
  public var occurred: Timestamp?
  /// True if `time` lay outside of the years 0000 to 9999 and was clamped.
  public var isOccurredClamped: Bool

  /// Finds and checks the attributes of `event`.
  ///
  /// - Parameters:
  ///   - event: A node of `json`, of any kind.
  ///   - limits: What is refused for its size.
  /// - Throws: ``EventError`` of kind `invalidEvent`, naming the attribute.
  public init(of event: JSONNode, in json: borrowing JSONReader, limits: EventLimits) throws(EventError) {
    guard json.kind(of: event) == .object else {
      throw EventError(.invalidEvent, "an event must be a JSON object")
    }
    let memberCount = json.childCount(of: event)
    guard memberCount <= limits.attributeCountMax else {
      throw EventError(.invalidEvent, "the event has \(memberCount) attributes; at most \(limits.attributeCountMax) are taken")
    }
    guard !json.hasDuplicateKeys(in: event) else {
      throw EventError(.invalidEvent, "the event names an attribute twice; send each once")
    }
    var found = Found()
    var clamped = false
    var key = json.firstChild(of: event)
    while let name = key {
      let value = json.value(ofKey: name)
      try found.take(name, value, json, limits, &clamped)
      key = json.next(after: value, in: event)
    }
    guard found.hasSpecVersion else { throw missing("specversion", "\"1.0\"") }
    guard let id = found.id else { throw missing("id", "a text unique within the source") }
    guard let source = found.source else { throw missing("source", "a URI of the sender") }
    guard let type = found.type else { throw missing("type", "what happened, such as order.placed") }
    guard found.data == nil || !found.hasBinaryData else {
      throw EventError(.invalidEvent, "the event has both data and data_base64; send one of them")
    }
    self.id = id
    self.source = source
    self.type = type
    subject = found.subject
    stream = found.stream
    channel = found.channel
    campaign = found.campaign
    direction = found.direction
    audience = found.audience
    purpose = found.purpose
    role = found.role
    stage = found.stage
    businessUnit = found.businessUnit
    causationID = found.causationID
    data = found.data
    hasBinaryData = found.hasBinaryData
    occurred = found.occurred
    isOccurredClamped = clamped
    if let data { try checkProfile(data, json, limits) }
  }

  /// True if the type is one of the ledger's own facts.
  public func isLedgerFact(in json: borrowing JSONReader) -> Bool {
    json.withString(of: type) { text in
      text.byteCount >= 7 && text.slice(0..<7).isEqual(to: "ledger.")
    }
  }
}

private func missing(_ name: String, _ form: String) -> EventError {
  EventError(.invalidEvent, "attribute \(name) is missing; it must be \(form)")
}

/// The attributes met so far.
private struct Found {
  var hasSpecVersion = false
  var hasBinaryData = false
  var id: JSONNode?
  var source: JSONNode?
  var type: JSONNode?
  var subject: JSONNode?
  var stream: JSONNode?
  var channel: JSONNode?
  var campaign: JSONNode?
  var direction: JSONNode?
  var audience: JSONNode?
  var purpose: JSONNode?
  var role: JSONNode?
  var stage: JSONNode?
  var businessUnit: JSONNode?
  var causationID: JSONNode?
  var data: JSONNode?
  var occurred: Timestamp?

  mutating func take(
    _ key: JSONNode, _ value: JSONNode, _ json: borrowing JSONReader, _ limits: EventLimits, _ clamped: inout Bool
  ) throws(EventError) {
    let name = json.withString(of: key) { Name(of: $0) }
    switch name {
    case .data:
      if json.kind(of: value) != .null { data = value }
      return
    case .dataBase64:
      guard json.kind(of: value) == .string || json.kind(of: value) == .null else {
        throw EventError(.invalidEvent, "data_base64 must be a text")
      }
      hasBinaryData = json.kind(of: value) == .string
      return
    case .illegal:
      throw EventError(.invalidEvent, "an attribute's name may have lower-case letters and digits only; put other fields into data")
    default:
      // CloudEvents' JSON format: a null attribute is an absent one.
      if json.kind(of: value) != .null { try take(name, value, json, limits, &clamped) }
    }
  }

  private mutating func take(
    _ name: Name, _ value: JSONNode, _ json: borrowing JSONReader, _ limits: EventLimits, _ clamped: inout Bool
  ) throws(EventError) {
    switch name {
    case .specversion:
      guard json.kind(of: value) == .string, json.equals(value, "1.0") else {
        throw EventError(.invalidEvent, "attribute specversion must be \"1.0\"")
      }
      hasSpecVersion = true
    case .id: id = try text(name, value, json, limits)
    case .source: source = try text(name, value, json, limits)
    case .type: type = try text(name, value, json, limits)
    case .subject: subject = try text(name, value, json, limits)
    case .time:
      let node = try text(name, value, json, limits)
      guard let parsed = json.withString(of: node, { Timestamp.parse($0) }) else {
        throw EventError(.invalidEvent, "attribute time must be RFC 3339, such as 2026-11-21T20:00:00.123456Z")
      }
      occurred = parsed.timestamp
      clamped = parsed.isClamped
    case .stream: stream = try text(name, value, json, limits)
    case .channel: channel = try text(name, value, json, limits)
    case .campaign: campaign = try text(name, value, json, limits)
    case .direction: direction = try choice(name, ["inbound", "outbound"], value, json, limits)
    case .audience: audience = try choice(name, ["one", "many"], value, json, limits)
    case .purpose: purpose = try choice(name, ["commercial", "transactional", "service"], value, json, limits)
    case .role: role = try text(name, value, json, limits)
    case .stage: stage = try text(name, value, json, limits)
    case .businessunit: businessUnit = try text(name, value, json, limits)
    case .causationid: causationID = try text(name, value, json, limits)
    case .datacontenttype, .dataschema, .traceparent, .tracestate, .correlationid: _ = try text(name, value, json, limits)
    case .other, .data, .dataBase64, .illegal: try checkExtension(value, json, limits)
    }
  }

  /// The names that mean something here. Found by length first: a name is compared with three others at most.
  private enum Name: String {
    case id, source, type, subject, time, stream, channel, campaign, direction, audience, purpose, role, stage, businessunit
    case causationid, correlationid, datacontenttype, dataschema, traceparent, tracestate, specversion, data
    case dataBase64 = "data_base64"
    /// A well-formed name of somebody else's extension.
    case other
    /// Not a name by CloudEvents 1.0, "Attribute Naming Convention": lower-case letters and digits.
    case illegal

    init(of name: RawSpan) {
      self = Self.known(name) ?? (Self.isLegal(name) ? .other : .illegal)
    }

    private static func known(_ name: RawSpan) -> Name? {
      switch name.byteCount {
      case 2: return name.isEqual(to: "id") ? .id : nil
      case 4:
        switch name.byte(at: 0) {
        case UInt8(ascii: "t"): return name.isEqual(to: "type") ? .type : name.isEqual(to: "time") ? .time : nil
        case UInt8(ascii: "d"): return name.isEqual(to: "data") ? .data : nil
        default: return name.isEqual(to: "role") ? .role : nil
        }
      case 5: return name.isEqual(to: "stage") ? .stage : nil
      case 6: return name.isEqual(to: "source") ? .source : name.isEqual(to: "stream") ? .stream : nil
      case 7:
        switch name.byte(at: 0) {
        case UInt8(ascii: "s"): return name.isEqual(to: "subject") ? .subject : nil
        case UInt8(ascii: "c"): return name.isEqual(to: "channel") ? .channel : nil
        default: return name.isEqual(to: "purpose") ? .purpose : nil
        }
      case 8: return name.isEqual(to: "campaign") ? .campaign : name.isEqual(to: "audience") ? .audience : nil
      case 9: return name.isEqual(to: "direction") ? .direction : nil
      case 10: return name.isEqual(to: "dataschema") ? .dataschema : name.isEqual(to: "tracestate") ? .tracestate : nil
      case 11:
        switch name.byte(at: 0) {
        case UInt8(ascii: "s"): return name.isEqual(to: "specversion") ? .specversion : nil
        case UInt8(ascii: "c"): return name.isEqual(to: "causationid") ? .causationid : nil
        case UInt8(ascii: "t"): return name.isEqual(to: "traceparent") ? .traceparent : nil
        default: return name.isEqual(to: "data_base64") ? .dataBase64 : nil
        }
      case 12: return name.isEqual(to: "businessunit") ? .businessunit : nil
      case 13: return name.isEqual(to: "correlationid") ? .correlationid : nil
      case 15: return name.isEqual(to: "datacontenttype") ? .datacontenttype : nil
      default: return nil
      }
    }

    private static func isLegal(_ name: RawSpan) -> Bool {
      guard name.byteCount > 0 else { return false }
      for index in 0..<name.byteCount {
        let byte = name.byte(at: index)
        guard (0x61...0x7a).contains(byte) || (0x30...0x39).contains(byte) else { return false }
      }
      return true
    }
  }

  private func text(_ name: Name, _ value: JSONNode, _ json: borrowing JSONReader, _ limits: EventLimits) throws(EventError) -> JSONNode {
    guard json.kind(of: value) == .string else { throw EventError(.invalidEvent, "attribute \(name.rawValue) must be a text") }
    let byteCount = json.stringByteCount(of: value)
    guard byteCount > 0 else {
      throw EventError(.invalidEvent, "attribute \(name.rawValue) must not be empty; leave it out if there is none")
    }
    guard byteCount <= limits.attributeByteCountMax else {
      throw EventError(
        .invalidEvent, "attribute \(name.rawValue) has \(byteCount) bytes; at most \(limits.attributeByteCountMax) are taken")
    }
    return value
  }

  private func choice(
    _ name: Name, _ allowed: [StaticString], _ value: JSONNode, _ json: borrowing JSONReader, _ limits: EventLimits
  ) throws(EventError) -> JSONNode {
    let node = try text(name, value, json, limits)
    for literal in allowed where json.equals(node, literal) { return node }
    let list = allowed.map { "\"\($0)\"" }.joined(separator: ", ")
    throw EventError(.invalidEvent, "attribute \(name.rawValue) must be one of \(list)")
  }

  private func checkExtension(_ value: JSONNode, _ json: borrowing JSONReader, _ limits: EventLimits) throws(EventError) {
    switch json.kind(of: value) {
    case .string:
      guard json.stringByteCount(of: value) <= limits.attributeByteCountMax else {
        throw EventError(.invalidEvent, "an extension attribute has more than \(limits.attributeByteCountMax) bytes; put it into data")
      }
    case .bool: break
    case .number:
      guard let number = json.int64(of: value), Int64(Int32.min)...Int64(Int32.max) ~= number else {
        throw EventError(.invalidEvent, "a numeric extension attribute must be an integer of 32 bits; put others into data or send a text")
      }
    case .null, .array, .object:
      throw EventError(.invalidEvent, "an extension attribute must be a text, a boolean or an integer; put objects and lists into data")
    }
  }
}

/// The limits on identifiers, in `data.identifiers` and in each of `data.participants`. Other shapes are not our profile
/// and pass.
private func checkProfile(_ data: JSONNode, _ json: borrowing JSONReader, _ limits: EventLimits) throws(EventError) {
  guard json.kind(of: data) == .object else { return }
  if let identifiers = json.member("identifiers", of: data) {
    try checkIdentifiers(identifiers, json, limits)
  }
  guard let participants = json.member("participants", of: data), json.kind(of: participants) == .array else { return }
  guard json.childCount(of: participants) <= limits.participantCountMax else {
    throw EventError(.invalidEvent, "data.participants has more than \(limits.participantCountMax) entries")
  }
  var element = json.firstChild(of: participants)
  while let participant = element {
    if let identifiers = json.member("identifiers", of: participant) {
      try checkIdentifiers(identifiers, json, limits)
    }
    element = json.next(after: participant, in: participants)
  }
}

private func checkIdentifiers(_ identifiers: JSONNode, _ json: borrowing JSONReader, _ limits: EventLimits) throws(EventError) {
  guard json.kind(of: identifiers) == .object else { return }
  guard json.childCount(of: identifiers) <= limits.identifierKindCountMax else {
    throw EventError(.invalidEvent, "data.identifiers has more than \(limits.identifierKindCountMax) kinds")
  }
  func checkLength(_ value: JSONNode) throws(EventError) {
    guard json.kind(of: value) != .string || json.stringByteCount(of: value) <= limits.identifierByteCountMax else {
      throw EventError(.invalidEvent, "a value in data.identifiers has more than \(limits.identifierByteCountMax) bytes")
    }
  }
  var key = json.firstChild(of: identifiers)
  while let kind = key {
    guard json.stringByteCount(of: kind) <= 64 else {
      throw EventError(.invalidEvent, "a kind in data.identifiers has more than 64 bytes")
    }
    let value = json.value(ofKey: kind)
    if json.kind(of: value) == .array {
      guard json.childCount(of: value) <= limits.identifierKindCountMax else {
        throw EventError(.invalidEvent, "a kind in data.identifiers has more than \(limits.identifierKindCountMax) values")
      }
      var element = json.firstChild(of: value)
      while let item = element {
        try checkLength(item)
        element = json.next(after: item, in: value)
      }
    } else {
      try checkLength(value)
    }
    key = json.next(after: value, in: identifiers)
  }
}
