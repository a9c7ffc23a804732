// Appends as a stream of lines: any length, any cuts, receipts as they happen.

import LedgerClient
import LedgerHTTP
import Testing

@Suite(.serialized, .server) struct StreamedTests {
  @Test(arguments: ["\n", "\r\n", "\n\n \t\r\n"]) func `lines may end as they like, and the last one not at all`(_ end: String) async throws
  {
    let server = try RunningServer.require()
    for (query, last) in [("", ""), ("", end), ("?atomic=true", ""), ("?atomic=true", end)] {
      let events = (0..<3).map { _ in event(freshID()) }
      let before = server.head
      let response = try await server.answer(.post(end + events.joined(separator: end) + last, streamed, "/v1/events" + query))
      #expect(
        response.text
          == #"{"appended":3,"duplicates":0,"erased":0,"first":\#(before + 1),"last":\#(before + 3),"head":\#(before + 3)}"#)
    }
  }

  @Test func `pieces of one byte are the same stream`() async throws {
    let server = try RunningServer.require()
    let text = (0..<4).map { _ in event(freshID(), ["data": "\"é\""]) }.joined(separator: "\n")
    let (pieces, source) = AsyncStream<[UInt8]>.makeStream()
    for byte in text.utf8 { source.yield([byte]) }
    source.finish()
    let answer = try await server.client.appendNDJSON(pieces)
    #expect(answer.appended == 4)
    #expect(answer.head == server.head)
  }

  @Test func `25,000 events go in as one stream, in order, and a second time not at all`() async throws {
    let server = try RunningServer.require()
    let prefix = freshID()
    let text = (0..<25_000).map { event("\(prefix)-\($0)") + "\n" }.joined()
    let before = server.head
    let first = try await server.accepted(.post(text, streamed))
    #expect(first["appended"]?.integer == 25_000)
    #expect(first["first"]?.integer == before + 1)
    #expect(first["last"]?.integer == before + 25_000)
    let second = try await server.accepted(.post(text, streamed))
    #expect(second["appended"]?.integer == 0)
    #expect(second["duplicates"]?.integer == 25_000)
    #expect(second["first"] == .null)
    let lines = try await server.get("/v1/events?after=\(before)").lines
    #expect(lines.count == 25_000)
    for (index, line) in lines.enumerated() {
      #expect(line.hasPrefix(#"{"position":\#(before + 1 + Int64(index)),"#) && line.contains("\"id\":\"\(prefix)-\(index)\""))
    }
  }

  @Test func `receipts come in the order sent, duplicates among them`() async throws {
    let server = try RunningServer.require()
    let known = freshID()
    let position = try await server.append([event(known)])
    let ids = [freshID(), known, freshID()]
    let events = ids.map { event($0) }
    for (body, type, query) in [(events.joined(separator: "\n"), streamed, ""), ("[" + events.joined(separator: ",") + "]", batched, "")] {
      let json = try await server.accepted(.post(body, type, "/v1/events?receipts=true" + query))
      let receipts = try #require(json["receipts"]?.array)
      #expect(receipts.map { $0["id"]?.string } == ids)
      #expect(receipts[1]["position"]?.integer == position)
      #expect(receipts[1]["duplicate"]?.bool == true)
      #expect(receipts.map { $0["source"]?.string } == ["urn:test", "urn:test", "urn:test"])
      #expect(receipts[2]["position"]?.integer == position + 2)
    }
  }

  @Test func `streamed receipts add up, and the last line says done`() async throws {
    let server = try RunningServer.require()
    let ids = (0..<5_000).map { _ in freshID() }
    let before = server.head
    let response = try await server.answer(.post(ids.map { event($0) }.joined(separator: "\n"), streamed, "/v1/events?receipts=stream"))
    #expect(response.status == 200)
    #expect(response.header("content-type") == "application/x-ndjson")
    let lines = try response.lines.map { try JSONValue(parsing: Array($0.utf8)) }
    #expect(lines.count >= 4)
    var received: [String?] = []
    var appended: Int64 = 0
    for line in lines.dropLast() {
      for receipt in line["receipts"]?.array ?? [] { received.append(receipt["id"]?.string) }
      appended += line["appended"]?.integer ?? 0
    }
    #expect(received == ids)
    #expect(appended == 5_000)
    #expect(lines.dropLast().allSatisfy { $0["done"] == nil })
    #expect(
      response.lines.last
        == #"{"appended":5000,"duplicates":0,"erased":0,"first":\#(before + 1),"last":\#(before + 5_000),"head":\#(before + 5_000),"done":true}"#
    )
  }

  @Test func `a receipt comes before the next event is sent`() async throws {
    let server = try RunningServer.require()
    let (pieces, source) = AsyncStream<[UInt8]>.makeStream()
    let position = server.head
    // What is sent is on disk while the stream is open, so a slow adapter is not a blind one.
    let upload = Task {
      try await server.client.upload(
        "/v1/events?receipts=stream", headers: [(name: "content-type", value: streamed)], pieces: pieces)
    }
    for step in 1...3 {
      source.yield(Array((event(freshID()) + "\n").utf8))
      for _ in 0..<1_000 where server.head < position + Int64(step) { try await Task.sleep(for: .milliseconds(5)) }
      #expect(server.head == position + Int64(step))
    }
    source.finish()
    let lines = try await upload.value.lines
    #expect(lines.count == 4)
    #expect(lines.last?.hasSuffix(#""done":true}"#) == true)
  }

  @Test func `a slow stream is on disk soon, although nobody asks for receipts`() async throws {
    let server = try RunningServer.require()
    let (pieces, source) = AsyncStream<[UInt8]>.makeStream()
    let position = server.head
    let upload = Task { try await server.client.appendNDJSON(pieces) }
    for step in 1...3 {
      let start = ContinuousClock.now
      // A whole event and a half: the half waits for its end.
      source.yield(Array((event(freshID()) + "\n" + #"{"specversion":"1.0","#).utf8))
      for _ in 0..<1_000 where server.head < position + Int64(2 * step - 1) { try await Task.sleep(for: .milliseconds(5)) }
      #expect(server.head == position + Int64(2 * step - 1))
      #expect(ContinuousClock.now - start < .seconds(2))
      source.yield(Array((event(freshID()).dropFirst(#"{"specversion":"1.0","#.count) + "\n").utf8))
      for _ in 0..<1_000 where server.head < position + Int64(2 * step) { try await Task.sleep(for: .milliseconds(5)) }
      #expect(server.head == position + Int64(2 * step))
    }
    source.finish()
    #expect(try await upload.value.appended == 6)
  }

  @Test func `an error inside of streamed receipts is their last line, and what came before stands`() async throws {
    let server = try RunningServer.require()
    let before = server.head
    let conflicting = freshID()
    let rows: [(bad: String, code: String)] = [
      (#"{"leak"}"#, "invalid-json"), (event("leak", ["type": nil]), "invalid-event"),
      (event(conflicting, ["data": #""leak""#]), "id-conflict"),
    ]
    try await server.append([event(conflicting)])
    for (index, row) in rows.enumerated() {
      let response = try await server.answer(
        .post("\(event(freshID()))\n\(event(freshID()))\n\(row.bad)\n\(event(freshID()))", streamed, "/v1/events?receipts=stream"))
      #expect(response.status == 200)
      #expect(!response.text.contains("leak"))
      let last = try JSONValue(parsing: Array((response.lines.last ?? "").utf8))
      let head = before + 1 + 2 * Int64(index + 1)
      #expect(last["appended"]?.integer == 2)
      #expect(last["head"]?.integer == head)
      #expect(last["done"] == nil)
      #expect(last["error"]?["code"]?.string == row.code)
      #expect(last["error"]?["line"]?.integer == 3)
      #expect(last["error"]?["message"] == last["error"]?["detail"])
      #expect(server.head == head)
    }
  }

  @Test func `a stream that waits takes the time of each event's arrival as received`() async throws {
    let server = try RunningServer.require()
    let (pieces, source) = AsyncStream<[UInt8]>.makeStream()
    let upload = Task { try await server.client.appendNDJSON(pieces) }
    source.yield(Array("\n".utf8))
    try await Task.sleep(for: .milliseconds(300))
    let sent = ContinuousClock.now
    source.yield(Array((event(freshID()) + "\n").utf8))
    source.finish()
    let head = try await upload.value.head
    let took = (ContinuousClock.now - sent) / .milliseconds(1)
    let json = try await server.get("/v1/events/\(head)").json()
    let (received, recorded) = try (milliseconds(json["receivedtime"]), milliseconds(json["recordedtime"]))
    #expect(recorded - received <= took + 1, "\(json)")
  }

  /// Milliseconds within the hour, which is enough for a difference (taken again if the hour turns).
  private func milliseconds(_ time: JSONValue?) throws -> Double {
    let parts = try #require(time?.string).dropLast().split(separator: ":")
    return try #require(Double(parts[1])) * 60_000 + #require(Double(parts[2])) * 1_000
  }
}
