// Two ways lead to the log: the door's own, and the HTTP parser's and the routes'. Nobody may be able to tell which one an
// append took: the same requests are sent to two new servers, once as they are and once with a header that makes every
// request go on, and the answers are compared byte by byte.

import Bytes
import Foundation
import Testing

@testable import LedgerServer

/// A request whose answer must not depend on the way it takes.
private struct Both: Sendable, CustomTestStringConvertible {
  let testDescription: String
  let body: String
  var type: String? = structured
  var target = "/v1/events"
  var headers: [String] = []

  init(_ name: String, _ body: String, _ type: String? = structured, _ target: String = "/v1/events", _ headers: [String] = []) {
    (testDescription, self.body, self.type, self.target, self.headers) = (name, body, type, target, headers)
  }

  /// Its bytes; `onwards`: with a header that the door does not know, so that it goes on.
  func bytes(onwards: Bool) -> String {
    RawSocket.request(
      "POST", target, (type.map { ["content-type: \($0)"] } ?? []) + headers + (onwards ? ["x-way: onwards"] : []), body: body,
      closes: false)
  }
}

private func batch(_ ids: String...) -> String { "[" + ids.map { event($0) }.joined(separator: ",") + "]" }
private func lines(_ ids: String...) -> String { ids.map { event($0) + "\n" }.joined() }

/// In this order, on one connection: later ones meet what earlier ones left.
private let requests: [Both] = [
  Both("a single event", event("a")), Both("the same again", event("a")), Both("a batch", batch("b", "c"), batched),
  Both("a batch with a duplicate", batch("c", "d"), batched), Both("a batch twice in itself", batch("e", "e"), batched),
  Both("lines", lines("f", "g"), streamed), Both("lines without the last line feed", String(lines("h", "i").dropLast()), streamed),
  Both("lines with blank ones", "\n\(event("j"))\r\n\n\(event("k"))\n", streamed), Both("lines all known", lines("f", "g"), streamed),
  Both("receipts of a single event", event("l"), structured, "/v1/events?receipts=true"),
  Both("receipts of a batch", batch("l", "m", "é\\n\\\""), batched, "/v1/events?receipts=true"),
  Both("receipts of lines", lines("m", "n"), streamed, "/v1/events?receipts=true"),
  Both("receipts=false", event("o"), structured, "/v1/events?receipts=false"),
  Both("atomic", batch("p", "q"), batched, "/v1/events?atomic=true"),
  Both("an unknown parameter", event("r"), structured, "/v1/events?nothing=1"),
  Both("a conflict", event("a", ["data": "1"])), Both("a conflict in a batch", "[\(event("s")),\(event("a", ["data": "1"]))]", batched),
  Both("a conflict in lines", event("t") + "\n" + event("a", ["data": "1"]) + "\n" + event("u"), streamed),
  Both("a bad line", event("v") + "\n{\n" + event("w"), streamed), Both("no line", "\n \n", streamed),
  Both("broken JSON", "{"), Both("an empty batch", "[]", batched), Both("a batch that is an event", event("x"), batched),
  Both("an event without an id", event("y", ["id": nil])), Both("a bad event in a batch", "[\(event("y")),{}]", batched),
  Both("a ledger fact", event("z", ["type": #""ledger.erased""#])),
  Both("an event too large", event("A", ["data": "\"" + String(repeating: "d", count: 70_000) + "\""])),
  Both(
    "a batch of more than a mebibyte",
    "[" + (0..<30).map { event("B\($0)", ["data": "\"" + String(repeating: "d", count: 40_000) + "\""]) }.joined(separator: ",") + "]",
    batched),
  Both("an unknown type", event("C"), "text/plain"), Both("no type", event("D"), nil),
  Both("a type with a parameter", event("E"), structured + "; charset=utf-8"),
  Both("a type in capitals", event("F"), "Application/CloudEvents+JSON"),
  Both("a first revision", event("G", ["stream": #""S""#]), structured, "/v1/events", ["if-none-match: *"]),
  Both("a wrong revision", event("H", ["stream": #""S""#]), structured, "/v1/events", ["if-match: \"7\""]),
  Both(
    "usual headers", event("I"), structured, "/v1/events",
    ["user-agent: t/1", "accept: */*", "accept-encoding: gzip", "connection: keep-alive"]),
  Both("binary mode", "{}", "application/json", "/v1/events", ["ce-specversion: 1.0", "ce-id: J", "ce-source: urn:test", "ce-type: t"]),
  Both("the last one", event("K")),
]

@Suite(.serialized) struct DoorTests {
  /// All answers on one connection, without the dates.
  private func answers(_ onwards: Bool, inOneGo: Bool) async throws -> [String] {
    let server = try await RunningServer.start()
    let texts = requests.map { $0.bytes(onwards: onwards) } + [RawSocket.request("GET", "/healthz")]
    let answer = try await RawSocket.exchange(server.socketPath, inOneGo ? [texts.joined()] : texts, seconds: 30)
    #expect(answer.isComplete)
    // What is stored must be the same, too.
    let stored = try await server.get("/v1/events").text
    try await server.stop()
    let dates = #/Date: [A-Za-z]{3}, [0-9]{2} [A-Za-z]{3} [0-9]{4} [0-9:]{8} GMT/#
    let times = #/"recordedtime":"[^"]+"/#
    return answer.text.replacing(dates, with: "Date").components(separatedBy: "HTTP/1.1 ") + [stored.replacing(times, with: "")]
  }

  @Test(arguments: [false, true]) func `both ways give the same answers and store the same`(_ inOneGo: Bool) async throws {
    let own = try await answers(false, inOneGo: inOneGo)
    let routes = try await answers(true, inOneGo: false)
    #expect(own.count == routes.count)
    for (index, pair) in zip(own, routes).enumerated() {
      // Requests that are under way together share a commit on the door's own way, and each is told the head behind it.
      let heads = #/"head":[0-9]+|Content-Length: [0-9]+/#
      let (left, right) = (pair.0.replacing(heads, with: ""), pair.1.replacing(heads, with: ""))
      if let length = pair.0.firstMatch(of: #/Content-Length: ([0-9]+)\r\n/#), let body = pair.0.firstRange(of: "\r\n\r\n") {
        #expect(Int(length.1) == pair.0[body.upperBound...].utf8.count)
      }
      let name = index > 0 && index <= requests.count ? requests[index - 1].testDescription : "the rest"
      #expect(left == right, "\(name)")
    }
  }

  private static let heads: [(String, Bool)] = [
    ("", true), ("\r\naccept: */*", true), ("\r\nACCEPT: a", true), ("\r\nexpect: 100-continue", false), ("\r\nconnection: close", false),
    ("\r\ntransfer-encoding: chunked", false), ("\r\ncontent-length: 3", false), ("\r\ncontent-encoding: gzip", false),
    ("\r\nif-match: \"1\"", false), ("\r\nce-id: 1", false), ("\r\nauthorization: Bearer x", false), ("\r\nhost: y", false),
    ("\r\nx y: 1", false), ("\r\naccept : a", false), ("\r\n folded", false), ("\r\naccept: a\u{01}", false), ("\naccept: a", false),
    ("\r\nupgrade: h2c", false),
  ]

  @Test(arguments: heads) func `only what is known to change nothing takes the door's own way`(_ more: String, _ isOwn: Bool) {
    let text = "POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: \(structured)\r\ncontent-length: 3\(more)\r\n\r\n{}\n"
    let form = CommonForm(Array(text.utf8).rawSpan, headByteCountMax: 16 << 10)
    guard case .append(let head) = form else {
      #expect(!isOwn)
      return
    }
    #expect(isOwn)
    #expect(head.byteCount == text.utf8.count - 3)
    #expect(head.bodyByteCount == 3)
    // Every beginning of it is incomplete, and never taken for something else.
    for count in 1..<head.byteCount {
      #expect(CommonForm(Array(text.utf8.prefix(count)).rawSpan, headByteCountMax: 16 << 10) == .incomplete)
    }
  }

  @Test func `a client that closes its half after sending gets every answer`() async throws {
    let server = try await RunningServer.start()
    let texts = (0..<50).map {
      RawSocket.request("POST", "/v1/events", ["content-type: \(structured)"], body: event("half-\($0)"), closes: false)
    }
    let answer = try await RawSocket.exchange(server.socketPath, [texts.joined()], seconds: 10, halfCloses: true)
    #expect(answer.isComplete)
    #expect(answer.statuses == Array(repeating: 200, count: 50))
    #expect(server.head == 50)
    try await server.stop()
  }
}
