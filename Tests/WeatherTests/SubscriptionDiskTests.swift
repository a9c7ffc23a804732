// The disk of the subscriptions fails: what was acknowledged never comes again, what was refused can be repeated, and no
// restart is needed.

import Foundation
import LedgerClient
import LedgerTesting
import Testing

private let folder = "/log/subscriptions/"

extension WetDaemon {
  /// Calls with a JSON body, once.
  fileprivate func call(_ method: String, _ target: String, _ body: String = "{}") async throws -> (status: Int, json: JSONValue) {
    let response = try await client.request(
      method, target, headers: [(name: "content-type", value: "application/json")], body: Array(body.utf8))
    return (response.status, response.body.first == UInt8(ascii: "{") ? try JSONValue(parsing: response.body) : .null)
  }

  /// The positions that a consumer gets now, at most so many.
  fileprivate func fetch(_ limit: Int) async throws -> [Int64] {
    let response = try await client.request("POST", "/v1/subscriptions/s/fetch?limit=\(limit)")
    #expect(response.status == 200)
    return try response.body.split(separator: UInt8(ascii: "\n")).map { try JSONValue(parsing: Array($0))["position"]?.integer ?? 0 }
  }

  fileprivate func acknowledge(_ positions: [Int64]) async throws -> (status: Int, json: JSONValue) {
    try await call("POST", "/v1/subscriptions/s/acknowledge", #"{"positions":\#(positions)}"#)
  }
}

@Suite(.serialized, .enabled(if: Missing.program("cc"), "the library that makes calls fail is compiled with cc"))
struct SubscriptionDiskTests {
  @Test(arguments: [
    Weather("pages cannot be written", ["write \(folder) data fail 5"], ["outcome-unknown"]),
    Weather("pages have no room", ["write \(folder) data fail 28"], ["disk-full"]),
    Weather("nothing can be synced", ["sync \(folder) any fail 5"], ["outcome-unknown"]),
    Weather("the meta page cannot be written", ["write \(folder) meta fail 5"], ["outcome-unknown"]),
  ])
  func `what was acknowledged never comes again, and what was refused is repeated without a restart`(_ weather: Weather) async throws {
    let place = try Place()
    let shim = try Shim(in: place)
    let daemon = try await WetDaemon(place, environment: shim.environment)
    #expect(try await daemon.append((0..<30).map { "event-\($0)" }).status == 200)
    #expect(try await daemon.call("PUT", "/v1/subscriptions/s", #"{"start":"beginning"}"#).status == 200)
    #expect(try await daemon.fetch(30) == Array(1...30))
    #expect(try await daemon.acknowledge([1, 2, 5]).status == 200)
    try shim.set(weather.rules)
    let refused = try await daemon.acknowledge([3, 9])
    #expect(refused.status == 503 && weather.answers.contains(refused.json["code"]?.string), "\(refused.json)")
    #expect(shim.struckCount > 0)
    #expect(try await daemon.status("/v1/subscriptions/s") == 200)
    try shim.set([])
    try await daemon.wait(for: "an acknowledgement that is taken") { try await daemon.acknowledge([3, 9, 10]).status == 200 }
    #expect(await daemon.process.kill())
    let next = try await WetDaemon(place)
    #expect(try await next.fetch(100) == [4, 6, 7, 8] + Array(11...30))
    try await next.process.stop()
  }
}

@Suite(.serialized, .enabled(if: Missing.root, "mounting needs root"))
struct SubscriptionFullDiskTests {
  @Test(arguments: [Place.Disk.tmpfs, .ext4])
  func `on a full disk no subscription is made, nothing of it is left behind, and it is made when there is room`(
    _ disk: Place.Disk
  ) async throws {
    let place = try Place(disk, mebibytes: 48)
    let daemon = try await WetDaemon(place)
    #expect(try await daemon.append(["event"]).status == 200)
    try place.fill()
    let refused = try await daemon.call("PUT", "/v1/subscriptions/s", #"{"start":"beginning"}"#)
    #expect(refused.status == 503 && ["disk-full", "outcome-unknown"].contains(refused.json["code"]?.string), "\(refused.json)")
    #expect(try await daemon.call("GET", "/v1/subscriptions").json["subscriptions"]?.array?.isEmpty == true)
    #expect(await daemon.process.kill())
    // What was begun is not taken for a subscription's place.
    #expect(!FileManager.default.fileExists(atPath: place.data + folder))
    try place.makeRoom()
    let next = try await WetDaemon(place)
    #expect(try await next.call("PUT", "/v1/subscriptions/s", #"{"start":"beginning"}"#).status == 200)
    #expect(try await next.fetch(10) == [1])
    try await next.process.stop()
  }
}
