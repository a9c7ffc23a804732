// How the tests run the built program: with files of their own, and a server that answers what they ask it to.
import FakeLedgerServer
import Foundation
import LedgerClient
import Synchronization
import Testing

/// How a run of the program ended.
struct Run {
  let status: Int32
  let output: String
  let errors: String
}

/// Runs the built `ledgerctl`.
///
/// - Parameter whileRunning: Called when the process has started, with its id.
func run(
  _ arguments: [String], socket: String? = nil, input: String = "", whileRunning: (@Sendable (Int32) async throws -> Void)? = nil
) async throws -> Run {
  let binary = URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent().appending(path: "ledgerctl")
  let folder = FileManager.default.temporaryDirectory.appending(path: "ledgerctl-\(UInt64.random(in: .min ... .max))")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { do { try FileManager.default.removeItem(at: folder) } catch { Issue.record(error) } }
  let names = ["in", "out", "err"].map { folder.appending(path: $0) }
  try Data(input.utf8).write(to: names[0])
  for name in names[1...] { try Data().write(to: name) }
  let process = Process()
  process.executableURL = binary
  process.arguments = arguments
  var environment = ProcessInfo.processInfo.environment
  environment["LEDGER_SOCKET"] = socket
  process.environment = environment
  process.standardInput = try FileHandle(forReadingFrom: names[0])
  process.standardOutput = try FileHandle(forWritingTo: names[1])
  process.standardError = try FileHandle(forWritingTo: names[2])
  let (ends, end) = AsyncStream<Void>.makeStream()
  process.terminationHandler = { _ in end.finish() }
  try process.run()
  try await whileRunning?(process.processIdentifier)
  for await _ in ends {}
  return Run(
    status: process.terminationStatus, output: String(decoding: try Data(contentsOf: names[1]), as: UTF8.self),
    errors: String(decoding: try Data(contentsOf: names[2]), as: UTF8.self))
}

func withServer(
  _ respond: @escaping FakeLedgerServer.Responder, _ body: (FakeLedgerServer) async throws -> Void
) async throws {
  let server = try await FakeLedgerServer.start(path: FakeLedgerServer.temporaryPath(), respond: respond)
  try await body(server)
  try await server.stop()
}

func withFiles(_ files: [String: [UInt8]], _ body: (String) async throws -> Void) async throws {
  let folder = FileManager.default.temporaryDirectory.appending(path: "ledgerctl-\(UInt64.random(in: .min ... .max))")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  for (name, bytes) in files { try Data(bytes).write(to: folder.appending(path: name)) }
  try await body(folder.path)
  try FileManager.default.removeItem(at: folder)
}

/// A server that keeps which ids it has seen, as a ledger does.
final class FakeLedger: Sendable {
  private let events = Mutex<[String: [UInt8]]>([:])
  private let order = Mutex<[String]>([])

  /// The ids that are in, in order.
  var ids: [String] { order.withLock { $0 } }

  /// Takes a batch: new ids are appended, known ones are duplicates if the event is the same.
  func append(_ request: FakeRequest) -> FakeAnswer {
    let batch: [JSONValue]
    do { batch = try JSONValue(parsing: request.body).array ?? [] } catch { return .problem(400, "invalid-json", "no JSON") }
    var (appended, duplicates) = (0, 0)
    for event in batch {
      let id = event["id"]?.string ?? ""
      let known = events.withLock { $0.updateValue(event.encoded(), forKey: id) }
      if let known {
        if known != event.encoded() { return .problem(409, "id-conflict", "1 conflict") }
        duplicates += 1
      } else {
        appended += 1
        order.withLock { $0.append(id) }
      }
    }
    return .json(#"{"appended":\#(appended),"duplicates":\#(duplicates),"erased":0,"first":1,"last":1,"head":1}"#)
  }
}
