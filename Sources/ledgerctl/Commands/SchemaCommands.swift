// Why: what the data of each type must look like is an admin's to see, try out, apply and take back.
//
// Invariant: `check` needs no daemon, and finds what `apply` would refuse.

import ArgumentParser
import Foundation
import JSONSchema
import LedgerClient
import LedgerHTTP

struct SchemasCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "schemas", abstract: "List, show, check, apply and remove the JSON Schemas of event types.",
    discussion: """
      A file is named after its type: order.placed.json. Its "examples" are whole events, which check and apply hold against it.

      Examples:
        ledgerctl schemas check Schemas/events/*.json
        ledgerctl schemas list
        ledgerctl schemas apply order.placed.json
        ledgerctl schemas show order.placed --version 1
        ledgerctl schemas remove order.placed
      """,
    subcommands: [List.self, Show.self, Apply.self, Remove.self, Check.self], defaultSubcommand: List.self)

  @OptionGroup var global: GlobalOptions

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "Show which types have a schema.")

    @OptionGroup var global: GlobalOptions

    func run() async throws {
      try await global.show("/v1/schemas") { json in
        var table = Table(["TYPE", "ORIGIN", "VERSION", "APPLIED", "BY", "BYTES"])
        for schema in json["schemas"]?.array ?? [] {
          table.add(["type", "origin", "version", "appliedtime", "principal", "byteCount"].map { Outline.text(schema[$0]) })
        }
        return table.lines() + (json["strict"]?.bool == true ? ["strict: a type without a schema is refused"] : [])
      }
    }
  }

  struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "show", abstract: "Print the schema of a type.")

    @OptionGroup var global: GlobalOptions

    @Option(help: ArgumentHelp("An earlier version that was applied.", valueName: "number"))
    var version: Int64?

    @Argument(help: ArgumentHelp("The type of the events.", valueName: "type"))
    var type: String

    func run() async throws {
      let query = version.map { [(name: "version", value: String($0))] } ?? []
      try await global.show(LedgerClient.target(SchemasCommand.path(type), query)) { [$0["schema"]?.line ?? ""] }
    }
  }

  struct Apply: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "apply", abstract: "Hold events of a type against a schema from now on.",
      discussion: "All files are checked before the first is applied. Applying the same again changes nothing.")

    @OptionGroup var global: GlobalOptions

    @Option(help: ArgumentHelp("The type, if the file is not named after it.", valueName: "type"))
    var type: String?

    @Argument(help: ArgumentHelp("Files with a schema each.", valueName: "file"))
    var files: [String]

    func validate() throws {
      if type != nil, files.count > 1 { throw ValidationError("--type goes with one file") }
    }

    func run() async throws {
      let schemas = try files.map { file in try SchemaFile(file, type: type) }
      for schema in schemas {
        let problems = schema.problems
        guard problems.isEmpty else { throw FailedError(description: problems.joined(separator: "\n")) }
      }
      try await global.showEach(schemas) { client, schema in
        try await client.retrying(
          "PUT", SchemasCommand.path(schema.type), headers: [(name: "content-type", value: MediaType.schema)], body: schema.text)
      } _: { schema, json in
        let what = json["changed"]?.bool == true ? "is in force" : "was in force already"
        return "\(schema.type): version \(Outline.text(json["version"])) \(what)"
      }
    }
  }

  struct Remove: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "remove", abstract: "Take an applied schema back; a shipped one is in force again.")

    @OptionGroup var global: GlobalOptions

    @Argument(help: ArgumentHelp("The type of the events.", valueName: "type"))
    var type: String

    func run() async throws {
      try global.show(try await global.client.once("DELETE", SchemasCommand.path(type))) {
        ["\(type): \($0["inForce"]?.string != nil ? "the shipped schema is in force" : "no schema is in force")"]
      }
    }
  }

  struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "check", abstract: "Check schemas and their examples, without a daemon.",
      discussion: "Ends with 1 if a file is no schema that is taken, or one of its examples breaks it.")

    @OptionGroup var global: GlobalOptions

    @Option(help: ArgumentHelp("The type, if the file is not named after it.", valueName: "type"))
    var type: String?

    @Argument(help: ArgumentHelp("Files with a schema each.", valueName: "file"))
    var files: [String]

    func run() throws {
      var output = Output()
      var problems: [String] = []
      for file in files {
        do {
          let schema = try SchemaFile(file, type: type)
          problems += schema.problems
          if schema.problems.isEmpty { try output.line("\(file): \(schema.type), \(schema.examples.count) examples") }
        } catch let error as InputError {
          problems.append("\(error)")
        }
      }
      try output.flush()
      if !problems.isEmpty { throw FailedError(description: problems.joined(separator: "\n")) }
    }
  }

  static func path(_ type: String) -> String { "/v1/schemas/" + LedgerClient.encoded(type) }
}

/// A schema in a file.
private struct SchemaFile {
  let name: String
  let type: String
  let text: [UInt8]
  /// Its examples that are whole events.
  let examples: [JSONValue]
  private let schema: JSONSchema

  init(_ file: String, type: String?) throws {
    name = file
    self.type = type ?? Self.type(ofFile: file)
    do {
      text = [UInt8](try Data(contentsOf: URL(filePath: file)))
    } catch {
      throw InputError(file: file, reason: "it cannot be read")
    }
    do throws(JSONSchemaError) {
      schema = try JSONSchema(text)
    } catch {
      throw InputError(file: file, reason: error.description)
    }
    let json = try JSONValue(parsing: text)
    examples = (json["examples"]?.array ?? []).filter { $0["specversion"] != nil }
  }

  private static func type(ofFile file: String) -> String {
    let name = URL(filePath: file).lastPathComponent
    return name.hasSuffix(".json") ? String(name.dropLast(5)) : name
  }

  /// What is wrong with the examples.
  var problems: [String] {
    examples.enumerated().compactMap { index, example in
      let place = "\(name): example \(index + 1)"
      guard example["type"]?.string?.utf8.elementsEqual(type.utf8) == true else { return "\(place) is of another type than \(type)" }
      let data = example["data"]?.encoded() ?? Array("{}".utf8)
      return schema.check(data).map { "\(place) breaks \($0.rule) at /data\($0.pointer)" }
    }
  }
}
