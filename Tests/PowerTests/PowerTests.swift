// A daemon whose power is cut keeps its promises: the short form, a few hundred images. `deploy/powercut` is the long one.

import Foundation
import LedgerTesting
import Testing

@Suite(.serialized) struct PowerTests {
  /// Runs the harness as a program.
  private func run(_ images: Int, skip: String? = nil) throws -> (status: Int32, output: String) {
    let daemon = try DaemonProcess.executableOfThisBuild()
    let directory = try DaemonProcess.temporaryDirectory()
    let process = Process()
    process.executableURL = URL(fileURLWithPath: daemon).deletingLastPathComponent().appendingPathComponent("ledgerpower")
    process.arguments =
      ["--images", String(images), "--images-per-recording", "60", "--ledgerd", daemon, "--directory", directory]
      + (skip.map { ["--skip", $0] } ?? [])
    let output = Pipe()
    process.standardOutput = output
    process.standardError = output
    process.standardInput = FileHandle.nullDevice
    try process.run()
    let text = String(decoding: try output.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
    process.waitUntilExit()
    if process.terminationStatus != 0, skip != nil { try FileManager.default.removeItem(atPath: directory) }
    return (process.terminationStatus, text)
  }

  @Test func `after a power cut at any moment every acknowledged event is there, appending goes on, and projections heal`() throws {
    let (status, output) = try run(240)
    print(output)
    #expect(status == 0, "\(output)")
    #expect(output.contains("240 images of 4 recordings"))
  }

  /// What the daemon is made to forget, and what that costs.
  @Test(arguments: [
    "data:log/0",  // the pages of the log
    "meta:log/0",  // LMDB's meta page, which makes a commit
    "names:data/log",  // the directories of the log and of its segments
    "data:keys",  // the key of the index
  ])
  func `the harness finds a missing sync`(skip: String) throws {
    let (status, output) = try run(600, skip: skip)
    #expect(status == 1, "\(skip): \(output)")
    #expect(output.contains("trace kept in"), "\(skip): it ended for another reason: \(output)")
  }
}
