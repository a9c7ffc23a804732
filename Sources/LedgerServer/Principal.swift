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
    // SO_PEERCRED is 17 on every Linux port but PA-RISC, MIPS and SPARC.
    guard case .unixDomainSocket = channel.localAddress?.protocol.kind, let options = channel as? any SocketOptionProvider else {
      return Principal(name: "token", isAdmin: true)
    }
    let peer: PeerCredentials = try await options.peerCredentials()
    return Principal(name: "uid:\(peer.user)", isAdmin: administrators.contains(peer.user))
  }
}

extension SocketOptionProvider {
  fileprivate func peerCredentials() async throws -> PeerCredentials {
    try await unsafeGetSocketOption(level: .socket, name: .init(rawValue: 17)).get()
  }
}

extension NIOBSDSocket.ProtocolFamily {
  fileprivate enum Kind { case unixDomainSocket, other }
  fileprivate var kind: Kind { self == .unix ? .unixDomainSocket : .other }
}
