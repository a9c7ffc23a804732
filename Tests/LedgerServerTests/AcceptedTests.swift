// What is taken: every form of an append, its receipts, and the exact bytes of answers and of event lines.

import Bytes
import LedgerClient
import Testing
import Zstd

/// Headers that make one event in binary mode.
private func binary(_ id: String, _ more: [(String, String)] = []) -> [(name: String, value: String)] {
  [("ce-specversion", "1.0"), ("ce-id", id), ("ce-source", "urn:test"), ("ce-type", "page.viewed")] + more.map { (name: $0.0, value: $0.1) }
}

private func encoding(_ name: String) -> [(name: String, value: String)] { [(name: "content-encoding", value: name)] }

/// Data that must be stored as it came.
private let data: [String] = [
  "null", "true", #""""#, "[]", #"{"a":{},"a":2}"#, #""\u0000""#, #"{"\u0000":"\u0000"}"#, String(repeating: "9", count: 400), "-0",
  "1e400",
  "0." + String(repeating: "1", count: 400) + "E-9999", "\"\u{E9} e\u{301}\"", #""\u00e9""#, #""\ud83d\ude00""#, "\"\u{7F}\u{2028}\"",
  "[1 ,  2]",
]

/// Events that lie exactly on a limit.
private let atLimit: [(name: String, changes: [(String, String)])] = [
  ("4,096 bytes of an attribute", [("subject", "\"\(String(repeating: "s", count: 4_096))\"")]),
  ("128 attributes", (0..<124).map { ("a\($0)", "\"\"") }), ("integers of 32 bits", [("max", "2147483647"), ("min", "-2147483648")]),
  ("an extension that is a boolean", [("flag", "true")]), ("null for absent", [("subject", "null"), ("time", "null"), ("data", "null")]),
  ("an identifier of 512 bytes", [("data", #"{"identifiers":{"crm":"\#(String(repeating: "i", count: 512))"}}"#)]),
  ("64 kinds", [("data", #"{"identifiers":{\#((0..<64).map { "\"k\($0)\":\"v\($0)\"" }.joined(separator: ","))}}"#)]),
  ("the first year", [("time", #""0000-01-01T00:00:00Z""#)]), ("the last year", [("time", #""9999-12-31T23:59:59.999999999+23:59""#)]),
  ("another form of identifiers", [("data", #"{"identifiers":["not","ours"],"participants":7}"#)]),
]

@Suite(.serialized, .server) struct AcceptedTests {
  @Test(arguments: atLimit.indices) func `what lies exactly on a limit is taken`(_ index: Int) async throws {
    let (name, changes) = atLimit[index]
    let members = changes.map { ",\"\($0.0)\":\($0.1)" }.joined()
    let answer = try await RunningServer.require().answer(.post(String(event(freshID()).dropLast()) + members + "}"))
    #expect(answer.status == 200, "\(name): \(answer.text)")
  }

  @Test func `65,536 bytes are one event, and 10,000 events one batch`() async throws {
    let server = try RunningServer.require()
    let id = freshID()
    let filler = 65_536 - event(id, ["data": #""""#]).utf8.count
    let largest = event(id, ["data": "\"\(String(repeating: "d", count: filler))\""])
    #expect(largest.utf8.count == 65_536)
    try await server.accepted(.post(largest))
    let batch = "[" + (0..<10_000).map { event("\(id)-\($0)") }.joined(separator: ",") + "]"
    #expect(try await server.accepted(.post(batch, batched))["appended"]?.integer == 10_000)
  }

  @Test func `the answer to an append has exactly the bytes of the design`() async throws {
    let server = try RunningServer.require()
    let head = server.head
    let id = freshID()
    let first = try await server.answer(.post(event(id)))
    #expect(first.status == 200)
    #expect(first.header("content-type") == "application/json")
    #expect(first.header("content-length") == "\(first.body.count)")
    #expect(first.text == #"{"appended":1,"duplicates":0,"erased":0,"first":\#(head + 1),"last":\#(head + 1),"head":\#(head + 1)}"#)
    let again = try await server.answer(.post(event(id)))
    #expect(again.status == 200)
    #expect(again.text == #"{"appended":0,"duplicates":1,"erased":0,"first":null,"last":null,"head":\#(head + 1)}"#)
    let batch = try await server.answer(
      .post("[\(event("b-\(id)")),\(event(id)),\(event("c-\(id)"))]", batched, "/v1/events?receipts=true"))
    #expect(
      batch.text
        == #"{"appended":2,"duplicates":1,"erased":0,"first":\#(head + 2),"last":\#(head + 3),"head":\#(head + 3),"receipts":["#
        + #"{"source":"urn:test","id":"b-\#(id)","position":\#(head + 2),"duplicate":false},"#
        + #"{"source":"urn:test","id":"\#(id)","position":\#(head + 1),"duplicate":true},"#
        + #"{"source":"urn:test","id":"c-\#(id)","position":\#(head + 3),"duplicate":false}]}"#)
  }

  @Test func `an event line has exactly the bytes of the design, line breaks between tokens aside`() async throws {
    let server = try RunningServer.require()
    let id = freshID()
    let text = "{\r\n\t\"specversion\" : \"1.0\",\n\"id\":\"\(id)\",\"source\":\"urn:test\",\"type\":\"a\\/b\",\"data\":{\"x\": 1.50}\n}"
    let head = try await server.append([text])
    let response = try await server.get("/v1/events?after=\(head - 1)")
    #expect(response.status == 200)
    #expect(response.header("content-type") == "application/x-ndjson")
    let line = response.text
    let recorded = try #require(try JSONValue(parsing: Array(line.utf8))["recordedtime"]?.string)
    #expect(recorded.count == 27)
    #expect(recorded.hasSuffix("Z"))
    let stored = String(decoding: text.utf8.map { $0 < 0x20 ? 0x20 : $0 }, as: UTF8.self)
    #expect(line == #"{"position":\#(head),"recordedtime":"\#(recorded)","event":\#(stored)}"# + "\n")
  }

  @Test(arguments: data) func `data is stored byte by byte`(_ data: String) async throws {
    let server = try RunningServer.require()
    let text = event(freshID(), ["data": data])
    let head = try await server.append([text])
    let line = try await server.get("/v1/events?after=\(head - 1)").text
    #expect(Array(line.utf8).suffix(text.utf8.count + 2).elementsEqual(Array((text + "}\n").utf8)))
  }

  @Test func `ids are bytes: é in one code point and in two are two events`() async throws {
    let server = try RunningServer.require()
    let id = freshID()
    let answer = try await server.accepted(.post("[\(event(id + "\u{E9}")),\(event(id + "e\u{301}"))]", batched))
    #expect(answer["appended"]?.integer == 2)
    // The same code point, written as an escape, is the same id.
    let escaped = try await server.accepted(.post(event(id + #"\u00e9"#)))
    #expect(escaped["duplicates"]?.integer == 1)
  }

  @Test func `an event that was serialised again is a duplicate, whatever revision is expected`() async throws {
    let server = try RunningServer.require()
    let id = freshID()
    try await server.append([event(id, ["data": #"{"a":1.0,"b":[true,"é"]}"#])])
    let again = #"{ "type":"page.viewed", "data":{"b":[true,"\u00e9"],"a":1}, "source":"urn:test", "id":"\#(id)","specversion":"1.0"}"#
    for headers in [[], [("if-match", "\"77\"")], [("if-none-match", "*")]] {
      let answer = try await server.accepted(.post(again, structured, "/v1/events", headers.map { (name: $0.0, value: $0.1) }))
      #expect(answer["duplicates"]?.integer == 1)
      #expect(answer["appended"]?.integer == 0)
    }
  }

  @Test func `expected revisions let one writer pass`() async throws {
    let server = try RunningServer.require()
    let stream = "\"\(freshID())\""
    func next() -> String { event(freshID(), ["stream": stream]) }
    try await server.accepted(.post(next(), structured, "/v1/events", [("if-none-match", "*")]))
    try await server.accepted(.post("[\(next()),\(next())]", batched, "/v1/events", [("if-match", "\"0\"")]))
    try await server.accepted(.post("\(next())\n\(next())", streamed, "/v1/events", [("if-match", "\"2\"")]))
    let position = server.head
    #expect(try await server.get("/v1/events/\(position)").json()["revision"]?.integer == 4)
  }

  // MARK: Binary mode

  @Test func `binary mode is stored in the ledger's own serialisation`() async throws {
    let server = try RunningServer.require()
    let id = freshID()
    let rows: [(more: [(String, String)], type: String?, body: [UInt8], stored: String)] = [
      ([], nil, [], ""),
      ([("ce-subject", "ana"), ("ce-channel", "web")], nil, [], #","channel":"web","subject":"ana""#),
      ([("ce-subject", "Jos%C3%A9 %E2%82%AC 100%25")], nil, [], #","subject":"José € 100%""#),
      ([("ce-subject", "100% of %zz %+1 %2")], nil, [], #","subject":"100% of %zz %+1 %2""#),
      (
        [], "application/json; charset=utf-8", Array(#"{"a": 1}"#.utf8),
        #","datacontenttype":"application/json; charset=utf-8","data":{"a": 1}"#
      ),
      ([], "application/vnd.x+json", Array("[1]".utf8), #","datacontenttype":"application/vnd.x+json","data":[1]"#),
      ([], nil, Array("17".utf8), #","data":17"#),
      ([], "text/plain", Array("a\"b\né".utf8), #","datacontenttype":"text/plain","data":"a\"b\né""#),
      ([], "text/plain", [0xFF], #","datacontenttype":"text/plain","data_base64":"/w==""#),
      ([], "image/png", [0, 1, 2, 250], #","datacontenttype":"image/png","data_base64":"AAEC+g==""#),
    ]
    for (index, row) in rows.enumerated() {
      let name = "\(id)-\(index)"
      let answer = try await server.accepted(.bytes(row.body, row.type, "/v1/events", binary(name, row.more)))
      let position = try #require(answer["last"]?.integer)
      let line = try await server.get("/v1/events?after=\(position - 1)&until=\(position)").text
      let expected = #""event":{"specversion":"1.0","id":"\#(name)","source":"urn:test","type":"page.viewed"\#(row.stored)}}"# + "\n"
      #expect(line.hasSuffix(expected), "\(line)")
      #expect(try await server.get("/v1/events/\(position)").json()["door"]?.string == "httpBinary")
    }
  }

  @Test func `structured content wins over ce- headers, as the HTTP binding says`() async throws {
    let server = try RunningServer.require()
    let id = freshID()
    try await server.accepted(.post(event(id), structured, "/v1/events", binary("other")))
    #expect(try await server.get("/v1/events/\(server.head)").json()["event"]?["id"]?.string == id)
  }

  // MARK: Compressed bodies

  @Test func `gzip and zstd bodies are read in every form`() async throws {
    let server = try RunningServer.require()
    func zstd(_ text: String) throws -> [UInt8] {
      var out: [UInt8] = []
      var compressor = Compressor()
      try compressor.compress(Array(text.utf8).rawSpan, level: 3, into: &out)
      return out
    }
    for name in ["gzip", "x-gzip", "GZIP", "zstd", "identity"] {
      for type in [structured, batched, streamed] {
        let (one, two) = (event(freshID()), event(freshID()))
        let text = type == structured ? one : type == batched ? "[\(one),\(two)]" : "\(one)\n\(two)\n"
        let body =
          switch name {
          case "zstd": try zstd(text)
          case "identity": Array(text.utf8)
          default: Gzip.stored(Array(text.utf8))
          }
        let answer = try await server.accepted(.bytes(body, type, "/v1/events", encoding(name)))
        #expect(answer["appended"]?.integer == (type == structured ? 1 : 2))
      }
    }
    // Several frames, one behind the other, are one body.
    let frames = try zstd(event(freshID()) + "\n") + zstd(event(freshID()))
    #expect(try await server.accepted(.bytes(frames, streamed, "/v1/events", encoding("zstd")))["appended"]?.integer == 2)
  }
}
