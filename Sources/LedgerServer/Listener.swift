// Where connections come in: sockets made here, and sockets that were made by somebody else (systemd's activation). Each
// place has the same handlers behind it.
//
// Invariants:
// - All places are bound before the first connection is taken; if one cannot be, none is.
// - A socket that was handed over keeps its mode and group, and is not removed: its maker sees to it.

import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdCore
import LedgerCore
import Logging
import NIOCore
import NIOExtras
import NIOPosix
import ServiceLifecycle
import Synchronization

/// Where a server takes connections.
public enum ListenPlace: Sendable, Equatable, CustomStringConvertible {
  /// A Unix socket, made at a path.
  case unixSocket(path: String)
  /// An address and a port; 0 takes any that is free.
  case tcp(host: String, port: Int)
  /// A socket that listens already; `name` is for people.
  case inherited(descriptor: Int32, name: String)

  /// The place in words.
  public var description: String {
    switch self {
    case .unixSocket(let path): path
    case .tcp(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    case .inherited(_, let name): name
    }
  }
}

/// Connections now, over all places.
final class ConnectionCount: Sendable {
  private let count = Atomic<Int>(0)
  var now: Int { count.load(ordering: .relaxed) }

  func watch(_ channel: any Channel) {
    count.wrappingAdd(1, ordering: .relaxed)
    channel.closeFuture.whenComplete { [self] _ in count.wrappingSubtract(1, ordering: .relaxed) }
  }
}

/// Takes the connections of one place.
struct Listener<Child: ServerChildChannel>: Sendable {
  let place: ListenPlace
  private let child: Child
  private let logger: Logger
  private let channel: NIOAsyncChannel<Child.Value, Never>
  private let quiescing: ServerQuiescingHelper

  /// Binds a place.
  ///
  /// - Parameter child: What each connection gets.
  init(
    _ requested: ListenPlace, child: Child, connectionCountMax: Int, count: ConnectionCount, logger: Logger,
    group: MultiThreadedEventLoopGroup = .singleton
  ) async throws {
    let quiescing = ServerQuiescingHelper(group: group)
    let bootstrap = ServerBootstrap(group: group)
      .serverChannelOption(.backlog, value: 1_024)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelOption(.allowRemoteHalfClosure, value: true)
      .serverChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(AvailableConnectionsChannelHandler(delegate: ConnectionLimit(connectionCountMax)))
          try channel.pipeline.syncOperations.addHandler(quiescing.makeServerChannelHandler(channel: channel))
        }
      }
    let setUp: @Sendable (any Channel) -> EventLoopFuture<Child.Value> = { channel in
      count.watch(channel)
      return child.setup(channel: channel, logger: logger)
    }
    switch requested {
    case .unixSocket(let path):
      channel = try await bootstrap.bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true, childChannelInitializer: setUp)
      place = requested
    case .tcp(let host, let port):
      channel = try await bootstrap.bind(host: host, port: port, childChannelInitializer: setUp)
      place = .tcp(host: host, port: channel.channel.localAddress?.port ?? port)
    case .inherited(let descriptor, _):
      channel = try await bootstrap.bind(descriptor, childChannelInitializer: setUp)
      place = requested
    }
    self.child = child
    self.logger = logger
    self.quiescing = quiescing
  }

  /// Serves until the shutdown; then no new connection is taken, and those that are there end with what they do.
  func run() async {
    await withGracefulShutdownHandler {
      await withDiscardingTaskGroup { connections in
        do {
          try await channel.executeThenClose { inbound in
            for try await connection in inbound {
              connections.addTask(name: "connection") { await child.handle(value: connection, logger: logger) }
            }
          }
        } catch {
          logger.error("no more connections are taken", metadata: ["place": "\(place)", "error": "\(error)"])
        }
      }
    } onGracefulShutdown: {
      quiescing.initiateShutdown(promise: nil)
    }
  }

  /// Gives the place back without serving.
  func close() async throws { try await channel.channel.close() }
}

/// The header `Date` (RFC 9110 §5.6.7), made once a second.
final class DateHeader: Sendable {
  private let made = Mutex<(second: Int64, text: String)>((.min, ""))

  var now: String {
    let second = Int64(Date.now.timeIntervalSince1970)
    return made.withLock { made in
      if made.second != second { made = (second, Self.text(ofSecond: second)) }
      return made.text
    }
  }

  /// `Sun, 06 Nov 1994 08:49:37 GMT`; seconds are those since 1970.
  static func text(ofSecond second: Int64) -> String {
    // 1970 began on a Thursday.
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][Int(second / 86_400 % 7)]
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    // 1994-11-06T08:49:37…
    let parts = Timestamp(microseconds: second * 1_000_000).rfc3339.split { "-T.Z".contains($0) }
    let month = Int(parts[1]).map { months[$0 - 1] } ?? ""
    return "\(weekday), \(parts[2]) \(month) \(parts[0]) \(parts[3]) GMT"
  }
}
