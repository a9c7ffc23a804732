// Subscriptions as they cross the socket: shapes, refusals, roles, streams that break.

import EventLog
import Foundation
import LedgerClient
import LedgerServer
import Synchronization
import Testing

private let json = "application/json"

extension RunningServer {
  /// Makes a subscription that begins at the head; its name.
  fileprivate func subscription(_ body: String = "", _ location: SourceLocation = #_sourceLocation) async throws -> String {
    let name = freshID()
    let members = [#""start":"head","redeliverAfterSeconds":0"#, body].filter { !$0.isEmpty }.joined(separator: ",")
    try await accepted(put(name, "{\(members)}"), location)
    return name
  }

  fileprivate func put(_ name: String, _ body: String) -> Sent {
    Sent(method: "PUT", target: "/v1/subscriptions/\(name)", headers: [(name: "content-type", value: json)], body: Array(body.utf8))
  }

  /// Positions and delivery numbers that a fetch answers with, such as `17#1`.
  fileprivate func fetch(_ name: String, _ query: String = "") async throws -> [String] {
    let response = try await answer(Sent(target: "/v1/subscriptions/\(name)/fetch\(query)"))
    #expect(response.status == 200, "\(response.text)")
    return try response.lines.map { line in
      let event = try JSONValue(parsing: Array(line.utf8))
      return "\(event["position"]?.integer ?? 0)#\(event["delivery"]?.integer ?? 0)"
    }
  }

  fileprivate func call(_ name: String, _ call: String, _ body: String) -> Sent {
    .post(body, json, "/v1/subscriptions/\(name)/\(call)")
  }
}

@Suite(
  .serialized,
  .server { limits in
    limits.heartbeatSeconds = 1
    limits.idleSeconds = 2
  }) struct SubscriptionTests
{
  @Test func `a subscription is made once, shown, and deleted`() async throws {
    let server = try RunningServer.require()
    let head = try await server.append([event(freshID())])
    let name = freshID()
    let body = #"{"start":"head","filter":{"type":["b","a","b"],"channel":"web","since":"2026-01-01T01:00:00+01:00"},"maxInFlight":7}"#
    let made = try await server.accepted(server.put(name, body))
    #expect(made["created"]?.bool == true)
    #expect(made["start"]?.integer == head && made["checkpoint"]?.integer == head && made["lagEvents"]?.integer == 0)
    #expect(made["maxInFlight"]?.integer == 7 && made["maxFailures"]?.integer == 5)
    let filter = made["filter"].map { String(decoding: $0.encoded(), as: UTF8.self) }
    #expect(filter == #"{"channel":["web"],"type":["b","a"],"since":"2026-01-01T00:00:00.000000Z"}"#)
    #expect(try await server.accepted(server.put(name, body))["created"]?.bool == false)
    try await server.refused(server.put(name, "{}"), 409, "subscription-exists", "another filter")
    let shown = try await server.get("/v1/subscriptions/\(name)").json()
    #expect(shown["name"]?.string == name)
    let list = try await server.get("/v1/subscriptions").json()["subscriptions"]?.array ?? []
    #expect(list.contains(shown))
    #expect(try await server.accepted(Sent(method: "DELETE", target: "/v1/subscriptions/\(name)"))["deleted"]?.bool == true)
    try await server.refused(.get("/v1/subscriptions/\(name)"), 404, "not-found", "no subscription")
  }

  @Test func `events are fetched, acknowledged one by one and up to a position, and given back`() async throws {
    let server = try RunningServer.require()
    let name = try await server.subscription(#""filter":{"type":"wanted"}"#)
    let texts = (0..<5).map { event(freshID(), ["type": $0 == 1 ? "\"other\"" : "\"wanted\"", "subject": "\"\($0)\""]) }
    let p = try await server.append(texts) - 5
    let response = try await server.answer(Sent(target: "/v1/subscriptions/\(name)/fetch?limit=1"))
    #expect(response.header("content-type") == "application/x-ndjson")
    let recorded = try JSONValue(parsing: response.body)["recordedtime"]?.string ?? ""
    #expect(response.text == #"{"position":\#(p + 1),"recordedtime":"\#(recorded)","delivery":1,"event":\#(texts[0])}"# + "\n")
    #expect(try await server.fetch(name) == ["\(p + 3)#1", "\(p + 4)#1", "\(p + 5)#1"])
    #expect(try await server.fetch(name).isEmpty)
    let one = try await server.answer(server.call(name, "acknowledge", #"{"positions":[\#(p + 4),999999]}"#))
    #expect(one.text == #"{"acknowledged":1,"checkpoint":\#(p)}"#)
    let two = try await server.answer(server.call(name, "acknowledge", #"{"through":\#(p + 3)}"#))
    #expect(two.text == #"{"acknowledged":2,"checkpoint":\#(p + 4)}"#)
    #expect(
      try await server.answer(server.call(name, "release", #"{"through":\#(p + 9)}"#)).text == #"{"released":1,"checkpoint":\#(p + 4)}"#)
    #expect(try await server.fetch(name, "?consumer=other") == ["\(p + 5)#1"])
  }

  @Test func `what fails comes again and is parked in the end; parked events are listed, retried and skipped`() async throws {
    let server = try RunningServer.require()
    let name = try await server.subscription(#""maxFailures":2"#)
    let p = try await server.append((0..<3).map { event(freshID(), ["subject": "\"\($0)\""]) }) - 3
    #expect(try await server.fetch(name).count == 3)
    let failed = try await server.answer(server.call(name, "fail", #"{"through":\#(p + 3),"reason":"año"}"#))
    #expect(failed.text == #"{"failed":3,"parked":0,"checkpoint":\#(p)}"#)
    #expect(try await server.fetch(name) == (Int64(1)...3).map { "\(p + $0)#2" })
    #expect(
      try await server.answer(server.call(name, "fail", #"{"positions":[\#(p + 1),\#(p + 2),\#(p + 3)]}"#)).text
        == #"{"failed":3,"parked":3,"checkpoint":\#(p + 3)}"#)
    let page = try await server.get("/v1/subscriptions/\(name)/parked?limit=2").json()
    #expect(page["parked"]?.array?.map { $0["position"]?.integer } == [p + 1, p + 2])
    #expect(page["next"]?.integer == p + 2)
    #expect(page["parked"]?.array?.first?["reason"]?.string == "not given")
    #expect(page["parked"]?.array?.first?["failures"]?.integer == 2)
    #expect(try await server.get("/v1/subscriptions/\(name)/parked?after=\(p + 2)").json()["next"] == .null)
    #expect(try await server.answer(server.call(name, "parked/skip", #"{"positions":[\#(p + 2)]}"#)).text == #"{"skipped":1}"#)
    try await server.refused(server.call(name, "parked/retry", #"{"positions":[\#(p + 2)]}"#), 404, "not-found", "is not parked")
    #expect(try await server.answer(server.call(name, "parked/retry", #"{"all":true}"#)).text == #"{"retried":2}"#)
    #expect(try await server.fetch(name) == ["\(p + 1)#1", "\(p + 3)#1"])
    try await server.accepted(server.call(name, "acknowledge", #"{"through":\#(p + 3)}"#))
    #expect(try await server.get("/v1/subscriptions/\(name)/parked").text == #"{"parked":[],"next":null}"#)
  }

  @Test func `a fetch that waits is answered by the next event, and else after its time`() async throws {
    let server = try RunningServer.require()
    let name = try await server.subscription()
    let client = LedgerClient(.unixSocket(path: server.socketPath))
    async let waiting = client.fetch(name, waitSeconds: 20)
    try await Task.sleep(for: .milliseconds(200))
    let position = try await server.append([event(freshID())])
    #expect(try await waiting.map(\.position) == [position])
    let start = ContinuousClock.now
    #expect(try await server.fetch(name, "?wait=1").isEmpty)
    #expect(ContinuousClock.now - start >= .seconds(1))
    #expect(try await client.settle(name, .through(position)).count == 1)
    await client.close()
  }

  @Test(.timeLimit(.minutes(1))) func `a stream delivers as events come, with marks, and what it leaves behind comes again`() async throws {
    let server = try RunningServer.require()
    let name = try await server.subscription(#""maxInFlight":2"#)
    let p = try await server.append((0..<3).map { event(freshID(), ["subject": "\"\($0)\""]) }) - 3
    let lines = try await server.client.subscriptionLines(name, consumer: "a")
    var found: [JSONValue] = []
    for try await line in lines {
      let value = try JSONValue(parsing: line)
      found.append(value)
      if value["position"]?.integer == p + 2, value["event"] != nil {
        #expect(try await server.client.settle(name, consumer: "a", .positions([p + 1])).checkpoint == p + 1)
      }
      if value["mark"]?.string == "heartbeat" { break }
    }
    let events = found.filter { $0["event"] != nil }
    #expect(events.map { $0["position"]?.integer } == [p + 1, p + 2, p + 3])
    #expect(found.contains { $0["mark"]?.string == "caught-up" })
    // It hung up with two in hand: they come at once, although there would be half a minute.
    let start = ContinuousClock.now
    var again: [String] = []
    while again.count < 2, ContinuousClock.now - start < .seconds(10) { again += try await server.fetch(name, "?wait=1&consumer=b") }
    #expect(again == ["\(p + 2)#2", "\(p + 3)#2"])
  }

  @Test(.timeLimit(.minutes(1))) func `a stream that ends takes nothing from the next one of its consumer`() async throws {
    let server = try RunningServer.require()
    let name = try await server.subscription()
    let p = try await server.append([event(freshID(), ["subject": "\"only\""])]) - 1
    let client = server.client
    let isWaiting = Mutex(false)
    /// What a stream brings until the heartbeat behind it.
    @Sendable func deliveries() async throws -> [String] {
      var found: [String] = []
      for try await line in try await client.subscriptionLines(name, consumer: "a") {
        let value = try JSONValue(parsing: line)
        if value["event"] != nil { found.append("\(value["position"]?.integer ?? 0)#\(value["delivery"]?.integer ?? 0)") }
        if !found.isEmpty, value["mark"]?.string == "heartbeat" { break }
        if value["mark"]?.string == "caught-up" { isWaiting.withLock { $0 = true } }
      }
      return found
    }
    // The second stream is there before the first one ends with the event in hand.
    let lines = try await client.subscriptionLines(name, consumer: "a")
    var second: Task<[String], any Error>?
    for try await line in lines where try JSONValue(parsing: line)["event"] != nil {
      second = Task { try await deliveries() }
      while !isWaiting.withLock({ $0 }) { try await Task.sleep(for: .milliseconds(5)) }
      break
    }
    #expect(try await second?.value == ["\(p + 1)#2"])
  }

  @Test func `streams end when the server does`() async throws {
    let server = try await RunningServer.start { $0.shutdownSecondsMax = 60 }
    try await server.accepted(server.put("s", "{}"))
    var iterator = try await server.client.subscriptionLines("s").makeAsyncIterator()
    #expect(try await iterator.next().map { String(decoding: $0, as: UTF8.self) } == #"{"mark":"caught-up","position":0}"#)
    let start = ContinuousClock.now
    async let stopped: Void = server.stop()
    #expect(try await iterator.next() == nil)
    try await stopped
    #expect(ContinuousClock.now - start < .seconds(20))
  }

  @Test func `what cannot be understood is refused, and says why`() async throws {
    let server = try RunningServer.require()
    let name = try await server.subscription()
    let bodies = [
      (#"{"start":"end"}"#, "start must be"), (#"{"start":-1}"#, "start must be"), (#"{"maxInFlight":0}"#, "from 1 to 4096"),
      (#"{"maxInFlight":1.5}"#, "maxInFlight"), (#"{"acknowledgeWithinSeconds":3601}"#, "from 1 to 3600"),
      (#"{"leak":1}"#, "not known"), (#"{"filter":[]}"#, "must be an object"), (#"{"filter":{"leak":"x"}}"#, "not known"),
      (#"{"filter":{"type":[]}}"#, "a text or a list"), (#"{"filter":{"type":[1]}}"#, "a text or a list"),
      (#"{"filter":{"since":"leak"}}"#, "RFC 3339"), (#"[]"#, "must be an object"),
      (#"{"start":4000000000}"#, "the head is"),
    ]
    for (body, fragment) in bodies {
      try await server.refused(server.put(freshID(), body), 400, "invalid-request", fragment)
    }
    try await server.refused(server.put(freshID(), "{"), 400, "invalid-json", " ")
    try await server.refused(server.put("a%20b", "{}"), 400, "invalid-request", "128 of the characters")
    try await server.refused(Sent(target: "/v1/subscriptions/\(name)/fetch?wait=61"), 400, "invalid-request", "from 0 to 60")
    try await server.refused(Sent(target: "/v1/subscriptions/\(name)/fetch?limit=0"), 400, "invalid-request", "from 1 to 4096")
    try await server.refused(Sent(target: "/v1/subscriptions/\(name)/fetch?consumer=%20"), 400, "invalid-request", "consumer")
    for body in [
      "{}", #"{"positions":[0]}"#, #"{"positions":1}"#, #"{"through":"x"}"#, #"{"through":1,"positions":[1]}"#,
      #"{"through":1,"reason":"x"}"#,
    ] {
      try await server.refused(server.call(name, "acknowledge", body), 400, "invalid-request", "position")
    }
    try await server.refused(
      server.call(name, "fail", #"{"through":1,"reason":"\#(String(repeating: "x", count: 1_025))"}"#), 400, "invalid-request", "1024")
    for body in ["{}", #"{"all":false}"#, #"{"all":true,"positions":[1]}"#] {
      try await server.refused(server.call(name, "parked/skip", body), 400, "invalid-request", "all")
    }
    let nobody = freshID()
    for sent in [
      Sent(target: "/v1/subscriptions/\(nobody)/fetch"), .get("/v1/subscriptions/\(nobody)/events"),
      .get("/v1/subscriptions/\(nobody)/parked"), server.call(nobody, "acknowledge", #"{"through":1}"#),
      server.call(nobody, "parked/retry", #"{"all":true}"#), Sent(method: "DELETE", target: "/v1/subscriptions/\(nobody)"),
    ] {
      try await server.refused(sent, 404, "not-found", "no subscription")
    }
  }
}

@Suite struct SubscriptionAccessTests {
  @Test func `readers consume, and only administrators make, delete and decide`() async throws {
    // Whoever runs the test is no administrator of this one.
    let server = try await RunningServer.start(administrators: [4_242], rules: [.init(.user(getuid()), roles: .read)])
    let name = try #require(SubscriptionName("s"))
    _ = try await server.log.subscriptions.put(name, SubscriptionSettings(), start: .head)
    for sent in [
      server.put("s", "{}"), Sent(method: "DELETE", target: "/v1/subscriptions/s"), server.call("s", "parked/retry", #"{"all":true}"#),
      server.call("s", "parked/skip", #"{"all":true}"#),
    ] {
      try await server.refused(sent, 403, "forbidden", "needs the role admin")
    }
    #expect(try await server.fetch("s").isEmpty)
    for call in ["acknowledge", "fail", "release"] { try await server.accepted(server.call("s", call, #"{"through":1}"#)) }
    for path in ["", "/s", "/s/parked"] { #expect(try await server.get("/v1/subscriptions" + path).status == 200) }
    try await server.stop()
    let appender = try await RunningServer.start(administrators: [4_242], rules: [.init(.user(getuid()), roles: .append)])
    for sent in [
      Sent.get("/v1/subscriptions"), .get("/v1/subscriptions/s/events"), Sent(target: "/v1/subscriptions/s/fetch"),
      appender.call("s", "acknowledge", #"{"through":1}"#),
    ] {
      try await appender.refused(sent, 403, "forbidden", "needs the role read")
    }
    try await appender.stop()
  }
}
