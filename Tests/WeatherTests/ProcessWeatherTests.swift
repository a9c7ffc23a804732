// What happens to the process: stopped and continued, few descriptors, a clock that jumps, a directory it may not use, a
// socket that is taken away.

import Foundation
import Glibc
import LedgerClient
import LedgerTesting
import Testing

@Suite(.serialized)
struct ProcessWeatherTests {
  /// Starts a daemon that must not start, and answers what it says.
  private func refusal(
    _ place: Place, data: String? = nil, launcher: [String] = [], environment: [String: String] = [:]
  ) async throws -> String {
    let process = try WetDaemon.start(place, data: data, launcher: launcher, environment: environment)
    #expect(await process.exitStatus() == 1)
    return process.logText
  }

  @Test func `a stopped daemon goes on where it was`() async throws {
    let daemon = try await WetDaemon(try Place())
    #expect(try await daemon.append(["before"]).status == 200)
    daemon.process.send(SIGSTOP)
    let waiting = Task { try await daemon.append(["meanwhile"]) }
    try await Task.sleep(for: .seconds(1))
    daemon.process.send(SIGCONT)
    #expect(try await waiting.value.status == 200)
    #expect(try await daemon.append(["after"]).head == 3)
    #expect(try await daemon.ids() == ["before", "meanwhile", "after"])
    try await daemon.process.stop()
  }

  @Test func `recorded time never falls, wherever the clock jumps`() async throws {
    let place = try Place()
    let shim = try Shim(in: place)
    let daemon = try await WetDaemon(place, environment: shim.environment)
    for (id, offset) in [("now", 0), ("ahead", 86_400), ("back", -86_400), ("further back", -400_000_000), ("again", 0)] {
      try shim.set(["clock \(offset)"])
      #expect(try await daemon.append([id]).status == 200)
    }
    await daemon.process.kill()
    // Also over a start, and read by a daemon whose clock is right.
    let next = try await WetDaemon(place)
    #expect(try await next.append(["next"]).status == 200)
    let times = try await recordedTimes(next)
    #expect(times.count == 6)
    #expect(times == times.sorted())
    // A day ahead, and not overtaken yet.
    #expect(times[0] < times[1])
    #expect(Set(times[1...]).count == 1)
    try await next.process.stop()
  }

  private func recordedTimes(_ daemon: WetDaemon) async throws -> [String] {
    try await daemon.client.request("GET", "/v1/events").body.split(separator: UInt8(ascii: "\n"))
      .map { try JSONValue(parsing: Array($0))["recordedtime"]?.string ?? "" }
  }

  @Test func `with few descriptors, those who wait are served when one is free, and nobody spins or dies`() async throws {
    let daemon = try await WetDaemon(try Place(), launcher: ["/usr/bin/prlimit", "--nofile=128:128"])
    #expect(try await daemon.append(["one"]).status == 200)
    await daemon.client.close()
    var crowd: [SilentClient] = []
    for _ in 0..<200 { crowd.append(try SilentClient(daemon.process.socket)) }
    let waiting = Task { try await daemon.append(["two"]) }
    try await Task.sleep(for: .milliseconds(500))
    let before = try daemon.process.processorSeconds()
    try await Task.sleep(for: .seconds(2))
    #expect(try daemon.process.processorSeconds() - before < 0.5)
    // Those who are in are served.
    #expect(crowd[0].send("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n") > 0 && crowd[0].hears(withinMilliseconds: 5_000))
    for client in crowd { client.close() }
    let answer = try await waiting.value
    #expect(answer.status == 200)
    #expect(try await daemon.ids() == ["one", "two"])
    try await daemon.process.stop()
  }

  @Test func `a newer data directory, a foreign one and one in use are refused, and left as they are`() async throws {
    let place = try Place()
    let daemon = try await WetDaemon(place)
    #expect(try await daemon.append(["one"]).status == 200)
    #expect(try await refusal(Place(), data: place.data).contains("another ledgerd has"))
    #expect(try await daemon.append(["two"]).status == 200)
    try await daemon.process.stop()

    let format = place.data + "/FORMAT"
    let ours = try Data(contentsOf: URL(fileURLWithPath: format))
    try Data("interaction-ledger 99\n".utf8).write(to: URL(fileURLWithPath: format))
    let said = try await refusal(place)
    #expect(said.contains("has format 99, this ledgerd knows up to 1"), "\(said)")
    try ours.write(to: URL(fileURLWithPath: format))

    let foreign = try Place()
    try FileManager.default.createDirectory(atPath: foreign.data, withIntermediateDirectories: true)
    try Data("mine".utf8).write(to: URL(fileURLWithPath: foreign.data + "/letter"))
    #expect(try await refusal(foreign).contains("holds something else than a ledger"))
    #expect(try FileManager.default.contentsOfDirectory(atPath: foreign.data).contains("letter"))

    let next = try await WetDaemon(place)
    #expect(try await next.ids() == ["one", "two"])
    try await next.process.stop()
  }

  @Test(.enabled(if: Missing.root && Missing.program("setpriv"), "becoming another user needs root and setpriv"))
  func `a directory that may not be used is named, and nothing is made in it`() async throws {
    let place = try Place()
    let other = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    try run("chmod", "755", place.path)
    try FileManager.default.createDirectory(atPath: place.data, withIntermediateDirectories: true)
    try run("chmod", "700", place.data)
    // The executable must be reachable for another user, or the test would be about that.
    let executable = try DaemonProcess.executableOfThisBuild()
    let isReachable = try run(other[0], other[1], other[2], other[3], "test", "-x", executable, expecting: nil)
    try #require(isReachable.isEmpty)
    let said = try await refusal(place, launcher: other)
    #expect(said.contains("Permission denied") && said.contains(place.data), "\(said)")
    #expect(try FileManager.default.contentsOfDirectory(atPath: place.data).isEmpty)

    // Nor may it use a directory that was made read-only for its owner by a mount.
    let read = try Place(.tmpfs, mebibytes: 8)
    try run("mount", "-o", "remount,ro", read.path + "/disk")
    let readOnly = try await refusal(read)
    #expect(readOnly.contains("Read-only file system"), "\(readOnly)")
  }

  @Test func `a socket that is taken away ends no connection, and its successor's is not removed`() async throws {
    let place = try Place()
    let daemon = try await WetDaemon(place)
    #expect(try await daemon.append(["one"]).status == 200)
    try FileManager.default.removeItem(atPath: daemon.process.socket)
    // The connection that is open goes on; a new one finds nobody.
    #expect(try await daemon.append(["two"]).status == 200)
    #expect(throws: SilentClient.Failure.self) { try SilentClient(daemon.process.socket) }
    // Another daemon takes the place; the first one's end leaves its socket alone.
    let successor = try WetDaemon.start(place, data: place.path + "/other")
    try await successor.waitUntilReady()
    try await daemon.process.stop()
    #expect(FileManager.default.fileExists(atPath: successor.socket))
    #expect(try await successor.client.request("GET", "/healthz").status == 200)
    try await successor.stop()
    #expect(!FileManager.default.fileExists(atPath: successor.socket))
  }
}
