// Why: an adapter's answer depends on this client: nothing lost, nothing repeated that must not be, no half answer taken
// for a whole one.
import FakeLedgerServer
import LedgerClient
import LedgerHTTP
import Testing

private let quick = RetryPolicy(attemptCountMax: 4, delayFirst: .milliseconds(1), delayMax: .milliseconds(20))
private let appended = #"{"appended":1,"duplicates":0,"erased":0,"first":1,"last":1,"head":1}"#

private func withServer<Value>(
  _ respond: @escaping FakeLedgerServer.Responder, _ body: (FakeLedgerServer, LedgerClient) async throws -> Value
) async throws -> Value {
  let server = try await FakeLedgerServer.start(path: FakeLedgerServer.temporaryPath(), respond: respond)
  let client = LedgerClient(.unixSocket(path: server.path), retry: quick)
  let value = try await body(server, client)
  await client.close()
  try await server.stop()
  return value
}

private func problem(of error: (any Error)?) -> ServerProblem? {
  if case .problem(let problem)? = error as? ClientError { problem } else { nil }
}

@Suite struct EndpointTests {
  @Test(arguments: [
    ("http://127.0.0.1:8080", "127.0.0.1", 8_080), ("HTTP://localhost/", "localhost", 80), ("http://[::1]:9", "::1", 9),
    ("http://[::1]", "::1", 80),
  ])
  func `an address is read`(url: String, host: String, port: Int) { #expect(Endpoint(url: url) == .tcp(host: host, port: port)) }

  @Test(arguments: [
    "https://localhost", "localhost:80", "http://", "http://:80", "http://a:0", "http://a:b", "http://a:70000", "http://a/path",
    "http://u@a",
    "http://::1", "http://a:1:2", "http://[::1", "http://a b",
  ])
  func `what is no address is none`(url: String) { #expect(Endpoint(url: url) == nil) }
}

@Suite(.timeLimit(.minutes(1))) struct LedgerClientTests {
  @Test func `a batch is sent as one JSON array on a kept connection`() async throws {
    try await withServer({ _, _ in .json(appended) }) { server, client in
      let answer = try await client.append([Array(#"{"a":1}"#.utf8), Array(#"{"b":2}"#.utf8)], receipts: true)
      _ = try await client.append([Array(#"{"c":3}"#.utf8)])
      #expect(answer == AppendAnswer(appended: 1, duplicates: 0, erased: 0, first: 1, last: 1, head: 1))
      let requests = server.requests
      #expect(requests.map(\.target) == ["/v1/events?receipts=true", "/v1/events"])
      #expect(String(decoding: requests[0].body, as: UTF8.self) == #"[{"a":1},{"b":2}]"#)
      #expect(requests[0].headers["content-type"] == "application/cloudevents-batch+json")
      #expect(requests.map(\.connection) == [1, 1])
    }
  }

  @Test func `a daemon that takes a request and stays silent is given up`() async throws {
    let server = try await FakeLedgerServer.start(path: FakeLedgerServer.temporaryPath()) { _, number in
      number == 1 ? .json("{}") : .silence
    }
    let client = LedgerClient(.unixSocket(path: server.path), retry: .never, answerTimeout: .seconds(1))
    _ = try await client.log()
    await #expect(throws: ClientError.connectionLost(reason: "no answer within 1 seconds")) { try await client.log() }
    try await server.stop()
  }

  @Test func `a token is sent with every request`() async throws {
    let server = try await FakeLedgerServer.start(path: FakeLedgerServer.temporaryPath()) { _, _ in .json("{}") }
    let client = LedgerClient(.unixSocket(path: server.path), token: "secret")
    _ = try await client.log()
    _ = try await client.events()
    #expect(server.requests.map { $0.headers["authorization"] } == ["Bearer secret", "Bearer secret"])
    #expect(server.requests.map { $0.headers["host"] } == ["localhost", "localhost"])
    try await server.stop()
  }

  @Test func `a refusal comes back with its code, its detail and every bad event`() async throws {
    let more = #","errors":[{"index":3,"code":"schema","detail":"no amount"}],"line":7"#
    try await withServer({ _, _ in .problem(422, "schema", "one bad event", more: more) }) { server, client in
      let error = await #expect(throws: ClientError.self) { try await client.append(batch: Array("[{}]".utf8)) }
      let found = try #require(problem(of: error))
      #expect(found.status == 422 && found.knownCode == .schema && found.detail == "one bad event" && found.line == 7)
      #expect(found.errors == [.init(index: 3, code: "schema", detail: "no amount")])
      #expect(server.requests.count == 1)
    }
  }

  @Test func `an append is repeated while the daemon is busy, and waits as long as it asks`() async throws {
    let respond: FakeLedgerServer.Responder = { _, number in
      number < 3 ? .problem(503, "busy", "the queue is full", retryAfter: 0) : .json(appended)
    }
    try await withServer(respond) { server, client in
      let answer = try await client.append(batch: Array("[{}]".utf8))
      #expect(answer.appended == 1)
      #expect(server.requests.count == 3)
    }
  }

  @Test func `a daemon that stays busy is reported after the policy's attempts`() async throws {
    try await withServer({ _, _ in .problem(503, "disk-full", "no room") }) { server, client in
      let error = await #expect(throws: ClientError.self) { try await client.append(batch: Array("[{}]".utf8)) }
      #expect(problem(of: error)?.knownCode == .diskFull)
      #expect(server.requests.count == 4)
    }
  }

  @Test func `Retry-After lengthens the wait up to the policy's longest`() async throws {
    let respond: FakeLedgerServer.Responder = { _, number in
      number == 1 ? .problem(503, "busy", "full", retryAfter: 60) : .json(appended)
    }
    let server = try await FakeLedgerServer.start(path: FakeLedgerServer.temporaryPath(), respond: respond)
    let policy = RetryPolicy(attemptCountMax: 2, delayFirst: .milliseconds(1), delayMax: .milliseconds(300))
    let client = LedgerClient(.unixSocket(path: server.path), retry: policy)
    let elapsed = try await ContinuousClock().measure { _ = try await client.append(batch: Array("[{}]".utf8)) }
    #expect(elapsed >= .milliseconds(300) && elapsed < .seconds(30))
    try await server.stop()
  }

  @Test func `a connection that breaks is replaced and the append repeated`() async throws {
    try await withServer({ _, number in number == 2 ? .hangUp : .json(appended) }) { server, client in
      _ = try await client.append(batch: Array("[{}]".utf8))
      #expect(try await client.append(batch: Array("[{}]".utf8)).appended == 1)
      #expect(server.requests.map(\.connection) == [1, 1, 2])
    }
  }

  @Test func `a rebuild is never repeated`() async throws {
    try await withServer({ _, _ in .hangUp }) { server, client in
      let error = await #expect(throws: ClientError.self) { try await client.rebuild("customers") }
      guard case .connectionLost? = error else { throw error ?? ClientError.protocolViolation("no error") }
      #expect(server.requests.count == 1)
    }
  }

  @Test func `a daemon that is not there is reported at once`() async throws {
    let client = LedgerClient(.unixSocket(path: "/tmp/no-such-ledger.sock"))
    let expected = ClientError.unreachable(endpoint: "/tmp/no-such-ledger.sock", reason: "there is no such socket")
    await #expect(throws: expected) { try await client.log() }
    let long = LedgerClient(.unixSocket(path: "/tmp/" + String(repeating: "x", count: 200)))
    await #expect(throws: ClientError.self) { try await long.log() }
  }

  @Test func `requests under way together are answered in their order`() async throws {
    let respond: FakeLedgerServer.Responder = { request, _ in .json(#"{"target":"\#(request.target)"}"#) }
    try await withServer(respond) { server, client in
      var pending: [PendingResponse] = []
      for number in 0..<20 { pending.append(try await client.send("GET", "/\(number)")) }
      for (number, response) in pending.enumerated() {
        #expect(try await response.collect().json()["target"]?.string == "/\(number)")
      }
      #expect(Set(server.requests.map(\.connection)) == [1])
    }
  }

  @Test func `an answer that breaks off is lost, not short`() async throws {
    try await withServer({ _, _ in .stream(pieces: [Array("{\"a\":".utf8)], pause: .zero, breaks: true) }) { _, client in
      let error = await #expect(throws: ClientError.self) { try await client.request("GET", "/v1/log") }
      guard case .connectionLost? = error else { throw error ?? ClientError.protocolViolation("no error") }
    }
  }

  @Test func `lines are cut where they end, however they arrive`() async throws {
    let pieces = ["one\ntw", "o", "\n\nthr", "ee"].map { Array($0.utf8) }
    try await withServer({ _, _ in .stream(pieces: pieces, pause: .milliseconds(2), breaks: false) }) { server, client in
      var lines: [String] = []
      for try await line in try await client.events(EventQuery(after: 3, filters: [(name: "type", value: "a b")], follow: true)) {
        lines.append(String(decoding: line, as: UTF8.self))
      }
      #expect(lines == ["one", "two", "three"])
      #expect(server.requests[0].target == "/v1/events?after=3&type=a%20b&follow=true")
    }
  }

  @Test func `a stream that breaks ends with an error after its lines`() async throws {
    try await withServer({ _, _ in .stream(pieces: [Array("one\n".utf8)], pause: .zero, breaks: true) }) { _, client in
      var iterator = try await client.events().makeAsyncIterator()
      #expect(try await iterator.next() == Array("one".utf8))
      var failure: ClientError?
      do throws(ClientError) { _ = try await iterator.next() } catch { failure = error }
      guard case .connectionLost? = failure else { throw failure ?? ClientError.protocolViolation("no error") }
    }
  }

  @Test func `a follower goes on behind what it has handed out, wherever the stream is cut`() async throws {
    func line(_ position: Int) -> String { #"{"position":\#(position),"recordedtime":"R","event":{"id":"\#(position)"}}"# + "\n" }
    func mark(_ name: String, _ position: Int) -> String { #"{"mark":"\#(name)","position":\#(position)}"# + "\n" }
    let answers: [FakeAnswer] = [
      // Cut inside of a line; then before there is any; busy; ended by a daemon that stops.
      .stream(pieces: [Array((line(4) + line(5) + line(6).dropLast(9)).utf8)], pause: .zero, breaks: true),
      .stream(pieces: [], pause: .zero, breaks: true),
      .problem(503, "busy", "starting"),
      .stream(pieces: [Array((line(6) + mark("heartbeat", 50)).utf8)], pause: .zero, breaks: false),
      .stream(pieces: [Array((line(60) + mark("caught-up", 70)).utf8)], pause: .zero, breaks: false),
    ]
    try await withServer({ _, number in answers[number - 1] }) { server, client in
      let cuts = WrittenCount()
      var lines: [String] = []
      let query = EventQuery(after: 3, until: 70, filters: [(name: "type", value: "a b")])
      for try await line in client.follow(query, retry: quick, onCut: { _ in cuts.increment() }) {
        lines.append(String(decoding: line, as: UTF8.self) + "\n")
      }
      #expect(lines == [line(4), line(5), line(6), mark("heartbeat", 50), line(60), mark("caught-up", 70)])
      #expect(cuts.value == 4)
      #expect(
        server.requests.map(\.target)
          == [3, 5, 5, 5, 50].map { "/v1/events?after=\($0)&until=70&type=a%20b&follow=true" })
    }
  }

  @Test func `a follower with a limit asks for what is left of it, and a refusal ends it`() async throws {
    let line = #"{"position":1,"recordedtime":"R","event":{}}"# + "\n"
    try await withServer({ _, number in
      number == 1 ? .stream(pieces: [Array(line.utf8)], pause: .zero, breaks: true) : .problem(403, "forbidden", "no")
    }) { server, client in
      var count = 0
      let error = await #expect(throws: ClientError.self) {
        for try await _ in client.follow(EventQuery(limit: 3), retry: quick) { count += 1 }
      }
      #expect(count == 1)
      #expect(problem(of: error)?.code == "forbidden")
      #expect(server.requests.map(\.target) == ["/v1/events?limit=3&follow=true", "/v1/events?after=1&limit=2&follow=true"])
    }
  }

  @Test func `a follower gives up after the policy's attempts without a line, and at once if nobody was ever there`() async throws {
    try await withServer({ _, _ in .hangUp }) { server, client in
      await #expect(throws: ClientError.self) { for try await _ in client.follow(EventQuery(), retry: quick) {} }
      #expect(server.requests.count == quick.attemptCountMax)
    }
    let nobody = LedgerClient(.unixSocket(path: FakeLedgerServer.temporaryPath()))
    await #expect(throws: ClientError.self) { for try await _ in nobody.follow(EventQuery()) {} }
  }

  @Test func `a slow reader stops the server instead of filling the memory`() async throws {
    let written = WrittenCount()
    let piece = [UInt8](repeating: UInt8(ascii: "x"), count: 65_535) + [UInt8(ascii: "\n")]
    try await withServer({ _, _ in .endless(piece: piece, written: written) }) { _, client in
      var iterator = try await client.events().makeAsyncIterator()
      _ = try await iterator.next()
      // Until it stands still; on a busy machine that takes a moment.
      var before = -1
      while before != written.value, written.value < 200 {
        before = written.value
        try await Task.sleep(for: .milliseconds(500))
      }
      #expect(before < 200)
      for _ in 0..<400 { #expect(try await iterator.next()?.count == 65_535) }
      #expect(written.value > before)
    }
  }

  @Test func `a refused stream is a problem`() async throws {
    try await withServer({ _, _ in .problem(400, "invalid-request", "limit is no number") }) { _, client in
      let error = await #expect(throws: ClientError.self) { try await client.events() }
      #expect(problem(of: error)?.knownCode == .invalidRequest)
    }
  }

  @Test func `an NDJSON append sends its pieces and reads the last line`() async throws {
    let body =
      #"{"appended":1,"duplicates":0,"erased":0,"first":1,"last":1,"head":1}"# + "\n" + #"{"appended":2,"#
      + #""duplicates":0,"erased":0,"first":1,"last":2,"head":2,"done":true}"# + "\n"
    try await withServer({ _, _ in .json(body) }) { server, client in
      let pieces = AsyncStream<[UInt8]> { stream in
        for piece in ["{\"a\":1}\n", "", "{\"b\"", ":2}\n"] { stream.yield(Array(piece.utf8)) }
        stream.finish()
      }
      let answer = try await client.appendNDJSON(pieces)
      #expect(answer.appended == 2)
      #expect(String(decoding: server.requests[0].body, as: UTF8.self) == "{\"a\":1}\n{\"b\":2}\n")
      #expect(server.requests[0].headers["content-type"] == "application/x-ndjson")
    }
  }

  @Test func `an NDJSON append that fails in the middle says what stands`() async throws {
    let body =
      #"{"appended":5,"duplicates":0,"erased":0,"first":1,"last":5,"head":5,"error":"#
      + #"{"status":400,"code":"invalid-json","detail":"no JSON","message":"no JSON","line":6}}"# + "\n"
    try await withServer({ _, _ in .json(body) }) { _, client in
      let pieces = AsyncStream<[UInt8]> { $0.finish() }
      let error = await #expect(throws: ClientError.self) { try await client.appendNDJSON(pieces) }
      let found = try #require(problem(of: error))
      #expect(found.line == 6 && found.knownCode == .invalidJSON && found.accepted?.appended == 5)
    }
  }

  @Test func `a server that refuses in the middle of an endless upload is heard`() async throws {
    let body = Array(#"{"code":"invalid-json","detail":"no JSON","line":3}"#.utf8)
    let server = try await FakeLedgerServer.start(
      path: FakeLedgerServer.temporaryPath(), early: { _ in .last(status: 400, body: body) }, respond: { _, _ in .hangUp })
    let client = LedgerClient(.unixSocket(path: server.path), retry: quick)
    let piece = [UInt8](repeating: UInt8(ascii: " "), count: 65_536)
    let pieces = AsyncThrowingStream<[UInt8], any Error>(unfolding: { piece })
    let error = await #expect(throws: ClientError.self) { try await client.appendNDJSON(pieces) }
    #expect(problem(of: error)?.line == 3)
    try await server.stop()
  }

  @Test func `a daemon that went away is waited for`() async throws {
    let path = FakeLedgerServer.temporaryPath()
    let first = try await FakeLedgerServer.start(path: path) { _, number in number == 1 ? .json(appended) : .hangUp }
    let policy = RetryPolicy(attemptCountMax: 60, delayFirst: .milliseconds(20), delayMax: .milliseconds(20))
    let client = LedgerClient(.unixSocket(path: path), retry: policy)
    _ = try await client.append(batch: Array("[{}]".utf8))
    try await first.stop()
    async let answer = client.append(batch: Array("[{}]".utf8))
    try await Task.sleep(for: .milliseconds(200))
    let second = try await FakeLedgerServer.start(path: path) { _, _ in .json(appended) }
    let appendedCount = try await answer.appended
    #expect(appendedCount == 1)
    #expect(second.requests.count == 1)
    try await second.stop()
  }

  @Test func `an input that fails while it is sent is not taken for whole`() async throws {
    struct Broken: Error, Equatable {}
    try await withServer({ _, _ in .json(appended) }) { server, client in
      let pieces = AsyncThrowingStream<[UInt8], any Error> { stream in
        stream.yield(Array("{}\n".utf8))
        stream.finish(throwing: Broken())
      }
      await #expect(throws: Broken.self) { try await client.appendNDJSON(pieces) }
      #expect(server.requests.isEmpty)
    }
  }

  @Test func `identifiers are percent-encoded, the answer is typed and keeps what it does not know`() async throws {
    let body =
      #"{"customers":[{"id":"17","identifiers":[{"kind":"email","value":"ana+x@example.org"}],"traits":{"n":1.50}}],"checkpoint":42}"#
    try await withServer({ _, _ in .json(body) }) { server, client in
      let customers = try await client.customers(identifier: "email:ana+ñ@example.org")
      #expect(server.requests[0].target == "/v1/customers?identifier=email:ana%2B%C3%B1%40example.org")
      #expect(customers.map(\.id) == ["17"])
      #expect(customers[0].json["traits"]?["n"] == .number("1.50"))
    }
  }

  @Test func `the pages of a journey follow the cursor`() async throws {
    let body = #"{"customer":"17","entries":[{"position":41}],"checkpoint":42,"next":"a/b"}"#
    try await withServer({ _, _ in .json(body) }) { server, client in
      let page = try await client.journey(id: "17", limit: 1)
      #expect(page.next == "a/b" && page.entries.count == 1 && page.checkpoint == 42)
      _ = try await client.journey(id: "17", cursor: page.next)
      #expect(server.requests[1].target == "/v1/customers/17/journey?cursor=a%2Fb")
    }
  }

  @Test func `projections and digests are typed, and a missing member is named`() async throws {
    let projections =
      #"{"projections":[{"name":"customers","version":1,"generation":1,"state":"live","position":42,"head":42,"lagEvents":0,"#
      + #""lagSeconds":0,"parked":0,"rows":123,"rebuild":{"generation":2,"position":10,"head":42,"eventsPerSecond":1000,"etaSeconds":3}}]}"#
    let digest = #"{"name":"customers","version":1,"position":42,"rows":123,"digest":"00ff"}"#
    let respond: FakeLedgerServer.Responder = { request, _ in
      switch request.target {
      case "/v1/projections": .json(projections)
      case "/v1/projections/customers/digest": .json(digest)
      default: .json("{}")
      }
    }
    try await withServer(respond) { _, client in
      let projections = try await client.projections()
      let digest = try await client.digest("customers")
      #expect(projections.first?.rebuild?.generation == 2)
      #expect(digest.digest == "00ff")
      await #expect(throws: ClientError.protocolViolation("the integer “generation” is missing")) { try await client.rebuild("x") }
    }
  }
}
