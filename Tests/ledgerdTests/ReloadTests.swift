// Tokens given and taken back while the daemon runs, by SIGHUP; and files that are wrong, which change nothing.

import Foundation
import LedgerClient
import LedgerTesting
import Testing

@testable import ledgerd

@Suite(.serialized) struct ReloadTests {
  /// A daemon with TCP, a configuration file and a file of tokens.
  private final class Subject: Sendable {
    let directory: String
    let daemon: DaemonProcess
    let port: Int

    var configuration: String { directory + "/ledgerd.yaml" }
    var tokens: String { directory + "/tokens.yaml" }

    init() async throws {
      directory = try DaemonProcess.temporaryDirectory()
      try "token-file: \(directory)/tokens.yaml\nlisten: 127.0.0.1:0\n".write(
        toFile: directory + "/ledgerd.yaml", atomically: true, encoding: .utf8)
      _ = try Self.makeToken("first", "read", directory)
      daemon = try DaemonProcess(
        executable: try DaemonProcess.executableOfThisBuild(), directory: directory,
        arguments: ["--config", directory + "/ledgerd.yaml", "--log-format", "json"])
      try await daemon.waitUntilReady()
      let place = try #require(daemon.logText.firstMatch(of: #/"place":"127\.0\.0\.1:(\d+)"/#)?.1)
      port = try #require(Int(place))
    }

    deinit { _ = Result { try FileManager.default.removeItem(atPath: directory) } }

    static func makeToken(_ name: String, _ role: String, _ directory: String, _ more: [String] = []) throws -> String {
      let process = Process()
      process.executableURL = URL(fileURLWithPath: try DaemonProcess.executableOfThisBuild())
      process.arguments = ["token", "new", "--token-file", directory + "/tokens.yaml", "--name", name, "--role", role] + more
      let output = Pipe()
      process.standardOutput = output
      try process.run()
      let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
      process.waitUntilExit()
      return text.trimmingCharacters(in: .newlines)
    }

    /// What a call is answered with; each is a connection of its own.
    func status(_ token: String, _ method: String = "GET", _ target: String = "/v1/log", source: String = "") async throws -> Int {
      let client = LedgerClient(.tcp(host: "127.0.0.1", port: port), token: token, retry: .never)
      let event = #"{"specversion":"1.0","id":"\#(UUID().uuidString)","source":"\#(source)","type":"t"}"#
      let response = try await client.request(
        method, target, headers: method == "POST" ? [(name: "content-type", value: "application/cloudevents+json")] : [],
        body: method == "POST" ? Array(event.utf8) : [])
      await client.close()
      return response.status
    }

    /// Sends SIGHUP and waits until the log has said `word` once more.
    func reload(_ word: String) async throws {
      let before = count(word)
      daemon.send(SIGHUP)
      for _ in 0..<1_000 where count(word) == before { try await Task.sleep(for: .milliseconds(10)) }
      try #require(count(word) > before, "\(daemon.logText)")
    }

    private func count(_ word: String) -> Int { daemon.logText.components(separatedBy: word).count }
  }

  private static let done = "who may do what was read anew"
  private static let refused = "was not read anew"

  @Test func `a token is given, changed and taken back without a restart`() async throws {
    let subject = try await Subject()
    let token = try Subject.makeToken("web", "append", subject.directory, ["--source", "urn:web:"])
    #expect(try await subject.status(token, "POST", "/v1/events", source: "urn:web:shop") == 401)
    try await subject.reload(Self.done)
    #expect(try await subject.status(token, "POST", "/v1/events", source: "urn:web:shop") == 200)
    #expect(try await subject.status(token, "POST", "/v1/events", source: "urn:app:shop") == 403)
    #expect(try await subject.status(token) == 403)

    let text = try String(contentsOfFile: subject.tokens, encoding: .utf8)
    let changed = text.replacing("urn:web:", with: "urn:app:")
    try changed.write(toFile: subject.tokens, atomically: false, encoding: .utf8)
    try await subject.reload(Self.done)
    #expect(try await subject.status(token, "POST", "/v1/events", source: "urn:web:shop") == 403)
    #expect(try await subject.status(token, "POST", "/v1/events", source: "urn:app:shop") == 200)

    let entry = try #require(changed.range(of: "  - name: web"))
    try String(changed[..<entry.lowerBound]).write(toFile: subject.tokens, atomically: false, encoding: .utf8)
    try await subject.reload(Self.done)
    #expect(try await subject.status(token, "POST", "/v1/events", source: "urn:app:shop") == 401)
    #expect(!subject.daemon.logText.contains(token))
    try await subject.daemon.stop()
  }

  @Test func `a file that is wrong changes nothing, and the log says where without what it holds`() async throws {
    let subject = try await Subject()
    let token = try Subject.makeToken("ana", "read", subject.directory)
    try await subject.reload(Self.done)
    #expect(try await subject.status(token) == 200)
    let good = try String(contentsOfFile: subject.tokens, encoding: .utf8)
    let digest = try #require(good.matches(of: #/sha256: ([0-9a-f]{64})/#).last?.1)
    let configuration = try String(contentsOfFile: subject.configuration, encoding: .utf8)
    // A token or its hash in every place where somebody may have put it by mistake.
    let rows = [
      ("tokens:\n  - name: x\n    sha256: \(token)\n    roles: [read]\n", "64 hexadecimal digits"),
      ("tokens:\n  - name: \(token)\(token)\n    sha256: \(digest)\n    roles: [read]\n", "a token's name has"),
      ("tokens:\n  - name: x\n    sha256: \(digest)\n    roles: [\(token)]\n", "there is no role"),
      ("\(token): x\n", "there is no key of 43 bytes"), ("tokens:\n  - \(token): x\n", "there is no key of 43 bytes"),
      ("tokens: \(token)\n", "must be a list"), ("tokens:\n  - \(token)\n", "keys and values"),
      ("\(token): 1\n\(token): 2\n", "set more than once"), ("tokens: [\n  - {\(token)\n", "no valid YAML"),
      ("tokens:\n  - name: x\n    \(digest): y\n", "there is no key of 64 bytes"),
    ]
    for (text, fragment) in rows {
      try text.write(toFile: subject.tokens, atomically: false, encoding: .utf8)
      try await subject.reload(Self.refused)
      #expect(subject.daemon.logText.contains(fragment), "\(fragment): \(subject.daemon.logText.suffix(400))")
      #expect(subject.daemon.logText.contains("tokens.yaml"))
      #expect(try await subject.status(token) == 200)
    }
    try good.write(toFile: subject.tokens, atomically: false, encoding: .utf8)
    try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: subject.tokens)
    try await subject.reload(Self.refused)
    try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: subject.tokens)
    try (configuration + "access:\n  - user: nobody-of-this-name\n    roles: [read]\n")
      .write(toFile: subject.configuration, atomically: false, encoding: .utf8)
    try await subject.reload(Self.refused)
    #expect(subject.daemon.logText.contains("there is no user nobody-of-this-name"))
    #expect(try await subject.status(token) == 200)

    // What is right again is taken; a setting that needs a restart is named.
    try (configuration + "idle-seconds: 61\n").write(toFile: subject.configuration, atomically: false, encoding: .utf8)
    try await subject.reload("needs a restart")
    #expect(subject.daemon.logText.contains(#""setting":"idle-seconds""#))
    #expect(!subject.daemon.logText.contains(token) && !subject.daemon.logText.contains(digest))
    try await subject.daemon.stop()
  }
}
