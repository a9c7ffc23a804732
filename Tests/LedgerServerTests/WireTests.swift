// What happens below the routes: connections kept and pipelined, bytes that are no HTTP, clients that vanish.

import LedgerClient
import LedgerServer
import Testing

@Suite(.serialized, .server) struct WireTests {
  @Test func `requests sent in one go are answered in their order`() async throws {
    let server = try RunningServer.require()
    let before = server.head
    let ids = (0..<5).map { _ in freshID() }
    var bytes = ids.map { RawSocket.request("POST", "/v1/events", ["content-type: \(structured)"], body: event($0), closes: false) }
      .joined()
    bytes += RawSocket.request("POST", "/v1/events", ["content-type: \(structured)"], body: "{", closes: false)
    bytes += RawSocket.request("GET", "/v1/events/\(before + 1)", closes: false)
    bytes += RawSocket.request("GET", "/healthz")
    let answer = try await RawSocket.exchange(server.socketPath, [bytes])
    #expect(answer.isComplete)
    #expect(answer.statuses == [200, 200, 200, 200, 200, 400, 200, 200])
    for index in 1...5 { #expect(answer.text.contains("\"first\":\(before + Int64(index)),")) }
    #expect(answer.text.hasSuffix(#"{"status":"ok"}"#))
    #expect(server.head == before + 5)
  }

  @Test func `a connection is kept over refusals, also of bodies that were not read to their end`() async throws {
    let server = try RunningServer.require()
    let large = String(repeating: " ", count: 9 << 20)
    let pieces = [
      RawSocket.request("POST", "/v1/events", ["content-type: \(batched)"], body: large, closes: false),
      RawSocket.request("POST", "/v1/leak", body: large, closes: false), RawSocket.request("GET", "/healthz"),
    ]
    let answer = try await RawSocket.exchange(server.socketPath, pieces)
    #expect(answer.isComplete)
    #expect(answer.statuses == [400, 404, 200])
  }

  @Test func `a request cut into single bytes is one request`() async throws {
    let server = try RunningServer.require()
    let before = server.head
    let text = RawSocket.request("POST", "/v1/events", ["content-type: \(structured)"], body: event(freshID()))
    let answer = try await RawSocket.exchange(server.socketPath, text.unicodeScalars.map { String($0) })
    #expect(answer.statuses == [200])
    #expect(server.head == before + 1)
  }

  private static let malformed: [(String, String)] = [
    ("a method that HTTP does not have", "LEAK /healthz HTTP/1.1\r\nhost: x\r\n\r\n"), ("no HTTP at all", "leak leak leak\r\n\r\n"),
    ("HTTP/9", "GET /healthz HTTP/leak\r\n\r\n"),
    ("a header without a colon", "GET /healthz HTTP/1.1\r\nhost: x\r\nleak\r\n\r\n"),
    ("a header of 20 KiB", "GET /healthz HTTP/1.1\r\nhost: x\r\nx-leak: \(String(repeating: "l", count: 20_000))\r\n\r\n"),
    (
      "headers of 20 KiB together",
      "GET /healthz HTTP/1.1\r\nhost: x\r\n" + (0..<40).map { "x-\($0): \(String(repeating: "l", count: 500))\r\n" }.joined() + "\r\n"
    ), ("300 headers", "GET /healthz HTTP/1.1\r\nhost: x\r\n" + (0..<300).map { "x-\($0): l\r\n" }.joined() + "\r\n"),
    ("a target of 20 KiB", "GET /healthz?\(String(repeating: "l", count: 20_000)) HTTP/1.1\r\nhost: x\r\n\r\n"),
    ("two lengths", "POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}"),
    ("a length that is no number", "POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: leak\r\n\r\n{}"),
  ]

  @Test(arguments: malformed) func `what is no request is answered with a problem, and the daemon lives on`(
    _ name: String, _ text: String
  ) async throws {
    let server = try RunningServer.require()
    let answer = try await RawSocket.exchange(server.socketPath, [text])
    #expect(answer.isComplete)
    #expect(answer.statuses == [400], "\(answer.text.prefix(300))")
    #expect(answer.text.contains("application/problem+json"))
    #expect(answer.text.contains(#""code":"invalid-request""#))
    #expect(!answer.text.contains("leak"))
    #expect(try await server.get("/healthz").status == 200)
  }

  @Test func `a chunked body with a bad chunk appends nothing`() async throws {
    let server = try RunningServer.require()
    let before = server.head
    let text =
      RawSocket.request("POST", "/v1/events", ["content-type: \(structured)", "transfer-encoding: chunked"])
      + "leak\r\n\(event("leak"))\r\n0\r\n\r\n"
    let answer = try await RawSocket.exchange(server.socketPath, [text])
    #expect(answer.isComplete)
    #expect(answer.statuses == [400], "\(answer.text)")
    #expect(server.head == before)
    #expect(try await server.get("/healthz").status == 200)
  }

  @Test func `a client that vanishes within a body has appended nothing of it`() async throws {
    let server = try RunningServer.require()
    let before = server.head
    for type in [structured, batched, streamed] {
      // Of a stream the whole lines stand; this one has none.
      let body = type == streamed ? event(freshID()) : event(freshID()) + "\n" + event(freshID())
      let text = RawSocket.request("POST", "/v1/events", ["content-type: \(type)"], body: body)
      _ = try await RawSocket.exchange(server.socketPath, [String(text.dropLast(20))], pause: .milliseconds(50), closesAfterSending: true)
    }
    try await Task.sleep(for: .milliseconds(200))
    #expect(server.head == before)
    #expect(try await server.get("/healthz").status == 200)
  }

  @Test func `large bodies that come slowly are bounded together, and small requests pass`() async throws {
    let server = try await RunningServer.start { $0.bodiesByteCountMax = 6 << 20 }
    let large = RawSocket.request("POST", "/v1/events", ["content-type: \(batched)"], body: String(repeating: " ", count: 4 << 20))
    // The last byte is missing: the server waits for it.
    let first = Task {
      try await RawSocket.exchange(server.socketPath, [String(large.dropLast()), "x"], pause: .seconds(5), seconds: 60)
    }
    // Until the first one is there: before, a second one has room.
    var second = try await RawSocket.exchange(server.socketPath, [large])
    for _ in 0..<100 where second.statuses != [503] {
      #expect(second.statuses == [400], "\(second.text)")
      try await Task.sleep(for: .milliseconds(20))
      second = try await RawSocket.exchange(server.socketPath, [large])
    }
    #expect(second.statuses == [503], "\(second.text)")
    #expect(second.text.contains(#""code":"busy""#) && second.text.lowercased().contains("retry-after"))
    #expect(try await server.append([event(freshID())]) == 1)
    #expect(try await first.value.statuses == [400])
    // What the first one held is given back.
    #expect(try await RawSocket.exchange(server.socketPath, [large]).statuses == [400])
    try await server.stop()
  }

  @Test func `who expects 100-continue is not kept waiting`() async throws {
    let server = try RunningServer.require()
    let text = RawSocket.request(
      "POST", "/v1/events", ["content-type: \(structured)", "expect: 100-continue"], body: event(freshID()))
    let end = try #require(text.firstRange(of: "\r\n\r\n")).upperBound
    let answer = try await RawSocket.exchange(server.socketPath, [String(text[..<end])], seconds: 3) { $0.contains("\r\n\r\n") }
    #expect(answer.statuses == [100])
  }
}

/// A server of its own: what other tests send could come more slowly than this on a busy machine.
@Suite(.serialized, .server { $0.idleSeconds = 1 }) struct IdleTests {
  @Test func `an idle connection is closed after the idle time, and an unfinished request as well`() async throws {
    let server = try RunningServer.require()
    let upload = RawSocket.request("POST", "/v1/events", ["content-type: \(streamed)"], body: event(freshID()) + "\n{", closes: false)
    let rows = [
      [], [RawSocket.request("GET", "/healthz", closes: false)], ["POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-len"],
      [String(upload.dropLast())],
    ]
    for pieces in rows {
      // Half of the usual idle time: a machine may be slow, but not as slow as a limit that does not hold.
      let answer = try await RawSocket.exchange(server.socketPath, pieces, seconds: 30)
      #expect(answer.isComplete, "\(pieces)")
    }
  }
}
