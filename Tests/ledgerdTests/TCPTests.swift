// TCP with tokens, with the programs as they are: ledgerd makes the token and the place, ledgerctl goes there.

import Foundation
import LedgerClient
import LedgerTesting
import Testing

@Suite struct TCPTests {
  /// What a program said.
  private struct Outcome {
    var status: Int32
    var output: String
    var errors: String
  }

  private func run(_ program: String, _ arguments: [String], input: String = "") async throws -> Outcome {
    let process = Process()
    let build = URL(fileURLWithPath: try DaemonProcess.executableOfThisBuild()).deletingLastPathComponent()
    process.executableURL = program.hasPrefix("/") ? URL(fileURLWithPath: program) : build.appending(path: program)
    process.arguments = arguments
    // No setting of whoever runs the tests.
    process.environment = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("LEDGER_") }
    let (input_, output, errors) = (Pipe(), Pipe(), Pipe())
    (process.standardInput, process.standardOutput, process.standardError) = (input_, output, errors)
    try process.run()
    try input_.fileHandleForWriting.write(contentsOf: Data(input.utf8))
    try input_.fileHandleForWriting.close()
    let said = output.fileHandleForReading.readDataToEndOfFile()
    let complained = errors.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return Outcome(
      status: process.terminationStatus, output: String(decoding: said, as: UTF8.self), errors: String(decoding: complained, as: UTF8.self))
  }

  /// Makes a token and gives the path of a file that holds it.
  private func token(_ name: String, _ directory: String, _ options: [String]) async throws -> String {
    let made = try await run("ledgerd", ["token", "new", "--token-file", directory + "/tokens.yaml", "--name", name] + options)
    #expect(made.status == 0, "\(made.errors)")
    let path = directory + "/\(name).token"
    try made.output.write(toFile: path, atomically: true, encoding: .utf8)
    return path
  }

  @Test func `ledgerctl appends, reads and rebuilds over TCP, each with a token that may`() async throws {
    let directory = try DaemonProcess.temporaryDirectory()
    defer { _ = Result { try FileManager.default.removeItem(atPath: directory) } }
    let web = try await token("web", directory, ["--role", "append", "--source", "urn:web:"])
    let ana = try await token("ana", directory, ["--role", "analyst"])
    let daemon = try DaemonProcess(
      executable: try DaemonProcess.executableOfThisBuild(), directory: directory,
      arguments: ["--listen", "127.0.0.1:0", "--token-file", directory + "/tokens.yaml", "--log-format", "json"])
    try await daemon.waitUntilReady()
    let log = try String(contentsOfFile: directory + "/ledgerd.log", encoding: .utf8)
    let port = try #require(log.firstMatch(of: #/"place":"127\.0\.0\.1:(\d+)"/#)?.1, "\(log)")
    let url = "http://127.0.0.1:\(port)"
    let event = { (source: String) in #"{"specversion":"1.0","id":"1","source":"\#(source)","type":"page.viewed"}"# + "\n" }

    func ledgerctl(_ token: String, _ arguments: [String], input: String = "") async throws -> Outcome {
      try await run("ledgerctl", arguments + ["--url", url, "--token-file", token], input: input)
    }
    let appended = try await ledgerctl(web, ["append"], input: event("urn:web:shop"))
    #expect(appended.status == 0, "\(appended.errors)")
    #expect(try await ledgerctl(web, ["append"], input: event("urn:app:shop")).status == 4, "another's source")
    #expect(try await ledgerctl(web, ["log"]).status == 4, "an appender does not read")
    #expect(try await ledgerctl(ana, ["append"], input: event("urn:web:b")).status == 4, "an analyst does not append")
    let read = try await ledgerctl(ana, ["events", "--json"])
    #expect(read.status == 0 && read.output.contains(#""source":"urn:web:shop""#), "\(read.output) \(read.errors)")
    #expect(try await ledgerctl(ana, ["projections", "rebuild", "channels", "--wait"]).status == 0)
    try "nonsense".write(toFile: directory + "/wrong", atomically: true, encoding: .utf8)
    let unknown = try await ledgerctl(directory + "/wrong", ["log"])
    #expect(unknown.status == 4 && unknown.errors.contains("token"), "\(unknown.errors)")
    let none = try await run("ledgerctl", ["log", "--url", url])
    #expect(none.status == 2 && none.errors.contains("needs a token"), "\(none.errors)")
    #expect(try await run("ledgerctl", ["log", "--url", "https://x", "--token-file", ana]).status == 2)
    // A page elsewhere that made a browser send this.
    let client = LedgerClient(.tcp(host: "127.0.0.1", port: try #require(Int(port))), retry: .never)
    let elsewhere = try await run("/usr/bin/curl", ["-s", "-H", "Host: evil.example", url + "/healthz"])
    #expect(elsewhere.output.contains("addressed to a host"), "\(elsewhere.output)")
    let answer = try await client.request("GET", "/v1/log")
    #expect(answer.status == 401)
    #expect(answer.header("www-authenticate") == #"Bearer realm="ledgerd""#)
    await client.close()
    #expect(try await daemon.body("/metrics").contains(utf8: "\nledger_access_refusals_total 6\n"))
    try await daemon.stop()
    let said = try String(contentsOfFile: directory + "/ledgerd.log", encoding: .utf8)
    #expect(said.contains(#""principal":"token:web""#) && !said.contains("urn:app"))
    let secret = try String(contentsOfFile: web, encoding: .utf8).split(separator: "\n").first.map(String.init)
    #expect(!said.contains(try #require(secret)))
  }

  @Test(arguments: [
    (["--listen", "127.0.0.1:0"], 2, "listen needs token-file"),
    (["--listen", "0.0.0.0:0", "--token-file", "TOKENS"], 2, "no loopback address"),
    (["--listen", "127.0.0.1:0", "--token-file", "/no/such"], 2, "cannot be read"),
    (["--listen", "127.0.0.1:0", "--token-file", "OPEN"], 2, "others may use the file of tokens"),
    (["--idle-secs", "1"], 2, "did you mean idle-seconds?"),
  ])
  func `a daemon does not start when who may call is not clear`(arguments: [String], status: Int32, message: String) async throws {
    let directory = try DaemonProcess.temporaryDirectory()
    defer { _ = Result { try FileManager.default.removeItem(atPath: directory) } }
    _ = try await token("a", directory, ["--role", "read"])
    try FileManager.default.copyItem(atPath: directory + "/tokens.yaml", toPath: directory + "/open.yaml")
    try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: directory + "/open.yaml")
    let given = arguments.map { ["TOKENS": directory + "/tokens.yaml", "OPEN": directory + "/open.yaml"][$0] ?? $0 }
    let outcome = try await run("ledgerd", ["serve", "--data", directory + "/data", "--socket", directory + "/s"] + given)
    #expect(outcome.status == status)
    #expect(outcome.errors.contains(message), "\(outcome.errors)")
    #expect(!FileManager.default.fileExists(atPath: directory + "/data"), "nothing is left behind")
  }
}

extension [UInt8] {
  fileprivate func contains(utf8 text: String) -> Bool { String(decoding: self, as: UTF8.self).contains(text) }
}
