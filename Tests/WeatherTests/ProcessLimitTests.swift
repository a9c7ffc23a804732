// A process that may have too little: it says what, how much, and where to set it, and dies in no library.

import Foundation
import LedgerTesting
import Testing

@Suite(.serialized, .enabled(if: Missing.program("prlimit"), "limits are set by prlimit"))
struct ProcessLimitTests {
  @Test(arguments: [600, 1_500, 2_000, 2_500, 3_000, 4_000])
  func `too little address space is told at the start, with what to set`(_ mebibytes: Int) async throws {
    let place = try Place()
    let process = try WetDaemon.start(place, launcher: ["/usr/bin/prlimit", "--as=\(mebibytes << 20)"])
    #expect(await process.exitStatus() == 1)
    let said = process.logText
    #expect(said.contains("may use \(mebibytes) MiB of address space, and needs"), "\(said)")
    #expect(said.contains("LimitAS=infinity") && said.contains("log-map-bytes"))
    #expect(!FileManager.default.fileExists(atPath: place.data), "nothing is left behind")
  }

  @Test func `small maps make do with little address space`() async throws {
    let place = try Place()
    let process = try WetDaemon.start(
      place, arguments: ["--log-map-bytes", "16MiB", "--projection-map-bytes", "16MiB"],
      launcher: ["/usr/bin/prlimit", "--as=\((1_700 + 72 * ProcessInfo.processInfo.activeProcessorCount) << 20)"])
    try await process.waitUntilReady()
    try await process.stop()
  }

  @Test(arguments: [8, 24, 40]) func `too few descriptors are told at the start, with what to set`(_ count: Int) async throws {
    let place = try Place()
    let process = try WetDaemon.start(place, launcher: ["/usr/bin/prlimit", "--nofile=\(count):\(count)"])
    #expect(await process.exitStatus() == 1)
    let said = process.logText
    #expect(said.contains("may have \(count) files open, and needs") && said.contains("LimitNOFILE="), "\(said)")
  }
}
