// A type's schema is applied, checks what comes after it, is replaced and taken back; and is there after a restart.

import Foundation
import LedgerClient
import Testing

private let scored = #"{"type":"object","required":["score"],"properties":{"score":{"type":"integer","maximum":10}}}"#

private func put(_ schema: String, _ type: String, _ contentType: String? = "application/schema+json") -> Sent {
  var sent = Sent.post(schema, contentType, "/v1/schemas/\(type)")
  sent.method = "PUT"
  return sent
}

private func delete(_ target: String) -> Sent { Sent(method: "DELETE", target: target) }

/// A type that no other test has.
private func freshType() -> String { "t.\(freshID().lowercased())" }

private func event(_ type: String, data: String?, id: String = freshID()) -> String {
  event(id, ["type": "\"\(type)\"", "data": data])
}

@Suite(.serialized, .server) struct SchemaTests {
  @Test func `an applied schema checks what comes after it, and names place and rule but no value`() async throws {
    let server = try RunningServer.require()
    let type = freshType()
    try await server.append([event(type, data: #"{"score":11}"#)])
    let applied = try await server.accepted(put(scored, type))
    #expect(applied["version"]?.integer == 1)
    #expect(applied["changed"]?.bool == true)
    #expect(applied["origin"]?.string == "applied")
    try await server.append([event(type, data: #"{"score":10}"#), event(type, data: #"{"score":1,"other":"ñ"}"#)])
    for (data, fragment) in [
      (#"{"score":11,"name":"leak"}"#, "event 0: /data/score breaks maximum 10"), (#"{"score":"leak"}"#, "/data/score breaks type integer"),
      (#"{"leak":1}"#, #"/data breaks required "score""#), (#""leak""#, "/data breaks type object"),
      (nil, #"/data breaks required "score""#),
    ] as [(String?, String)] {
      try await server.refused(.post(event(type, data: data)), 422, "schema", fragment)
    }
    let binary = event(freshID(), ["type": "\"\(type)\"", "data_base64": #""bGVhaw==""#])
    try await server.refused(.post(binary), 422, "schema", "/data_base64 cannot be checked")
  }

  @Test func `every bad event of a batch is listed, and a stream ends at its first one`() async throws {
    let server = try RunningServer.require()
    let type = freshType()
    try await server.accepted(put(scored, type))
    let (good, bad) = (event(type, data: #"{"score":1}"#), event(type, data: #"{"score":"leak"}"#))
    let batch = try await server.refused(.post("[\(good),\(bad),\(good),\(bad)]", batched), 422, "schema", "event 1: ")
    #expect(batch["errors"]?.array?.map { $0["index"]?.integer } == [1, 3])
    let stream = try await server.refused(.post("\(good)\n\(bad)\n", streamed), 422, "schema", "line 2: /data/score", appends: 1)
    #expect(stream["line"]?.integer == 2)
    try await server.refused(
      .post("\(event(type, data: #"{"score":2}"#))\n\(bad)\n", streamed, "/v1/events?atomic=true"), 422, "schema", "line 2: ")
  }

  @Test func `what is in the log from before its schema is a duplicate, and no breach`() async throws {
    let server = try RunningServer.require()
    let type = freshType()
    let ids = (0..<3).map { _ in freshID() }
    let old = ids.map { event(type, data: #"{"score":"leak"}"#, id: $0) }
    let last = try await server.append(old)
    try await server.accepted(put(scored, type))
    let written = #"{ "type":"\#(type)","id":"\#(ids[0])","data":{"score":"le\u0061k"}, "source":"urn:test","specversion":"1.0"}"#
    for sent in [
      .post(old[0]), .post(old[0], structured, "/v1/events?atomic=false"), .post(written), .post("[\(old[0]),\(old[2])]", batched),
      .post("\(old[0])\n\(old[1])\n", streamed), .post("\(old[0])\n\(old[1])\n", streamed, "/v1/events?atomic=true"),
      .post(old[1], structured, "/v1/events", [(name: "if-none-match", value: "*")]),
      .post(old[1], structured, "/v1/events?onInvalid=quarantine"),
    ] as [Sent] {
      let answer = try await server.accepted(sent)
      #expect(answer["appended"]?.integer == 0 && (answer["duplicates"]?.integer ?? 0) > 0)
      #expect(answer["quarantined"]?.integer ?? 0 == 0)
    }
    #expect(server.head == last)
    let (good, bad) = (event(type, data: #"{"score":1}"#), event(type, data: #"{"score":"leak"}"#))
    // Only what is new is held to the schema: one bad event refuses the batch, and is the only one named.
    let batch = try await server.refused(.post("[\(old[0]),\(good),\(bad)]", batched), 422, "schema", "event 2: /data/score")
    #expect(batch["errors"]?.array?.map { $0["index"]?.integer } == [2])
    let stream = try await server.refused(.post("\(old[0])\n\(good)\n\(bad)\n", streamed), 422, "schema", "line 3: ", appends: 1)
    #expect(stream["duplicates"]?.integer == 1)
    // Other content under a known name is a conflict, whatever the schema says.
    try await server.refused(.post(event(type, data: #"{"score":"le"}"#, id: ids[0])), 409, "id-conflict", "taken by other content")
    // An event that is none decides with the others that are bad; the log is not asked then.
    let mixed = try await server.refused(.post("[\(bad),\(event("leak", ["source": nil]))]", batched), 422, "schema", "event 0: ")
    #expect(mixed["errors"]?.array?.map { $0["code"]?.string } == ["schema", "invalid-event"])
  }

  @Test func `binary mode is checked like structured mode`() async throws {
    let server = try RunningServer.require()
    let type = freshType()
    try await server.accepted(put(scored, type))
    func binary(_ body: String) -> Sent {
      let names: [(name: String, value: String)] = [
        ("ce-specversion", "1.0"), ("ce-id", freshID()), ("ce-source", "urn:t"), ("ce-type", type),
      ]
      return .post(body, "application/json", "/v1/events", names)
    }
    try await server.accepted(binary(#"{"score":3}"#))
    try await server.refused(binary(#"{"score":"leak"}"#), 422, "schema", "/data/score")
  }

  @Test func `versions are counted, kept and shown, and the same again is none`() async throws {
    let server = try RunningServer.require()
    let type = freshType()
    let looser = #"{"type":"object"}"#
    #expect(try await server.accepted(put(scored, type))["version"]?.integer == 1)
    #expect(try await server.accepted(put(scored, type))["changed"]?.bool == false)
    #expect(try await server.accepted(put(looser, type, "application/json"))["version"]?.integer == 2)
    try await server.append([event(type, data: #"{"score":11}"#)])
    let shown = try await server.get("/v1/schemas/\(type)").json()
    #expect(shown["schema"]?.encoded() == Array(looser.utf8))
    #expect(shown["principal"]?.string?.hasPrefix("uid:") == true)
    #expect(try await server.get("/v1/schemas/\(type)?version=1").json()["schema"]?.encoded() == Array(scored.utf8))
    let removed = try await server.accepted(delete("/v1/schemas/\(type)"))
    #expect(removed["version"]?.integer == 3)
    #expect(removed["inForce"] == .null)
    for target in ["/v1/schemas/\(type)", "/v1/schemas/\(type)?version=3", "/v1/schemas/\(type)?version=9"] {
      try await server.refused(.get(target), 404, "not-found", "no such schema")
    }
    try await server.refused(delete("/v1/schemas/\(type)"), 404, "not-found", "no such schema")
    #expect(try await server.accepted(put(scored, type))["version"]?.integer == 4)
    let list = try await server.get("/v1/schemas").json()
    let row = try #require(list["schemas"]?.array?.first { $0["type"]?.string == type })
    #expect(row["version"]?.integer == 4)
    #expect(list["strict"]?.bool == false)
  }

  @Test func `é in its two forms are two types`() async throws {
    let server = try RunningServer.require()
    let name = freshType()
    let (composed, decomposed) = (name + "caf\u{E9}", name + "cafe\u{301}")
    try await server.accepted(put(scored, LedgerClient.encoded(composed)))
    try await server.refused(.post(event(composed, data: "{}")), 422, "schema", "required")
    try await server.append([event(decomposed, data: "{}")])
    try await server.refused(.get("/v1/schemas/" + LedgerClient.encoded(decomposed)), 404, "not-found", "no such schema")
    #expect(
      try await server.get("/v1/schemas/" + LedgerClient.encoded(composed)).json()["type"]?.string?.utf8.elementsEqual(composed.utf8)
        == true)
  }

  @Test(arguments: [
    (#"{"type":"date"}"#, "invalid-request", "type must be"),
    (#"{"$ref":"http://example.org/s.json"}"#, "invalid-request", "nothing is fetched"),
    (#"{"type":"#, "invalid-json", "expected"), ("", "invalid-json", "expected a value"),
    (#"{"requird":[]}"#, "invalid-request", "requird"),
  ])
  func `what is no schema is refused, and changes nothing`(_ schema: String, _ code: String, _ fragment: String) async throws {
    let server = try RunningServer.require()
    let type = freshType()
    try await server.refused(put(schema, type), 400, code, fragment)
    try await server.refused(.get("/v1/schemas/\(type)"), 404, "not-found", "no such schema")
  }

  @Test(arguments: [
    ("ledger.erased", "the ledger's own"), ("a%2Fb", "neither control characters nor slashes"), ("a%00b", "neither control characters"),
    ("%ff", "percent-encoded UTF-8"), (String(repeating: "a", count: 256), "1 to 255 bytes"),
  ])
  func `what can be no type of a schema is refused`(_ type: String, _ fragment: String) async throws {
    try await RunningServer.require().refused(put("{}", type), 400, "invalid-request", fragment)
  }

  @Test func `a schema needs its media type, and known parameters`() async throws {
    let server = try RunningServer.require()
    try await server.refused(put("{}", freshType(), "text/plain"), 400, "invalid-request", "Content-Type must be")
    try await server.refused(put("{}", freshType(), nil), 400, "invalid-request", "Content-Type must be")
    try await server.refused(.get("/v1/schemas?x=1"), 400, "invalid-request", "does not know")
    try await server.refused(.post("{}", structured, "/v1/schemas/t"), 405, "method-not-allowed", "DELETE, GET, PUT")
  }
}

@Suite(.serialized) struct SchemaLifeTests {
  @Test func `only the daemon's user and root apply, remove, append again and discard`() async throws {
    let server = try await RunningServer.start(administrators: [])
    for sent in [
      put("{}", "t"), delete("/v1/schemas/t"), .post("", nil, "/v1/quarantine/1/append"), delete("/v1/quarantine/1?reason=r"),
    ] {
      try await server.refused(sent, 403, "forbidden", "this needs the role admin")
    }
    for target in ["/v1/schemas", "/v1/quarantine"] { #expect(try await server.get(target).status == 200) }
    try await server.stop()
  }

  @Test func `applied schemas are there after a kill, and go before shipped ones`() async throws {
    let directory = try TemporaryDirectory()
    let shipped = directory.path + "/schemas"
    try write(#"{"required":["shipped"]}"#, shipped, "a.b.json")
    var daemon = try Daemon(in: directory, arguments: ["--schemas", shipped])
    try await daemon.waitUntilReady()
    func status(_ data: String) async throws -> Int {
      try await daemon.client().request(
        "POST", "/v1/events", headers: [(name: "content-type", value: structured)], body: Array(event("a.b", data: data).utf8)
      ).status
    }
    func send(_ sent: Sent) async throws -> JSONValue {
      try await daemon.client().request(sent.method, sent.target, headers: sent.headers, body: sent.body).json()
    }
    #expect(try await status("{}") == 422)
    #expect(try await status(#"{"shipped":1}"#) == 200)
    _ = try await send(put(#"{"required":["applied"]}"#, "a.b"))
    #expect(try await status(#"{"shipped":1}"#) == 422)
    daemon.send(SIGKILL)
    _ = await daemon.exitStatus()
    daemon = try Daemon(in: directory, data: daemon.data, arguments: ["--schemas", shipped])
    try await daemon.waitUntilReady()
    #expect(try await status(#"{"shipped":1}"#) == 422)
    #expect(try await status(#"{"applied":1}"#) == 200)
    #expect(try await send(delete("/v1/schemas/a.b"))["inForce"]?.string == "shipped")
    #expect(try await status(#"{"shipped":1}"#) == 200)
    daemon.send(SIGTERM)
    #expect(await daemon.exitStatus() == 0)
  }

  @Test func `a strict daemon refuses a type without a schema`() async throws {
    let directory = try TemporaryDirectory()
    let shipped = directory.path + "/schemas"
    try write("true", shipped, "known.json")
    let daemon = try Daemon(in: directory, arguments: ["--schemas", shipped, "--strict-schemas", "true"])
    try await daemon.waitUntilReady()
    let client = daemon.client()
    for (type, status) in [("known", 200), ("leak", 422)] {
      let response = try await client.request(
        "POST", "/v1/events", headers: [(name: "content-type", value: structured)], body: Array(event(type, data: "{}").utf8))
      #expect(response.status == status)
      if status == 422 { try RunningServer.check(response, 422, "schema", "/type has no schema, and this daemon is strict") }
    }
    #expect(try await client.request("GET", "/v1/schemas").json()["strict"]?.bool == true)
    daemon.send(SIGTERM)
    #expect(await daemon.exitStatus() == 0)
  }

  @Test func `a daemon does not start on schemas it cannot read, and says which`() async throws {
    let directory = try TemporaryDirectory()
    try write(#"{"type":"date"}"#, directory.path + "/bad", "order.placed.json")
    for (schemas, fragment) in [
      (directory.path + "/bad", "order.placed.json: at #: type must be"), (directory.path + "/none", "No such file"),
    ] {
      let daemon = try Daemon(in: directory, data: directory.path + "/d\(schemas.count)", arguments: ["--schemas", schemas])
      #expect(await daemon.exitStatus() == 1)
      let said = try daemon.errorText()
      #expect(said.contains(fragment), "\(said)")
    }
  }

  private func write(_ schema: String, _ folder: String, _ name: String) throws {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    try Data(schema.utf8).write(to: URL(filePath: folder + "/" + name))
  }
}
