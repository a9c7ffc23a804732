// Writes and syncs that fail, one kind at a time, in the log, the index and the projections: what is acknowledged is
// there, what is refused is not, what is unknown is there once or not at all, and no restart is needed.

import Foundation
import Glibc
import LedgerClient
import LedgerTesting
import Testing

/// What fails while the weather is bad, and how appends are answered then.
struct Weather: Sendable, CustomTestStringConvertible {
  var testDescription: String
  var rules: [String]
  /// What may be said to an append: codes of 503, or nil for taken.
  var answers: Set<String?>

  init(_ name: String, _ rules: [String], _ answers: Set<String?>) {
    testDescription = name
    self.rules = rules
    self.answers = answers
  }
}

private let log = "/data/log/"
private let index = "/data/index/"
private let customers = "/projections/customers/"

/// errno's EIO and ENOSPC.
private let onTheLog = [
  Weather("pages of the log cannot be written", ["write \(log) data fail 5"], ["busy"]),
  Weather("pages of the log have no room", ["write \(log) data fail 28"], ["disk-full"]),
  Weather("pages of the log are written in half", ["write \(log) data short 0"], ["busy"]),
  Weather("the log cannot be synced", ["sync \(log) any fail 5"], ["busy"]),
  Weather("the log's meta page cannot be written", ["write \(log) meta fail 5"], ["busy"]),
  Weather("the log's meta page is written in half", ["write \(log) meta short 0"], ["busy"]),
  Weather("the log's meta page is written and said not to be", ["write \(log) meta late 5"], ["busy"]),
  Weather(
    "the log's meta page is written, said not to be, and cannot be put back",
    ["write \(log) meta late 5", "write \(log) restore fail 5"], ["outcome-unknown", "busy"]),
  Weather(
    "the log's meta page cannot be written, and from then on nothing be synced",
    ["write \(log) meta fail 5", "sync \(log) then fail 5"], ["outcome-unknown", "busy"]),
  Weather(
    "nothing can be written or synced at all", ["write /data/ any fail 5", "sync /data/ any fail 5", "truncate /data/ any fail 5"], ["busy"]
  ),
  Weather("a projection's pages cannot be written", ["write \(customers) data fail 5"], [nil]),
  Weather("a projection's meta page cannot be written", ["write \(customers) meta fail 5"], [nil]),
  Weather(
    "a projection's meta page is written, said not to be, and cannot be put back",
    ["write \(customers) meta late 5", "write \(customers) restore fail 5"], [nil]),
  Weather("a projection cannot be synced", ["sync \(customers) any fail 5"], [nil]),
  Weather("a map cannot be synced, which is never done", ["msync / any fail 5"], [nil]),
]

@Suite(.serialized, .enabled(if: Missing.program("cc"), "the library that makes calls fail is compiled with cc"))
struct DiskErrorTests {
  @Test(arguments: onTheLog) func `errors of the disk are told, pass, and leave every event once`(_ weather: Weather) async throws {
    let place = try Place()
    let shim = try Shim(in: place)
    let daemon = try await WetDaemon(place, environment: shim.environment)
    var acknowledged = (0..<20).map { "fair-\($0)" }
    #expect(try await daemon.append(acknowledged, byteCount: 500).status == 200)
    _ = try await daemon.process.waitUntilFolded(20)

    try shim.set(weather.rules)
    var refused: [String] = []
    var unknown: [String] = []
    for number in 0..<8 {
      let id = "foul-\(number)"
      let answer = try await daemon.append([id], byteCount: 500)
      #expect(weather.answers.contains(answer.code), "\(answer.code ?? "200"): \(answer.detail)")
      #expect(answer.status == (answer.code == nil ? 200 : 503))
      #expect((answer.retryAfter == nil) == (answer.code == nil))
      switch answer.code {
      case nil: acknowledged.append(id)
      case "outcome-unknown": unknown.append(id)
      default: refused.append(id)
      }
      // Reading goes on.
      let found = try await daemon.ids()
      #expect(found == acknowledged, "\(answer)")
    }
    #expect(weather.answers.contains("outcome-unknown") == !unknown.isEmpty)
    if weather.rules.contains(where: { $0.contains(customers) }) {
      try await daemon.wait(for: "an error of the projection") { shim.struckCount > 0 }
    } else {
      #expect((shim.struckCount > 0) == !weather.rules.contains("msync / any fail 5"))
    }
    #expect(try await daemon.status("/v1/customers?identifier=cookie:fair-0") == 200)
    // It goes on by itself: a restart would help nothing, but nobody should send here.
    #expect(try await daemon.status("/healthz") == 200)
    if !unknown.isEmpty { #expect(try await daemon.status("/readyz") == 503) }

    try shim.set([])
    try await daemon.appendPatiently(["fair-again"])
    #expect(daemon.process.isRunning)
    let found = try await daemon.ids()
    #expect(Set(found).count == found.count)
    #expect(Set(found).isSuperset(of: acknowledged) && found.contains("fair-again"))
    #expect(Set(found).isDisjoint(with: refused))
    #expect(Set(found).subtracting(acknowledged).subtracting(["fair-again"]).isSubset(of: unknown))
    // Repeating with the same ids is safe: what is there is a duplicate, the rest is appended, in one and the same request.
    for id in unknown where !found.contains(id) { #expect(try await daemon.append([id]).status == 200) }
    let all = try await daemon.ids()
    #expect(Set(all).count == all.count)
    _ = try await daemon.process.waitUntilFolded(Int64(all.count))

    // And as a power cut would leave it to the next start.
    await daemon.process.kill()
    let next = try await WetDaemon(place)
    #expect(try await next.ids() == all)
    _ = try await next.process.waitUntilFolded(Int64(all.count))
    try await next.process.stop()
  }

  @Test func `an index that cannot be written waits in memory, and is written when the disk is well`() async throws {
    let place = try Place()
    let shim = try Shim(in: place)
    let daemon = try await WetDaemon(place, environment: shim.environment)
    // More than the 131,072 ids at which the index is written for the first time.
    try shim.set(["write \(index) meta fail 5"])
    for batch in 0..<14 { #expect(try await daemon.append((0..<10_000).map { "\(batch)-\($0)" }).status == 200) }
    try await daemon.wait(for: "an error of the index") { shim.struckCount > 0 }
    let again = try await daemon.append(["0-0", "13-9999", "new"])
    #expect(again.duplicates == 2 && again.head == 140_001)
    try shim.set([])
    let struck = shim.struckCount
    try await daemon.wait(for: "the index") { try indexByteCount(place) > 4 << 20 && shim.struckCount == struck }
    #expect(try await daemon.append(["0-0", "13-9999", "new"]).duplicates == 3)
    await daemon.process.kill()
    let next = try await WetDaemon(place)
    #expect(try await next.append(["0-0", "7-777", "13-9999", "new"]).duplicates == 4)
    try await next.process.stop()
  }

  @Test func `an index that cannot be written at the end is caught up at the next start`() async throws {
    let place = try Place()
    let shim = try Shim(in: place)
    let daemon = try await WetDaemon(place, environment: shim.environment)
    #expect(try await daemon.append(["a", "b"]).status == 200)
    try shim.set(["write \(index) any fail 5"])
    try await daemon.process.stop()
    #expect(shim.struckCount > 0)
    #expect(daemon.process.logText.contains("the index could not be written"))
    let next = try await WetDaemon(place)
    #expect(try await next.append(["a", "b", "c"]).duplicates == 2)
    try await next.process.stop()
  }

  private func indexByteCount(_ place: Place) throws -> Int {
    // Blocks, not length: LMDB's file may have holes.
    (Int(try run("stat", "-c", "%b", place.data + "/index/data.mdb").trimmingCharacters(in: .whitespacesAndNewlines)) ?? 0) * 512
  }

  @Test(.enabled(if: Missing.program("fiu-run"), "fiu-utils is not installed"), arguments: [0.2])
  func `writes and syncs that fail at random lose and repeat nothing`(_ probability: Double) async throws {
    let place = try Place()
    let fifo = place.path + "/fiu"
    let daemon = try await WetDaemon(place, launcher: ["/usr/bin/fiu-run", "-x", "-f", fifo])
    let process = String(daemon.process.processIdentifier)
    let points = ["posix/io/rw/pwrite", "posix/io/sync/fdatasync", "posix/io/sync/fsync"]
    for point in points {
      try run("fiu-ctrl", "-f", fifo, "-c", "enable_random name=\(point),probability=\(probability)", process)
    }
    var refusals: [String: Int] = [:]
    for number in 0..<80 {
      for attempt in 0... {
        let answer = try await daemon.append(["event-\(number)"], byteCount: 200)
        guard let code = answer.code else { break }
        refusals[code, default: 0] += 1
        #expect(["busy", "disk-full", "outcome-unknown"].contains(code), "\(answer.detail)")
        guard attempt < 400 else { throw daemon.process.failure("event-\(number) was refused 400 times") }
        if code == "outcome-unknown" || attempt > 10 { try await Task.sleep(for: .milliseconds(50)) }
      }
    }
    print("refusals at probability \(probability):", refusals)
    #expect(!refusals.isEmpty)
    for point in points { try run("fiu-ctrl", "-f", fifo, "-c", "disable name=\(point)", process) }
    let all = (0..<80).map { "event-\($0)" }
    #expect(try await daemon.ids() == all)
    _ = try await daemon.process.waitUntilFolded(80)
    await daemon.process.kill()
    let next = try await WetDaemon(place)
    #expect(try await next.ids() == all)
    try await next.process.stop()
  }
}
