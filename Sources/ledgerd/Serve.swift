// `ledgerd serve`: log, workers, server, in that order; shutting down is the reverse.

import ArgumentParser
import EventLog
import Files
import Foundation
import Glibc
import LedgerCore
import LedgerServer
import Logging
import NIOCore
import ProjectionEngine
import Projections
import ServiceLifecycle
import Threads
import Unix
import UnixSignals

/// Every projection of the product. Adding one is a line here.
func allProjections() -> [any Projection] {
  [CustomersProjection(), ChannelsProjection()]
}

struct Serve: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Runs the daemon.",
    discussion: """
      Takes what is set from flags, the environment and a file, in this order. Ends when it gets SIGTERM or SIGINT. Exit codes: 0 it was \
      asked to end, 1 failed, 2 the configuration is wrong.

      Example: ledgerd serve --data /var/lib/ledgerd --socket /run/ledgerd/ledgerd.sock

      \(SettingsReference.flags)
      """)

  @OptionGroup var options: SettingOptions

  func run() async throws {
    let loaded = try options.load()
    let configuration = loaded.configuration
    let logger = Self.makeLogger(configuration)
    for name in loaded.unknownVariables {
      logger.warning("a variable looks like a setting and is none", metadata: ["variable": "\(name)"])
    }
    signal(SIGPIPE, SIG_IGN)
    // Until the reloader listens to it.
    signal(SIGHUP, SIG_IGN)
    // Whatever is created is for the owner and, in the socket's case, its group.
    umask(0o007)
    Descriptors.raiseLimit()
    do {
      try await Daemon(configuration: configuration, logger: logger, reread: options.reread).run()
    } catch let errors as ConfigurationErrors {
      throw Complaint.usage(errors)
    } catch let error as Preflight.Shortage {
      throw stop(error.description, logger)
    } catch let error as LogError {
      throw stop(error.description, logger)
    } catch let error as ServerError {
      throw stop(error.description, logger)
    } catch let error as UnixError {
      throw stop(error.description, logger)
    } catch let error as IOError {
      throw stop("it cannot listen: \(error)", logger)
    }
  }

  private static func makeLogger(_ configuration: Configuration) -> Logger {
    let format = configuration.logFormat
    LoggingSystem.bootstrap { label in
      switch format {
      case .text: StreamLogHandler.standardError(label: label)
      case .json: JSONLogHandler(label: label)
      }
    }
    var logger = Logger(label: "ledgerd")
    logger.logLevel = configuration.logLevel
    return logger
  }

  private func stop(_ reason: String, _ logger: Logger) -> ExitCode {
    logger.critical("\(reason)")
    return ExitCode(1)
  }
}

/// Log, workers, server and watchdog, composed.
private struct Daemon {
  let configuration: Configuration
  let logger: Logger
  /// Reads the configuration again, from where it came.
  let reread: @Sendable () throws(ConfigurationErrors) -> LoadedConfiguration
  let environment = ProcessInfo.processInfo.environment

  func run() async throws {
    guard let data = configuration.data else { preconditionFailure("a configuration without data is refused when it is read") }
    try Preflight(configuration, data: data, projectionCount: allProjections().count)
      .check(
        addressSpaceByteCountMax: ProcessLimits.addressSpaceByteCountMax, descriptorCountMax: ProcessLimits.descriptorCountMax)
    let inherited = try Systemd.inheritedSockets(environment)
    let access = try configuration.makeAccess(
      inheritedSocketGroup: try inherited.first { !$0.path.isEmpty }.map { try Accounts.group(ofFile: $0.path) }, logger: logger)
    let places = try places(inherited)
    for case .unixSocket(let path) in places { try await LedgerServer.prepareSocket(path) }
    let log = try open(data)
    let engine = makeEngine(log, data)
    var limits = configuration.limits
    limits.eventByteCountMax = configuration.log.eventLimits.eventByteCountMax
    let server = LedgerServer(
      log: log, engine: engine, places: places, limits: limits, access: access, logger: logger, onReady: { announce($0) })
    var services: [ServiceGroupConfiguration.ServiceConfiguration] = [
      .init(service: LogService(log: log)), .init(service: EngineService(engine: engine)),
    ]
    services.append(
      .init(
        service: Reloader(reread: reread, running: configuration, access: access, environment: environment, logger: logger),
        successTerminationBehavior: .ignore))
    if let interval = Systemd.watchdogInterval(environment) {
      services.append(
        .init(
          service: Watchdog(log: log, engine: engine, interval: interval, environment: environment, logger: logger),
          successTerminationBehavior: .ignore))
    }
    services.append(.init(service: server))
    try await ServiceGroup(
      configuration: .init(services: services, gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
    ).run()
    logger.info("stopped", metadata: ["head": "\(log.head)"])
  }

  /// The sockets that were handed over, else the socket that was set; and TCP, if it was.
  private func places(_ inherited: [InheritedSocket]) throws(ConfigurationErrors) -> [ListenPlace] {
    var places: [ListenPlace] = []
    for socket in inherited {
      guard socket.isUnix || configuration.tokenFile != nil else {
        throw ConfigurationErrors(errors: [
          ConfigurationError(place: "LISTEN_FDS", message: "a TCP socket needs token-file: there only a token says who is calling")
        ])
      }
      places.append(
        .inherited(descriptor: socket.descriptor, name: socket.path.isEmpty ? "descriptor \(socket.descriptor)" : socket.path))
    }
    if !inherited.contains(where: \.isUnix) { places.append(.unixSocket(path: configuration.socket)) }
    if let listen = configuration.listen {
      do throws(ListenAddress.Failure) {
        let address = try ListenAddress(listen)
        places.append(.tcp(host: address.host, port: address.port))
      } catch {
        throw ConfigurationErrors(errors: [ConfigurationError(place: nil, message: error.description)])
      }
    }
    return places
  }

  private func open(_ data: String) throws(LogError) -> EventLog {
    var options = configuration.log
    let logger = logger
    options.report = { report in
      switch report {
      case .indexDiscarded: logger.warning("the index belonged to another history and is made anew")
      case .indexBehind(let reason): logger.warning("the index could not be written", metadata: ["reason": "\(reason)"])
      case .stalled(let reason): logger.error("appending waits for the disk", metadata: ["reason": "\(reason)"])
      case .resumed(let head): logger.notice("appending goes on", metadata: ["head": "\(head)"])
      case .failed(let reason): logger.critical("appending has stopped until the next start", metadata: ["reason": "\(reason)"])
      }
    }
    let start = ContinuousClock.now
    let log = try EventLog(directory: data, options: options)
    logger.info(
      "log opened",
      metadata: ["id": "\(log.id.hex)", "head": "\(log.head)", "milliseconds": "\((ContinuousClock.now - start) / .milliseconds(1))"])
    return log
  }

  private func makeEngine(_ log: EventLog, _ data: String) -> ProjectionEngine {
    let logger = logger
    return ProjectionEngine(
      log: log, directory: data + "/projections", projections: allProjections(), options: configuration.engine,
      events: { event in
        logger.log(
          level: event.isWarning ? .warning : .info, "projection \(event.kind.rawValue)",
          metadata: [
            "projection": "\(event.projection)", "generation": "\(event.generation.map(String.init) ?? "none")",
            "position": "\(event.position)", "detail": "\(event.detail)",
          ])
      })
  }

  private func announce(_ places: [ListenPlace]) {
    for place in places {
      switch place {
      case .unixSocket(let path): logger.info("listening", metadata: ["socket": "\(path)"])
      case .tcp, .inherited: logger.info("listening", metadata: ["place": "\(place)"])
      }
    }
    do throws(UnixError) {
      try Systemd.notify("READY=1\nSTATUS=listening on \(places.map(\.description).joined(separator: ", "))", environment)
    } catch {
      logger.warning("the service manager cannot be told that the daemon is ready", metadata: ["error": "\(error)"])
    }
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
func onThread(_ name: String, _ body: @escaping @Sendable () -> Void) async {
  await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
    _ = NamedThread(name: name) {
      body()
      continuation.resume()
    }
  }
}
