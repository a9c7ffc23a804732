// The disks of the quarantine and of the applied schemas fail: what was acknowledged is there, once; what was refused is
// repeated and taken; the log goes on; and no restart is needed.

import Foundation
import LedgerClient
import LedgerTesting
import Testing

private let quarantine = "/log/quarantine/"
private let schemas = "/log/schemas/"

/// What fails in one of the two environments; with `isNew`, before its directory has been made.
private func weathers(_ folder: String) -> [Weather] {
  [
    Weather("pages cannot be written", ["write \(folder) data fail 5"], ["outcome-unknown"]),
    Weather("pages have no room", ["write \(folder) data fail 28"], ["disk-full"]),
    Weather("nothing can be synced", ["sync \(folder) any fail 5"], ["outcome-unknown"]),
    Weather("the meta page cannot be written", ["write \(folder) meta fail 5"], ["outcome-unknown"]),
    Weather(
      "the meta page is written, said not to be, and cannot be put back",
      ["write \(folder) meta late 5", "write \(folder) restore fail 5"], ["outcome-unknown"]),
    Weather(
      "nothing can be written, synced or made",
      ["write \(folder) any fail 5", "sync \(folder) any fail 5", "truncate \(folder) any fail 5"], ["outcome-unknown"]),
  ]
}

private let schema = #"{"properties":{"score":{"maximum":10}}}"#

extension WetDaemon {
  fileprivate static func scored(_ id: String, _ score: Int) -> String {
    #"{"specversion":"1.0","id":"\#(id)","source":"urn:weather","type":"t","data":{"score":\#(score)}}"#
  }

  /// Sends a sound event and one that breaks its schema, and has that set aside.
  fileprivate func setAside(_ id: String) async throws -> (status: Int, code: String?, json: JSONValue) {
    let body = "[\(Self.scored(id + "-good", 1)),\(Self.scored(id + "-bad", 70))]"
    let response = try await client.request(
      "POST", "/v1/events?onInvalid=quarantine", headers: [(name: "content-type", value: "application/cloudevents-batch+json")],
      body: Array(body.utf8))
    let json = try JSONValue(parsing: response.body)
    #expect((response.header("retry-after") != nil) == (response.status == 503))
    return (response.status, json["code"]?.string, json)
  }

  fileprivate func apply(_ schema: String, to type: String) async throws -> (status: Int, code: String?, json: JSONValue) {
    let response = try await client.request(
      "PUT", "/v1/schemas/\(type)", headers: [(name: "content-type", value: "application/schema+json")], body: Array(schema.utf8))
    let json = try JSONValue(parsing: response.body)
    return (response.status, json["code"]?.string, json)
  }

  /// The ids in quarantine, in their order.
  fileprivate func aside() async throws -> [String] {
    let page = try JSONValue(parsing: try await process.body("/v1/quarantine?limit=1000"))
    let ids = page["quarantined"]?.array?.map { $0["id"]?.string ?? "" } ?? []
    #expect(page["count"]?.integer == Int64(ids.count))
    return ids
  }
}

@Suite(.serialized, .enabled(if: Missing.program("cc"), "the library that makes calls fail is compiled with cc"))
struct QuarantineDiskTests {
  @Test(arguments: weathers(quarantine), [false, true])
  func `a quarantine that cannot be written refuses, and loses and repeats nothing`(_ weather: Weather, _ isNew: Bool) async throws {
    let place = try Place()
    let shim = try Shim(in: place)
    let daemon = try await WetDaemon(place, environment: shim.environment)
    #expect(try await daemon.apply(schema, to: "t").status == 200)
    var ids = isNew ? [] : ["before"]
    if !isNew { #expect(try await daemon.setAside("before").json["quarantined"]?.integer == 1) }

    try shim.set(weather.rules)
    for number in 0..<4 {
      let answer = try await daemon.setAside("foul-\(number)")
      #expect(answer.status == 503, "\(answer.json)")
      #expect(weather.answers.contains(answer.code), "\(answer.json)")
      #expect(answer.json["detail"]?.string?.contains("score") != true)
      // What needs no quarantine goes on.
      #expect(try await daemon.append(["fair-\(number)"]).status == 200)
      #expect(try await daemon.status("/healthz") == 200)
    }
    #expect(shim.struckCount > 0)
    #expect(try await daemon.ids() == ids.map { $0 + "-good" } + (0..<4).map { "fair-\($0)" })

    try shim.set([])
    for number in 0..<4 {
      let answer = try await daemon.setAside("foul-\(number)")
      #expect(answer.status == 200 && answer.json["quarantined"]?.integer == 1, "\(answer.json)")
      ids.append("foul-\(number)")
    }
    let bad = ids.map { $0 + "-bad" }
    #expect(try await daemon.aside().sorted() == bad.sorted())
    let first = try #require(try await numbers(daemon)[ids[0] + "-bad"])
    #expect(try await daemon.client.request("DELETE", "/v1/quarantine/\(first)?reason=test").status == 200)

    await daemon.process.kill()
    let next = try await WetDaemon(place)
    #expect(try await next.aside().sorted() == bad.dropFirst().sorted())
    #expect(Set(try await next.ids()) == Set(ids.map { $0 + "-good" } + (0..<4).map { "fair-\($0)" }))
    try await next.process.stop()
  }

  private func numbers(_ daemon: WetDaemon) async throws -> [String: Int64] {
    let page = try JSONValue(parsing: try await daemon.process.body("/v1/quarantine?limit=1000"))
    var numbers: [String: Int64] = [:]
    for row in page["quarantined"]?.array ?? [] { numbers[row["id"]?.string ?? ""] = row["number"]?.integer }
    return numbers
  }

  @Test(arguments: weathers(quarantine)) func `an event whose decision cannot be written is decided on again`(_ weather: Weather)
    async throws
  {
    let place = try Place()
    let shim = try Shim(in: place)
    let daemon = try await WetDaemon(place, environment: shim.environment)
    #expect(try await daemon.apply(schema, to: "t").status == 200)
    for id in ["a", "b"] { #expect(try await daemon.setAside(id).status == 200) }
    try shim.set(weather.rules)
    let headers = [(name: "content-type", value: "application/cloudevents+json")]
    let corrected = Array(WetDaemon.scored("a-bad", 7).utf8)
    for (method, target, body) in [
      ("POST", "/v1/quarantine/1/append", corrected), ("DELETE", "/v1/quarantine/2?reason=test", []),
    ] as [(String, String, [UInt8])] {
      let refused = try await daemon.client.request(method, target, headers: headers, body: body)
      #expect(refused.status == 503, "\(String(decoding: refused.body, as: UTF8.self))")
      #expect(weather.answers.contains(try JSONValue(parsing: refused.body)["code"]?.string))
    }
    try shim.set([])
    // The event is in the log since the first try; the second finds it there, and takes it out of quarantine. If the first
    // try's decision is on the disk after all, that is said.
    let appended = try await daemon.client.request("POST", "/v1/quarantine/1/append", headers: headers, body: corrected)
    #expect([200, 410].contains(appended.status), "\(String(decoding: appended.body, as: UTF8.self))")
    let discarded = try await daemon.client.request("DELETE", "/v1/quarantine/2?reason=test")
    #expect([200, 410].contains(discarded.status))
    #expect(try await daemon.aside() == [])
    #expect(try await daemon.ids() == ["a-good", "b-good", "a-bad"])
    await daemon.process.kill()
    let next = try await WetDaemon(place)
    #expect(try await next.aside() == [])
    let left = try JSONValue(parsing: try await next.process.body("/v1/quarantine?resolved=true"))
    #expect(left["resolved"]?.array?.map { $0["outcome"]?.string } == ["appended", "discarded"])
    try await next.process.stop()
  }

  @Test(arguments: weathers(schemas), [false, true])
  func `a schema that cannot be written is not in force, or is and stays`(_ weather: Weather, _ isNew: Bool) async throws {
    let place = try Place()
    let shim = try Shim(in: place)
    let daemon = try await WetDaemon(place, environment: shim.environment)
    if !isNew { #expect(try await daemon.apply(#"{"title":"before"}"#, to: "u").status == 200) }
    try shim.set(weather.rules)
    for _ in 0..<3 {
      let answer = try await daemon.apply(schema, to: "t")
      #expect(answer.status == 503, "\(answer.json)")
      #expect(weather.answers.contains(answer.code), "\(answer.json)")
      // Events are still taken; which ones depends on whether the schema is there after all.
      #expect(try await daemon.append(["fair"]).status == 200)
    }
    #expect(shim.struckCount > 0)
    try shim.set([])
    let applied = try await daemon.apply(schema, to: "t")
    #expect(applied.status == 200, "\(applied.json)")
    let version = applied.json["version"]?.integer
    #expect(try await daemon.send(WetDaemon.scored("bad", 70), "application/cloudevents+json").code == "schema")
    await daemon.process.kill()
    let next = try await WetDaemon(place)
    #expect(try await next.send(WetDaemon.scored("bad", 70), "application/cloudevents+json").code == "schema")
    let list = try JSONValue(parsing: try await next.process.body("/v1/schemas"))["schemas"]?.array ?? []
    #expect(list.first { $0["type"]?.string == "t" }?["version"]?.integer == version)
    #expect(list.count == (isNew ? 1 : 2))
    try await next.process.stop()
  }
}

@Suite(.serialized, .enabled(if: Missing.root, "mounting needs root"))
struct QuarantineFullDiskTests {
  @Test(arguments: [Place.Disk.tmpfs, .ext4]) func `a full disk refuses to set aside and to apply, and both go on when there is room`(
    _ disk: Place.Disk
  ) async throws {
    let place = try Place(disk, mebibytes: 48)
    let daemon = try await WetDaemon(place)
    #expect(try await daemon.apply(schema, to: "t").status == 200)
    var aside: [String] = []
    try place.fill()
    // LMDB uses pages again that it has: the first ones may fit.
    var refused: (status: Int, code: String?, json: JSONValue)?
    for number in 0..<2_000 where refused == nil {
      let answer = try await daemon.setAside("event-\(number)")
      if answer.status == 200 { aside.append("event-\(number)-bad") } else { refused = answer }
    }
    #expect(refused?.status == 503 && ["disk-full", "outcome-unknown"].contains(refused?.code), "\(String(describing: refused))")
    #expect(try await daemon.aside() == aside)
    for number in 0..<50 {
      let text = #"{"title":"\#(String(repeating: "x", count: 8_000))-\#(number)"}"#
      let answer = try await daemon.apply(text, to: "large")
      if answer.status != 200 {
        #expect(answer.status == 503 && ["disk-full", "outcome-unknown"].contains(answer.code), "\(answer.json)")
        break
      }
      #expect(number < 49, "the disk did not fill")
    }
    try place.makeRoom()
    try await daemon.wait(for: "a quarantine that takes events") { try await daemon.setAside("again").status == 200 }
    #expect(try await daemon.aside() == aside + ["again-bad"])
    #expect(try await daemon.apply(#"{"title":"small"}"#, to: "large").status == 200)
    await daemon.process.kill()
    let next = try await WetDaemon(place)
    #expect(try await next.aside() == aside + ["again-bad"])
    try await next.process.stop()
  }
}
