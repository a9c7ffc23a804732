// The page of metrics and the alerts: both must speak of what /metrics serves.

import Foundation
import LedgerClient
import Testing

/// The package's folder.
private let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
private let catalog = root.appending(path: "Sources/Documentation/InteractionLedger.docc")

private func text(_ url: URL) throws -> String { try String(contentsOf: url, encoding: .utf8) }

/// Rows of the page's table: name, type, meaning.
private func rowsOfThePage() throws -> [String] {
  try text(catalog.appending(path: "Reference/Metrics.md")).split(separator: "\n").filter { $0.hasPrefix("| `") }.map(String.init)
}

@Suite(.serialized, .server) struct MetricsPageTests {
  @Test func `the page of metrics lists what is served, in its order and words`() async throws {
    let lines = try await RunningServer.require().get("/metrics").lines
    var served: [String] = []
    for (help, type) in zip(lines.filter { $0.hasPrefix("# HELP ") }, lines.filter { $0.hasPrefix("# TYPE ") }) {
      let words = help.split(separator: " ", maxSplits: 3)
      let kind = try #require(type.split(separator: " ").last)
      served.append("| `\(words[2])` | \(kind) | \(words[3]) |")
    }
    #expect(try rowsOfThePage() == served, "the table should be:\n\(served.joined(separator: "\n"))")
  }

  @Test func `an alert is about metrics that are served, and has its page`() throws {
    let names = Set(try rowsOfThePage().compactMap { $0.split(separator: "`").dropFirst().first.map(String.init) })
    let rules = try text(root.appending(path: "deploy/prometheus/ledgerd.rules.yaml"))
    let alerts = rules.matches(of: #/- alert: (\w+)\n\s+expr: (.*)\n/#)
    #expect(alerts.count > 10)
    for alert in alerts {
      for metric in alert.2.matches(of: #/ledger_[a-z_]+/#) {
        let name = String(metric.0).replacing(#/_bucket$/#, with: "")
        #expect(names.contains(name), "\(alert.1) asks for \(name)")
      }
      let page = try text(catalog.appending(path: "Runbook/\(alert.1).md"))
      for part in ["# \(alert.1): ", "## What it means", "## Look", "## Mend"] { #expect(page.contains(part), "\(alert.1) lacks \(part)") }
      #expect(rules.contains("runbook: Runbook/\(alert.1).md"))
    }
    let pages = try FileManager.default.contentsOfDirectory(atPath: catalog.appending(path: "Runbook").path)
    #expect(Set(pages) == Set(alerts.map { "\($0.1).md" } + ["Runbook.md"]))
  }

  @Test func `groups and flushes are counted`() async throws {
    let server = try RunningServer.require()
    func sample(_ name: String) async throws -> Double {
      let line = try #require(try await server.get("/metrics").lines.first { $0.hasPrefix(name + " ") })
      return try #require(line.split(separator: " ").last.flatMap { Double($0) })
    }
    let (groups, flushes, events) = (
      try await sample("ledger_append_group_events_count"), try await sample("ledger_append_flush_seconds_count"),
      try await sample("ledger_append_group_events_sum")
    )
    try await server.append((0..<5).map { _ in event(freshID()) })
    #expect(try await sample("ledger_append_group_events_count") == groups + 1)
    #expect(try await sample("ledger_append_group_events_sum") == events + 5)
    #expect(try await sample("ledger_append_flush_seconds_count") == flushes + 1)
    #expect(try await sample("ledger_append_flush_seconds_sum") > 0)
    #expect(try await sample("ledger_connections") >= 1)
    #expect(try await sample("ledger_log_map_room_bytes") > 0)
  }
}
