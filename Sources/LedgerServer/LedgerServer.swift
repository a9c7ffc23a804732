// HTTP/1.1 on a Unix socket: sockets, limits, who calls, and which route answers. It knows the log and the engine, and of
// the projections only their names and questions.

public import EventLog
import Files
import Foundation
import Glibc
import HTTPTypes
import Hummingbird
import HummingbirdCore
import LedgerHTTP
public import Logging
import NIOCore
import NIOPosix
public import ProjectionEngine
public import ServiceLifecycle
import Synchronization

/// Why the server did not start.
public enum ServerError: Error, Equatable, Sendable, CustomStringConvertible {
  /// Another process answers on the socket.
  case socketInUse(String)
  /// There is something else than a socket at the path.
  case notASocket(String)
  /// The socket's directory is not there.
  case directoryMissing(String)
  /// The path is longer than the system takes.
  case pathTooLong(String)

  /// What happened and what to do.
  public var description: String {
    switch self {
    case .socketInUse(let path): "another process answers on \(path); stop it or choose another socket"
    case .notASocket(let path): "\(path) is there and is no socket; remove it or choose another path"
    case .directoryMissing(let path): "the socket's directory \(path) is not there; make it first"
    case .pathTooLong(let path): "the socket's path \(path) has more than 107 bytes; choose a shorter one"
    }
  }
}

/// Which socket the server has made.
private final class MadeSocket: Sendable {
  private let identity = Mutex<FileIdentity?>(nil)

  func set(_ identity: FileIdentity?) { self.identity.withLock { $0 = identity } }

  func isStill(at path: String) -> Bool { identity.withLock { $0 != nil && $0 == Files.identity(of: path) } }
}

/// The server, as a service: run it in a group, after the log and the workers.
public struct LedgerServer: Service {
  let log: EventLog
  let engine: ProjectionEngine
  let places: [ListenPlace]
  let limits: ServerLimits
  let access: Access
  let logger: Logger
  let onReady: @Sendable ([ListenPlace]) async -> Void

  /// Makes a server.
  ///
  /// - Parameters:
  ///   - places: Where connections are taken. A stale Unix socket is replaced.
  ///   - access: Who may do what.
  ///   - onReady: Called when all places take connections, with the ports that they got.
  public init(
    log: EventLog, engine: ProjectionEngine, places: [ListenPlace], limits: ServerLimits = ServerLimits(), access: Access,
    logger: Logger, onReady: @escaping @Sendable ([ListenPlace]) async -> Void = { _ in }
  ) {
    self.log = log
    self.engine = engine
    self.places = places
    self.limits = limits
    self.access = access
    self.logger = logger
    self.onReady = onReady
  }

  /// Serves until the group shuts down: then no new connection is taken, and requests under way are answered.
  public func run() async throws {
    for case .unixSocket(let path) in places { try await Self.prepareSocket(path) }
    let threads = NIOThreadPool(numberOfThreads: 4)
    threads.start()
    let made = MadeSocket()
    do {
      try await listen(threads, made)
    } catch {
      try await threads.shutdownGracefully()
      throw error
    }
    try await threads.shutdownGracefully()
    // Somebody may have taken the socket away, and another daemon its place.
    for case .unixSocket(let path) in places where made.isStill(at: path) { try Files.removeTree(path) }
  }

  /// Where a socket is bound before it has its owner and mode and gets its name, so that nobody meets it half made. NIO
  /// removes the path that it has bound when it ends, which must not be another daemon's by then.
  private static func unnamedPath(beside path: String) -> String {
    let unnamed = Files.parent(of: path) + "/." + String(getpid(), radix: 36)
    return unnamed.utf8.count <= 107 ? unnamed : path
  }

  private func listen(_ threads: NIOThreadPool, _ made: MadeSocket) async throws {
    var quiet = logger
    quiet.logLevel = .warning
    let count = ConnectionCount()
    let bodies = BodyBudget()
    let heads = HeadWatch()
    let child = LedgerChannel(
      responder: Self.responder(router(threads, heads, count, bodies).buildResponder(), logger: quiet),
      doors: AppendDoors(log: log, limits: limits, access: access, bodies: bodies), limits: limits)
    var listeners: [Listener<LedgerChannel>] = []
    var taken: [ListenPlace] = []
    do {
      for place in places {
        var bound = place
        if case .unixSocket(let path) = place { bound = .unixSocket(path: Self.unnamedPath(beside: path)) }
        let listener = try await Listener(
          bound, child: child, connectionCountMax: limits.connectionCountMax, count: count, logger: quiet)
        listeners.append(listener)
        if case .unixSocket(let path) = place, case .unixSocket(let unnamed) = bound {
          try access.protect(socket: unnamed)
          if unnamed != path { try Files.rename(unnamed, to: path) }
          made.set(Files.identity(of: path))
          taken.append(place)
        } else {
          taken.append(listener.place)
        }
      }
    } catch {
      for listener in listeners { try await listener.close() }
      throw error
    }
    await onReady(taken)
    try await withThrowingDiscardingTaskGroup { group in
      group.addTask(name: "heads") { await heads.run(log) { log.subscriptions.stopWaiting() } }
      defer { group.cancelAll() }
      try await run(listeners)
    }
  }

  /// What Hummingbird does with one request: its context, its route, its answer in one write.
  private static func responder(
    _ router: some HTTPResponder<LedgerContext>, logger: Logger
  ) -> HTTPChannelHandler.Responder {
    let date = DateHeader()
    return { request, writer, channel in
      var response = try await router.respond(to: request, context: LedgerContext(source: .init(channel: channel, logger: logger)))
      response.headers[.date] = date.now
      try await writer.write(response: response.head, body: response.body)
    }
  }

  /// Runs until the shutdown: requests under way are answered, but nobody who stalls holds it up for longer than the
  /// limit. What they sent was not acknowledged, or is on disk.
  private func run(_ listeners: [Listener<some ServerChildChannel>]) async throws {
    let seconds = limits.shutdownSecondsMax
    try await withThrowingTaskGroup(of: Bool.self) { group in
      group.addTask(name: "serve") {
        await withDiscardingTaskGroup { all in
          for listener in listeners { all.addTask(name: "listen") { await listener.run() } }
        }
        return true
      }
      group.addTask(name: "end") {
        do {
          try await gracefulShutdown()
          try await Task.sleep(for: .seconds(seconds))
        } catch is CancellationError {
          return false
        }
        return false
      }
      _ = try await group.next()
      group.cancelAll()
      try await group.waitForAll()
    }
  }

  /// Makes sure that a socket can be made at a path. One that nobody answers on is what a killed daemon leaves behind: it
  /// goes. Call it before opening a log, so that a mistyped path leaves nothing behind.
  ///
  /// - Throws: ``ServerError``.
  public static func prepareSocket(_ socketPath: String) async throws {
    guard socketPath.utf8.count <= 107 else { throw ServerError.pathTooLong(socketPath) }
    guard Files.isDirectory(Files.parent(of: socketPath)) else { throw ServerError.directoryMissing(Files.parent(of: socketPath)) }
    guard Files.exists(socketPath) else { return }
    guard try FileManager.default.attributesOfItem(atPath: socketPath)[.type] as? FileAttributeType == .typeSocket else {
      throw ServerError.notASocket(socketPath)
    }
    do {
      let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        .connect(unixDomainSocketPath: socketPath).get()
      try await channel.close()
    } catch {
      return try Files.removeTree(socketPath)
    }
    throw ServerError.socketInUse(socketPath)
  }

  private func router(
    _ threads: NIOThreadPool, _ heads: HeadWatch, _ connections: ConnectionCount, _ bodies: BodyBudget
  ) -> Router<LedgerContext> {
    let router = Router(context: LedgerContext.self)
    let append = AppendRoute(log: log, limits: limits, readers: ReaderPool(), access: access, bodies: bodies, threads: threads)
    let window = LogWindow(log: log, threads: threads)
    let read = ReadRoutes(window: window, heads: heads, limits: limits)
    let projections = ProjectionRoutes(log: log, engine: engine, limits: limits, threads: threads)
    let operations = OperationRoutes(
      log: log, engine: engine, connections: connections, connectionCountMax: limits.connectionCountMax, refusals: access.refusals)
    let schemas = SchemaRoutes(append: append)
    let quarantine = QuarantineRoutes(append: append)
    let subscriptions = SubscriptionRoutes(append: append, window: window, heads: heads)
    var routes: [Route] = [
      Route(.post, "/v1/events", needs: .append, append.handle), Route(.get, "/v1/events", read.list),
      Route(.get, "/v1/events/{position}", read.one),
      Route(.get, "/v1/log", operations.status), Route(.get, "/metrics", operations.metrics),
      Route(.get, "/healthz", needs: nil, operations.health),
      Route(.get, "/readyz", needs: nil, operations.readiness), Route(.get, "/v1/projections", projections.list),
      Route(.post, "/v1/projections/{name}/rebuild", needs: .rebuild, projections.rebuild),
      Route(.get, "/v1/projections/{name}/digest", projections.digest),
      Route(.get, "/v1/projections/{name}/parked", projections.parked),
      Route(.delete, "/v1/projections/{name}/rebuild", needs: .rebuild, projections.cancelRebuild),
    ]
    routes += schemas.routes + quarantine.routes + subscriptions.routes
    for (projection, query) in engine.queries {
      routes.append(
        Route(.get, "/v1/" + query.path) { request, context in
          try await projections.answer(projection, query, request, context)
        })
    }
    router.addMiddleware { ProblemMiddleware(logger: logger, routes: routes) }
    for route in routes {
      router.on(RouterPath(route.path), method: route.method) { request, context in
        try await access.answer(request, context, route)
      }
    }
    return router
  }
}
