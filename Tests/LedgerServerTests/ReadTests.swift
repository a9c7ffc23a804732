// The log as it is read: stretches, filters, single events, and followers with their marks.

import LedgerClient
import LedgerServer
import Testing

extension RunningServer {
  /// Positions of the lines that a target answers with.
  fileprivate func positions(_ target: String, _ location: SourceLocation = #_sourceLocation) async throws -> [Int64] {
    let response = try await get(target)
    #expect(response.status == 200, "\(response.text)", sourceLocation: location)
    return try response.lines.map { try JSONValue(parsing: Array($0.utf8))["position"]?.integer ?? -1 }
  }

  /// Follows until `isEnough`, and hangs up; the lines without the marks' positions.
  fileprivate func follow(
    _ target: String, seconds: Int64 = 10, isEnough: @escaping @Sendable ([JSONValue]) -> Bool
  ) async throws -> [JSONValue] {
    let lines = try await client.lines(target)
    var found: [JSONValue] = []
    for try await line in lines {
      found.append(try JSONValue(parsing: line))
      if isEnough(found) { break }
    }
    return found
  }
}

@Suite(
  .serialized,
  .server { limits in
    limits.heartbeatSeconds = 1
    limits.idleSeconds = 2
  }) struct ReadTests
{
  @Test func `stretches and filters give exactly the events that they name`() async throws {
    let server = try RunningServer.require()
    let tag = freshID()
    // Ten events; p is the position before the first.
    let events = (0..<10).map { index in
      event(
        "\(tag)-\(index)",
        [
          "source": "\"urn:\(index % 2 == 0 ? "even" : "odd")\"", "type": "\"t\(index % 3)\"", "subject": "\"s\(index) \(tag)\"",
          "stream": index < 5 ? "\"first \(tag)\"" : nil, "channel": index == 7 ? #""caf\u00e9""# : "\"web\"",
          "campaign": index == 3 ? "\"a&b\"" : nil, "time": "\"2026-03-01T10:0\(index):00+01:00\"",
        ])
    }
    let p = try await server.append(events) - 10
    let rows: [(query: [(name: String, value: String)], indices: [Int64])] = [
      ([], Array(0..<10)), ([("until", "\(p + 3)")], [0, 1, 2]), ([("limit", "4")], [0, 1, 2, 3]),
      ([("until", "\(p + 10_000)")], Array(0..<10)),
      ([("limit", "2"), ("source", "urn:odd")], [1, 3]), ([("source", "urn:odd")], [1, 3, 5, 7, 9]), ([("type", "t0")], [0, 3, 6, 9]),
      ([("type", "t0"), ("type", "t1")], [0, 1, 3, 4, 6, 7, 9]), ([("type", "t0"), ("source", "urn:odd")], [3, 9]),
      ([("subject", "s4 \(tag)")], [4]), ([("stream", "first \(tag)")], [0, 1, 2, 3, 4]), ([("channel", "café")], [7]),
      ([("channel", "cafe\u{301}")], []), ([("campaign", "a&b")], [3]), ([("type", "none")], []),
      ([("since", "2026-03-01T09:04:00Z")], [4, 5, 6, 7, 8, 9]), ([("before", "2026-03-01T09:04:00Z")], [0, 1, 2, 3]),
      ([("since", "2026-03-01T10:02:00+01:00"), ("before", "2026-03-01T09:05:00.000001Z")], [2, 3, 4, 5]),
      ([("since", "2026-03-01T09:08:30Z"), ("type", "t0")], [9]),
    ]
    for row in rows {
      let target = LedgerClient.target("/v1/events", [("after", "\(p)")] + row.query)
      #expect(try await server.positions(target) == row.indices.map { p + 1 + $0 }, "\(row.query)")
    }
    #expect(try await server.positions("/v1/events?after=\(p + 10)").isEmpty)
    #expect(try await server.positions("/v1/events?after=4000000000").isEmpty)
    #expect(try await server.positions("/v1/events?after=9&until=5").isEmpty)
    #expect(try await server.positions("/v1/events").count == Int(server.head))
  }

  @Test func `one event is shown with its envelope`() async throws {
    let server = try RunningServer.require()
    let text = event(freshID(), ["stream": "\"\(freshID())\"", "data": #"{"a":1.50}"#])
    let position = try await server.append([text])
    let response = try await server.get("/v1/events/\(position)")
    #expect(response.status == 200)
    #expect(response.header("content-type") == "application/json")
    let json = try response.json()
    let recorded = try #require(json["recordedtime"]?.string)
    let received = try #require(json["receivedtime"]?.string)
    let principal = try #require(json["principal"]?.string)
    #expect(principal.hasPrefix("uid:"))
    #expect(received <= recorded)
    #expect(
      response.text
        == #"{"position":\#(position),"recordedtime":"\#(recorded)","receivedtime":"\#(received)","revision":0,"door":"http","#
        + #""principal":"\#(principal)","event":\#(text)}"#)
  }

  @Test func `recorded times never go back`() async throws {
    let server = try RunningServer.require()
    for _ in 0..<20 { try await server.append([event(freshID())]) }
    let times = try await server.get("/v1/events").lines.map { try JSONValue(parsing: Array($0.utf8))["recordedtime"]?.string ?? "" }
    #expect(times == times.sorted())
  }

  // MARK: Followers

  @Test func `a follower gets what is there, a mark, and what comes`() async throws {
    let server = try RunningServer.require()
    let p = try await server.append([event(freshID()), event(freshID())]) - 2
    let following = Task {
      try await server.follow("/v1/events?after=\(p)&follow=true") { $0.filter { $0["event"] != nil }.count == 4 }
    }
    try await Task.sleep(for: .milliseconds(200))
    try await server.append([event(freshID())])
    try await Task.sleep(for: .milliseconds(100))
    try await server.append([event(freshID())])
    let lines = try await following.value
    #expect(lines.filter { $0["mark"]?.string != "heartbeat" }.map { $0["position"]?.integer } == [p + 1, p + 2, p + 2, p + 3, p + 4])
    #expect(lines[2] == .object([(name: "mark", value: .string("caught-up")), (name: "position", value: .number("\(p + 2)"))]))
  }

  @Test func `a follower with a filter gets only what passes, and one with a limit or an end leaves`() async throws {
    let server = try RunningServer.require()
    let p = server.head
    let filtered = Task {
      try await server.follow("/v1/events?after=\(p)&follow=true&type=wanted") { $0.filter { $0["event"] != nil }.count == 2 }
    }
    let limited = Task { try await server.follow("/v1/events?after=\(p)&follow=true&limit=2") { _ in false } }
    let ended = Task { try await server.follow("/v1/events?after=\(p)&follow=true&until=\(p + 3)") { _ in false } }
    try await Task.sleep(for: .milliseconds(100))
    for type in ["other", "wanted", "other", "wanted"] { try await server.append([event(freshID(), ["type": "\"\(type)\""])]) }
    func events(_ lines: [JSONValue]) -> [Int64?] { lines.filter { $0["event"] != nil }.map { $0["position"]?.integer } }
    #expect(events(try await filtered.value) == [p + 2, p + 4])
    #expect(events(try await limited.value) == [p + 1, p + 2])
    #expect(events(try await ended.value) == [p + 1, p + 2, p + 3])
  }

  @Test(.timeLimit(.minutes(1))) func `a silent follower hears heartbeats, and is not cut off for being idle`() async throws {
    let server = try RunningServer.require()
    let head = server.head
    let start = ContinuousClock.now
    let lines = try await server.follow("/v1/events?after=\(head)&follow=true") {
      $0.filter { $0["mark"]?.string == "heartbeat" }.count == 4
    }
    #expect(lines.map { $0["mark"]?.string } == ["caught-up", "heartbeat", "heartbeat", "heartbeat", "heartbeat"])
    #expect(lines.allSatisfy { $0["position"]?.integer == head })
    #expect(ContinuousClock.now - start > .seconds(3))
  }

  @Test(.timeLimit(.minutes(1))) func `marks carry how far a follower is, also while events pass that it does not want`() async throws {
    let server = try RunningServer.require()
    let p = server.head
    // Something is appended all the time, so that nothing is ever silent but this follower.
    let busy = Task {
      while !Task.isCancelled {
        try await server.append([event(freshID())])
        try await Task.sleep(for: .milliseconds(20))
      }
    }
    let lines = try await server.follow("/v1/events?after=\(p)&follow=true&type=wanted") {
      $0.filter { $0["mark"]?.string == "heartbeat" }.count == 3
    }
    busy.cancel()
    let positions = lines.compactMap { $0["position"]?.integer }
    #expect(lines.map { $0["mark"]?.string } == ["caught-up", "heartbeat", "heartbeat", "heartbeat"])
    #expect(positions == positions.sorted() && Set(positions).count == 4 && positions[1] > p + 5, "\(positions)")
    // Whoever begins again there misses nothing.
    let wanted = try await server.append([event(freshID(), ["type": "\"wanted\""])])
    #expect(try await server.positions("/v1/events?after=\(positions[3])&type=wanted") == [wanted])
  }

  @Test func `a follower with an end hears that it is there`() async throws {
    let server = try RunningServer.require()
    let p = try await server.append([event(freshID()), event(freshID())]) - 2
    let lines = try await server.follow("/v1/events?after=\(p)&follow=true&until=\(p + 2)&type=none") { _ in false }
    #expect(lines.map { $0["mark"]?.string } == ["caught-up"])
    #expect(lines.first?["position"]?.integer == p + 2)
  }

  @Test func `followers end when the server does`() async throws {
    // Nobody is cut off here: the follower itself hears of the shutdown.
    let server = try await RunningServer.start { $0.shutdownSecondsMax = 60 }
    let lines = try await server.client.lines("/v1/events?follow=true")
    var iterator = lines.makeAsyncIterator()
    #expect(try await iterator.next().map { String(decoding: $0, as: UTF8.self) } == #"{"mark":"caught-up","position":0}"#)
    let start = ContinuousClock.now
    async let stopped: Void = server.stop()
    #expect(try await iterator.next() == nil)
    try await stopped
    #expect(ContinuousClock.now - start < .seconds(20))
  }
}
