// Reference pages are made of the program, so that they cannot say anything else.
//
// `LEDGER_WRITE_REFERENCE=1 swift test --filter DocumentationTests.ReferenceTests` writes them anew.

import Foundation
import LedgerClient
import LedgerHTTP
import LedgerTesting
import Testing

/// Compares a page with what it should be, or writes it.
private func check(_ name: String, _ text: String, _ workplace: Workplace) throws {
  let file = workplace.repository.appending(path: "Sources/Documentation/InteractionLedger.docc/Reference/\(name).md")
  if ProcessInfo.processInfo.environment["LEDGER_WRITE_REFERENCE"] == "1" {
    try Data(text.utf8).write(to: file)
    return
  }
  let page = String(decoding: FileManager.default.contents(atPath: file.path) ?? Data(), as: UTF8.self)
  guard page != text else { return }
  let (old, new) = (
    page.split(separator: "\n", omittingEmptySubsequences: false), text.split(separator: "\n", omittingEmptySubsequences: false)
  )
  let line = zip(old, new).enumerated().first { $0.element.0 != $0.element.1 }?.offset ?? min(old.count, new.count)
  func shown(_ lines: [Substring]) -> String { line < lines.count ? String(lines[line]) : "(the end)" }
  Issue.record(
    """
    Reference/\(name).md:\(line + 1) is not what the program says. Write it anew with
      LEDGER_WRITE_REFERENCE=1 swift test --filter DocumentationTests.ReferenceTests
    page:    \(shown(old))
    program: \(shown(new))
    """)
}

/// What `ledgerctl` prints.
private func output(of arguments: [String], _ workplace: Workplace) throws -> Data {
  let process = Process()
  process.executableURL = workplace.binaries.appending(path: "ledgerctl")
  process.arguments = arguments
  let pipe = Pipe()
  process.standardOutput = pipe
  try process.run()
  let data = pipe.fileHandleForReading.readDataToEndOfFile()
  process.waitUntilExit()
  #expect(process.terminationStatus == 0, "\(arguments)")
  return data
}

private func contract(_ workplace: Workplace) throws -> Contract {
  try Contract(yaml: String(contentsOf: workplace.repository.appending(path: "Schemas/openapi.yaml"), encoding: .utf8))
}

@Suite struct ReferenceTests {
  @Test func `the page of ledgerctl says what the program says`() throws {
    let workplace = try Workplace.ofThisBuild()
    var reference = try CommandReference(help: output(of: ["--experimental-dump-help"], workplace))
    try check("ledgerctl", reference.page(), workplace)
  }

  @Test func `the help of every command has an example that begins with its name`() throws {
    let root = try CommandHelp(dump: output(of: ["--experimental-dump-help"], .ofThisBuild()))
    let commands = root.leaves
    #expect(commands.count > 10)
    for (name, discussion) in commands where !name.hasPrefix("ledgerctl help") {
      #expect(discussion.split(separator: "\n").contains { $0.hasPrefix("  ") && $0.contains(name) }, "\(name)")
    }
  }

  @Test func `the daemon has the methods of the contract on each path, and no other`() async throws {
    let contract = try contract(.ofThisBuild())
    let directory = try DaemonProcess.temporaryDirectory()
    defer { #expect(throws: Never.self) { try FileManager.default.removeItem(atPath: directory) } }
    let daemon = try DaemonProcess(executable: DaemonProcess.executableOfThisBuild(), directory: directory)
    try await daemon.waitUntilReady()
    #expect(!contract.methods.isEmpty)
    for (path, methods) in contract.methods {
      // Any value will do: the method is looked at first.
      let response = try await daemon.client.request("PATCH", path.replacing(#/\{[a-z]+\}/#, with: "1"))
      #expect(response.status == 405, "\(path)")
      #expect(response.header("allow")?.split(separator: ", ").map(String.init).sorted() == methods.sorted(), "\(path)")
    }
    try await daemon.stop()
  }

  @Test func `the page of the calls says what the contract says`() throws {
    let workplace = try Workplace.ofThisBuild()
    var reference = HTTPReference(try contract(workplace))
    try check("HTTP", try reference.page(), workplace)
  }

  @Test func `the page of error codes says what the program says`() throws {
    let workplace = try Workplace.ofThisBuild()
    try check("ErrorCodes", try ErrorCodeReference(answered: Set(try contract(workplace).codes)).page(), workplace)
  }

  @Test func `the contract's codes are the program's, with their status`() throws {
    let contract = try contract(.ofThisBuild())
    #expect(!contract.codes.isEmpty)
    #expect(Set(contract.codes) == Set(contract.describedCodes.map(\.code)), "the list of codes and the table in the description")
    for (code, status) in contract.describedCodes { #expect(ErrorCode(rawValue: code)?.status == status, "\(code)") }
  }

  @Test(arguments: ["bash", "zsh", "fish"])
  func `ledgerctl prints a completion script that the shell accepts`(shell: String) throws {
    let workplace = try Workplace.ofThisBuild()
    let script = try output(of: ["--generate-completion-script", shell], workplace)
    #expect(String(decoding: script, as: UTF8.self).contains("projections"))
    // Only bash is on every machine.
    let places = ["/bin/", "/usr/bin/"].map { $0 + shell }
    guard let program = places.first(where: FileManager.default.isExecutableFile(atPath:)) else {
      print("  \(shell) is not installed; its completion script was not parsed")
      return
    }
    let file = FileManager.default.temporaryDirectory.appending(path: "completion-\(UUID().uuidString)")
    try script.write(to: file)
    defer { #expect(throws: Never.self) { try FileManager.default.removeItem(at: file) } }
    let process = try Process.run(URL(filePath: program), arguments: ["-n", file.path])
    process.waitUntilExit()
    #expect(process.terminationStatus == 0)
  }
}
