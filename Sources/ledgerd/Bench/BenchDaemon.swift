// The daemon that is measured: a process of its own, as users run it.

import Foundation
import LedgerClient
import LedgerTesting
import Threads

/// A running `ledgerd serve` in a directory of its own. Its functions block: they are for the benchmark's thread.
struct BenchDaemon {
  let directory: String
  let process: DaemonProcess

  /// Starts one and waits until it takes appends.
  init(in directory: String) throws {
    self.directory = directory
    let process = try DaemonProcess(
      executable: try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"), directory: directory)
    self.process = process
    try blocking { try await process.waitUntilReady(timeout: .seconds(600)) }
  }

  var socket: String { process.socket }
  var data: String { directory + "/data" }

  func kill() throws {
    let process = process
    _ = try blocking { await process.kill() }
  }

  /// Memory in bytes: the most it has held at once (`VmHWM`), pages of its files among it, and what it holds now without
  /// them (`RssAnon`). The kernel takes file pages back when it needs them.
  func memory() throws -> (peak: Int, own: Int) {
    let status = try String(contentsOfFile: "/proc/\(process.processIdentifier)/status", encoding: .utf8)
    func value(_ name: String) -> Int {
      let line = status.split(separator: "\n").first { $0.hasPrefix(name) } ?? ""
      return (Int(line.filter(\.isNumber)) ?? 0) << 10
    }
    return (value("VmHWM:"), value("RssAnon:"))
  }

  /// The log's head, and the bytes of its segments.
  func log() throws -> (head: Int, byteCount: Int) {
    let process = process
    let log = try blocking { try await process.client.log() }
    return (Int(log["head"]?.integer ?? 0), Int(log["byteCount"]?.integer ?? 0))
  }

  /// The lowest position that every projection has folded.
  func foldedPosition() throws -> Int {
    let process = process
    return Int(try blocking { try await process.client.projections() }.map(\.position).min() ?? 0)
  }
}

/// Runs something asynchronous from a thread that may block.
func blocking<R: Sendable>(_ body: @escaping @Sendable () async throws -> R) throws -> R {
  let done = Monitor(Result<R, any Error>?.none)
  Task {
    do {
      let value = try await body()
      done.signal { $0 = .success(value) }
    } catch {
      done.signal { $0 = .failure(error) }
    }
  }
  let result: Result<R, any Error>? = done.wait { $0 }
  guard let result else { preconditionFailure("a wait without a timeout ends with a value") }
  return try result.get()
}
