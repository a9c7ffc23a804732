// Why: is the daemon well, how far is its log, do the projections keep up: one look.

import ArgumentParser
import LedgerClient

struct LogCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "log", abstract: "Show the log's head and sizes.", discussion: "Example:\n  ledgerctl log")

  @OptionGroup var global: GlobalOptions

  func run() async throws {
    try await global.show("/v1/log") { Outline.lines($0) }
  }
}

struct StatusCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status", abstract: "Show the daemon's health, its log and its projections.",
    discussion: """
      Ends with 1 if the daemon is not healthy or not ready.

      Examples:
        ledgerctl status
        ledgerctl status --json
      """)

  @OptionGroup var global: GlobalOptions

  func run() async throws {
    let client = try global.client
    let isHealthy = try await client.isHealthy()
    let isReady = try await client.isReady()
    // What cannot be read while the daemon starts is shown as missing, the reason being in the readiness.
    let log = try await answer("/v1/log", client)
    let projections = try await answer("/v1/projections", client)?["projections"]
    var output = Output()
    if global.json {
      let status = JSONValue.object([
        (name: "healthy", value: .bool(isHealthy)), (name: "ready", value: .bool(isReady)), (name: "log", value: log ?? .null),
        (name: "projections", value: projections ?? .null),
      ])
      try output.body(status.encoded())
    } else {
      try output.line("daemon  \(isHealthy ? "healthy" : "not healthy"), \(isReady ? "ready" : "not ready")")
      if let log { for line in Outline.lines(.object([(name: "log", value: log)])) { try output.line(line) } }
      if let list = projections?.array, !list.isEmpty {
        try output.line("")
        for line in ProjectionsCommand.table(list).lines() { try output.line(line) }
      }
    }
    try output.flush()
    guard isHealthy && isReady else {
      throw FailedError(description: "the daemon is \(isHealthy ? "not ready yet" : "not healthy"); look at its log and at /readyz")
    }
  }

  private func answer(_ target: String, _ client: LedgerClient) async throws -> JSONValue? {
    let response = try await client.request("GET", target)
    return response.status == 200 ? try response.json() : nil
  }
}
