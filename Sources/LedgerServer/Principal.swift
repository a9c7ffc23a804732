// Who is at the other end of a connection. On the Unix socket the kernel says so (`SO_PEERCRED`); nobody can claim to be
// somebody else.

import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import NIOPosix

/// Somebody who calls.
public struct Principal: Sendable, Equatable {
  /// How they are named in envelopes and logs: `uid:1000`, or `token` on TCP. Never a customer.
  public var name: String
  /// Whether they may rebuild and administer; everybody who can connect may append and read.
  public var isAdmin: Bool

  /// Names somebody.
  public init(name: String, isAdmin: Bool) {
    self.name = name
    self.isAdmin = isAdmin
  }
}

/// The kernel's `struct ucred` (unix(7)): what `SO_PEERCRED` answers.
struct PeerCredentials: Sendable {
  var process: Int32 = 0
  var user: UInt32 = .max
  var group: UInt32 = .max
}

/// What a request carries through the router.
struct LedgerContext: RequestContext {
  var coreContext: CoreRequestContextStorage
  let channel: any Channel

  init(source: ApplicationRequestContextSource) {
    coreContext = .init(source: source)
    channel = source.channel
  }

  /// Bodies are collected by the routes themselves, with their own limits and errors.
  var maxUploadSize: Int { 8 << 20 }

  /// The caller, as the kernel names them.
  ///
  /// - Parameter administrators: The user ids that may administer.
  func principal(administrators: Set<UInt32>) async throws -> Principal {
    guard let principal = Principal.ofPeer(channel, administrators: administrators) else { return Principal(name: "token", isAdmin: true) }
    return try await principal.get()
  }
}

extension Principal {
  /// Who is at the other end of a Unix socket, as the kernel names them; nil: the connection is none, and says nothing.
  ///
  /// On the channel's event loop the future is complete when it is returned.
  static func ofPeer(_ channel: any Channel, administrators: Set<UInt32>) -> EventLoopFuture<Principal>? {
    guard case .unixDomainSocket = channel.localAddress?.protocol.kind, let options = channel as? any SocketOptionProvider else {
      return nil
    }
    // SO_PEERCRED is 17 on every Linux port but PA-RISC, MIPS and SPARC.
    let credentials: EventLoopFuture<PeerCredentials> = options.unsafeGetSocketOption(level: .socket, name: .init(rawValue: 17))
    return credentials.map { peer in Principal(name: "uid:\(peer.user)", isAdmin: administrators.contains(peer.user)) }
  }
}

extension NIOBSDSocket.ProtocolFamily {
  fileprivate enum Kind { case unixDomainSocket, other }
  fileprivate var kind: Kind { self == .unix ? .unixDomainSocket : .other }
}
