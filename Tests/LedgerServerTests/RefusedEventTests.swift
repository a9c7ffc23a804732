// What is wrong with an event is said by code, by index and by attribute, never by value; and nothing is appended.

import LedgerClient
import Testing

/// A text that is no JSON, or no event the ledger takes.
struct BadEvent: Sendable, CustomTestStringConvertible {
  var testDescription: String
  var text: String
  var code: String
  var fragment: String
  var status: Int

  init(_ name: String, _ text: String, _ fragment: String, code: String = "invalid-event", status: Int = 400) {
    testDescription = name
    self.text = text
    self.code = code
    self.fragment = fragment
    self.status = status
  }
}

private let leak = #""urn:leak""#

private func bad(_ changes: KeyValuePairs<String, String?>) -> String {
  // Whatever is not changed holds the word that must not come back.
  var text = event("leak-1", changes)
  if !changes.contains(where: { $0.key == "source" }) { text = text.replacing(#""urn:test""#, with: leak) }
  return text
}

private func identifiers(_ count: Int) -> String {
  "{" + (0..<count).map { "\"k\($0)\":\"leak\"" }.joined(separator: ",") + "}"
}

private let long = String(repeating: "leak", count: 129)

private let invalidJSON: [BadEvent] = [
  BadEvent("NaN", bad(["data": "NaN"]), "expected a value", code: "invalid-json"),
  BadEvent("Infinity in data", bad(["data": #"{"leak":-Infinity}"#]), "expected a digit", code: "invalid-json"),
  BadEvent("text behind the event", bad([:]) + "leak", "expected the end", code: "invalid-json"),
  BadEvent("a second event", bad([:]) + " " + bad([:]), "expected the end", code: "invalid-json"),
  BadEvent("a high surrogate alone", bad(["data": #""leak\ud800""#]), "surrogate", code: "invalid-json"),
  BadEvent("a low surrogate alone", bad(["data": #"{"leak":["\udc00"]}"#]), "surrogate", code: "invalid-json"),
  BadEvent("a raw control character", bad(["data": "\"leak\u{01}\""]), "control character", code: "invalid-json"),
  BadEvent("a raw tab in a string", bad(["data": "\"leak\t\""]), "control character", code: "invalid-json"),
  BadEvent("cut off in a string", String(bad([:]).dropLast(3)), "expected a closing quote", code: "invalid-json"),
  BadEvent("cut off in an object", String(bad([:]).dropLast(1)), "expected a comma or a closing brace", code: "invalid-json"),
  BadEvent("a number that begins with 0", bad(["data": "007"]), "expected", code: "invalid-json"),
  BadEvent("a comma too many", #"{"id":"leak",}"#, "expected a member name", code: "invalid-json"),
  BadEvent("single quotes", "{'id':'leak'}", "expected a member name", code: "invalid-json"),
  BadEvent("a comment", bad([:]) + "// leak", "expected the end", code: "invalid-json"),
  BadEvent("no value", #"{"id":}"#, "expected a value", code: "invalid-json"),
]

private let missing: [BadEvent] = ["specversion", "id", "source", "type"].flatMap { name in
  [
    BadEvent("\(name) is missing", bad([name: nil]), "attribute \(name) is missing"),
    BadEvent("\(name) is null", bad([name: "null"]), "attribute \(name) is missing"),
    BadEvent("\(name) is a number", bad([name: "1"]), "attribute \(name) must be"),
    BadEvent("\(name) is an object", bad([name: #"{"leak":1}"#]), "attribute \(name) must be"),
    BadEvent("\(name) is empty", bad([name: "\"\""]), "attribute \(name) must"),
  ]
}

private let optional: [BadEvent] = [
  "subject", "time", "stream", "channel", "campaign", "direction", "audience", "purpose", "role", "stage", "businessunit", "causationid",
].flatMap { name in
  [
    BadEvent("\(name) is a number", bad([name: "17"]), "attribute \(name) must be"),
    BadEvent("\(name) is a list", bad([name: #"["leak"]"#]), "attribute \(name) must be"),
    BadEvent("\(name) is empty", bad([name: "\"\""]), "attribute \(name) must"),
  ]
}

private let choices: [BadEvent] = [
  ("direction", "\"inbound\", \"outbound\""), ("audience", "\"one\", \"many\""),
  ("purpose", "\"commercial\", \"transactional\", \"service\""),
].map { BadEvent("\($0.0) is none of the words", bad([$0.0: #""leak""#]), "attribute \($0.0) must be one of \($0.1)") }

private let times: [BadEvent] = [
  "leak", "2026-11-21", "2026-11-21T20:00:00", "2026-13-21T20:00:00Z", "2026-02-30T20:00:00Z", "2026-11-21T25:00:00Z", "1795291200",
  "20:00:00Z",
].map { BadEvent("time \($0)", bad(["time": "\"\($0)\""]), "attribute time must be RFC 3339") }

private let shapes: [BadEvent] = [
  BadEvent("a list", "[1,2]", "must be a JSON object"),
  BadEvent("a text", #""leak""#, "must be a JSON object"),
  BadEvent("a number", "17", "must be a JSON object"),
  BadEvent("null", "null", "must be a JSON object"),
  BadEvent("specversion 0.3", bad(["specversion": #""0.3""#]), "attribute specversion must be \"1.0\""),
  BadEvent(
    "the same attribute twice", #"{"specversion":"1.0","id":"leak","source":"urn:leak","type":"t","id":"leak2"}"#,
    "names an attribute twice"),
  BadEvent(
    "the same attribute twice, once in escapes", #"{"specversion":"1.0","id":"leak","source":"urn:leak","type":"t","\u0069d":"leak2"}"#,
    "names an attribute twice"
  ),
  BadEvent(
    "data twice", #"{"specversion":"1.0","id":"leak","source":"urn:leak","type":"t","data":1,"data":1}"#, "names an attribute twice"),
  BadEvent("a capital in a name", bad(["leakName": "1"]), "lower-case letters and digits only"),
  BadEvent("an underscore in a name", bad(["leak_name": "1"]), "lower-case letters and digits only"),
  BadEvent("an empty name", bad(["": "1"]), "lower-case letters and digits only"),
  BadEvent("é in a name", bad(["leaké": "1"]), "lower-case letters and digits only"),
  BadEvent("data and data_base64", bad(["data": "1", "data_base64": #""bGVhaw==""#]), "both data and data_base64"),
  BadEvent("data_base64 is a number", bad(["data_base64": "17"]), "data_base64 must be a text"),
  BadEvent("an extension above 32 bits", bad(["level": "2147483648"]), "an integer of 32 bits"),
  BadEvent("an extension below 32 bits", bad(["level": "-2147483649"]), "an integer of 32 bits"),
  BadEvent("an extension with a fraction", bad(["level": "1.5"]), "an integer of 32 bits"),
  BadEvent("an extension that is an object", bad(["level": #"{"leak":1}"#]), "a text, a boolean or an integer"),
  BadEvent("an extension that is a list", bad(["level": #"["leak"]"#]), "a text, a boolean or an integer"),
  BadEvent(
    "an attribute of 4,097 bytes", bad(["subject": "\"\(String(repeating: "l", count: 4_097))\""]), "attribute subject has 4097 bytes"),
  BadEvent("129 attributes", String(bad([:]).dropLast()) + many(125), "has 129 attributes"),
]

private func many(_ count: Int) -> String { (0..<count).map { ",\"a\($0)\":\"leak\"" }.joined() + "}" }

private let profile: [BadEvent] = [
  BadEvent("an identifier of 516 bytes", bad(["data": #"{"identifiers":{"email":"\#(long)"}}"#]), "more than 512 bytes"),
  BadEvent("an identifier of 516 bytes in a list", bad(["data": #"{"identifiers":{"email":["leak","\#(long)"]}}"#]), "more than 512 bytes"),
  BadEvent(
    "an identifier of 516 bytes of a participant",
    bad(["data": #"{"participants":[{"part":"to","identifiers":{"email":"\#(long)"}}]}"#]), "more than 512 bytes"
  ),
  BadEvent("65 kinds", bad(["data": #"{"identifiers":\#(identifiers(65))}"#]), "more than 64 kinds"),
  BadEvent("65 kinds of a participant", bad(["data": #"{"participants":[{"identifiers":\#(identifiers(65))}]}"#]), "more than 64 kinds"),
]

private let others: [BadEvent] = [
  BadEvent(
    "a type of the ledger's own", bad(["type": #""ledger.erased""#]), "written by the ledger itself", code: "forbidden", status: 403),
  BadEvent(
    "a type of the ledger's own in escapes", bad(["type": #""\u006cedger.leak""#]), "written by the ledger itself", code: "forbidden",
    status: 403),
  BadEvent(
    "65,537 bytes", bad(["data": "\"\(String(repeating: "leak", count: 16_384))\""]), "at most 65536", code: "event-too-large"),
]

private let badEvents = missing + optional + choices + times + shapes + profile + others

@Suite(.serialized, .server) struct RefusedEventTests {
  @Test(arguments: invalidJSON) func `what is no JSON is refused, alone, in a batch and in a stream`(_ bad: BadEvent) async throws {
    let server = try RunningServer.require()
    try await server.refused(.post(bad.text), 400, bad.code, bad.fragment)
    try await server.refused(.post("[\(event(freshID())),\(bad.text)]", batched), 400, "invalid-json", "invalid JSON at byte")
    let line = bad.text.contains("\n") ? bad.text.replacing("\n", with: " ") : bad.text
    let problem = try await server.refused(
      .post("\(event(freshID()))\n\(line)\n", streamed, "/v1/events?atomic=true"), 400, bad.code, "line 2: ")
    #expect(problem["line"]?.integer == 2)
  }

  @Test(arguments: badEvents) func `a bad event is refused alone`(_ bad: BadEvent) async throws {
    let problem = try await RunningServer.require().refused(.post(bad.text), bad.status, bad.code, bad.fragment)
    #expect(problem["errors"]?.array?.count == 1)
    #expect(problem["errors"]?.array?.first?["index"]?.integer == 0)
  }

  @Test(arguments: badEvents) func `a bad event in a batch is listed by its index, and the good ones wait`(_ bad: BadEvent) async throws {
    let batch = "[\(event(freshID())),\(bad.text),\(event(freshID())),\(bad.text)]"
    let problem = try await RunningServer.require().refused(.post(batch, batched), bad.status, bad.code, "event 1: ")
    let errors = try #require(problem["errors"]?.array)
    #expect(errors.map { $0["index"]?.integer } == [1, 3])
    for error in errors {
      #expect(error["code"]?.string == bad.code)
      #expect(error["detail"]?.string?.contains(bad.fragment) == true)
    }
    #expect(problem["detail"]?.string?.contains("(and 1 more)") == true)
  }

  @Test(arguments: badEvents) func `a bad event in an atomic stream is named by its line`(_ bad: BadEvent) async throws {
    let lines = "\(event(freshID()))\n\n\(bad.text)\n\(event(freshID()))\n"
    let problem = try await RunningServer.require().refused(
      .post(lines, streamed, "/v1/events?atomic=true"), bad.status, bad.code, bad.fragment)
    #expect(problem["line"]?.integer == 3)
  }

  @Test(arguments: badEvents) func `a bad event in a stream ends it, and what came before stands`(_ bad: BadEvent) async throws {
    let server = try RunningServer.require()
    let lines = "\(event(freshID()))\n\(bad.text)\n\(event(freshID()))\n"
    let problem = try await server.refused(.post(lines, streamed), bad.status, bad.code, bad.fragment, appends: 1)
    #expect(problem["line"]?.integer == 2)
    #expect(problem["appended"]?.integer == 1)
    #expect(problem["duplicates"]?.integer == 0)
    #expect(problem["head"]?.integer == server.head)
    #expect(problem["detail"]?.string?.contains("nothing was appended") == false)
  }

  @Test func `the first bad event's code decides when several are wrong`() async throws {
    let server = try RunningServer.require()
    let ledger = event("leak", ["type": #""ledger.leak""#])
    let untyped = event("leak", ["type": nil])
    let first = try await server.refused(.post("[\(untyped),\(ledger)]", batched), 400, "invalid-event", "event 0: ")
    #expect(first["errors"]?.array?.map { $0["code"]?.string } == ["invalid-event", "forbidden"])
    let second = try await server.refused(.post("[\(ledger),\(untyped)]", batched), 403, "forbidden", "event 0: ")
    #expect(second["errors"]?.array?.map { $0["code"]?.string } == ["forbidden", "invalid-event"])
  }

  @Test(arguments: [("nothing at all", ""), ("blanks", " \r\n\t"), ("a byte order mark", "\u{FEFF}" + event("leak"))])
  func `what is no text of an event is invalid JSON`(_ name: String, _ body: String) async throws {
    let server = try RunningServer.require()
    try await server.refused(.post(body), 400, "invalid-json", "expected a value")
    try await server.refused(.post(body, batched), 400, "invalid-json", "expected a value")
  }

  @Test func `bytes that are not UTF-8 are invalid JSON`() async throws {
    let text = Array(event("leak").utf8.dropLast(2)) + [0xFF] + Array("\"}".utf8)
    try await RunningServer.require().refused(.bytes(text), 400, "invalid-json", "well-formed UTF-8")
  }

  @Test func `more arrays inside each other than are read are refused, and no stack overflows`() async throws {
    let deep = String(repeating: "[", count: 100_000)
    let server = try RunningServer.require()
    try await server.refused(.post(event("leak", ["data": deep])), 400, "invalid-json", "inside each other")
    try await server.refused(.post(deep, batched), 400, "invalid-json", "inside each other")
  }
}
