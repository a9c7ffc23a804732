// Pages and files that are made from the code, or must agree with it.

import Foundation
import Testing

@testable import ledgerd

/// The package's folder.
private let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

@Suite struct ReferenceTests {
  @Test func `the page of settings is what the code says`() throws {
    let path = root.appending(path: "Sources/Documentation/InteractionLedger.docc/Reference/Settings.md")
    let page = try String(contentsOf: path, encoding: .utf8)
    #expect(page == SettingsReference.page, "make it anew: ledgerd config reference > \(path.path)")
  }

  @Test func `the example configuration is good, and names every section`() throws {
    let path = root.appending(path: "deploy/etc/ledgerd.yaml").path
    let loaded = try LoadedConfiguration.load(flags: [], file: path, environment: [:])
    #expect(loaded.configuration.data == "/var/lib/ledgerd")
    let text = try String(contentsOfFile: path, encoding: .utf8)
    // Settings that are shown as comments must be good, too.
    let all = text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
      line.hasPrefix("#") && (!line.hasPrefix("# ") || line.hasPrefix("#  ")) ? line.dropFirst() : line
    }
    let whole = try TextFile(all.joined(separator: "\n"))
    let shown = try LoadedConfiguration.load(flags: [], file: whole.path, environment: [:])
    #expect(shown.configuration.access.count == 2)
    #expect(shown.configuration.listen == "127.0.0.1:8480")
  }

  @Test func `help names every setting`() {
    for setting in Setting.all { #expect(SettingsReference.flags.contains("\n  \(setting.flag) <")) }
  }
}
