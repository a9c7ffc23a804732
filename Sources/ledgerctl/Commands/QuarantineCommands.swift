// Why: events that the log did not take wait for somebody to look at them; nothing leaves but by a decision.

import ArgumentParser
import Foundation
import LedgerClient
import LedgerHTTP

struct QuarantineCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "quarantine", abstract: "Look at events that were set aside; correct, append or discard them.",
    discussion: """
      Events come here that were sent with onInvalid=quarantine (ledgerctl append --quarantine) and break the schema of their \
      type, or have a source and id that are taken by other content.

      Examples:
        ledgerctl quarantine list
        ledgerctl quarantine show 17 > event.json
        ledgerctl quarantine correct 17 event.json
        ledgerctl quarantine append 18 19
        ledgerctl quarantine discard 20 --reason "sent by a test"
      """,
    subcommands: [List.self, Show.self, Correct.self, Append.self, Discard.self], defaultSubcommand: List.self)

  @OptionGroup var global: GlobalOptions

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List events that wait, or what became of others.")

    @OptionGroup var global: GlobalOptions

    @Flag(help: "List what became of those that have left.")
    var resolved = false

    @Option(help: ArgumentHelp("Begin after this number.", valueName: "number"))
    var after: Int64 = 0

    @Option(help: ArgumentHelp("List at most so many.", valueName: "count"))
    var limit: Int?

    func validate() throws {
      if after < 0 { throw ValidationError("--after is a number of 0 or more") }
      if let limit, limit < 1 { throw ValidationError("--limit is a count of 1 or more") }
    }

    func run() async throws {
      let client = try global.client
      let columns =
        resolved
        ? ["number", "time", "principal", "outcome", "position", "reason"]
        : ["number", "recordedtime", "principal", "code", "type", "source", "id", "detail"]
      var table = Table(columns.map { $0.uppercased() })
      var output = Output()
      var (cursor, remaining) = (after, limit ?? .max)
      while remaining > 0 {
        var query = [(name: "after", value: String(cursor)), (name: "limit", value: String(min(remaining, 1_000)))]
        if resolved { query.append((name: "resolved", value: "true")) }
        let response = try await client.retrying("GET", LedgerClient.target("/v1/quarantine", query))
        let json = try response.json()
        let rows = json[resolved ? "resolved" : "quarantined"]?.array ?? []
        if global.json { try output.body(response.body) }
        for row in rows { table.add(columns.map { Outline.text(row[$0]) }) }
        remaining -= rows.count
        guard let next = json["next"]?.integer, next > cursor else { break }
        cursor = next
      }
      if !global.json { for line in table.lines() { try output.line(line) } }
      try output.flush()
    }
  }

  struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "show", abstract: "Print an event that waits, and on standard error why.")

    @OptionGroup var global: GlobalOptions

    @Argument(help: ArgumentHelp("Its number.", valueName: "number"))
    var number: UInt64

    func run() async throws {
      try await global.show(QuarantineCommand.path(number)) { json in
        Output.message("\(Outline.text(json["code"])): \(Outline.text(json["detail"]))")
        return [json["event"]?.line ?? ""]
      }
    }
  }

  struct Correct: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "correct", abstract: "Append a corrected event in the place of one that waits.")

    @OptionGroup var global: GlobalOptions

    @Argument(help: ArgumentHelp("Its number.", valueName: "number"))
    var number: UInt64

    @Argument(help: ArgumentHelp("The corrected event, or - for standard input.", valueName: "file"))
    var file = "-"

    func run() async throws {
      let body: [UInt8]
      do {
        body =
          file == "-"
          ? [UInt8](try FileHandle.standardInput.readToEnd() ?? Data()) : [UInt8](try Data(contentsOf: URL(filePath: file)))
      } catch {
        throw InputError(file: file, reason: "it cannot be read")
      }
      // Without a body the event would be appended as it is.
      guard body.contains(where: { $0 > 0x20 }) else { throw UsageError(description: "\(file) holds no event") }
      try await QuarantineCommand.append([number], body, global)
    }
  }

  struct Append: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "append", abstract: "Append events as they are, after their schema was mended.")

    @OptionGroup var global: GlobalOptions

    @Argument(help: ArgumentHelp("Their numbers.", valueName: "number"))
    var numbers: [UInt64]

    func run() async throws { try await QuarantineCommand.append(numbers, [], global) }
  }

  struct Discard: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "discard", abstract: "Give events up. They are gone; the reason stays.")

    @OptionGroup var global: GlobalOptions

    @Option(help: ArgumentHelp("Why, without personal data.", valueName: "text"))
    var reason: String

    @Argument(help: ArgumentHelp("Their numbers.", valueName: "number"))
    var numbers: [UInt64]

    func run() async throws {
      try await global.showEach(numbers) { client, number in
        try await client.once("DELETE", LedgerClient.target(QuarantineCommand.path(number), [(name: "reason", value: reason)]))
      } _: { number, _ in
        "\(number): discarded"
      }
    }
  }

  private static func append(_ numbers: [UInt64], _ body: [UInt8], _ global: GlobalOptions) async throws {
    try await global.showEach(numbers) { client, number in
      try await client.retrying(
        "POST", path(number) + "/append", headers: [(name: "content-type", value: MediaType.cloudEvent)], body: body)
    } _: { number, json in
      let receipt = json["receipts"]?.array?.first
      let what = receipt?["duplicate"]?.bool == true ? "was in the log already, at position" : "appended at position"
      return "\(number): \(what) \(Outline.text(receipt?["position"]))"
    }
  }

  private static func path(_ number: UInt64) -> String { "/v1/quarantine/\(number)" }
}
