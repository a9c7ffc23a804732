// A real `ledgerd`, started, watched, killed: tests of the whole speak to it as any program does.
//
// Invariants:
// - No daemon outlives its object: an abandoned one is killed.
// - A daemon that ends when nobody asked it to is a failure that carries the end of its log.

import Foundation
public import LedgerClient
import Glibc
import Synchronization

/// A running `ledgerd serve`. Its log goes to a file beside the data directory.
public final class DaemonProcess: Sendable {
  /// Why a daemon is of no use.
  public struct Failure: Error, CustomStringConvertible {
    /// What happened, with the end of the daemon's log.
    public let description: String
  }

  /// The socket it listens on.
  public let socket: String
  /// A client that tries once.
  public let client: LedgerClient
  private let process: Process
  private let logPath: String
  private let exit: Exit

  /// How the process ended, for whoever waits.
  private final class Exit: Sendable {
    private let state = Mutex<(status: Int32?, waiters: [CheckedContinuation<Int32, Never>])>((nil, []))

    var status: Int32? { state.withLock { $0.status } }

    func end(_ status: Int32) {
      let waiters = state.withLock { state in
        state.status = status
        defer { state.waiters = [] }
        return state.waiters
      }
      for waiter in waiters { waiter.resume(returning: status) }
    }

    func wait() async -> Int32 {
      await withCheckedContinuation { continuation in
        let status: Int32? = state.withLock { state in
          if state.status == nil { state.waiters.append(continuation) }
          return state.status
        }
        if let status { continuation.resume(returning: status) }
      }
    }
  }

  /// Starts the daemon and returns at once; ``waitUntilReady(timeout:)`` waits for it.
  ///
  /// - Parameters:
  ///   - executable: The path of `ledgerd`.
  ///   - directory: Holds `data/`, `ledgerd.sock` and `ledgerd.log`; made if it is not there. Its path is short: a socket's
  ///     may have 103 bytes.
  ///   - data: Where the data directory is, if not there.
  ///   - arguments: More options of `ledgerd serve`.
  ///   - launcher: A program and its arguments that become the daemon (`exec`), such as `prlimit`.
  ///   - environment: Added to this process's own.
  public init(
    executable: String, directory: String, data: String? = nil, arguments: [String] = [], launcher: [String] = [],
    environment: [String: String] = [:]
  ) throws {
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    socket = directory + "/ledgerd.sock"
    logPath = directory + "/ledgerd.log"
    client = LedgerClient(.unixSocket(path: socket), retry: .never, answerTimeout: .seconds(60))
    guard FileManager.default.createFile(atPath: logPath, contents: nil), let log = FileHandle(forWritingAtPath: logPath) else {
      throw Failure(description: "\(logPath) cannot be written")
    }
    let exit = Exit()
    self.exit = exit
    process = Process()
    let command = launcher + [executable, "serve", "--data", data ?? directory + "/data", "--socket", socket] + arguments
    process.executableURL = URL(fileURLWithPath: command[0])
    process.arguments = Array(command.dropFirst())
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = log
    process.standardError = log
    // The exit status, or minus the number of the signal.
    process.terminationHandler = { exit.end($0.terminationReason == .exit ? $0.terminationStatus : -$0.terminationStatus) }
    try process.run()
    try log.close()
  }

  deinit {
    if exit.status == nil { Glibc.kill(process.processIdentifier, SIGKILL) }
  }

  /// True until the process has ended.
  public var isRunning: Bool { exit.status == nil }

  /// The process's number.
  public var processIdentifier: Int32 { process.processIdentifier }

  /// Sends a signal, if the process runs.
  public func send(_ signal: Int32) {
    if exit.status == nil { Glibc.kill(process.processIdentifier, signal) }
  }

  /// Waits for the end. The exit status, or minus the number of the signal.
  public func exitStatus() async -> Int32 { await exit.wait() }

  /// What it has logged so far.
  public var logText: String { String(decoding: FileManager.default.contents(atPath: logPath) ?? Data(), as: UTF8.self) }

  /// A number of bytes from `/proc/<pid>/status`, such as `VmRSS` (memory now) or `VmHWM` (at most so far).
  ///
  /// - Throws: ``Failure`` if the process has ended or there is no such field.
  public func memory(_ field: String) throws -> Int {
    let text = String(decoding: FileManager.default.contents(atPath: "/proc/\(process.processIdentifier)/status") ?? Data(), as: UTF8.self)
    for line in text.split(separator: "\n") where line.hasPrefix(field + ":") {
      if let kibibytes = line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap({ Int($0) }) { return kibibytes << 10 }
    }
    throw failure("\(field) of the daemon cannot be read")
  }

  /// Seconds of processor time used so far, from `/proc/<pid>/stat`.
  public func processorSeconds() throws -> Double {
    let text = String(decoding: FileManager.default.contents(atPath: "/proc/\(process.processIdentifier)/stat") ?? Data(), as: UTF8.self)
    // After the name, which stands in parentheses, utime and stime are the 12th and 13th field, in hundredths (proc(5)).
    let fields = text.split(separator: ")").last?.split(separator: " ") ?? []
    guard fields.count > 12, let user = Double(fields[11]), let system = Double(fields[12]) else {
      throw failure("the daemon's processor time cannot be read")
    }
    return (user + system) / 100
  }

  /// Waits until appends are taken and every projection follows or is on its way (`/readyz`).
  ///
  /// - Throws: ``Failure`` if the daemon ends or is not ready in time.
  public func waitUntilReady(timeout: Duration = .seconds(60)) async throws {
    let end = ContinuousClock.now + timeout
    while true {
      if let status = exit.status { throw failure("the daemon ended with status \(status) while starting") }
      do throws(ClientError) {
        if try await client.isReady() { return }
      } catch {
        // Not there yet; whether it ever comes, the exit status and the clock say.
      }
      guard ContinuousClock.now < end else { throw failure("the daemon was not ready within \(timeout)") }
      try await Task.sleep(for: .milliseconds(3))
    }
  }

  /// Ends the process at once (`SIGKILL`), whatever it does, and waits for its end.
  ///
  /// - Returns: True if it was running.
  @discardableResult
  public func kill() async -> Bool {
    let wasRunning = exit.status == nil
    if wasRunning { Glibc.kill(process.processIdentifier, SIGKILL) }
    let status = await exit.wait()
    await client.close()
    return wasRunning && status == -SIGKILL
  }

  /// Asks the daemon to end (`SIGTERM`) and waits for it.
  ///
  /// - Throws: ``Failure`` if it does not end with status 0 within a minute.
  public func stop() async throws {
    await client.close()
    if exit.status == nil { Glibc.kill(process.processIdentifier, SIGTERM) }
    // One that hangs is killed, which its status then says.
    let watch = Task {
      try await Task.sleep(for: .seconds(60))
      if exit.status == nil { Glibc.kill(process.processIdentifier, SIGKILL) }
    }
    let status = await exit.wait()
    watch.cancel()
    guard status == 0 else { throw failure("the daemon ended with status \(status) when it was asked to end") }
  }

  /// A failure with the end of the daemon's log.
  public func failure(_ what: String) -> Failure {
    let log = FileManager.default.contents(atPath: logPath) ?? Data()
    return Failure(description: what + "; the end of its log:\n" + String(decoding: log.suffix(2_000), as: UTF8.self))
  }
}

extension DaemonProcess {
  /// Waits until every projection has folded up to `position` and none is being rebuilt.
  ///
  /// - Returns: Their names.
  public func waitUntilFolded(_ position: Int64, timeout: Duration = .seconds(120)) async throws -> [ProjectionState] {
    let end = ContinuousClock.now + timeout
    while true {
      let states = try await client.projections()
      if states.allSatisfy({ $0.position >= position && $0.rebuild == nil }) { return states }
      guard ContinuousClock.now < end else {
        let found = states.map { String(decoding: $0.json.encoded(), as: UTF8.self) }.joined(separator: " ")
        throw failure("projections had not folded \(position) within \(timeout): \(found)")
      }
      try await Task.sleep(for: .milliseconds(5))
    }
  }

  /// Rebuilds a projection and waits until the new generation answers.
  public func rebuild(_ name: String, timeout: Duration = .seconds(120)) async throws {
    let generation = try await client.rebuild(name)
    let end = ContinuousClock.now + timeout
    while true {
      let states = try await client.projections()
      if states.contains(where: { $0.name == name && $0.generation >= generation && $0.rebuild == nil }) { return }
      guard ContinuousClock.now < end else { throw failure("the rebuild of \(name) did not end within \(timeout)") }
      try await Task.sleep(for: .milliseconds(5))
    }
  }

  /// The body of an answer.
  ///
  /// - Throws: ``Failure`` if its status is not 200.
  public func body(_ target: String) async throws -> [UInt8] {
    let response = try await client.request("GET", target)
    guard response.status == 200 else {
      throw failure("GET \(target) was answered with \(response.status): \(String(decoding: response.body, as: UTF8.self))")
    }
    return response.body
  }
}

extension DaemonProcess {
  /// The `ledgerd` of this build: it lies beside the test bundle that is running.
  ///
  /// - Throws: ``Failure`` if it is not there.
  public static func executableOfThisBuild() throws -> String {
    let bundle = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    let path = URL(fileURLWithPath: bundle).deletingLastPathComponent().appendingPathComponent("ledgerd").path
    guard FileManager.default.isExecutableFile(atPath: path) else {
      throw Failure(description: "\(path) is not there; build the product ledgerd first")
    }
    return path
  }

  /// A new directory with a path short enough for a socket.
  public static func temporaryDirectory() throws -> String {
    let path = FileManager.default.temporaryDirectory.path + "/ledger-" + String(UInt64.random(in: .min ... .max), radix: 36)
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    return path
  }
}
