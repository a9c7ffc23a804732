// The page about `ledgerctl`, made of what the program says about itself.

import Foundation

/// What `ledgerctl --experimental-dump-help` prints, as far as it is needed.
struct CommandHelp: Decodable {
  struct Argument: Decodable {
    struct Name: Decodable { let kind: String, name: String }
    let kind: String
    let names: [Name]?
    let valueName: String?
    let abstract: String?
    let defaultValue: String?
    let isOptional: Bool
    let isRepeating: Bool
    let shouldDisplay: Bool

    /// As it is written on the command line.
    var form: String {
      let value = "<\(valueName ?? "value")>"
      guard kind != "positional" else { return isRepeating ? value + " …" : value }
      let name = names?.first { $0.kind == "long" }.map { "--" + $0.name } ?? names?.first.map { "-" + $0.name } ?? ""
      return (kind == "flag" ? name : name + " " + value) + (isRepeating ? " …" : "")
    }
  }

  let commandName: String
  let abstract: String?
  let discussion: String?
  let arguments: [Argument]?
  let subcommands: [CommandHelp]?

  private struct Dump: Decodable { let command: CommandHelp }

  /// Reads what was printed.
  init(dump: Data) throws { self = try JSONDecoder().decode(Dump.self, from: dump).command }

  /// The commands that do something, by their full names, with their discussions and those of the commands they are under.
  var leaves: [(name: String, discussion: String)] {
    guard let subcommands, !subcommands.isEmpty else { return [(commandName, discussion ?? "")] }
    return subcommands.flatMap(\.leaves).map { (commandName + " " + $0.name, $0.discussion + "\n" + (discussion ?? "")) }
  }
}

/// Makes the page.
struct CommandReference {
  private static let quarantine = "no event was set aside here"
  /// Examples that a test cannot run, by a word in them.
  private static let notRun = [
    "--follow": "it stays until it is stopped", "projections cancel": "there is no rebuild here; the page about rebuilding runs it",
    "quarantine show": quarantine, "quarantine correct": quarantine, "quarantine append": quarantine, "quarantine discard": quarantine,
  ]
  /// What every command takes; said once.
  private static let common: Set<String> = ["--socket <socket>", "--url <url>", "--token-file <token-file>", "--json", "--help"]

  private let root: CommandHelp
  private var lines: [String] = []

  init(help: Data) throws { root = try CommandHelp(dump: help) }

  /// The page.
  mutating func page() -> String {
    lines = [Self.opening]
    for command in root.subcommands ?? [] where command.commandName != "help" { add(command, after: "ledgerctl") }
    return lines.joined(separator: "\n") + "\n"
  }

  private mutating func add(_ command: CommandHelp, after parent: String) {
    let name = parent + " " + command.commandName
    lines += ["## \(name)", "", command.abstract ?? "", ""]
    addDiscussion(command.discussion ?? "")
    let arguments = (command.arguments ?? []).filter { $0.shouldDisplay && !Self.common.contains($0.form) }
    if !arguments.isEmpty {
      lines += ["| | |", "|---|---|"]
      for argument in arguments {
        var text = (argument.abstract ?? "").replacing("|", with: "\\|")
        if argument.kind != "flag" {
          if !argument.isOptional { text += " Needed." }
          if let value = argument.defaultValue, !text.contains("(default") { text += " (default: \(value))" }
        }
        lines.append("| `\(argument.form)` | \(text) |")
      }
      lines.append("")
    }
    for subcommand in command.subcommands ?? [] where subcommand.commandName != "help" { add(subcommand, after: name) }
  }

  /// Text as it is, and each indented line as a command.
  private mutating func addDiscussion(_ text: String) {
    var commands: [String] = []
    func block() -> [String] { commands.isEmpty ? [] : ["```sh"] + commands + ["```", ""] }
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
      if line.hasPrefix("  ") {
        let command = line.trimmingCharacters(in: .whitespaces)
        if let (_, why) = Self.notRun.first(where: { command.contains($0.key) }) {
          lines += block() + ["<!-- not run: \(why) -->", "```sh", command, "```", ""]
          commands = []
        } else {
          commands.append(command)
        }
        continue
      }
      lines += block()
      commands = []
      if line.isEmpty || ["Example:", "Examples:"].contains(line) {
        if lines.last != "" { lines.append("") }
      } else {
        lines.append(String(line))
        if line.hasSuffix(":") { lines.append("") }
      }
    }
    lines += block()
    if lines.last != "" { lines.append("") }
  }

  private static let opening = """
    # ledgerctl

    Every command of the command line, as the program itself describes it.

    ## Overview

    `ledgerctl` speaks to a running daemon and never opens its data. Every command takes `--socket <socket>`, the daemon's socket (otherwise the environment's
    `LEDGER_SOCKET`, otherwise `/run/ledgerd/ledgerd.sock`); `--url <url>` and `--token-file <token-file>`, its address on TCP and a file with the token (otherwise `LEDGER_URL` and `LEDGER_CLIENT_TOKEN_FILE`); `--json`, to print what the daemon answered; and `--help`. Answers go to standard output,
    everything else to standard error.

    | exit code | meaning |
    |---|---|
    | 0 | done |
    | 1 | failed: the connection broke, a file could not be read, the daemon is not well or could not do it now |
    | 2 | the command line, or a mapping, cannot mean anything |
    | 3 | no daemon answers at the socket |
    | 4 | refused: the request would be refused again |
    | 5 | there is no such thing |
    | 6 | `import` read everything, and set some rows aside |
    | 130 | `import` was stopped by a signal |

    The shell completes commands and options after

    ```sh
    ledgerctl --generate-completion-script bash >ledgerctl.bash
    . ./ledgerctl.bash
    ```

    To keep it, put the file into `~/.local/share/bash-completion/completions/` under the name `ledgerctl`. For zsh, write the script of `zsh` to a file `_ledgerctl` in
    a directory of `$fpath`; for fish, that of `fish` to `~/.config/fish/completions/ledgerctl.fish`.

    The examples below were run in this order, on a ledger with the airline's sample and on a small file with its mapping. Save this as `orders.csv`:

    ```csv
    order,mail,placed,total
    1001,ana@example.org,2026-11-21 20:05,12.50
    1002,,2026-11-21 20:07,9.90
    ```

    And this as `m.yaml`:

    ```yaml
    event:
      id: "order/{order}"
      source: urn:shop:web
      type: order.placed
      time: {column: placed, type: time}
      channel: web
      data:
        identifiers: {email: "{mail}"}
        value: {amount: {column: total, type: decimal}, currency: EUR}
    ```

    ```sh
    cp /path/to/repository/deploy/sample/airline.ndjson events.ndjson
    gzip -k orders.csv
    ln -s /path/to/repository/Schemas Schemas
    cp Schemas/events/order.placed.json .
    ```

    """
}
