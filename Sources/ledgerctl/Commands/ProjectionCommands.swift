// Why: rebuilding and comparing projections is an admin's daily work; it must be visible and wait if asked to.

import ArgumentParser
import LedgerClient

struct ProjectionsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "projections", abstract: "List projections, rebuild them, compare their digests.",
    subcommands: [List.self, Rebuild.self, Cancel.self, Digest.self], defaultSubcommand: List.self)

  @OptionGroup var global: GlobalOptions

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "list", abstract: "Show the state of every projection.", discussion: "Example:\n  ledgerctl projections list")

    @OptionGroup var global: GlobalOptions

    func run() async throws {
      try await global.show("/v1/projections") { ProjectionsCommand.table($0["projections"]?.array ?? []).lines() }
    }
  }

  struct Rebuild: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "rebuild", abstract: "Fill a new generation beside the live one, then switch.",
      discussion: "Example:\n  ledgerctl projections rebuild customers --wait")

    @OptionGroup var global: GlobalOptions

    @Flag(help: "Return when the new generation answers.")
    var wait = false

    @Argument(help: ArgumentHelp("The projection.", valueName: "name"))
    var name: String

    func run() async throws {
      let client = try global.client
      let response = try await client.once("POST", LedgerClient.projectionTarget(name, "rebuild"))
      guard let generation = try response.json()["generation"]?.integer else {
        throw ClientError.protocolViolation("the integer “generation” is missing")
      }
      if wait { try await waitFor(generation, client) }
      try global.show(response) { _ in ["\(name): generation \(generation) \(wait ? "is live" : "is being filled")"] }
    }

    private func waitFor(_ generation: Int64, _ client: LedgerClient) async throws {
      // A rebuild may not be listed yet in the first moments.
      var absenceCount = 0
      defer { if Output.showsProgress { Output.progress("") } }
      while true {
        guard let state = try await client.projections().first(where: { $0.name == name }) else {
          throw NotFoundError(description: "the projection \(name) is gone")
        }
        if state.generation >= generation { return }
        if let rebuild = state.rebuild {
          absenceCount = 0
          if Output.showsProgress { Output.progress("\(name): \(rebuild.position) of \(rebuild.head) events") }
        } else {
          absenceCount += 1
          if absenceCount > 10 {
            throw FailedError(
              description: "the rebuild of \(name) ended and generation \(generation) is not live; look at the daemon's log")
          }
        }
        try await Task.sleep(for: .milliseconds(200))
      }
    }
  }

  struct Cancel: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "cancel", abstract: "Give a rebuild up; the live generation goes on.",
      discussion: "Example:\n  ledgerctl projections cancel customers")

    @OptionGroup var global: GlobalOptions

    @Argument(help: ArgumentHelp("The projection.", valueName: "name"))
    var name: String

    func run() async throws {
      try global.show(try await global.client.once("DELETE", LedgerClient.projectionTarget(name, "rebuild"))) {
        ["\(name): the rebuild was given up; generation \(Outline.text($0["generation"])) goes on"]
      }
    }
  }

  struct Digest: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "digest", abstract: "Show the state digest: equal rows, equal digest, on any machine.",
      discussion: "Example:\n  ledgerctl projections digest --at-least 90 customers")

    @OptionGroup var global: GlobalOptions

    @OptionGroup var waiting: WaitOptions

    @Argument(help: ArgumentHelp("The projection.", valueName: "name"))
    var name: String

    func run() async throws {
      try await global.show(LedgerClient.projectionTarget(name, "digest", atLeast: waiting.atLeast)) { json in
        let digest = try ProjectionDigest(json)
        return ["\(digest.digest)  \(digest.name) version \(digest.version) at position \(digest.position), \(digest.rowCount) rows"]
      }
    }
  }

  static func table(_ projections: [JSONValue]) -> Table {
    var table = Table(["NAME", "VERSION", "GENERATION", "STATE", "POSITION", "LAG", "SECONDS", "PARKED", "ROWS", "REBUILD"])
    for projection in projections {
      var cells = ["name", "version", "generation", "state", "position", "lagEvents", "lagSeconds", "parked", "rows"]
        .map { Outline.text(projection[$0]) }
      if let rebuild = projection["rebuild"], rebuild != .null {
        let eta = rebuild["etaSeconds"].map { $0 == .null ? "" : ", \(Outline.text($0)) s left" } ?? ""
        cells.append(
          "generation \(Outline.text(rebuild["generation"])): \(Outline.text(rebuild["position"])) of \(Outline.text(rebuild["head"]))\(eta)"
        )
      } else {
        cells.append("")
      }
      table.add(cells)
    }
    return table
  }
}
