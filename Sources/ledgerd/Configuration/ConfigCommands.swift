// `ledgerd config …` and `ledgerd token …`: what an administrator does before the daemon runs.

import ArgumentParser
import Files
import Foundation
import LedgerServer
import Logging
import Unix

/// What every command takes that reads settings.
struct SettingOptions: ParsableArguments {
  @Option(help: "A YAML file of settings; else LEDGER_CONFIG names it, or there is none.")
  var config: String?

  @Argument(parsing: .allUnrecognized, help: ArgumentHelp("Settings as flags, listed above.", valueName: "--name value"))
  var settings: [String] = []

  /// Reads all that was set.
  ///
  /// - Throws: `ExitCode` 2, when everything that is wrong has been said.
  func load() throws -> LoadedConfiguration {
    do throws(ConfigurationErrors) {
      return try reread()
    } catch {
      throw Complaint.usage(error)
    }
  }

  /// Reads all that is set now.
  var reread: @Sendable () throws(ConfigurationErrors) -> LoadedConfiguration {
    { [settings, config] () throws(ConfigurationErrors) in
      try LoadedConfiguration.load(flags: settings, file: config, environment: ProcessInfo.processInfo.environment)
    }
  }
}

/// Says what is wrong on standard error.
enum Complaint {
  static func usage(_ errors: ConfigurationErrors) -> ExitCode {
    for error in errors.errors { say(error.description) }
    return ExitCode(2)
  }

  static func say(_ text: String) { FileHandle.standardError.write(Data("ledgerd: \(text)\n".utf8)) }
}

struct ConfigCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "config", abstract: "Checks, shows and explains the configuration.",
    subcommands: [Check.self, Show.self, Reference.self])

  struct Check: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Says what is wrong with the configuration that serve would use with the same arguments.",
      discussion: """
        Looks at the file, the environment and the flags, at the users and groups that they name, and at the file of tokens. Nothing is \
        started or changed. Exit codes: 0 all is well, 2 something is wrong.

        Example: ledgerd config check --config /etc/ledgerd/ledgerd.yaml
        """)

    @OptionGroup var options: SettingOptions

    func run() async throws {
      let loaded = try options.load()
      do throws(ConfigurationErrors) {
        _ = try loaded.configuration.makeAccess(
          inheritedSocketGroup: nil, logger: Logger(label: "ledgerd") { _ in SwiftLogNoOpLogHandler() })
      } catch {
        throw Complaint.usage(error)
      }
      for name in loaded.unknownVariables { Complaint.say("the variable \(name) is no setting, and is not looked at") }
      print("the configuration is good")
    }
  }

  struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Prints every setting that is in force, and where it came from, as YAML.",
      discussion: "Example: ledgerd config show --config /etc/ledgerd/ledgerd.yaml")

    @OptionGroup var options: SettingOptions

    func run() async throws { print(try options.load().shown, terminator: "") }
  }

  struct Reference: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Prints the reference of all settings, as Markdown.")

    func run() async throws { print(SettingsReference.page, terminator: "") }
  }
}

struct TokenCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "token", abstract: "Makes tokens for TCP.", subcommands: [New.self])

  struct New: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Makes a token, adds its hash to the file of tokens, and prints it: it is shown this once.",
      discussion: """
        The file is made, mode 0640, if it is not there; give it to the daemon's group, so that the daemon can read it. The daemon reads it \
        when it starts, and when it is told to: systemctl reload ledgerd, or the signal SIGHUP. To take a token back, remove its entry and do \
        that.

        Example: ledgerd token new --token-file /etc/ledgerd/tokens.yaml --name web --role append --source urn:web:
        """)

    @Option(help: "The file of tokens.")
    var tokenFile: String

    @Option(help: "The token's name; it stands in envelopes and logs as token:NAME.")
    var name: String

    @Option(name: .customLong("role"), help: "append, read, analyst or admin; may be given several times.")
    var roles: [String]

    @Option(
      name: .customLong("source"),
      help: "Whose events it may append, by how their source begins; may be given several times. Without it: all.")
    var sources: [String] = []

    func validate() throws {
      guard TokenFile.isName(name) else { throw ValidationError(TokenFile.nameRule) }
      for role in roles where !Roles.byName.contains(where: { $0.name == role }) {
        throw ValidationError("there is no role \(role); the roles are \(ConfigurationReader.roleNames)")
      }
      guard !roles.isEmpty else { throw ValidationError("give at least one --role") }
    }

    func run() async throws {
      let token = TokenFile.makeToken()
      do throws(ConfigurationErrors) {
        try TokenFile.add(TokenFile.entry(name: name, token: token, roles: roles, sources: sources), named: name, to: tokenFile)
      } catch {
        for error in error.errors { Complaint.say(error.description) }
        throw ExitCode(1)
      }
      print(token)
    }
  }
}
