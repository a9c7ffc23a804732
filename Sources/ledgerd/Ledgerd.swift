// The daemon and the offline commands: the composition root. Only here are projections, log, engine and server known to
// each other by type.

import ArgumentParser
import Foundation

@main
struct Ledgerd: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ledgerd",
    abstract: "An event-sourced ledger of customer interactions.",
    discussion: """
      Keeps an append-only log of interactions, takes new ones over a Unix socket, and folds them into customers, journeys \
      and counters. Everything but the log can be deleted and is made again.
      """,
    version: "0.1.0",
    subcommands: [Serve.self, ConfigCommand.self, TokenCommand.self, Bench.self])

  /// As ArgumentParser's, but with the exit codes of `ledgerctl`: 1 failed, 2 usage.
  static func main() async {
    do {
      var command = try parseAsRoot()
      if var asynchronous = command as? any AsyncParsableCommand { try await asynchronous.run() } else { try command.run() }
    } catch {
      let code = exitCode(for: error)
      let message = fullMessage(for: error)
      if !message.isEmpty {
        let stream: FileHandle = code.isSuccess ? .standardOutput : .standardError
        stream.write(Data((message + "\n").utf8))
      }
      Foundation.exit(code == .validationFailure ? 2 : code.rawValue)
    }
  }
}
