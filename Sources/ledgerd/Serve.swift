// `ledgerd serve`: log, workers, server, in that order; shutting down is the reverse.

import ArgumentParser
import EventLog
import Files
import Foundation
import Glibc
import LedgerCore
import LedgerServer
import Logging
import ProjectionEngine
import Projections
import ServiceLifecycle
import Threads
import UnixSignals

/// Every projection of the product. Adding one is a line here.
func allProjections() -> [any Projection] {
  [CustomersProjection(), ChannelsProjection()]
}

struct Serve: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Runs the daemon.",
    discussion: "Example: ledgerd serve --data /var/lib/ledgerd --socket /run/ledgerd/ledgerd.sock")

  @Option(help: "The data directory; made if it is not there. On a local disk.")
  var data: String

  @Option(help: "The Unix socket to listen on, mode 0660. A stale one is replaced.")
  var socket: String

  @Option(help: "How much is logged: trace, debug, info, notice, warning, error or critical.")
  var logLevel = "info"

  @Option(help: "Bytes that one event may have, 1024 to 1048576.")
  var eventByteCountMax = 64 * 1024

  func validate() throws {
    guard Logger.Level(rawValue: logLevel) != nil else {
      throw ValidationError("--log-level must be trace, debug, info, notice, warning, error or critical")
    }
    guard (1_024...1_048_576).contains(eventByteCountMax) else {
      throw ValidationError("--event-byte-count-max must be from 1024 to 1048576")
    }
  }

  func run() async throws {
    LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
    var logger = Logger(label: "ledgerd")
    logger.logLevel = Logger.Level(rawValue: logLevel) ?? .info
    signal(SIGPIPE, SIG_IGN)
    // Whatever is created is for the owner and, in the socket's case, its group.
    umask(0o007)
    Descriptors.raiseLimit()
    do {
      try await serve(logger)
    } catch let error as LogError {
      throw stop(error.description, logger)
    } catch let error as ServerError {
      throw stop(error.description, logger)
    }
  }

  private func stop(_ reason: String, _ logger: Logger) -> ExitCode {
    logger.critical("\(reason)")
    return ExitCode(1)
  }

  private func serve(_ logger: Logger) async throws {
    var options = EventLogOptions()
    options.eventLimits = EventLimits(eventByteCountMax: eventByteCountMax)
    options.report = { report in
      switch report {
      case .indexDiscarded: logger.warning("the index belonged to another history and is made anew")
      case .indexBehind(let reason): logger.warning("the index could not be written: \(reason)")
      case .stalled(let reason): logger.error("appending waits for the disk: \(reason)")
      case .resumed(let head): logger.notice("appending goes on", metadata: ["head": "\(head)"])
      case .failed(let reason): logger.critical("appending has stopped until the next start: \(reason)")
      }
    }
    try await LedgerServer.prepareSocket(socket)
    let start = ContinuousClock.now
    let log = try EventLog(directory: data, options: options)
    logger.info(
      "log opened",
      metadata: ["id": "\(log.id.hex)", "head": "\(log.head)", "milliseconds": "\((ContinuousClock.now - start) / .milliseconds(1))"])
    let engine = ProjectionEngine(
      log: log, directory: data + "/projections", projections: allProjections(),
      options: EngineOptions(now: { Timestamp(microseconds: WallClock.microseconds()) }),
      events: { event in
        logger.log(
          level: event.isWarning ? .warning : .info, "projection \(event.kind.rawValue)",
          metadata: [
            "projection": "\(event.projection)", "generation": "\(event.generation.map(String.init) ?? "none")",
            "position": "\(event.position)", "detail": "\(event.detail)",
          ])
      })
    var limits = ServerLimits()
    limits.eventByteCountMax = eventByteCountMax
    let socketPath = socket
    let server = LedgerServer(
      log: log, engine: engine, socketPath: socketPath, limits: limits,
      access: Access(administrators: [0, getuid()], socketGroup: getegid(), logger: logger), logger: logger,
      onReady: { logger.info("listening", metadata: ["socket": "\(socketPath)"]) })
    let group = ServiceGroup(
      configuration: .init(
        services: [
          .init(service: LogService(log: log)), .init(service: EngineService(engine: engine)), .init(service: server),
        ],
        gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
    try await group.run()
    logger.info("stopped", metadata: ["head": "\(log.head)"])
  }
}

/// The log's place in the group: started first, closed last.
private struct LogService: Service {
  let log: EventLog

  func run() async throws {
    let timer = Task {
      while true {
        try await Task.sleep(for: .seconds(60))
        try log.clearStaleReaders()
      }
    }
    defer { timer.cancel() }
    try await gracefulShutdown()
    await onThread("ledger-close") { log.close() }
  }
}

/// The workers' place: after the log, before the server.
private struct EngineService: Service {
  let engine: ProjectionEngine

  func run() async throws {
    await onThread("ledger-start") { engine.start() }
    try await gracefulShutdown()
    await onThread("ledger-stop") { engine.stop() }
  }
}

/// Runs something that blocks away from the cooperative pool.
private func onThread(_ name: String, _ body: @escaping @Sendable () -> Void) async {
  await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
    _ = NamedThread(name: name) {
      body()
      continuation.resume()
    }
  }
}
