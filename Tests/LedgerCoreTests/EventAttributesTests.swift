// Every refusal of an event, as a row: what was sent, the kind that becomes the socket's code, and a part of the message.
// A message never holds a value of the event: values may be personal data.

import Bytes
import JSON
import LedgerCore
import Testing

/// Stands in every value of every row, in one spelling or another; no message may repeat it.
private let secret = "s3cr3t"

struct Refusal: CustomTestStringConvertible, Sendable {
  var name: String
  var json: String
  var kind: EventError.Kind
  var message: String
  var limits = EventLimits()
  var testDescription: String { name }
}

/// An event with the required attributes, all but those that `without` names, and more members behind.
private func event(_ more: String = "", without: String = "") -> String {
  let required = [
    ("specversion", "1.0"), ("id", "\(secret)-1"), ("source", "urn:\(secret)"), ("type", "\(secret).placed"),
  ]
  let members = required.filter { $0.0 != without }.map { "\"\($0.0)\":\"\($0.1)\"" } + (more.isEmpty ? [] : [more])
  return "{\(members.joined(separator: ","))}"
}

private func small(_ change: (inout EventLimits) -> Void) -> EventLimits {
  var limits = EventLimits()
  change(&limits)
  return limits
}

private func repeated(_ count: Int, _ item: (Int) -> String) -> String { (0..<count).map(item).joined(separator: ",") }

private let long = secret + String(repeating: "x", count: 4_097 - secret.utf8.count)

/// Checks a text as the front door does; the attributes, or why there are none.
private func check<R>(
  _ text: String, _ limits: EventLimits = EventLimits(), _ body: (EventAttributes, borrowing JSONReader) -> R
) throws(EventError) -> R {
  var json = JSONReader()
  let root: JSONNode
  do throws(JSONError) {
    root = try json.parse(Array(text.utf8).rawSpan)
  } catch {
    throw EventError(.invalidJSON, error.description)
  }
  return body(try EventAttributes(of: root, in: json, limits: limits), json)
}

private let notJSON: [Refusal] = [
  ("nothing", "", "byte 0"),
  ("NaN", event("\"data\":{\"a\":NaN}"), "expected a value"),
  ("Infinity", event("\"data\":-Infinity"), "expected a digit"),
  ("trailing garbage", event() + secret, "expected the end of the text"),
  ("a second event behind the first", event() + event(), "expected the end of the text"),
  ("a comma too many", event("\"data\":[\"\(secret)\",]"), "expected a value"),
  ("a half of a surrogate pair", event("\"subject\":\"\(secret)\\ud800\""), "surrogate"),
  ("the other half", event("\"subject\":\"\(secret)\\udc00\""), "surrogate"),
  ("a raw control character", event("\"subject\":\"\(secret)\u{1}\""), "control character"),
  ("a raw line break in a text", event("\"data\":{\"k\":\"\(secret)\n\"}"), "control character"),
  ("a key without quotes", event("data:1"), "member name in quotes"),
  ("a single quote", event("\"data\":'\(secret)'"), "expected a value"),
  ("a number with a zero in front", event("\"data\":01"), "expected a comma"),
  ("an unknown escape", event("\"data\":\"\(secret)\\x\""), "escape"),
  ("an end too soon", String(event("\"data\":\"\(secret)\"").dropLast(2)), "closing quote"),
  ("a byte order mark", "\u{feff}" + event(), "expected a value"),
  ("arrays inside arrays without end", event("\"data\":" + String(repeating: "[", count: 5_000)), "inside each other"),
].map { Refusal(name: $0.0, json: $0.1, kind: .invalidJSON, message: $0.2) }

private let notAnObject: [Refusal] = ["[\"\(secret)\"]", "\"\(secret)\"", "17", "true", "null", "[]"].map {
  Refusal(name: "not an object: \($0.prefix(5))", json: $0, kind: .invalidEvent, message: "an event must be a JSON object")
}

private let missing: [Refusal] = ["specversion", "id", "source", "type"].flatMap { name in
  [
    Refusal(name: "no \(name)", json: event(without: name), kind: .invalidEvent, message: "attribute \(name) is missing; it must be "),
    Refusal(
      name: "\(name) null", json: event("\"\(name)\":null", without: name), kind: .invalidEvent, message: "attribute \(name) is missing"),
  ]
}

private let specVersions: [Refusal] = ["\"0.3\"", "\"1\"", "1.0", "\"\(secret)\"", "\"\"", "\"1.0 \"", "{}"].map {
  Refusal(
    name: "specversion \($0)", json: event("\"specversion\":\($0)", without: "specversion"), kind: .invalidEvent,
    message: "attribute specversion must be \"1.0\"")
}

/// Attributes that are texts, of 1 to 4,096 bytes.
private let texts: [Refusal] = [
  "id", "source", "type", "subject", "time", "stream", "channel", "campaign", "direction", "audience", "purpose", "role", "stage",
  "businessunit", "causationid",
].flatMap { name in
  [
    Refusal(
      name: "\(name) a number", json: event("\"\(name)\":17", without: name), kind: .invalidEvent,
      message: "attribute \(name) must be a text"),
    Refusal(
      name: "\(name) an object", json: event("\"\(name)\":{\"a\":\"\(secret)\"}", without: name), kind: .invalidEvent,
      message: "attribute \(name) must be a text"),
    Refusal(
      name: "\(name) empty", json: event("\"\(name)\":\"\"", without: name), kind: .invalidEvent,
      message: "attribute \(name) must not be empty"),
    Refusal(
      name: "\(name) too long", json: event("\"\(name)\":\"\(long)\"", without: name), kind: .invalidEvent,
      message: "attribute \(name) has 4097 bytes; at most 4096 are taken"),
  ]
}

private let otherTexts: [Refusal] = ["datacontenttype", "dataschema", "traceparent", "tracestate", "correlationid"].map {
  Refusal(name: "\($0) a list", json: event("\"\($0)\":[\"\(secret)\"]"), kind: .invalidEvent, message: "must be a text")
}

private let values: [Refusal] = [
  ("time without an offset", event("\"time\":\"2026-11-21T20:00:00\""), "attribute time must be RFC 3339"),
  ("time a word", event("\"time\":\"\(secret)\""), "attribute time must be RFC 3339"),
  ("time of the 31st of November", event("\"time\":\"2026-11-31T20:00:00Z\""), "attribute time must be RFC 3339"),
  ("direction", event("\"direction\":\"\(secret)\""), "attribute direction must be one of \"inbound\", \"outbound\""),
  ("direction in capitals", event("\"direction\":\"Inbound\""), "attribute direction must be one of"),
  ("audience", event("\"audience\":\"\(secret)\""), "attribute audience must be one of \"one\", \"many\""),
  (
    "purpose", event("\"purpose\":\"\(secret)\""), "attribute purpose must be one of \"commercial\", \"transactional\", \"service\""
  ),
  ("a name in capitals", event("\"\(secret.uppercased())\":1"), "lower-case letters and digits"),
  ("a name with an underscore", event("\"\(secret)_a\":1"), "lower-case letters and digits"),
  ("a name with an accent", event("\"\(secret)é\":1"), "lower-case letters and digits"),
  ("an empty name", event("\"\":\"\(secret)\""), "lower-case letters and digits"),
  ("identifiers beside data", event("\"identifiers\":{\"email\":\"\(secret)\"}"), "must be a text, a boolean or an integer"),
  ("an extension of a list", event("\"more\":[\"\(secret)\"]"), "must be a text, a boolean or an integer"),
  ("an extension of a fraction", event("\"more\":1.5"), "integer of 32 bits"),
  ("an extension beyond 32 bits", event("\"more\":2147483648"), "integer of 32 bits"),
  ("an extension far beyond", event("\"more\":1\(String(repeating: "0", count: 50))"), "integer of 32 bits"),
  ("an extension too long", event("\"more\":\"\(long)\""), "more than 4096 bytes"),
  ("an attribute twice", event("\"id\":\"\(secret)\""), "names an attribute twice"),
  ("data twice", event("\"data\":\"\(secret)\",\"data\":2"), "names an attribute twice"),
  ("a name twice, once escaped", event("\"\\u0069d\":\"\(secret)\""), "names an attribute twice"),
  ("an extension twice", event("\"more\":\"\(secret)\",\"more\":\"\(secret)\""), "names an attribute twice"),
  ("data and data_base64", event("\"data\":\"\(secret)\",\"data_base64\":\"czNjcjN0\""), "both data and data_base64"),
  ("data_base64 a number", event("\"data_base64\":17"), "data_base64 must be a text"),
].map { Refusal(name: $0.0, json: $0.1, kind: .invalidEvent, message: $0.2) }

private let overLimits: [Refusal] = [
  Refusal(
    name: "129 attributes", json: event(repeated(125) { "\"a\($0)\":\"\(secret)\"" }), kind: .invalidEvent,
    message: "the event has 129 attributes; at most 128 are taken"),
  Refusal(
    name: "an identifier of 513 bytes", json: event("\"data\":{\"identifiers\":{\"email\":\"\(long.prefix(513))\"}}"),
    kind: .invalidEvent, message: "a value in data.identifiers has more than 512 bytes"),
  Refusal(
    name: "one of 513 bytes in a list", json: event("\"data\":{\"identifiers\":{\"email\":[\"a\",\"\(long.prefix(513))\"]}}"),
    kind: .invalidEvent, message: "a value in data.identifiers has more than 512 bytes"),
  Refusal(
    name: "65 kinds", json: event("\"data\":{\"identifiers\":{\(repeated(65) { "\"k\($0)\":\"\(secret)\"" })}}"),
    kind: .invalidEvent, message: "more than 64 kinds"),
  Refusal(
    name: "a kind of 65 bytes", json: event("\"data\":{\"identifiers\":{\"\(long.prefix(65))\":1}}"), kind: .invalidEvent,
    message: "a kind in data.identifiers has more than 64 bytes"),
  Refusal(
    name: "65 values of a kind", json: event("\"data\":{\"identifiers\":{\"email\":[\(repeated(65) { _ in "\"\(secret)\"" })]}}"),
    kind: .invalidEvent, message: "more than 64 values"),
  Refusal(
    name: "65 participants", json: event("\"data\":{\"participants\":[\(repeated(65) { _ in "{\"part\":\"\(secret)\"}" })]}"),
    kind: .invalidEvent, message: "more than 64 entries"),
  Refusal(
    name: "an identifier of a participant",
    json: event("\"data\":{\"participants\":[{},{\"identifiers\":{\"email\":\"\(long.prefix(513))\"}}]}"), kind: .invalidEvent,
    message: "more than 512 bytes"),
  Refusal(
    name: "a smaller limit", json: event("\"subject\":\"\(secret)\""), kind: .invalidEvent, message: "at most 5 are taken",
    limits: small { $0.attributeByteCountMax = 5 }),
]

@Suite struct EventAttributesTests {
  static let refusals: [Refusal] =
    notJSON + notAnObject + missing + specVersions + texts + otherTexts + values + overLimits

  @Test(arguments: refusals)
  func `a refusal has its kind and says what is wrong, but repeats no value`(row: Refusal) {
    let error = #expect(throws: EventError.self) { try check(row.json, row.limits) { _, _ in } }
    #expect(error?.kind == row.kind)
    #expect(error?.message.contains(row.message) == true, "\(error?.message ?? "")")
    for spelling in [secret, secret.uppercased()] { #expect(error?.message.contains(spelling) == false, "\(error?.message ?? "")") }
    #expect(error.map { $0.description == $0.message } == true)
  }

  @Test(arguments: [
    event(), event("\"data\":null"), event("\"data\":null,\"data_base64\":\"AA==\""), event("\"data\":1,\"data_base64\":null"),
    event("\"data\":[1,\"x\",{\"a\":1,\"a\":2}]"), event("\"data\":\"\\u0000\""), event("\"data\":1e999999"),
    event("\"data\":\(String(repeating: "9", count: 500))"), event("\"more\":2147483647,\"less\":-2147483648,\"flag\":true"),
    event("\"more\":\"\""), event("\"subject\":null,\"time\":null,\"direction\":null"),
    event("\"data\":{\"identifiers\":[1],\"participants\":{}}"), event("\"data\":{\"participants\":[1,null,{\"identifiers\":7}]}"),
    event("\"data\":{\"Any_Name\":1,\"\":2}"), event("\"subject\":\"\(long.prefix(4_096))\""),
    event("\"data\":{\"identifiers\":{\"email\":\"\(long.prefix(512))\"}}"), event(repeated(124) { "\"a\($0)\":\"\"" }),
    " \t\r\n" + event("\"data\" : 1") + "\n",
  ])
  func `what is legal is taken`(json: String) throws {
    try check(json) { attributes, reader in
      #expect(attributes.occurred == nil && !attributes.isOccurredClamped)
      #expect(reader.withString(of: attributes.id) { $0.isEqual(to: Array("\(secret)-1".utf8).rawSpan) })
    }
  }

  @Test func `each attribute is found under its own name`() throws {
    let names = [
      "subject", "stream", "channel", "campaign", "role", "stage", "businessunit", "causationid",
    ]
    let json = event(
      names.map { "\"\($0)\":\"value of \($0)\"" }.joined(separator: ",")
        + ",\"direction\":\"outbound\",\"audience\":\"many\",\"purpose\":\"service\",\"time\":\"1970-01-01T00:00:01Z\",\"data\":{\"a\":1}")
    try check(json) { attributes, reader in
      let found = [
        attributes.subject, attributes.stream, attributes.channel, attributes.campaign, attributes.role, attributes.stage,
        attributes.businessUnit, attributes.causationID, attributes.direction, attributes.audience, attributes.purpose,
      ].map { node in node.map { String(decoding: reader.bytes(of: $0), as: UTF8.self) } }
      #expect(found == names.map { "value of \($0)" } + ["outbound", "many", "service"])
      #expect(attributes.occurred == Timestamp(microseconds: 1_000_000))
      #expect(attributes.data.map { reader.kind(of: $0) } == .object)
      let required = [attributes.id, attributes.source, attributes.type].map { String(decoding: reader.bytes(of: $0), as: UTF8.self) }
      #expect(required == ["\(secret)-1", "urn:\(secret)", "\(secret).placed"])
    }
  }

  @Test func `absent attributes are absent`() throws {
    try check(event()) { attributes, _ in
      let nodes = [
        attributes.subject, attributes.stream, attributes.channel, attributes.campaign, attributes.direction, attributes.audience,
        attributes.purpose, attributes.role, attributes.stage, attributes.businessUnit, attributes.causationID, attributes.data,
      ]
      #expect(nodes.allSatisfy { $0 == nil })
    }
  }

  @Test func `a name that is escaped is the name`() throws {
    try check(event("\"s\\u0075bject\":\"x\"")) { attributes, _ in #expect(attributes.subject != nil) }
  }

  @Test(arguments: [("0000-01-01T00:00:00+01:00", Timestamp.earliest), ("9999-12-31T23:59:59-01:00", Timestamp.latest)])
  func `a time out of the legal years is clamped and flagged`(time: String, end: Timestamp) throws {
    try check(event("\"time\":\"\(time)\"")) { attributes, _ in
      #expect(attributes.occurred == end && attributes.isOccurredClamped)
    }
  }

  @Test(arguments: [
    ("ledger.", true), ("ledger.retracted", true), ("\\u006cedger.retracted", true), ("ledger", false), ("ledgers.x", false),
    ("Ledger.x", false), ("com.ledger.x", false),
  ])
  func `the ledger's own types are known`(type: String, isOwn: Bool) throws {
    try check(event("\"type\":\"\(type)\"", without: "type")) { attributes, json in #expect(attributes.isLedgerFact(in: json) == isOwn) }
  }

  @Test func `a stored event is read again, and after one that is damaged too`() throws {
    let logged = LoggedEvent()
    let envelope = Envelope(
      recorded: Timestamp(microseconds: 9), received: Timestamp(microseconds: 8), revision: 3, door: .http, principal: "uid:1")
    #expect(
      #expect(throws: EventError.self) { try logged.read(Array("{".utf8).rawSpan, position: 1, envelope: envelope) }?.kind == .invalidJSON)
    #expect(
      #expect(throws: EventError.self) { try logged.read(Array("{}".utf8).rawSpan, position: 1, envelope: envelope) }?.kind == .invalidEvent
    )
    try logged.read(Array(event().utf8).rawSpan, position: 7, envelope: envelope)
    #expect(logged.position == 7 && logged.envelope == envelope && logged.occurred == Timestamp(microseconds: 8))
    try logged.read(Array(event("\"time\":\"1970-01-01T00:00:00Z\"").utf8).rawSpan, position: 8, envelope: envelope)
    #expect(logged.occurred == Timestamp(microseconds: 0))
    // Limits of today do not make yesterday's event unreadable.
    try logged.read(Array(event("\"subject\":\"\(long)\"").utf8).rawSpan, position: 9, envelope: envelope)
    #expect(logged.position == 9)
  }
}
