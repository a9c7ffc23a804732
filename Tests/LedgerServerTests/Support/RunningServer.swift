// The real server in this process: log, engine and server composed as `ledgerd serve` composes them, on a directory and a
// socket of their own.
//
// Invariant: a suite's server is started before its first test and stopped, directory and all, after its last one.

import EventLog
import Foundation
import LedgerClient
import LedgerCore
import LedgerServer
import Logging
import ProjectionEngine
import Projections
import ServiceLifecycle
import Testing
import Threads

/// A directory of its own, removed when it is let go of.
final class TemporaryDirectory: Sendable {
  let path: String

  init() throws {
    path = FileManager.default.temporaryDirectory.appendingPathComponent("ledger-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit {
    do {
      try FileManager.default.removeItem(atPath: path)
    } catch {
      print("could not remove \(path): \(error)")
    }
  }
}

/// Says nothing.
private let silent: Logger = {
  var logger = Logger(label: "test")
  logger.logLevel = .critical
  return logger
}()

/// A server that runs.
final class RunningServer: Sendable {
  let log: EventLog
  let engine: ProjectionEngine
  let socketPath: String
  let client: LedgerClient
  let access: Access
  private let directory: TemporaryDirectory
  private let group: ServiceGroup
  private let running: Task<Void, any Error>

  /// The server of the suite that runs.
  @TaskLocal static var current: RunningServer?

  /// Starts one and waits until it is ready.
  static func start(
    administrators: Set<UInt32> = [0, getuid()], rules: [Access.Rule] = [], socketGroup: UInt32 = getegid(),
    socketMode: UInt32 = 0o660, log: Logger? = nil, _ adjust: (inout ServerLimits) -> Void = { _ in }
  ) async throws -> RunningServer {
    let directory = try TemporaryDirectory()
    var limits = ServerLimits()
    adjust(&limits)
    let server = try await RunningServer(
      directory, limits,
      Access(administrators: administrators, rules: rules, socketGroup: socketGroup, socketMode: socketMode, logger: log ?? silent))
    while try await server.client.request("GET", "/readyz").status != 200 { try await Task.sleep(for: .milliseconds(5)) }
    return server
  }

  private init(_ directory: TemporaryDirectory, _ limits: ServerLimits, _ access: Access) async throws {
    self.directory = directory
    self.access = access
    var options = EventLogOptions()
    options.mapByteCount = 1 << 24
    options.eventLimits = EventLimits(eventByteCountMax: limits.eventByteCountMax)
    let log = try EventLog(directory: directory.path + "/data", options: options)
    var engineOptions = EngineOptions(now: { Timestamp(microseconds: WallClock.microseconds()) })
    engineOptions.mapByteCount = 1 << 24
    engineOptions.batchByteCountReserve = 1 << 20
    let engine = ProjectionEngine(
      log: log, directory: directory.path + "/data/projections", projections: [CustomersProjection(), ChannelsProjection()],
      options: engineOptions)
    let socketPath = directory.path + "/s"
    let (ready, isReady) = AsyncStream<Bool>.makeStream()
    let server = LedgerServer(
      log: log, engine: engine, places: [.unixSocket(path: socketPath)], limits: limits, access: access, logger: silent,
      onReady: { _ in isReady.yield(true) })
    let group = ServiceGroup(
      configuration: .init(
        services: [
          .init(
            service: Stage {
            } end: {
              log.close()
            }),
          .init(
            service: Stage {
              engine.start()
            } end: {
              engine.stop()
            }), .init(service: server),
        ], logger: silent))
    let running = Task<Void, any Error> {
      defer { isReady.finish() }
      try await group.run()
    }
    self.log = log
    self.engine = engine
    self.socketPath = socketPath
    self.group = group
    self.running = running
    client = LedgerClient(.unixSocket(path: socketPath), retry: .never, answerTimeout: .seconds(30))
    // The stream ends without a word if the server did not start; `running` knows why.
    if await ready.first(where: { $0 }) == nil { try await running.value }
  }

  /// The last durable position.
  var head: Int64 { Int64(log.head) }

  /// The log's id as answers give it.
  var logID: String { log.id.hex }

  /// Ends it as SIGTERM would.
  func stop() async throws {
    await group.triggerGracefulShutdown()
    try await running.value
  }
}

/// A part of the daemon that starts and ends on a thread of its own.
private struct Stage: Service {
  let begin: @Sendable () -> Void
  let end: @Sendable () -> Void

  func run() async throws {
    await onThread(begin)
    try await gracefulShutdown()
    await onThread(end)
  }

  private func onThread(_ body: @escaping @Sendable () -> Void) async {
    await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
      _ = NamedThread(name: "test-stage") {
        body()
        continuation.resume()
      }
    }
  }
}

/// Gives a suite its server.
struct ServerScope: SuiteTrait, TestScoping {
  let adjust: @Sendable (inout ServerLimits) -> Void

  func provideScope(for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void) async throws {
    let server = try await RunningServer.start(adjust)
    do {
      try await RunningServer.$current.withValue(server) { try await function() }
    } catch {
      try await server.stop()
      throw error
    }
    try await server.stop()
  }
}

extension Trait where Self == ServerScope {
  /// One server for the whole suite.
  static var server: Self { ServerScope { _ in } }

  /// One server for the whole suite, with other limits.
  static func server(_ adjust: @escaping @Sendable (inout ServerLimits) -> Void) -> Self { ServerScope(adjust: adjust) }
}
