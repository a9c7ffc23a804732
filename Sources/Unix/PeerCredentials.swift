// Who is at the other end of a Unix socket, as the kernel says it: nobody can claim to be somebody else.
//
// Invariant: what is told is who connected, at the time of connecting; a process that changes its user later changes nothing.

import Glibc

/// An error of the operating system.
public struct UnixError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The system's code (`errno`).
  public let code: Int32
  /// The C function that failed, and on what.
  public let operation: String

  init(_ operation: String, code: Int32 = errno) {
    self.code = code
    self.operation = operation
  }

  /// What happened and where.
  public var description: String {
    let text = unsafe String(cString: strerror(code))
    return "\(operation): \(text)"
  }
}

/// The process that connected to a Unix socket (`SO_PEERCRED` and `SO_PEERGROUPS`, socket(7) and unix(7)).
public struct PeerCredentials: Sendable, Equatable {
  /// Its process id; it may have ended since.
  public var process: Int32
  /// Its effective user id.
  public var user: UInt32
  /// Its effective group id.
  public var group: UInt32
  /// Its supplementary group ids.
  public var groups: [UInt32]

  /// Joins the parts.
  public init(process: Int32 = 0, user: UInt32, group: UInt32, groups: [UInt32] = []) {
    self.process = process
    self.user = user
    self.group = group
    self.groups = groups
  }

  /// True if the process was in a group, by whatever way.
  public func isMember(of id: UInt32) -> Bool { group == id || groups.contains(id) }

  /// Asks the kernel for the peer of a connected socket.
  ///
  /// - Parameter socket: A descriptor that stays open during the call.
  /// - Returns: nil if it is no Unix socket.
  public static func ofPeer(socket: Int32) throws(UnixError) -> PeerCredentials? {
    var domain: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    guard unsafe getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 else { throw UnixError("getsockopt SO_DOMAIN") }
    guard domain == AF_UNIX else { return nil }
    // struct ucred of unix(7): process, user, group.
    var credentials: [UInt32] = [0, 0, 0]
    length = socklen_t(3 * MemoryLayout<UInt32>.size)
    guard unsafe getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0 else {
      throw UnixError("getsockopt SO_PEERCRED")
    }
    return PeerCredentials(
      process: Int32(bitPattern: credentials[0]), user: credentials[1], group: credentials[2], groups: try groups(of: socket))
  }

  private static func groups(of socket: Int32) throws(UnixError) -> [UInt32] {
    var capacity = 32
    while true {
      var ids = [UInt32](repeating: 0, count: capacity)
      var length = socklen_t(capacity * MemoryLayout<UInt32>.size)
      if unsafe getsockopt(socket, SOL_SOCKET, peerGroups, &ids, &length) == 0 {
        return Array(ids.prefix(Int(length) / MemoryLayout<UInt32>.size))
      }
      // ERANGE: there are more; `length` says how many bytes they take (setgroups(2) allows 65,536 of them).
      let needed = Int(length) / MemoryLayout<UInt32>.size
      guard errno == ERANGE, needed > capacity else { throw UnixError("getsockopt SO_PEERGROUPS") }
      capacity = needed
    }
  }

  /// `SO_PEERGROUPS` of asm-generic/socket.h, since Linux 4.13; glibc's headers in Swift do not name it.
  private static let peerGroups: Int32 = 59
}
