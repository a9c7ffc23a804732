// The built `ledgerd`, as a process: for signals, exit codes, and what is left behind by a kill.

import Foundation
import LedgerClient
import Synchronization
import Testing

final class Daemon: Sendable {
  let directory: TemporaryDirectory
  let data: String
  let socket: String
  private let errors: String
  private let process = Mutex<Process?>(nil)
  private let ended: AsyncStream<Int32>
  private let endSource: AsyncStream<Int32>.Continuation

  /// The executable lies beside the test bundle, which is this process.
  static var executable: URL {
    URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent().appendingPathComponent("ledgerd")
  }

  /// Starts one; what is not given is made new in `directory`.
  init(in directory: TemporaryDirectory, data: String? = nil, socket: String? = nil, arguments: [String] = []) throws {
    self.directory = directory
    self.data = data ?? directory.path + "/data"
    self.socket = socket ?? directory.path + "/s"
    errors = directory.path + "/stderr-\(UUID().uuidString)"
    (ended, endSource) = AsyncStream<Int32>.makeStream()
    try Data().write(to: URL(fileURLWithPath: errors))
    let process = Process()
    process.executableURL = Self.executable
    process.arguments = ["serve", "--data", self.data, "--socket", self.socket] + arguments
    process.standardError = try FileHandle(forWritingTo: URL(fileURLWithPath: errors))
    process.terminationHandler = { [endSource] process in
      // A signal's number is below zero here, so that it is never taken for a status.
      endSource.yield(process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus)
      endSource.finish()
    }
    try process.run()
    self.process.withLock { $0 = process }
  }

  deinit { send(SIGKILL) }

  /// A client that does not repeat itself.
  func client() -> LedgerClient { LedgerClient(.unixSocket(path: socket), retry: .never, answerTimeout: .seconds(20)) }

  /// Waits until it is ready; fails with what it said if it ends before.
  func waitUntilReady() async throws {
    let client = client()
    for _ in 0..<2_000 {
      do throws(ClientError) {
        if try await client.request("GET", "/readyz").status == 200 { return await client.close() }
      } catch {
        guard process.withLock({ $0?.isRunning ?? false }) else { break }
      }
      try await Task.sleep(for: .milliseconds(10))
    }
    Issue.record("the daemon did not become ready: \(try errorText())")
    throw CancellationError()
  }

  func send(_ signal: Int32) {
    process.withLock { process in
      if let process, process.isRunning { _ = kill(process.processIdentifier, signal) }
    }
  }

  /// Its exit status, or a signal's number below zero. Once.
  func exitStatus() async -> Int32? { await ended.first { _ in true } }

  func errorText() throws -> String { String(decoding: try Data(contentsOf: URL(fileURLWithPath: errors)), as: UTF8.self) }
}
