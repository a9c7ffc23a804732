// Where settings come from, and which of several wins: a flag over the environment over the file over the default.
//
// Invariant: every value knows where it came from, and every message about it says so.

import Files
import LedgerCore
import LedgerServer
import Logging
import Unix

/// Where a value came from.
enum Origin: Equatable, Sendable, CustomStringConvertible {
  case `default`
  case file(path: String, line: Int)
  case variable(String)
  case flag(String)

  var description: String {
    switch self {
    case .default: "default"
    case .file(let path, let line): "\(path):\(line)"
    case .variable(let name): name
    case .flag(let name): name
    }
  }
}

/// What was found wrong, all of it.
struct ConfigurationErrors: Error, CustomStringConvertible {
  var errors: [ConfigurationError]
  var description: String { errors.map(\.description).joined(separator: "\n") }
}

/// A configuration, and where each value of it came from.
struct LoadedConfiguration: Sendable {
  var configuration = Configuration()
  private(set) var origins: [String: Origin] = [:]
  /// Variables that look like settings and are none.
  private(set) var unknownVariables: [String] = []

  /// Where the setting of that name came from.
  func origin(of name: String) -> Origin { origins[name] ?? .default }

  /// The variables that other programs of the ledger use.
  private static let otherVariables: Set = ["LEDGER_CONFIG", "LEDGER_URL", "LEDGER_CLIENT_TOKEN_FILE"]

  /// Reads and joins all sources.
  ///
  /// - Parameters:
  ///   - flags: What the command line says after its command: `--name value` or `--name=value`.
  ///   - file: The path of a YAML file; nil: the variable `LEDGER_CONFIG` names it, or there is none.
  /// - Throws: ``ConfigurationErrors`` with everything that is wrong.
  static func load(flags: [String], file: String?, environment: [String: String]) throws(ConfigurationErrors) -> LoadedConfiguration {
    var loaded = LoadedConfiguration()
    var errors: [ConfigurationError] = []
    if let path = file ?? environment["LEDGER_CONFIG"] {
      loaded.take(file: path, &errors)
    }
    for setting in Setting.all {
      if let text = environment[setting.variable] { loaded.set(setting, text, .variable(setting.variable), setting.variable, &errors) }
    }
    let known = Set(Setting.all.map(\.variable)).union(otherVariables)
    loaded.unknownVariables = environment.keys.filter { $0.hasPrefix("LEDGER_") && !known.contains($0) }.sorted()
    loaded.take(flags: flags, &errors)
    if errors.isEmpty { errors = loaded.configuration.contradictions.map { ConfigurationError(place: nil, message: $0) } }
    guard errors.isEmpty else { throw ConfigurationErrors(errors: errors) }
    return loaded
  }

  private mutating func set(
    _ setting: Setting, _ text: String, _ origin: Origin, _ place: String, _ errors: inout [ConfigurationError]
  ) {
    do throws(InvalidValue) {
      try setting.write(&configuration, text)
      origins[setting.name] = origin
    } catch {
      errors.append(ConfigurationError(place: place, message: "\(setting.name) \(error.reason)"))
    }
  }

  private mutating func take(file path: String, _ errors: inout [ConfigurationError]) {
    var reader = ConfigurationReader(path: path)
    do throws(FileError) {
      let (values, access) = reader.settings(String(decoding: try Files.read(path), as: UTF8.self))
      errors += reader.errors
      for value in values {
        guard let setting = Setting.named(value.name) else { continue }
        set(setting, value.text, .file(path: path, line: value.line), "\(path):\(value.line)", &errors)
      }
      configuration.access = access
    } catch {
      errors.append(ConfigurationError(place: nil, message: "the configuration cannot be read: \(error)"))
    }
  }

  private mutating func take(flags: [String], _ errors: inout [ConfigurationError]) {
    var rest = flags[...]
    while let word = rest.popFirst() {
      guard word.hasPrefix("--") else {
        errors.append(ConfigurationError(place: nil, message: "there is nothing to do with \(word); settings are given as --name value"))
        continue
      }
      let parts = word.dropFirst(2).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      guard let setting = Setting.named(parts[0]) else {
        let near = nearest(to: parts[0], among: Setting.all.map(\.name) + ["config"])
        errors.append(ConfigurationError(place: nil, message: "there is no flag --\(parts[0])\(near); see --help"))
        // Its value, if it has one, is not another mistake.
        if parts.count == 1, let next = rest.first, !next.hasPrefix("--") { rest.removeFirst() }
        continue
      }
      let next = rest.first.flatMap { $0.hasPrefix("--") ? nil : $0 }
      if parts.count == 1, next != nil { rest.removeFirst() }
      guard let text = parts.count == 2 ? parts[1] : next else {
        errors.append(ConfigurationError(place: setting.flag, message: "\(setting.name) has no value; give \(setting.range)"))
        continue
      }
      if case .flag = origin(of: setting.name) {
        errors.append(ConfigurationError(place: setting.flag, message: "\(setting.name) is given twice; keep one"))
      }
      set(setting, text, .flag(setting.flag), setting.flag, &errors)
    }
  }
}

// MARK: - Accounts and tokens

extension Configuration {
  /// Turns names of users and groups into numbers, and reads the tokens.
  ///
  /// - Throws: ``ConfigurationErrors``: a user or a group is not there, the file of tokens is missing, wrong, or open to others.
  func makeGrants() throws(ConfigurationErrors) -> Access.Grants {
    var errors: [ConfigurationError] = []
    let rules: [Access.Rule] = access.compactMap { entry in
      let subject: Access.Rule.Subject? =
        switch entry.subject {
        case .user(let name): Self.id(name, "user", entry.place, &errors, Accounts.user(named:)).map { .user($0) }
        case .group(let name): Self.id(name, "group", entry.place, &errors, Accounts.group(named:)).map { .group($0) }
        }
      return subject.map { Access.Rule($0, roles: entry.roles, sources: entry.scope) }
    }
    var tokens: [Access.Token] = []
    if let tokenFile {
      do throws(ConfigurationErrors) {
        tokens = try TokenFile.read(tokenFile)
      } catch {
        errors += error.errors
      }
    }
    guard errors.isEmpty else { throw ConfigurationErrors(errors: errors) }
    return Access.Grants(rules: rules, tokens: tokens)
  }

  /// Who may do what, to begin with.
  ///
  /// - Parameter inheritedSocketGroup: The group of the socket that the daemon was given, if it was.
  /// - Throws: ``ConfigurationErrors``, as ``makeGrants()``; or the socket's group is not there.
  func makeAccess(inheritedSocketGroup: UInt32?, logger: Logger) throws(ConfigurationErrors) -> Access {
    var errors: [ConfigurationError] = []
    var grants = Access.Grants()
    do throws(ConfigurationErrors) {
      grants = try makeGrants()
    } catch {
      errors += error.errors
    }
    var group = inheritedSocketGroup ?? Accounts.currentGroup
    if let socketGroup, let id = Self.id(socketGroup, "group", "socket-group", &errors, Accounts.group(named:)) { group = id }
    guard errors.isEmpty else { throw ConfigurationErrors(errors: errors) }
    return Access(
      administrators: [0, Accounts.currentUser], rules: grants.rules, socketGroup: group, socketMode: socketMode.bits,
      tokens: grants.tokens, hosts: allowedHosts, logger: logger)
  }

  private static func id(
    _ name: String, _ kind: String, _ place: String, _ errors: inout [ConfigurationError],
    _ find: (String) throws(UnixError) -> UInt32?
  ) -> UInt32? {
    if let number = UInt32(name) { return number }
    do throws(UnixError) {
      if let id = try find(name) { return id }
      errors.append(ConfigurationError(place: place, message: "there is no \(kind) \(name) on this machine; make it, or give a number"))
    } catch {
      errors.append(ConfigurationError(place: place, message: "\(error)"))
    }
    return nil
  }
}
