// Refusals that are about the request and not about one event: sizes, types, parameters, preconditions, paths, methods.

import Bytes
import LedgerClient
import LedgerServer
import Testing
import Zstd

/// A request and how it is refused.
struct BadRequest: Sendable, CustomTestStringConvertible {
  var testDescription: String
  var sent: Sent
  var status: Int
  var code: String
  var fragment: String

  init(_ name: String, _ sent: Sent, _ fragment: String, _ code: String = "invalid-request", _ status: Int = 400) {
    testDescription = name
    self.sent = sent
    self.fragment = fragment
    self.code = code
    self.status = status
  }
}

private let one = event("leak-1", ["source": #""urn:leak""#])

private func compressed(_ bytes: [UInt8]) throws -> [UInt8] {
  var out: [UInt8] = []
  var compressor = Compressor()
  try compressor.compress(bytes.rawSpan, level: 3, into: &out)
  return out
}

private func encoding(_ name: String) -> [(name: String, value: String)] { [(name: "content-encoding", value: name)] }

private let appends: [BadRequest] = [
  BadRequest("an empty batch", .post("[]", batched), "holds no event", "empty-batch"),
  BadRequest("an empty stream", .post("", streamed), "holds no event", "empty-batch"),
  BadRequest("a stream of blank lines", .post("\n \r\n\t\n", streamed), "holds no event", "empty-batch"),
  BadRequest("an empty atomic stream", .post("\n\n", streamed, "/v1/events?atomic=true"), "holds no event", "empty-batch"),
  BadRequest("an object as a batch", .post(one, batched), "must be a JSON array", "invalid-event"),
  BadRequest("a batch as one event", .post("[\(one)]"), "must be a JSON object", "invalid-event"),
  BadRequest(
    "10,001 events", .post("[" + Array(repeating: "{}", count: 10_001).joined(separator: ",") + "]", batched), "10001 events",
    "batch-too-large"),
  BadRequest(
    "10,001 events in one commit",
    .post((0...10_000).map { event("\($0)") }.joined(separator: "\n"), streamed, "/v1/events?atomic=true"), "10001 events",
    "batch-too-large"),
  BadRequest(
    "more than 8 MiB", .bytes([UInt8](repeating: 0x20, count: (8 << 20) + 1), batched), "more than 8388608 bytes", "batch-too-large"),
  BadRequest(
    "more than 8 MiB in one commit", .bytes([UInt8](repeating: 0x20, count: (8 << 20) + 1), streamed, "/v1/events?atomic=true"),
    "more than 8388608 bytes", "batch-too-large"),
  BadRequest(
    "a gzip bomb", .bytes(Gzip.bomb(byteCount: 16 << 20), batched, "/v1/events", encoding("gzip")), "more than 8388608 bytes",
    "batch-too-large"),
  BadRequest(
    "a line that does not end", .bytes([UInt8](repeating: 0x61, count: 300_000), streamed), "without an end", "event-too-large"),
  BadRequest(
    "a gzip bomb in a stream", .bytes(Gzip.bomb(byteCount: 16 << 20), streamed, "/v1/events", encoding("gzip")), "without an end",
    "event-too-large"),
  BadRequest("no content type", .post(one, nil), "Content-Type must be"),
  BadRequest("an unknown content type", .post(one, "text/leak"), "Content-Type must be"),
  BadRequest("plain JSON", .post(one, "application/json"), "Content-Type must be"),
  BadRequest("an unknown parameter", .post(one, structured, "/v1/events?leak=leak"), "it knows: atomic, receipts"),
  BadRequest("receipts=leak", .post(one, structured, "/v1/events?receipts=leak"), "receipts must be true, false or stream"),
  BadRequest("atomic=leak", .post(one, structured, "/v1/events?atomic=leak"), "atomic must be true or false"),
  BadRequest("receipts=stream without a stream", .post(one, structured, "/v1/events?receipts=stream"), "application/x-ndjson"),
  BadRequest(
    "receipts=stream in one commit", .post(one, streamed, "/v1/events?receipts=stream&atomic=true"), "cannot be combined"),
  BadRequest("an unknown encoding", .post(one, structured, "/v1/events", encoding("br")), "gzip, zstd or identity"),
  BadRequest("no gzip", .post(one, structured, "/v1/events", encoding("gzip")), "not valid gzip"),
  BadRequest("no zstd", .post(one, structured, "/v1/events", encoding("zstd")), "not valid zstd"),
  BadRequest(
    "a gzip stream that is cut off", .bytes(Array(Gzip.stored(Array(one.utf8)).dropLast(6)), structured, "/v1/events", encoding("gzip")),
    "cut off"),
  BadRequest("an If-Match without marks", .post(one, structured, "/v1/events", [("if-match", "3")]), "in quotation marks"),
  BadRequest("an If-Match that is no number", .post(one, structured, "/v1/events", [("if-match", "\"leak\"")]), "in quotation marks"),
  BadRequest("an If-Match with a sign", .post(one, structured, "/v1/events", [("if-match", "\"+3\"")]), "in quotation marks"),
  BadRequest("an If-None-Match other than *", .post(one, structured, "/v1/events", [("if-none-match", "\"leak\"")]), "can only be *"),
  BadRequest(
    "If-Match and If-None-Match", .post(one, structured, "/v1/events", [("if-match", "\"3\""), ("if-none-match", "*")]), "not both"),
  BadRequest(
    "an expected revision of several streams",
    .post(
      "[\(event("a", ["stream": #""leak-a""#])),\(event("b", ["stream": #""leak-b""#]))]", batched, "/v1/events", [("if-none-match", "*")]),
    "one stream"),
  BadRequest(
    "a ce- header that is not UTF-8", .post("", nil, "/v1/events", binary([("ce-subject", "leak%FF")])), "ce-subject is not UTF-8",
    "invalid-event"),
  BadRequest("a ce- header twice", .post("", nil, "/v1/events", binary([("ce-id", "leak2")])), "sent twice", "invalid-event"),
  BadRequest("data in a ce- header", .post("", nil, "/v1/events", binary([("ce-data", "leak")])), "in the body", "invalid-event"),
  BadRequest("no ce-type", .post("", nil, "/v1/events", Array(binary([]).dropLast())), "attribute type is missing", "invalid-event"),
  BadRequest(
    "binary data that is no JSON", .post(#"{}, "leak":1"#, "application/json", "/v1/events", binary([])), "expected the end",
    "invalid-json"),
]

private func binary(_ more: [(String, String)]) -> [(name: String, value: String)] {
  [("ce-specversion", "1.0"), ("ce-id", "leak"), ("ce-source", "urn:leak")] + more.map { (name: $0.0, value: $0.1) } + [("ce-type", "t")]
}

private let reads: [BadRequest] = [
  BadRequest("an unknown path", .get("/v1/leak"), "there is no such path", "not-found", 404),
  BadRequest("the root", .get("/"), "there is no such path", "not-found", 404),
  BadRequest("an event below an event", .get("/v1/events/1/leak"), "there is no such path", "not-found", 404),
  BadRequest("position 0", .get("/v1/events/0"), "a whole number from 1"),
  BadRequest("a position that is no number", .get("/v1/events/leak"), "a whole number from 1"),
  BadRequest("a negative position", .get("/v1/events/-1"), "a whole number from 1"),
  BadRequest("a position beyond 64 bits", .get("/v1/events/18446744073709551616"), "a whole number from 1"),
  BadRequest("a position beyond the head", .get("/v1/events/4000000000"), "is not in the log", "not-found", 404),
  BadRequest("an unknown parameter of a read", .get("/v1/events?leak=leak"), "it knows: after, until, limit"),
  BadRequest("an unknown parameter of an event", .get("/v1/events/1?leak=leak"), "it knows: none"),
  BadRequest("an unknown parameter of the log", .get("/v1/log?leak=leak"), "it knows: none"),
  BadRequest("after=leak", .get("/v1/events?after=leak"), "after must be a whole number"),
  BadRequest("after=-1", .get("/v1/events?after=-1"), "after must be a whole number"),
  BadRequest("after with a sign", .get("/v1/events?after=%2B1"), "after must be a whole number"),
  BadRequest("until beyond 63 bits", .get("/v1/events?until=9223372036854775808"), "until must be a whole number"),
  BadRequest("limit=0", .get("/v1/events?limit=0"), "limit must be a whole number from 1"),
  BadRequest("follow=leak", .get("/v1/events?follow=leak"), "follow must be true or false"),
  BadRequest("since=leak", .get("/v1/events?since=leak"), "since must be RFC 3339"),
  BadRequest("before with a bare plus", .get("/v1/events?before=2026-11-21T20:00:00+01:00x"), "before must be RFC 3339"),
  BadRequest("customers without an identifier", .get("/v1/customers"), "identifier must be given"),
  BadRequest("an identifier without a kind", .get("/v1/customers?identifier=leak"), "kind:value"),
  BadRequest("an unknown parameter of customers", .get("/v1/customers?email=leak"), "it knows: identifier, atLeast"),
  BadRequest("a customer's id that is no position", .get("/v1/customers/leak"), "a customer's id is a position"),
  BadRequest("a customer who is not there", .get("/v1/customers/4000000000"), "no customer with this id", "not-found", 404),
  BadRequest("the journey of nobody", .get("/v1/customers/4000000000/journey"), "no customer with this id", "not-found", 404),
  BadRequest("a journey without a page", .get("/v1/customers/unowned/journey?limit=0"), "limit must be"),
  BadRequest("a cursor that was made up", .get("/v1/customers/unowned/journey?cursor=leak"), "cursor is not one"),
  BadRequest("channels from leak", .get("/v1/channels?from=leak"), "from must be"),
  BadRequest("atLeast=leak", .get("/v1/customers?identifier=email:a@b.c&atLeast=leak"), "atLeast must be a whole number"),
  BadRequest("a rebuild of nothing", .post("", nil, "/v1/projections/nothing/rebuild"), "there is no projection", "not-found", 404),
  BadRequest("a digest of nothing", .get("/v1/projections/nothing/digest"), "there is no projection", "not-found", 404),
  BadRequest("parked events of nothing", .get("/v1/projections/nothing/parked"), "there is no projection", "not-found", 404),
]

@Suite(.serialized, .server { $0.atLeastWaitSecondsMax = 1 }) struct RefusedRequestTests {
  @Test(arguments: appends) func `a bad append is refused and nothing is appended`(_ bad: BadRequest) async throws {
    try await RunningServer.require().refused(bad.sent, bad.status, bad.code, bad.fragment)
  }

  @Test(arguments: reads) func `a bad read is refused`(_ bad: BadRequest) async throws {
    try await RunningServer.require().refused(bad.sent, bad.status, bad.code, bad.fragment)
  }

  @Test func `who is no administrator may append and read, but not rebuild`() async throws {
    let server = try await RunningServer.start(administrators: [])
    let problem = try await server.refused(
      .post("", nil, "/v1/projections/customers/rebuild"), 403, "forbidden", "rebuilding needs the role analyst")
    try await server.refused(
      Sent(method: "DELETE", target: "/v1/projections/customers/rebuild"), 403, "forbidden", "rebuilding needs the role analyst")
    #expect(problem["errors"] == nil)
    try await server.append([event(freshID())])
    try await server.stop()
  }

  @Test func `a zstd bomb is refused, whole or as a stream`() async throws {
    let bomb = try compressed([UInt8](repeating: 0x20, count: 9 << 20))
    let server = try RunningServer.require()
    try await server.refused(
      .bytes(bomb, batched, "/v1/events", encoding("zstd")), 400, "batch-too-large", "more than 8388608 bytes")
    try await server.refused(
      .bytes(bomb, streamed, "/v1/events", encoding("zstd")), 400, "batch-too-large", "a piece of the stream has more than 8388608 bytes")
  }

  @Test func `a zstd frame that is cut off is refused`() async throws {
    let bytes = try compressed(Array(one.utf8)).dropLast(3)
    try await RunningServer.require().refused(
      .bytes(Array(bytes), structured, "/v1/events", encoding("zstd")), 400, "invalid-request", "cut off")
  }

  @Test func `the same id with other contents is a conflict, listed by index`() async throws {
    let server = try RunningServer.require()
    let ids = [freshID(), freshID(), freshID()]
    let position = try await server.append(ids.map { event($0, ["data": #""leak""#]) })
    let changed = ids.map { event($0, ["data": $0 == ids[1] ? #""leak""# : #""Leak""#]) }
    let problem = try await server.refused(
      .post("[\(event(freshID())),\(changed.joined(separator: ","))]", batched), 409, "id-conflict", "other content")
    let errors = try #require(problem["errors"]?.array)
    #expect(errors.map { $0["index"]?.integer } == [1, 3])
    #expect(errors.map { $0["code"]?.string } == ["id-conflict", "id-conflict"])
    #expect(errors[0]["detail"]?.string?.contains("position \(position - 2)") == true)
    #expect(errors[1]["detail"]?.string?.contains("position \(position)") == true)
  }

  @Test func `two contents of one id in one batch are a conflict`() async throws {
    let id = freshID()
    let batch = "[\(event(id, ["data": "1"])),\(event(id, ["data": "2"]))]"
    let problem = try await RunningServer.require().refused(.post(batch, batched), 409, "id-conflict", "other content")
    #expect(problem["errors"]?.array?.map { $0["index"]?.integer } == [1])
  }

  @Test func `a wrong revision is told with the expected and the actual one`() async throws {
    let server = try RunningServer.require()
    let stream = "\"leak-\(freshID())\""
    func next() -> String { event(freshID(), ["stream": stream]) }
    let absent = try await server.refused(
      .post(next(), structured, "/v1/events", [("if-match", "\"0\"")]), 412, "wrong-revision",
      "wrong expected revision 0: the stream is at no event yet")
    #expect(absent["expected"]?.integer == 0)
    #expect(absent["actual"] == nil)
    try await server.append([next(), next()])
    let behind = try await server.refused(
      .post(next(), structured, "/v1/events", [("if-match", "\"0\"")]), 412, "wrong-revision",
      "wrong expected revision 0: the stream is at 1")
    #expect(behind["expected"]?.integer == 0)
    #expect(behind["actual"]?.integer == 1)
    let there = try await server.refused(
      .post(next(), structured, "/v1/events", [("if-none-match", "*")]), 412, "wrong-revision", "the stream is at 1")
    #expect(there["actual"]?.integer == 1)
  }

  @Test func `a conflict in a stream names its line, and the lines before it stand`() async throws {
    let server = try RunningServer.require()
    let id = freshID()
    try await server.append([event(id)])
    let fresh = [freshID(), freshID()]
    let lines = [event(fresh[0]), "", event(fresh[1]), event(id, ["data": #""leak""#]), event(freshID())].joined(separator: "\n")
    let problem = try await server.refused(.post(lines, streamed), 409, "id-conflict", "line 4", appends: 2)
    #expect(problem["line"]?.integer == 4)
    #expect(problem["appended"]?.integer == 2)
    #expect(problem["head"]?.integer == server.head)
  }

  @Test(arguments: [
    "/v1/customers?identifier=email:a@example.org", "/v1/customers/unowned/journey?limit=1", "/v1/channels?limit=1",
    "/v1/projections/channels/digest?",
  ])
  func `a position that is not reached in time is not-yet`(_ target: String) async throws {
    let problem = try await RunningServer.require().refused(
      .get(target + (target.hasSuffix("?") ? "" : "&") + "atLeast=4000000000"), 503, "not-yet",
      "has not reached position 4000000000 within 1 s")
    #expect(problem["head"]?.integer != nil)
  }

  @Test(arguments: [
    ("DELETE", "/v1/events", "GET, POST"), ("PUT", "/v1/events", "GET, POST"), ("POST", "/v1/events/1", "GET"), ("POST", "/v1/log", "GET"),
    ("DELETE", "/v1/customers/1", "GET"), ("GET", "/v1/projections/customers/rebuild", "DELETE, POST"), ("PATCH", "/v1/customers", "GET"),
    ("POST", "/metrics", "GET"), ("OPTIONS", "/healthz", "GET"),
  ])
  func `a method that a path does not have is refused with those it has`(_ method: String, _ target: String, _ allowed: String) async throws
  {
    let server = try RunningServer.require()
    let sent = Sent(method: method, target: target)
    try await server.refused(sent, 405, "method-not-allowed", "knows \(allowed)")
    #expect(try await server.answer(sent).header("allow") == allowed)
  }
}
