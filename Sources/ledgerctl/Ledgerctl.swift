// Why: the command line of the ledger. It only speaks to the socket; it never opens the data directory.

import ArgumentParser
import Foundation
import LedgerClient

/// What every command takes.
struct GlobalOptions: ParsableArguments {
  static let socketDefault = "/run/ledgerd/ledgerd.sock"

  @Option(help: "The daemon's socket. (default: $LEDGER_SOCKET, else \(socketDefault))")
  var socket: String?

  @Flag(help: "Print what the daemon answered, as JSON or a line of JSON each.")
  var json = false

  var client: LedgerClient {
    let named = socket ?? ProcessInfo.processInfo.environment["LEDGER_SOCKET"].flatMap { $0.isEmpty ? nil : $0 }
    return LedgerClient(.unixSocket(path: named ?? Self.socketDefault))
  }
}

/// The root command.
@main struct Ledgerctl: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ledgerctl",
    abstract: "Append to an interaction ledger, read it, and look after its projections.",
    discussion: "Exit codes: 0 done, 1 failed, 2 usage, 3 daemon unreachable, 4 refused, 5 not found, 6 rows rejected.",
    subcommands: [
      AppendCommand.self, ImportCommand.self, EventsCommand.self, CustomerCommand.self, JourneyCommand.self, LogCommand.self,
      ProjectionsCommand.self, StatusCommand.self,
    ])

  @OptionGroup var global: GlobalOptions

  static func main() async {
    Foundation.exit(await status(ofRunning: Array(CommandLine.arguments.dropFirst())).rawValue)
  }

  /// Runs a command line and says how it ended; messages have gone to standard error by then.
  static func status(ofRunning arguments: [String]) async -> ExitStatus {
    do {
      var command = try parseAsRoot(arguments)
      if var asynchronous = command as? any AsyncParsableCommand { try await asynchronous.run() } else { try command.run() }
      return .done
    } catch {
      return report(error)
    }
  }

  private static func report(_ error: any Error) -> ExitStatus {
    switch error {
    case is RejectsError, is ImportStopped: return ExitStatus(error)  // the summary has said it
    case is Output.Closed: return .done  // whoever read the output has seen enough
    case is ClientError, is ImportError, is MappingError, is InputError, is UsageError, is NotFoundError, is FailedError:
      Output.message("ledgerctl: \(error)")
      return ExitStatus(error)
    default: break
    }
    // Help and version are "errors" of code 0 in ArgumentParser; the rest are usage errors or those of the system.
    let code = exitCode(for: error)
    let text = fullMessage(for: error)
    if code == .success {
      print(text)
      return .done
    }
    Output.message(text)
    return code == .validationFailure ? .usage : .failed
  }
}
