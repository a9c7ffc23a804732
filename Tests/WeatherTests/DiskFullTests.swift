// A disk that fills: appends are refused and change nothing, reading goes on, appending goes on when there is room, all in
// one and the same process; and what was acknowledged is there.

import Foundation
import LedgerClient
import LedgerTesting
import Testing

@Suite(.serialized, .enabled(if: Missing.root, "mounting needs root"))
struct DiskFullTests {
  private static let disks = [Place.Disk.tmpfs, .ext4].filter { $0 == .tmpfs || Missing.program("mkfs.ext4") }

  /// Appends until the disk is full; answers what was acknowledged.
  private func appendUntilRefused(_ daemon: WetDaemon, _ prefix: String) async throws -> [String] {
    var acknowledged: [String] = []
    for number in 0..<5_000 {
      let id = "\(prefix)-\(number)"
      let answer = try await daemon.append([id], byteCount: 3_000)
      guard answer.status != 200 else {
        acknowledged.append(id)
        continue
      }
      #expect(answer.status == 503)
      #expect(answer.code == "disk-full", "\(answer.detail)")
      #expect(answer.retryAfter != nil)
      return acknowledged
    }
    throw daemon.process.failure("the disk did not fill")
  }

  @Test(arguments: disks)
  func `a full disk refuses appends and nothing else, and appending goes on when there is room`(_ disk: Place.Disk) async throws {
    let place = try Place(disk, mebibytes: 48)
    let daemon = try await WetDaemon(place)
    var acknowledged: [String] = []
    for round in 0..<10 {
      let ids = (0..<50).map { "before-\(round)-\($0)" }
      #expect(try await daemon.append(ids, byteCount: 2_000).status == 200)
      acknowledged += ids
    }
    try place.fill()
    acknowledged += try await appendUntilRefused(daemon, "full")

    // Reading goes on; repeats are still known; and a refusal has changed nothing.
    #expect(try await daemon.ids() == acknowledged)
    for target in ["/healthz", "/v1/log", "/v1/customers?identifier=cookie:before-0-0", "/v1/channels", "/metrics", "/v1/projections"] {
      #expect(try await daemon.status(target) == 200, "\(target)")
    }
    for _ in 0..<3 {
      let refused = try await daemon.append((0..<200).map { "refused-\($0)" }, byteCount: 2_000)
      #expect(refused.code == "disk-full", "\(refused.detail)")
    }
    #expect(try await daemon.ids() == acknowledged)

    try place.makeRoom()
    try await daemon.appendPatiently(["after-1"], byteCount: 100)
    #expect(try await daemon.append(["after-2", "before-0-0"]).status == 409)
    let last = try await daemon.append(["after-2"])
    #expect(last.head == Int64(acknowledged.count + 2))
    acknowledged += ["after-1", "after-2"]
    #expect(try await daemon.ids() == acknowledged)
    _ = try await daemon.process.waitUntilFolded(Int64(acknowledged.count))
    #expect(daemon.process.isRunning)

    await daemon.process.kill()
    let next = try await WetDaemon(place)
    #expect(try await next.ids() == acknowledged)
    try await next.process.stop()
  }

  @Test(arguments: disks) func `a daemon starts on a full disk, reads, and appends when there is room`(_ disk: Place.Disk) async throws {
    let place = try Place(disk, mebibytes: 48)
    let first = try await WetDaemon(place)
    var acknowledged = (0..<100).map { "first-\($0)" }
    #expect(try await first.append(acknowledged, byteCount: 2_000).status == 200)
    _ = try await first.process.waitUntilFolded(100)
    await first.process.kill()
    try place.fill()

    let second = try WetDaemon(starting: place)
    try await second.wait(for: "reading") { try await second.isAnswering() }
    #expect(try await second.ids() == acknowledged)
    try await second.wait(for: "a projection that answers") { try await second.status("/v1/customers?identifier=cookie:first-0") == 200 }
    let refused = try await second.append((0..<100).map { "refused-\($0)" }, byteCount: 2_000)
    #expect(refused.status == 503)
    try place.makeRoom()
    try await second.appendPatiently(["second"])
    acknowledged.append("second")
    #expect(try await second.ids() == acknowledged)
    _ = try await second.process.waitUntilFolded(101)
    try await second.process.stop()
  }

  @Test(arguments: disks) func `a rebuild on a full disk fails, is repeated, and the live generation answers`(_ disk: Place.Disk)
    async throws
  {
    let place = try Place(disk, mebibytes: 48)
    let daemon = try await WetDaemon(place)
    #expect(try await daemon.append((0..<1_000).map { "event-\($0)" }, byteCount: 500).status == 200)
    _ = try await daemon.process.waitUntilFolded(1_000)
    let before = try await daemon.process.body("/v1/projections/customers/digest")
    try place.fill()
    let begun = try await daemon.client.request("POST", "/v1/projections/customers/rebuild")
    #expect([200, 503].contains(begun.status), "\(String(decoding: begun.body, as: UTF8.self))")
    if begun.status == 503 {
      #expect(try JSONValue(parsing: begun.body)["code"]?.string == "disk-full")
      #expect(begun.header("retry-after") != nil)
      // However often it is asked for, nothing is left behind.
      for _ in 0..<3 { #expect(try await daemon.client.request("POST", "/v1/projections/customers/rebuild").status == 503) }
      let generations = try FileManager.default.contentsOfDirectory(atPath: place.data + "/projections/customers").filter { Int($0) != nil }
      #expect(generations == ["1"])
    }
    try await Task.sleep(for: .milliseconds(500))
    #expect(daemon.process.isRunning)
    #expect(try await daemon.status("/v1/customers?identifier=cookie:event-7") == 200)
    try place.makeRoom()
    if begun.status < 300 {
      _ = try await daemon.process.waitUntilFolded(1_000)
    } else {
      try await daemon.process.rebuild("customers")
    }
    let after = try await daemon.process.body("/v1/projections/customers/digest")
    #expect(try JSONValue(parsing: after)["digest"] == JSONValue(parsing: before)["digest"])
    try await daemon.process.stop()
  }

  @Test func `a projection follows a few seconds after there is room, however long there was none`() async throws {
    let place = try Place()
    let shim = try Shim(in: place)
    let daemon = try await WetDaemon(place, environment: shim.environment)
    #expect(try await daemon.append((0..<100).map { "before-\($0)" }, byteCount: 500).status == 200)
    _ = try await daemon.process.waitUntilFolded(100)
    // Twenty seconds: pauses that doubled without end would have come to more than ten.
    try shim.set(["write /projections/ any fail 28"])
    #expect(try await daemon.append(["during"], byteCount: 500).status == 200)
    try await Task.sleep(for: .seconds(20))
    let failing = try #require(try await daemon.client.projections().first)
    #expect(failing.position == 100)
    // It is said once, not at every try.
    let said = daemon.process.logText.split(separator: "\n").filter { $0.contains("projection state-changed") && $0.contains("customers") }
    #expect(said.filter { $0.contains("failed") }.count == 1, "\(said)")
    try shim.set([])
    let start = ContinuousClock.now
    _ = try await daemon.process.waitUntilFolded(101)
    #expect(ContinuousClock.now - start < .seconds(6))
    try await daemon.process.stop()
  }
}
