// The units, the alerts and the example configuration, looked at by the programs that they are for.

import Foundation
import LedgerTesting
import Testing

/// The package's folder.
private let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

private func tool(_ path: String, _ reason: String) -> ConditionTrait {
  .enabled(if: FileManager.default.isExecutableFile(atPath: path), "\(path) is not there: \(reason)")
}

@Suite struct UnitFileTests {
  private func run(_ program: String, _ arguments: [String]) throws -> (status: Int32, said: String) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    let pipe = Pipe()
    (process.standardOutput, process.standardError) = (pipe, pipe)
    try process.run()
    let said = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    return (process.terminationStatus, said)
  }

  /// The units, with the program of this build.
  private func units(_ body: (String) throws -> Void) throws {
    let directory = try DaemonProcess.temporaryDirectory()
    defer { _ = Result { try FileManager.default.removeItem(atPath: directory) } }
    for name in ["ledgerd.service", "ledgerd.socket"] {
      let text = try String(contentsOf: root.appending(path: "deploy/systemd/\(name)"), encoding: .utf8)
      try text.replacing("/usr/bin/ledgerd", with: try DaemonProcess.executableOfThisBuild())
        .write(toFile: directory + "/" + name, atomically: true, encoding: .utf8)
    }
    try body(directory)
  }

  @Test(tool("/usr/bin/systemd-analyze", "the package systemd has it"))
  func `systemd finds nothing wrong with the units`() throws {
    try units { directory in
      let (status, said) = try run("/usr/bin/systemd-analyze", ["verify", directory + "/ledgerd.service", directory + "/ledgerd.socket"])
      #expect(status == 0 && !said.contains("ledgerd."), "\(said)")
    }
  }

  @Test(tool("/usr/bin/systemd-analyze", "the package systemd has it"))
  func `systemd finds little that the daemon is exposed to`() throws {
    try units { directory in
      let (_, said) = try run("/usr/bin/systemd-analyze", ["security", "--offline=true", "--no-pager", directory + "/ledgerd.service"])
      let level = try #require(said.firstMatch(of: #/Overall exposure level for ledgerd\.service: ([0-9.]+)/#)?.1, "\(said)")
      #expect(try #require(Double(level)) < 2)
    }
  }

  @Test(tool("/usr/bin/promtool", "the package prometheus has it"))
  func `Prometheus finds nothing wrong with the alerts`() throws {
    let (status, said) = try run(
      "/usr/bin/promtool", ["check", "rules", root.appending(path: "deploy/prometheus/ledgerd.rules.yaml").path])
    #expect(status == 0, "\(said)")
  }

  @Test func `the example configuration passes the check that the unit runs before the daemon`() throws {
    let path = root.appending(path: "deploy/etc/ledgerd.yaml").path
    let (status, said) = try run(try DaemonProcess.executableOfThisBuild(), ["config", "check", "--config", path])
    #expect(status == 0 && said.contains("the configuration is good"), "\(said)")
  }
}
