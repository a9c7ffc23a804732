// What the compiler refuses: the misuses of LMDB's transactions that cost data. Each snippet is typechecked against the
// module of this very build; one that is right must pass, or the refusals would mean nothing.

import Foundation
import Testing

/// A use of the wrapper, and what the compiler is to say to it.
struct Snippet: CustomTestStringConvertible, Sendable {
  var name: String
  var body: String
  /// A part of the compiler's message; nil: it compiles.
  var refusal: String?
  var testDescription: String { name }
}

private let snippets: [Snippet] = [
  Snippet(
    name: "right uses",
    body: """
      func right(_ environment: Environment, _ table: Database<UInt64, String>) throws(LMDBError) -> String? {
        let transaction = try environment.beginWrite()
        try transaction.put(table, 1, "a")
        try transaction.commit()
        try environment.write { (transaction) throws(LMDBError) in try transaction.put(table, 2, "b") }
        Task { _ = try environment.read { (transaction) throws(LMDBError) in try transaction.get(table, 1) } }
        let reader = try environment.beginRead()
        return try reader.get(table, 2)
      }
      """, refusal: nil),
  Snippet(
    name: "a double commit",
    body: """
      func wrong(_ environment: Environment) throws(LMDBError) {
        let transaction = try environment.beginWrite()
        try transaction.commit()
        try transaction.commit()
      }
      """, refusal: "consumed more than once"),
  Snippet(
    name: "a put after the commit",
    body: """
      func wrong(_ environment: Environment, _ table: Database<UInt64, String>) throws(LMDBError) {
        let transaction = try environment.beginWrite()
        try transaction.commit()
        try transaction.put(table, 1, "a")
      }
      """, refusal: "used after consume"),
  Snippet(
    name: "a read after the abort",
    body: """
      func wrong(_ environment: Environment, _ table: Database<UInt64, String>) throws(LMDBError) -> String? {
        let transaction = try environment.beginWrite()
        transaction.abort()
        return try transaction.get(table, 1)
      }
      """, refusal: "used after consume"),
  Snippet(
    name: "a copy of a transaction",
    body: """
      func wrong(_ environment: Environment) throws(LMDBError) {
        try environment.write { (transaction) throws(LMDBError) in
          let copy = transaction
          _ = copy
        }
      }
      """, refusal: "'transaction' is borrowed and cannot be consumed"),
  Snippet(
    name: "a commit inside of write",
    body: """
      func wrong(_ environment: Environment) throws(LMDBError) {
        try environment.write { (transaction) throws(LMDBError) in try transaction.commit() }
      }
      """, refusal: "'transaction' is borrowed and cannot be consumed"),
  Snippet(
    name: "a read transaction that leaves its closure",
    body: """
      func wrong(_ environment: Environment) throws(LMDBError) {
        let escaped = try environment.read { (transaction) throws(LMDBError) -> ReadTransaction in transaction }
        _ = consume escaped
      }
      """, refusal: "requires that 'ReadTransaction' conform to 'Copyable'"),
  Snippet(
    name: "a value's bytes that leave their closure",
    body: """
      func wrong(_ environment: Environment, _ table: Database<UInt64, String>) throws(LMDBError) {
        let transaction = try environment.beginRead()
        var escaped: RawSpan?
        _ = try transaction.withValue(table, 1) { escaped = $0 }
        _ = escaped
      }
      """, refusal: "escape"),
  Snippet(
    name: "an owned write transaction sent to an actor",
    body: """
      actor Other { func take(_ transaction: consuming sending WriteTransaction) {} }
      func wrong(_ environment: Environment, _ other: Other) async throws {
        let transaction = try environment.beginWrite()
        await other.take(transaction)
      }
      """, refusal: "error:"),
  Snippet(
    name: "a write transaction that crosses an await",
    body: """
      func wrong(_ environment: Environment) async throws {
        let transaction = try environment.beginWrite()
        await Task.yield()
        try transaction.commit()
      }
      """, refusal: "unavailable from asynchronous contexts"),
  Snippet(
    name: "an await inside of a read",
    body: """
      func wrong(_ environment: Environment) async throws {
        try environment.read { _ in await Task.yield() }
      }
      """, refusal: "cannot pass function of type"),
  Snippet(
    name: "a key of another type",
    body: """
      func wrong(_ environment: Environment, _ table: Database<UInt64, String>) throws(LMDBError) {
        try environment.write { (transaction) throws(LMDBError) in try transaction.put(table, "one", "a") }
      }
      """, refusal: "cannot convert value of type 'String' to expected argument type 'UInt64'"),
]

@Suite struct OwnershipTests {
  /// Typechecks a snippet, and gives what the compiler printed.
  private func typecheck(_ snippet: Snippet) throws -> (status: Int32, output: String) {
    let executable = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
    let products = executable.deletingLastPathComponent()
    let modules = products.appending(path: "Modules")
    try #require(FileManager.default.fileExists(atPath: modules.appending(path: "LMDB.swiftmodule").path), "no module beside the tests")
    let sources = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
      .appending(path: "Sources")
    let file = FileManager.default.temporaryDirectory.appending(path: "snippet-\(UUID().uuidString).swift")
    try ("import LMDB\nimport Bytes\n" + snippet.body + "\n").write(to: file, atomically: true, encoding: .utf8)
    defer { _ = Result { try FileManager.default.removeItem(at: file) } }
    // Ownership and isolation are checked on SIL, which -typecheck does not make.
    let compiler = Process()
    compiler.executableURL = URL(filePath: "/usr/bin/env")
    compiler.arguments =
      ["swiftc", "-emit-sil", "-o", "/dev/null", "-module-name", "Snippet", "-swift-version", "6", "-I", modules.path, file.path]
      + ["CLMDB", "CXXHash"].flatMap { ["-I", sources.appending(path: $0).path] }
    let pipe = Pipe()
    compiler.standardOutput = pipe
    compiler.standardError = pipe
    try compiler.run()
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    compiler.waitUntilExit()
    return (compiler.terminationStatus, String(decoding: output, as: UTF8.self))
  }

  @Test(.timeLimit(.minutes(3)), arguments: snippets)
  func `the compiler refuses what would lose data, and nothing else`(snippet: Snippet) throws {
    let (status, output) = try typecheck(snippet)
    if let refusal = snippet.refusal {
      #expect(status != 0, "it compiles")
      #expect(output.contains(refusal), "\(output)")
    } else {
      #expect(status == 0, "\(output)")
    }
  }
}
