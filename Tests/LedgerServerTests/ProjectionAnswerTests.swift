// Customers, journeys and channels over the socket, right after the events that make them; and what operators look at.

import LedgerClient
import Testing

@Suite(.serialized, .server) struct ProjectionAnswerTests {
  /// An event of a person, at a minute of a day.
  private func interaction(_ minute: Int, _ identifiers: String, channel: String = "web", _ more: String = "") -> String {
    event(
      freshID(),
      [
        "time": "\"2026-03-01T10:\(minute < 10 ? "0" : "")\(minute):00Z\"", "channel": "\"\(channel)\"",
        "data": "{\"identifiers\":{\(identifiers)}\(more)}",
      ])
  }

  @Test func `a customer is found by identifiers of every shape`() async throws {
    let server = try RunningServer.require()
    let tag = freshID().lowercased()
    let first = try await server.append([
      interaction(1, #""email":"Josefa+\#(tag)@Example.org","dni:ES":"12345678Z","phone":"+34600111222","crm":"a b/c?d&e=f""#)
    ])
    let shapes = [
      "email:josefa+\(tag)@example.org", "email:JOSEFA+\(tag)@example.org", "dni:ES:12345678Z", "phone:+34600111222", "crm:a b/c?d&e=f",
    ]
    for shape in shapes {
      let response = try await server.get(LedgerClient.target("/v1/customers", [("identifier", shape), ("atLeast", "\(first)")]))
      #expect(response.status == 200, "\(shape): \(response.text)")
      let json = try response.json()
      #expect(json["customers"]?.array?.map { $0["id"]?.string } == ["\(first)"], "\(shape)")
      #expect(json["checkpoint"]?.integer ?? 0 >= first)
      #expect(json["log"]?.string == server.logID)
      #expect(json["erasureEpoch"]?.integer == 0)
      #expect(response.header("ledger-generation").flatMap { Int($0) } ?? 0 > 0)
    }
    let nobody = try await server.get("/v1/customers?identifier=email:nobody-\(tag)@example.org")
    #expect(nobody.status == 200)
    #expect(try nobody.json()["customers"] == .array([]))
    let one = try await server.get("/v1/customers/\(first)")
    #expect(try one.json()["customers"]?.array?.count == 1)
  }

  @Test func `a merged id answers with the survivor, and journeys come in pages`() async throws {
    let server = try RunningServer.require()
    let tag = freshID()
    let (cookie, email) = ("\"cookie\":\"c-\(tag)\"", "\"email\":\"\(tag)@example.org\"")
    let b = try await server.append([interaction(5, cookie), interaction(1, email, channel: "email")])
    let (survivor, merged) = (b - 1, b)
    let last = try await server.append([interaction(9, "\(cookie),\(email)"), interaction(7, cookie)])
    let json = try await server.get("/v1/customers/\(merged)?atLeast=\(last)").json()
    #expect(json["customers"]?.array?.first?["id"]?.string == "\(survivor)")
    #expect(json["customers"]?.array?.first?["mergedFrom"] == .array([.string("\(merged)")]))
    let identity = try await server.get("/v1/customers/\(merged)/identity")
    #expect(identity.status == 200)
    #expect(try identity.json()["customer"]?.string == "\(survivor)")
    var positions: [Int64] = []
    var cursor = ""
    for _ in 0..<2 {
      let page = try await server.get("/v1/customers/\(merged)/journey?limit=2" + cursor).json()
      #expect(page["customer"]?.string == "\(survivor)")
      positions += (page["entries"]?.array ?? []).compactMap { $0["position"]?.integer }
      cursor = page["next"]?.string.map { "&cursor=" + $0 } ?? ""
    }
    #expect(positions == [b, b - 1, last, last - 1])
    #expect(cursor.isEmpty)
  }

  @Test func `channels are counted`() async throws {
    let server = try RunningServer.require()
    let channel = "ch-\(freshID())"
    let last = try await server.append([
      interaction(1, "", channel: channel), interaction(2, "", channel: channel), interaction(20, "", channel: channel),
    ])
    let json = try await server.get("/v1/channels?channel=\(channel)&atLeast=\(last)").json()
    #expect(json["counters"]?.array?.map { $0["count"]?.integer } == [2, 1])
    #expect(json["counters"]?.array?.first?["quarter"]?.string == "2026-03-01T10:00:00Z")
  }

  @Test func `the log and the projections say where they are`() async throws {
    let server = try RunningServer.require()
    let head = try await server.append([event(freshID())])
    let log = try await server.get("/v1/log").json()
    #expect(log["id"]?.string == server.logID)
    #expect(log["head"]?.integer == head)
    #expect(log["sealed"]?.integer == 0)
    #expect(log["appending"]?.string == "open")
    #expect(log["byteCount"]?.integer ?? 0 > 0)
    for name in ["customers", "channels"] {
      #expect(try await server.get("/v1/projections/\(name)/digest?atLeast=\(head)").json()["position"]?.integer == head)
      #expect(try await server.get("/v1/projections/\(name)/parked").text == #"{"parked":[]}"#)
    }
    let projections = try #require(try await server.get("/v1/projections").json()["projections"]?.array)
    #expect(projections.map { $0["name"]?.string } == ["customers", "channels"])
    for projection in projections {
      #expect(projection["position"]?.integer == head)
      #expect(projection["head"]?.integer == head)
      #expect(projection["lagEvents"]?.integer == 0)
      #expect(projection["rebuild"] == .null)
    }
  }

  @Test func `a rebuild ends in a new generation with the same digest`() async throws {
    let server = try RunningServer.require()
    let head = try await server.append((0..<50).map { interaction($0, "\"cookie\":\"r\($0 % 7)\",\"email\":\"r\($0 % 5)@example.org\"") })
    for name in ["customers", "channels"] {
      let before = try await server.get("/v1/projections/\(name)/digest?atLeast=\(head)").json()
      let generation = try #require(before["generation"]?.integer)
      let started = try await server.answer(.post("", nil, "/v1/projections/\(name)/rebuild"))
      #expect(started.status == 200)
      #expect(try started.json()["generation"]?.integer ?? 0 > generation)
      var after = before
      for _ in 0..<1_000 where after["generation"] == before["generation"] {
        try await Task.sleep(for: .milliseconds(10))
        after = try await server.get("/v1/projections/\(name)/digest").json()
      }
      #expect(after["generation"] == (try started.json()["generation"]))
      #expect(after["digest"] == before["digest"])
      #expect(after["rows"] == before["rows"])
      #expect(after["position"] == before["position"])
      let answer = try await server.get(name == "channels" ? "/v1/channels" : "/v1/customers?identifier=cookie:r1")
      #expect(answer.header("ledger-generation") == after["generation"]?.integer.map { "\($0)" })
    }
  }

  @Test func `a rebuild can be given up, and then there is none`() async throws {
    let server = try RunningServer.require()
    let head = try await server.append((0..<50).map { interaction($0, "\"cookie\":\"g\($0)\"") })
    let before = try await server.get("/v1/projections/customers/digest?atLeast=\(head)").json()
    #expect(try await server.answer(.post("", nil, "/v1/projections/customers/rebuild")).status == 200)
    // With so few events it may be done already.
    let first = try await server.answer(Sent(method: "DELETE", target: "/v1/projections/customers/rebuild"))
    #expect(first.status == 200 || first.status == 404)
    if first.status == 200 {
      #expect(try first.json()["name"]?.string == "customers")
      #expect(try first.json()["generation"] == before["generation"])
    }
    let second = try await server.answer(Sent(method: "DELETE", target: "/v1/projections/customers/rebuild"))
    #expect(second.status == 404)
    #expect(try second.json()["code"]?.string == "not-found")
    let unknown = try await server.answer(Sent(method: "DELETE", target: "/v1/projections/nothing/rebuild"))
    #expect(unknown.status == 404)
    #expect(try await server.get("/v1/projections/customers/digest").json()["digest"] == before["digest"])
  }

  @Test func `metrics are Prometheus text`() async throws {
    let server = try RunningServer.require()
    let head = try await server.append([event(freshID())])
    let response = try await server.get("/metrics")
    #expect(response.header("content-type") == "text/plain; version=0.0.4; charset=utf-8")
    #expect(response.text.hasSuffix("\n"))
    var types: [String: String] = [:]
    var samples: [String: String] = [:]
    for line in response.lines {
      let words = line.split(separator: " ")
      if line.hasPrefix("# HELP ") {
        #expect(words.count > 3, "\(line)")
      } else if line.hasPrefix("# TYPE ") {
        #expect(words.count == 4 && ["counter", "gauge", "histogram"].contains(words[3]), "\(line)")
        #expect(types.updateValue(String(words[3]), forKey: String(words[2])) == nil, "\(line)")
      } else {
        let sample = try #require(
          line.wholeMatch(of: #/([a-z_]+?)(?:_bucket|_sum|_count)?(?:\{(?:projection="[a-z]+"|le="[0-9.+Inf]+")\})? (-?[0-9.e+-]+)/#),
          "\(line)")
        let type = try #require(types[String(sample.1)], "a type comes before its samples: \(line)")
        #expect(type != "counter" || sample.1.hasSuffix("_total"))
        #expect(samples.updateValue(String(sample.2), forKey: String(line.prefix { $0 != " " })) == nil)
      }
    }
    #expect(samples["ledger_log_head_position"] == "\(head)")
    #expect(samples["ledger_append_open"] == "1")
    #expect(samples["ledger_projection_position{projection=\"customers\"}"] != nil)
  }

  @Test func `health and readiness are answered`() async throws {
    let server = try RunningServer.require()
    #expect(try await server.get("/healthz").text == #"{"status":"ok"}"#)
    #expect(try await server.get("/readyz").text == #"{"status":"ready"}"#)
  }
}
