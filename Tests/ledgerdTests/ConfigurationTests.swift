// Where settings come from, which of several wins, and what is said of those that are wrong.

import EventLog
import Foundation
import LedgerCore
import LedgerServer
import Logging
import Testing

@testable import ledgerd

/// A file that is gone when it is let go of.
final class TextFile: Sendable {
  let path: String

  init(_ text: String, mode: Int = 0o600) throws {
    path = FileManager.default.temporaryDirectory.path + "/c-\(UUID().uuidString.prefix(8)).yaml"
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
  }

  deinit {
    do {
      try FileManager.default.removeItem(atPath: path)
    } catch {
      print("could not remove \(path): \(error)")
    }
  }
}

/// Loads with `data` set unless the source sets it.
private func load(_ flags: [String] = [], _ environment: [String: String] = [:], file: String? = nil) throws -> LoadedConfiguration {
  var flags = flags
  if !flags.contains(where: { $0.hasPrefix("--data") }) { flags += ["--data", "/d"] }
  return try LoadedConfiguration.load(flags: flags, file: file, environment: environment)
}

/// What is said of a file, with FILE for its path.
private func complaints(_ yaml: String) throws -> [String] {
  let file = try TextFile(yaml)
  do {
    _ = try load(file: file.path)
    return []
  } catch let errors as ConfigurationErrors {
    return errors.errors.map { $0.description.replacing(file.path, with: "FILE") }
  }
}

@Suite struct SettingTests {
  @Test func `a flag wins over the environment, that over the file, and the file over the default`() throws {
    let file = try TextFile("idle-seconds: 7\nqueue-bytes-max: 2MiB\nlog-format: json\n")
    let variables = ["LEDGER_IDLE_SECONDS": "8", "LEDGER_QUEUE_BYTES_MAX": "3145728"]
    let loaded = try load(["--idle-seconds=9"], variables, file: file.path)
    #expect(loaded.configuration.limits.idleSeconds == 9)
    #expect(loaded.configuration.log.queueByteCountMax == 3 << 20)
    #expect(loaded.configuration.logFormat == .json)
    #expect(loaded.configuration.limits.heartbeatSeconds == 15)
    #expect(loaded.origin(of: "idle-seconds") == .flag("--idle-seconds"))
    #expect(loaded.origin(of: "queue-bytes-max") == .variable("LEDGER_QUEUE_BYTES_MAX"))
    #expect(loaded.origin(of: "log-format") == .file(path: file.path, line: 3))
    #expect(loaded.origin(of: "heartbeat-seconds") == .default)
    #expect(try load([], ["LEDGER_CONFIG": file.path]).configuration.limits.idleSeconds == 7)
  }

  @Test(arguments: Setting.all.map(\.name))
  func `every setting takes its default in every way, and shows where it came from`(name: String) throws {
    let setting = try #require(Setting.named(name))
    let value =
      setting.read(Configuration())
      ?? ["data": "/d", "listen": "127.0.0.1:1", "socket-group": "0", "token-file": "/t", "allowed-hosts": "a,b", "schemas": "/s"][name]
    let text = try #require(value, "a setting without a default needs a value in this test")
    var (base, flags) = (["LEDGER_DATA": "/d"], [setting.flag, text])
    if name == "listen" { base["LEDGER_TOKEN_FILE"] = "/t" }
    let byFlag = try LoadedConfiguration.load(flags: flags, file: nil, environment: base)
    flags = []
    base[setting.variable] = text
    let byVariable = try LoadedConfiguration.load(flags: flags, file: nil, environment: base)
    base[setting.variable] = nil
    let file = try TextFile("\(name): \(text)\n" + (name == "data" ? "" : "data: /d\n"))
    let byFile = try LoadedConfiguration.load(flags: [], file: file.path, environment: name == "listen" ? ["LEDGER_TOKEN_FILE": "/t"] : [:])
    for loaded in [byFlag, byVariable, byFile] {
      #expect(setting.read(loaded.configuration) == text)
      #expect(loaded.origin(of: name) != .default)
      #expect(loaded.shown.contains("# \(loaded.origin(of: name))"))
    }
    #expect(!setting.help.isEmpty && setting.help.hasSuffix("."), "the help is a sentence")
  }

  @Test func `what is shown is a configuration again`() throws {
    let file = try TextFile(
      """
      data: "/var/lib/it's a place"
      allowed-hosts: [a.example, b.example]
      access:
        - {user: root, roles: [append, read], sources: ["urn:it's:", "urn:b:"]}
        - {group: 7, roles: []}
      """)
    let first = try LoadedConfiguration.load(flags: [], file: file.path, environment: [:])
    let again = try TextFile(first.shown)
    let second = try LoadedConfiguration.load(flags: [], file: again.path, environment: [:])
    for setting in Setting.all { #expect(setting.read(first.configuration) == setting.read(second.configuration)) }
    #expect(first.configuration.access.map { [$0.sources ?? []] } == second.configuration.access.map { [$0.sources ?? []] })
    #expect(second.configuration.access.map(\.roles) == [[.append, .read], []])
    #expect(first.configuration.data == "/var/lib/it's a place")
  }

  @Test(arguments: [
    (["--idle-seconds", "0"], "--idle-seconds: idle-seconds must be a whole number from 1 to 86,400 seconds, not 0"),
    (["--event-bytes-max", "2MiB"], "--event-bytes-max: event-bytes-max must be a whole number from 1 KiB to 1 MiB, not 2MiB"),
    (
      ["--segment-positions", "300"],
      "--segment-positions: segment-positions must be a whole number from 256 to 4,294,967,296 positions, a multiple of 256, not 300"
    ),
    (["--log-level", "loud"], "--log-level: log-level must be trace, debug, info, notice, warning, error or critical, not loud"),
    (["--idle-second", "1"], "there is no flag --idle-second (did you mean idle-seconds?); see --help"),
    (["--idle-seconds"], "--idle-seconds: idle-seconds has no value; give from 1 to 86,400 seconds"),
    (["--idle-seconds=1", "--idle-seconds=1"], "--idle-seconds: idle-seconds is given twice; keep one"),
    (["stray"], "there is nothing to do with stray; settings are given as --name value"),
    (["--listen", "127.0.0.1:80"], "listen needs token-file: on TCP only a token says who is calling; see ledgerd token new --help"),
    (
      ["--listen", "10.0.0.1:80", "--token-file", "/t"],
      "listen is no loopback address, and HTTP carries tokens as they are; use 127.0.0.1 and a proxy that speaks TLS, or set listen-beyond-loopback"
    ),
    (["--listen", "80", "--token-file", "/t"], "listen must be an address and a port, such as 127.0.0.1:8080 or [::1]:8080"),
    (["--data="], "--data: data is empty; give a directory on a local disk, or leave it out"),
    (
      ["--request-bytes-max", "1KiB"],
      "request-bytes-max is less than event-bytes-max: no event of the largest size could be sent; raise it"
    ),
  ])
  func `a flag that is wrong is refused with its range and unit`(flags: [String], message: String) throws {
    let errors = #expect(throws: ConfigurationErrors.self) { try load(flags) }
    #expect(errors?.description == message)
  }

  @Test func `a variable that is wrong is named, and one that is no setting is told apart`() throws {
    let errors = #expect(throws: ConfigurationErrors.self) { try load([], ["LEDGER_IDLE_SECONDS": "x"]) }
    #expect(errors?.errors.first?.place == "LEDGER_IDLE_SECONDS")
    #expect(try load([], ["LEDGER_IDEL_SECONDS": "1", "LEDGER_URL": "x"]).unknownVariables == ["LEDGER_IDEL_SECONDS"])
  }

  @Test func `data has no default`() throws {
    let errors = #expect(throws: ConfigurationErrors.self) { try LoadedConfiguration.load(flags: [], file: nil, environment: [:]) }
    #expect(errors?.description.hasPrefix("data is not set") == true)
  }
}

@Suite struct ConfigurationFileTests {
  @Test(arguments: [
    (
      "\nqueue-byte-max: 1\n",
      ["FILE:2: there is no setting queue-byte-max (did you mean queue-bytes-max?); ledgerd config reference lists them all"]
    ),
    ("zzzzzzzzzzzzzzz: 1\n", ["FILE:1: there is no setting zzzzzzzzzzzzzzz; ledgerd config reference lists them all"]),
    ("socket: /a\nidle-seconds: 1\nsocket: /b\n", ["FILE:1: socket is set more than once; keep one"]),
    (
      "idle-seconds: 0\nconnections-max: many\n",
      [
        "FILE:1: idle-seconds must be a whole number from 1 to 86,400 seconds, not 0",
        "FILE:2: connections-max must be a whole number from 1 to 65,536 connections, not many",
      ]
    ),
    ("idle-seconds: [1]\n", ["FILE:1: idle-seconds must be one value, from 1 to 86,400 seconds"]),
    ("idle-seconds:\n", ["FILE:1: idle-seconds has no value; give from 1 to 86,400 seconds, or remove the line"]),
    ("- a\n", ["FILE:1: a file of settings holds keys and values"]),
    ("a: [\n", ["FILE:2: no valid YAML: did not find expected node content"]),
    ("access: all\n", ["FILE:1: access must be a list"]),
    (
      "access:\n  - user: a\n    group: b\n    roles: [read]\n",
      ["FILE:2: an entry of access names one user or one group, by name or number"]
    ),
    ("access:\n  - user: a\n", ["FILE:2: an entry of access needs roles: a list of append, read, analyst, admin, which may be empty"]),
    ("access:\n  - {user: a, roles: [write]}\n", ["FILE:2: there is no role write; the roles are append, read, analyst, admin"]),
    (
      "access:\n  - {usr: a, roles: []}\n",
      [
        "FILE:2: there is no key usr here (did you mean user?); the keys are user, group, roles, sources",
        "FILE:2: an entry of access names one user or one group, by name or number",
      ]
    ),
    ("", []), ("# nothing\n", []), ("access:\n", []),
  ])
  func `what is wrong in a file is told with its line, all of it`(yaml: String, messages: [String]) throws {
    #expect(try complaints(yaml) == messages)
  }

  @Test func `a file that is not there is told`() throws {
    let errors = #expect(throws: ConfigurationErrors.self) { try load(file: "/no/such.yaml") }
    #expect(errors?.description == "the configuration cannot be read: open /no/such.yaml: No such file or directory")
  }

  @Test func `users and groups are found by name or number, and missing ones are told with their line`() throws {
    let file = try TextFile("access:\n  - {user: no-such-user, roles: [read]}\n  - {group: 7, roles: []}\nsocket-group: no-such-group\n")
    let errors = #expect(throws: ConfigurationErrors.self) {
      try load(file: file.path).configuration.makeAccess(inheritedSocketGroup: nil, logger: .init(label: "test"))
    }
    #expect(
      errors?.errors.map(\.description) == [
        "\(file.path):2: there is no user no-such-user on this machine; make it, or give a number",
        "socket-group: there is no group no-such-group on this machine; make it, or give a number",
      ])
  }
}

@Suite struct TokenFileTests {
  @Test func `a new token is in the file as a hash, and only there`() throws {
    let directory = try TextFile("")
    let path = directory.path + ".tokens"
    defer { _ = Result { try FileManager.default.removeItem(atPath: path) } }
    let token = TokenFile.makeToken()
    #expect(token.utf8.count == 43)
    try TokenFile.add(
      TokenFile.entry(name: "web", token: token, roles: ["append", "read"], sources: ["urn:it's:"]), named: "web", to: path)
    try TokenFile.add(TokenFile.entry(name: "ana", token: TokenFile.makeToken(), roles: ["analyst"], sources: []), named: "ana", to: path)
    #expect(!String(decoding: try Data(contentsOf: URL(fileURLWithPath: path)), as: UTF8.self).contains(token))
    let read = try TokenFile.read(path)
    #expect(read.map(\.name) == ["web", "ana"])
    #expect(read.map(\.roles) == [[.append, .read], .analyst])
    #expect(read[0].sources == SourceScope(prefixes: ["urn:it's:"]))
    #expect((try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? NSNumber)?.intValue == 0o640)
    #expect(throws: ConfigurationErrors.self) {
      try TokenFile.add(TokenFile.entry(name: "web", token: token, roles: ["read"], sources: []), named: "web", to: path)
    }
  }

  @Test(arguments: ["", "# Ours.\ntokens:", "tokens:\n  - {name: a, sha256: \(String(repeating: "0f", count: 32)), roles: []}"])
  func `a token is added to whatever file of tokens is there, whose owner and mode stay`(before: String) throws {
    let file = try TextFile(before, mode: 0o600)
    let inode = try FileManager.default.attributesOfItem(atPath: file.path)[.systemFileNumber] as? NSNumber
    try TokenFile.add(TokenFile.entry(name: "b", token: "t", roles: ["read"], sources: []), named: "b", to: file.path)
    #expect(try TokenFile.read(file.path).last?.name == "b")
    #expect(try FileManager.default.attributesOfItem(atPath: file.path)[.systemFileNumber] as? NSNumber == inode)
    #expect((try FileManager.default.attributesOfItem(atPath: file.path)[.posixPermissions] as? NSNumber)?.intValue == 0o600)
  }

  @Test(arguments: [
    ("tokens: 1\n", 0o600, "FILE:1: tokens must be a list"),
    ("token: []\n", 0o600, "FILE:1: there is no key token in a file of tokens; its one key is tokens"),
    ("tokens:\n  - {name: a, roles: [read]}\n", 0o600, "FILE:2: an entry of tokens needs sha256"),
    (
      "tokens:\n  - {name: a, sha256: 12, roles: [read]}\n", 0o600,
      "FILE:2: sha256 must be the 64 hexadecimal digits of the token's SHA-256"
    ),
    ("tokens: []\n", 0o644, "FILE: others may use the file of tokens (mode 644); chmod 640 it"),
  ])
  func `a file of tokens that is wrong, or open to others, is refused`(yaml: String, mode: Int, message: String) throws {
    let file = try TextFile(yaml, mode: mode)
    let errors = #expect(throws: ConfigurationErrors.self) { try TokenFile.read(file.path) }
    #expect(errors?.description.replacing(file.path, with: "FILE") == message)
  }
}
