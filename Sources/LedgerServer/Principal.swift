// Who calls, and what they may do: what everything behind the door needs to know of the door.

public import LedgerCore
import LedgerHTTP

/// What a call asks of its caller.
public enum Permission: String, Sendable {
  /// Appending events.
  case append
  /// Reading events, views, metrics and states.
  case read
  /// Rebuilding projections.
  case rebuild
  /// Everything else that changes something.
  case administer
}

/// The capacities in which somebody may call.
public struct Roles: OptionSet, Sendable, Hashable {
  /// One bit a role.
  public let rawValue: UInt8

  /// The roles of these bits.
  public init(rawValue: UInt8) { self.rawValue = rawValue }

  /// May append.
  public static let append = Roles(rawValue: 1)
  /// May read.
  public static let read = Roles(rawValue: 2)
  /// May read, and rebuild projections.
  public static let analyst = Roles(rawValue: 4)
  /// May do everything.
  public static let admin = Roles(rawValue: 8)

  /// The roles by the names that configurations use, in this order.
  public static let byName: [(name: String, role: Roles)] = [
    ("append", .append), ("read", .read), ("analyst", .analyst), ("admin", .admin),
  ]

  /// Whether one of them gives a permission.
  public func permit(_ permission: Permission) -> Bool {
    if contains(.admin) { return true }
    return switch permission {
    case .append: contains(.append)
    case .read: contains(.read) || contains(.analyst)
    case .rebuild: contains(.analyst)
    case .administer: false
    }
  }
}

/// Somebody who calls.
public struct Principal: Sendable, Equatable {
  /// How they are named in envelopes and logs: `uid:1000`, or `token:NAME` on TCP. Never a customer.
  public let name: String
  /// Their user id, on the Unix socket.
  public let user: UInt32?
  /// What they may do.
  public let roles: Roles
  /// Whose events they may append.
  public let sources: SourceScope

  /// Names somebody.
  public init(name: String, user: UInt32? = nil, roles: Roles, sources: SourceScope = .all) {
    self.name = name
    self.user = user
    self.roles = roles
    self.sources = sources
  }

  /// Whoever has not said who they are: may do nothing.
  static let nobody = Principal(name: "anonymous", roles: [])

  /// Refuses what they may not do.
  ///
  /// - Throws: A ``Problem`` of code `forbidden`.
  func require(_ permission: Permission) throws(Problem) {
    guard !roles.permit(permission) else { return }
    let need =
      switch permission {
      case .append: "appending needs the role append"
      case .read: "reading needs the role read"
      case .rebuild: "rebuilding needs the role analyst"
      case .administer: "this needs the role admin"
      }
    throw Problem(.forbidden, "\(name) may not do this: \(need); an administrator gives roles in the daemon's configuration")
  }
}
