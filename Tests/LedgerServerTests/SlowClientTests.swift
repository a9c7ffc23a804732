// Clients that send, but as slowly as they can: one byte at a time, never silent. They are cut off with an answer; a stream
// that is slow because little happens is not.

import LedgerClient
import LedgerHTTP
import LedgerServer
import Testing

/// A request whose last part comes byte by byte.
struct Drip: Sendable, CustomTestStringConvertible {
  var testDescription: String
  /// Sent in one go.
  var start: String
  /// Sent byte by byte.
  var rest: String
  /// What the answers before the refusal say.
  var before: [Int] = []

  init(_ name: String, _ start: String, _ rest: String, before: [Int] = []) {
    testDescription = name
    self.start = start
    self.rest = rest
    self.before = before
  }
}

private func post(_ type: String, _ headers: [String], _ body: String) -> String {
  RawSocket.request("POST", "/v1/events", ["content-type: \(type)"] + headers, body: body, closes: false)
}

private let slow = String(repeating: " ", count: 200)
private let chunk = "1\r\n \r\n"

private let drips = [
  Drip("the head of an append", "", post(structured, [], "")), Drip("any other head", "", "GET /v1/log HTTP/1.1\r\nhost: x\r\n" + slow),
  Drip("a head in its middle", "GET /v1/log HTTP/1.1\r\nhost: x\r\n", "accept: " + slow),
  Drip(
    "a head behind another request", RawSocket.request("GET", "/healthz", closes: false), "GET /v1/log HTTP/1.1\r\nhost: x\r\n",
    before: [200]),
  Drip("the body of an append", post(structured, [], slow).dropLastBytes(200), slow),
  Drip("the body of a batch that is no common form", post(batched, ["x-other: 1"], slow).dropLastBytes(200), slow),
  Drip(
    "a body in chunks",
    RawSocket.request("POST", "/v1/events", ["content-type: \(structured)", "transfer-encoding: chunked"], closes: false),
    String(repeating: chunk, count: 40)),
  Drip(
    "a head behind chunks",
    RawSocket.request("POST", "/v1/events", ["content-type: \(structured)", "transfer-encoding: chunked"], closes: false)
      + "1\r\n{\r\n0\r\n\r\n", "GET /v1/log HTTP/1.1\r\nhost: x\r\n" + slow, before: [400]),
  Drip(
    "a stream that is appended as one",
    post(streamed, ["x-other: 1"], slow).dropLastBytes(200).replacing("events ", with: "events?atomic=true "), slow),
]

extension String {
  fileprivate func dropLastBytes(_ count: Int) -> String { String(dropLast(count)) }
}

@Suite(
  .server { limits in
    limits.headSecondsMax = 1
    limits.bodySecondsMax = 2
  }) struct SlowClientTests
{
  @Test(arguments: drips) func `what drips in byte by byte is cut off with an answer`(_ drip: Drip) async throws {
    let server = try RunningServer.require()
    let before = server.head
    let pieces = (drip.start.isEmpty ? [] : [drip.start]) + drip.rest.unicodeScalars.map { String($0) }
    let answer = try await RawSocket.exchange(server.socketPath, pieces, pause: .milliseconds(100), seconds: 30)
    #expect(answer.isComplete)
    #expect(answer.statuses == drip.before + [503], "\(answer.text)")
    #expect(answer.text.contains(#""code":"too-slow""#))
    let last = answer.text.lowercased()
    #expect(last.contains("connection: close") && last.contains("retry-after"))
    #expect(server.head == before)
  }

  @Test func `a body that nobody reads does not keep its connection`() async throws {
    let server = try RunningServer.require()
    let start = RawSocket.request("POST", "/v1/nothing", ["content-type: \(streamed)"], body: slow, closes: false).dropLastBytes(200)
    let answer = try await RawSocket.exchange(
      server.socketPath, [start] + slow.unicodeScalars.map { String($0) }, pause: .milliseconds(100), seconds: 30)
    #expect(answer.isComplete)
    #expect(answer.statuses == [404], "\(answer.text)")
  }

  /// A stream as a producer sends it to whom little happens; each line comes in two pieces.
  private func lines(_ count: Int) -> [String] {
    (0..<count).flatMap { _ in
      let line = event(freshID()) + "\n"
      return [String(line.prefix(20)), String(line.dropFirst(20))]
    }
  }

  @Test(arguments: ["chunks", "a length", "a length, another form"])
  func `a stream whose lines come slowly is taken, however long it lasts`(_ form: String) async throws {
    let server = try RunningServer.require()
    let before = server.head
    // Five seconds, of which each line has less than one.
    let lines = lines(12)
    let pieces =
      form == "chunks"
      ? [RawSocket.request("POST", "/v1/events", ["content-type: \(streamed)", "transfer-encoding: chunked", "connection: close"])]
        + lines.map { String($0.utf8.count, radix: 16) + "\r\n" + $0 + "\r\n" } + ["0\r\n\r\n"]
      : [
        post(streamed, form == "a length" ? [] : ["x-other: 1"], lines.joined()).dropLastBytes(lines.joined().count)
      ] + lines
    let answer = try await RawSocket.exchange(server.socketPath, pieces, pause: .milliseconds(200), seconds: 30) {
      $0.contains("\"head\"")
    }
    #expect(answer.statuses == [200], "\(answer.text)")
    #expect(answer.text.contains("\"appended\":12,"))
    #expect(server.head >= before + 12)
  }

  @Test func `a line of a stream that drips in is cut off, and the lines before it stand`() async throws {
    let server = try RunningServer.require()
    let id = freshID()
    for (number, headers) in [["transfer-encoding: chunked"], ["content-length: 5000"]].enumerated() {
      let isChunked = number == 0
      let line = event("\(id)-\(number)") + "\n"
      let start =
        RawSocket.request("POST", "/v1/events", ["content-type: \(streamed)", "transfer-encoding: chunked"], closes: false)
        .replacing("transfer-encoding: chunked", with: headers[0])
        + (isChunked ? String(line.utf8.count, radix: 16) + "\r\n\(line)\r\n" : line)
      let drops = (0..<200).map { _ in isChunked ? chunk : " " }
      let answer = try await RawSocket.exchange(server.socketPath, [start] + drops, pause: .milliseconds(100), seconds: 30)
      #expect(answer.isComplete)
      #expect(answer.statuses == [503], "\(answer.text)")
      #expect(answer.text.contains(#""code":"too-slow""#) && answer.text.contains(#""line":2,"appended":1"#), "\(answer.text)")
    }
    let all = try await server.get("/v1/events").text
    #expect(all.contains("\(id)-0") && all.contains("\(id)-1"))
  }

  @Test func `a silent stream ends with the idle time only, and silence between lines is no slowness`() async throws {
    let server = try RunningServer.require()
    let first = event(freshID()) + "\n"
    let second = event(freshID()) + "\n"
    let pieces = [post(streamed, ["x-other: 1"], first + second).dropLastBytes((first + second).count) + first, second]
    let answer = try await RawSocket.exchange(server.socketPath, pieces, pause: .seconds(4), seconds: 30) { $0.contains("\"head\"") }
    #expect(answer.statuses == [200], "\(answer.text)")
  }
}
