// Why: the command line of the ledger. It only speaks to the socket; it never opens the data directory.

import ArgumentParser
import Foundation
import LedgerClient

/// What every command takes.
struct GlobalOptions: ParsableArguments {
  static let socketDefault = "/run/ledgerd/ledgerd.sock"

  @Option(help: "The daemon's socket. (default: $LEDGER_SOCKET, else \(socketDefault))")
  var socket: String?

  @Option(help: "The daemon's address on TCP, such as http://127.0.0.1:8080. (default: $LEDGER_URL; the socket wins if it is given)")
  var url: String?

  @Option(help: "A file with the token for TCP. (default: $LEDGER_CLIENT_TOKEN_FILE)")
  var tokenFile: String?

  @Flag(help: "Print what the daemon answered, as JSON or a line of JSON each.")
  var json = false

  func validate() throws {
    guard socket == nil || url == nil else { throw ValidationError("give --socket or --url, not both") }
  }

  /// A client of the daemon that was named: by a flag, else by a variable; a socket before an address.
  ///
  /// - Throws: `UsageError` if the address is none, or there is no token for it.
  var client: LedgerClient {
    get throws {
      func variable(_ name: String) -> String? { ProcessInfo.processInfo.environment[name].flatMap { $0.isEmpty ? nil : $0 } }
      if let path = socket { return LedgerClient(.unixSocket(path: path)) }
      if url == nil, let path = variable("LEDGER_SOCKET") { return LedgerClient(.unixSocket(path: path)) }
      guard let address = url ?? variable("LEDGER_URL") else { return LedgerClient(.unixSocket(path: Self.socketDefault)) }
      guard let endpoint = Endpoint(url: address) else {
        throw UsageError(description: "the address must be like http://127.0.0.1:8080; TLS is not spoken here")
      }
      guard let file = tokenFile ?? variable("LEDGER_CLIENT_TOKEN_FILE") else {
        throw UsageError(description: "an address needs a token: give --token-file, a file with what ledgerd token new printed")
      }
      return LedgerClient(endpoint, token: try Self.token(in: file))
    }
  }

  private static func token(in file: String) throws -> String {
    let text: String
    do {
      text = String(decoding: try Data(contentsOf: URL(fileURLWithPath: file)), as: UTF8.self)
    } catch {
      throw UsageError(description: "the token file \(file) cannot be read: \(error.localizedDescription)")
    }
    let token = text.trimmingCharacters(in: .whitespacesAndNewlines)
    let isToken = !token.isEmpty && token.utf8.count <= 1_024 && token.utf8.allSatisfy { (0x21...0x7e).contains($0) }
    guard isToken else { throw UsageError(description: "the token file \(file) must hold one token and nothing else") }
    return token
  }
}

/// What the commands take that read a projection.
struct WaitOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp("Wait until the answer reflects this position, at most 30 seconds: read what was written.", valueName: "position"))
  var atLeast: Int64?

  func validate() throws {
    if let atLeast, atLeast < 0 { throw ValidationError("--at-least is a position of 0 or more") }
  }
}

/// The root command.
@main struct Ledgerctl: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ledgerctl",
    abstract: "Append to an interaction ledger, read it, and look after its projections.",
    discussion: """
      Exit codes: 0 done, 1 failed, 2 usage, 3 daemon unreachable, 4 refused, 5 not found, 6 rows rejected.

      Examples:
        ledgerctl status
        ledgerctl append events.ndjson
        ledgerctl customer email:ana@example.org
      """,
    subcommands: [
      AppendCommand.self, ImportCommand.self, EventsCommand.self, CustomerCommand.self, JourneyCommand.self, LogCommand.self,
      ProjectionsCommand.self, QuarantineCommand.self, SchemasCommand.self, StatusCommand.self, SubscriptionsCommand.self,
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
