// What the log does not take is set aside when asked, once each, and leaves by a decision; nothing is lost on the way.

import Foundation
import LedgerClient
import Testing

private let target = "/v1/events?onInvalid=quarantine"
private let withReceipts = target + "&receipts=true"

private func bad(_ type: String, _ id: String = freshID(), score: String = "70") -> String {
  event(id, ["type": "\"\(type)\"", "data": "{\"score\":\(score),\"name\":\"leak\"}"])
}

private func good(_ type: String, _ id: String = freshID()) -> String { event(id, ["type": "\"\(type)\"", "data": #"{"score":7}"#]) }

extension RunningServer {
  /// A new type whose score is 10 at most.
  fileprivate func scoredType() async throws -> String {
    let type = "t.\(freshID().lowercased())"
    var sent = Sent.post(#"{"properties":{"score":{"maximum":10}}}"#, "application/schema+json", "/v1/schemas/\(type)")
    sent.method = "PUT"
    try await accepted(sent)
    return type
  }

  fileprivate var quarantined: Int64 {
    get async throws { try await get("/v1/quarantine?limit=1").json()["count"]?.integer ?? -1 }
  }

  /// Sets one event aside, and gives its number.
  fileprivate func setAside(_ event: String) async throws -> Int64 {
    let answer = try await accepted(.post(event, structured, withReceipts))
    return try #require(answer["quarantine"]?.array?.first?["number"]?.integer)
  }
}

@Suite(.serialized, .server) struct QuarantineTests {
  @Test func `an answer counts what was set aside only if that was asked for`() async throws {
    let server = try RunningServer.require()
    #expect(try await server.accepted(.post(event(freshID())))["quarantined"] == nil)
    #expect(try await server.accepted(.post(event(freshID()), structured, target))["quarantined"]?.integer == 0)
    #expect(try await server.accepted(.post(event(freshID()), structured, "/v1/events?onInvalid=refuse"))["quarantined"] == nil)
  }

  @Test func `the bad ones of a batch are set aside with index, number, code and reason, and the rest is appended`() async throws {
    let server = try RunningServer.require()
    let type = try await server.scoredType()
    let (taken, before) = (freshID(), try await server.quarantined)
    try await server.append([good(type, taken)])
    let head = server.head
    let conflict = event(taken, ["type": #""other""#])
    let answer = try await server.accepted(
      .post("[\(bad(type)),\(good(type)),\(conflict),\(good(type, taken)),\(good(type))]", batched, withReceipts))
    #expect(answer["appended"]?.integer == 2)
    #expect(answer["duplicates"]?.integer == 1)
    #expect(answer["quarantined"]?.integer == 2)
    #expect(server.head == head + 2)
    #expect(answer["receipts"]?.array?.map { $0["position"]?.integer } == [head + 1, head, head + 2])
    let aside = try #require(answer["quarantine"]?.array)
    #expect(aside.map { $0["index"]?.integer } == [0, 2])
    #expect(aside.map { $0["code"]?.string } == ["schema", "id-conflict"])
    #expect(aside[1]["id"]?.string == taken)
    #expect(aside[0]["detail"]?.string?.contains("/data/score breaks maximum 10") == true)
    #expect(aside[1]["detail"]?.string?.contains("at position \(head)") == true)
    #expect(try await server.quarantined == before + 2)
  }

  @Test func `two events of one request with one id: the first is appended, the second set aside`() async throws {
    let server = try RunningServer.require()
    let id = freshID()
    let answer = try await server.accepted(.post("[\(event(id)),\(event(id, ["data": "1"]))]", batched, withReceipts))
    #expect(answer["appended"]?.integer == 1)
    #expect(answer["quarantine"]?.array?.first?["detail"]?.string?.contains("earlier event of the same request") == true)
  }

  @Test func `the same event again is the same entry, also when it is written in another way`() async throws {
    let server = try RunningServer.require()
    let type = try await server.scoredType()
    let id = freshID()
    let number = try await server.setAside(bad(type, id))
    let count = try await server.quarantined
    #expect(try await server.setAside(bad(type, id)) == number)
    let other = #"{ "type":"\#(type)","id":"\#(id)","data":{"name":"le\u0061k","score":7.0e1}, "source":"urn:test","specversion":"1.0"}"#
    #expect(try await server.setAside(other) == number)
    let both = try await server.accepted(.post("[\(bad(type, id)),\(bad(type, id))]", batched, withReceipts))
    #expect(both["quarantined"]?.integer == 2)
    #expect(try await server.quarantined == count)
    #expect(try await server.setAside(bad(type, id, score: "71")) > number)
  }

  @Test func `a stream sets aside line by line, in groups and at once`() async throws {
    let server = try RunningServer.require()
    let type = try await server.scoredType()
    let head = server.head
    for more in ["", "&atomic=true"] {
      let lines = (0..<5).map { $0 % 2 == 0 ? good(type) : bad(type) }.joined(separator: "\n")
      let answer = try await server.accepted(.post(lines, streamed, withReceipts + more))
      #expect(answer["appended"]?.integer == 3)
      #expect(answer["quarantine"]?.array?.map { $0["index"]?.integer } == [1, 3])
    }
    #expect(server.head == head + 6)
    let response = try await server.answer(.post("\(bad(type))\n\(good(type))\n", streamed, target + "&receipts=stream"))
    let last = try JSONValue(parsing: Array(try #require(response.lines.last).utf8))
    #expect(last["quarantined"]?.integer == 1)
    #expect(last["done"]?.bool == true)
    let alone = try await server.accepted(.post(bad(type) + "\n", streamed, target))
    #expect(alone["first"] == .null)
    #expect(alone["quarantined"]?.integer == 1)
  }

  @Test func `a stream of several groups numbers its events through`() async throws {
    let server = try RunningServer.require()
    let type = try await server.scoredType()
    let lines = (0..<4_500).map { $0 == 10 || $0 == 4_400 ? bad(type) : good(type) }.joined(separator: "\n")
    let answer = try await server.accepted(.post(lines, streamed, withReceipts))
    #expect(answer["appended"]?.integer == 4_498)
    #expect(answer["quarantine"]?.array?.map { $0["index"]?.integer } == [10, 4_400])
  }

  @Test func `what is no event is refused as ever, and nothing is set aside`() async throws {
    let server = try RunningServer.require()
    let type = try await server.scoredType()
    let before = try await server.quarantined
    for (text, code, status) in [
      (event("leak", ["type": nil]), "invalid-event", 400), (event("leak", ["type": #""ledger.leak""#]), "forbidden", 403),
    ] {
      try await server.refused(.post("[\(bad(type)),\(text)]", batched, target), status, code, "event 1: ")
    }
    try await server.refused(.post("[\(bad(type)),NaN]", batched, target), 400, "invalid-json", "invalid JSON")
    try await server.refused(.post(bad(type), structured, "/v1/events?onInvalid=drop"), 400, "invalid-request", "refuse or quarantine")
    try await server.refused(
      .post(bad(type), structured, target, [(name: "if-match", value: "\"1\"")]), 400, "invalid-request", "expected revision")
    #expect(try await server.quarantined == before)
  }

  @Test func `an event is corrected and appended, or appended as it is once its schema is mended`() async throws {
    let server = try RunningServer.require()
    let type = try await server.scoredType()
    let id = freshID()
    let (first, second) = (try await server.setAside(bad(type, id)), try await server.setAside(bad(type)))
    let shown = try await server.get("/v1/quarantine/\(first)").json()
    #expect(shown["event"]?["id"]?.string == id)
    #expect(shown["code"]?.string == "schema")
    #expect(shown["type"]?.string == type)
    let path = "/v1/quarantine/\(first)/append"
    // Nothing was mended.
    try await server.refused(.post("", nil, path), 422, "schema", "/data/score breaks maximum 10")
    try await server.refused(.post(bad(type, id, score: "11"), structured, path), 422, "schema", "maximum 10")
    try await server.refused(.post("{}", "application/json", path), 400, "invalid-request", "application/cloudevents+json")
    let corrected = try await server.accepted(.post(good(type, id), structured, path))
    #expect(corrected["appended"]?.integer == 1)
    let position = try #require(corrected["receipts"]?.array?.first?["position"]?.integer)
    let stored = try await server.get("/v1/events/\(position)").json()
    #expect(stored["event"]?["data"]?["score"]?.integer == 7)
    // It came in when it came in.
    #expect(stored["receivedtime"] == shown["receivedtime"])
    try await server.refused(.post("", nil, path), 410, "gone", "was appended, at position \(position)")

    var mended = Sent.post(#"{"properties":{"score":{"maximum":100}}}"#, "application/schema+json", "/v1/schemas/\(type)")
    mended.method = "PUT"
    try await server.accepted(mended)
    #expect(try await server.accepted(.post("", nil, "/v1/quarantine/\(second)/append"))["appended"]?.integer == 1)
    try await server.refused(.get("/v1/quarantine/\(second)"), 410, "gone", "was appended")
  }

  @Test func `an event whose id is taken leaves under a new id`() async throws {
    let server = try RunningServer.require()
    let id = freshID()
    try await server.append([event(id)])
    let number = try await server.setAside(event(id, ["data": "1"]))
    try await server.refused(.post("", nil, "/v1/quarantine/\(number)/append"), 409, "id-conflict", "taken by other content")
    try await server.accepted(.post(event(id + "-2", ["data": "1"]), structured, "/v1/quarantine/\(number)/append"))
    try await server.refused(.get("/v1/quarantine/\(number)"), 410, "gone", "was appended")
  }

  @Test func `an event is discarded with a reason, which stays`() async throws {
    let server = try RunningServer.require()
    let number = try await server.setAside(bad(try await server.scoredType()))
    func delete(_ query: String) -> Sent { Sent(method: "DELETE", target: "/v1/quarantine/\(number)\(query)") }
    for query in ["", "?reason=", "?reason=" + String(repeating: "r", count: 1_025)] {
      try await server.refused(delete(query), 400, "invalid-request", "parameter reason must say why")
    }
    let count = try await server.quarantined
    try await server.accepted(delete("?reason=prueba%20de%20a%C3%B1o"))
    #expect(try await server.quarantined == count - 1)
    try await server.refused(delete("?reason=again"), 410, "gone", "was discarded")
    let left = try await server.get("/v1/quarantine?resolved=true&after=\(number - 1)").json()
    let row = try #require(left["resolved"]?.array?.first)
    #expect(row["number"]?.integer == number)
    #expect(row["outcome"]?.string == "discarded")
    #expect(row["reason"]?.string == "prueba de año")
    // The same event again is a new case.
    let again = try await server.setAside(bad(try await server.scoredType()))
    #expect(again > number)
  }

  @Test func `the list comes in pages`() async throws {
    let server = try RunningServer.require()
    let type = try await server.scoredType()
    var numbers: [Int64] = []
    for _ in 0..<5 { numbers.append(try await server.setAside(bad(type))) }
    var (found, after) = ([Int64](), numbers[0] - 1)
    while true {
      let page = try await server.get("/v1/quarantine?limit=2&after=\(after)").json()
      found += page["quarantined"]?.array?.compactMap { $0["number"]?.integer } ?? []
      #expect(page["quarantined"]?.array?.allSatisfy { $0["event"] == nil } == true)
      guard let next = page["next"]?.integer else { break }
      after = next
    }
    #expect(found == numbers)
    for query in ["limit=0", "limit=1001", "after=-1", "x=1"] {
      try await server.refused(.get("/v1/quarantine?" + query), 400, "invalid-request", "parameter")
    }
    for number in ["0", "leak", "+1"] { try await server.refused(.get("/v1/quarantine/\(number)"), 400, "invalid-request", "whole number") }
    try await server.refused(.get("/v1/quarantine/99999999"), 404, "not-found", "no event in quarantine")
    let metrics = try await server.get("/metrics").text
    #expect(metrics.contains("ledger_quarantined_events \(try await server.quarantined)\n"))
  }
}

@Suite(.serialized) struct QuarantineLifeTests {
  @Test func `a full quarantine refuses the request whole, and takes again when there is room`() async throws {
    let directory = try TemporaryDirectory()
    let schemas = directory.path + "/schemas"
    try FileManager.default.createDirectory(atPath: schemas, withIntermediateDirectories: true)
    try Data(#"{"properties":{"score":{"maximum":10}}}"#.utf8).write(to: URL(filePath: schemas + "/t.json"))
    let arguments = ["--schemas", schemas, "--quarantine-events-max", "3"]
    var daemon = try Daemon(in: directory, arguments: arguments)
    try await daemon.waitUntilReady()
    func send(_ events: [String]) async throws -> Response {
      try await daemon.client().request(
        "POST", target, headers: [(name: "content-type", value: batched)], body: Array("[\(events.joined(separator: ","))]".utf8))
    }
    func get(_ target: String) async throws -> JSONValue { try await daemon.client().request("GET", target).json() }
    let kept = [bad("t"), bad("t")]
    #expect(try await send(kept + [good("t")]).status == 200)
    // One would still fit, but a request is set aside whole or not at all.
    try RunningServer.check(try await send([good("t"), bad("t"), bad("t")]), 503, "quarantine-full", "nothing was appended or set aside")
    #expect(try await get("/v1/log")["head"]?.integer == 1)
    #expect(try await get("/v1/quarantine")["count"]?.integer == 2)
    // A conflict shows only when the log is asked: what was set aside before is taken back.
    let taken = freshID()
    #expect(try await send([good("t", taken)]).status == 200)
    let conflicting = [bad("t"), event(taken, ["data": "1"]), good("t")]
    try RunningServer.check(try await send(conflicting), 503, "quarantine-full", "nothing was appended or set aside")
    #expect(try await get("/v1/quarantine")["count"]?.integer == 2)
    #expect(try await get("/v1/log")["head"]?.integer == 2)
    // What is there already needs no room; what is sound neither.
    #expect(try await send(kept).status == 200)
    #expect(try await send([good("t")]).status == 200)
    daemon.send(SIGTERM)
    #expect(await daemon.exitStatus() == 0)
    daemon = try Daemon(in: directory, data: daemon.data, arguments: arguments)
    try await daemon.waitUntilReady()
    #expect(try await get("/v1/quarantine")["count"]?.integer == 2)
    let number = try #require(try await get("/v1/quarantine")["quarantined"]?.array?.first?["number"]?.integer)
    #expect(try await daemon.client().request("DELETE", "/v1/quarantine/\(number)?reason=room").status == 200)
    let answer = try await send(conflicting).json()
    #expect(answer["appended"]?.integer == 1)
    #expect(answer["quarantined"]?.integer == 2)
    daemon.send(SIGTERM)
    #expect(await daemon.exitStatus() == 0)
  }
}
