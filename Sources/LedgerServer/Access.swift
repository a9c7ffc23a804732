// Who may do what. One door for every way in: a connection is identified once, each request is then admitted or refused
// without waiting for anything, so that any transport can ask on its event loop.
//
// Invariants:
// - On the Unix socket the kernel names the caller; headers mean nothing there. On TCP only a token does.
// - The daemon's user and root may do everything; then the first rule that names the caller decides alone; then the
//   socket's group may append and read. Nobody else may do anything.
// - A refusal is logged, without personal data, and at a bounded rate; every one is counted.
// - Rules and tokens may be replaced while requests are answered: each request is judged by those of one moment.
// - Whether a token is right takes the same time however much of it is (all hashes are compared, in constant time).

import Crypto
public import LedgerCore
import LedgerHTTP
public import Logging
import NIOCore
import Synchronization
import Unix

/// Who may do what.
public struct Access: Sendable {
  /// Gives roles to a user or to a group's members.
  public struct Rule: Sendable, Equatable {
    /// Whom it is about.
    public enum Subject: Sendable, Equatable {
      /// The user of this id.
      case user(UInt32)
      /// The members of the group of this id, by primary or supplementary membership.
      case group(UInt32)
    }
    /// Whom it is about.
    public var subject: Subject
    /// What they may do; nothing, if empty.
    public var roles: Roles
    /// Whose events they may append.
    public var sources: SourceScope

    /// Joins the parts.
    public init(_ subject: Subject, roles: Roles, sources: SourceScope = .all) {
      self.subject = subject
      self.roles = roles
      self.sources = sources
    }

    fileprivate func isAbout(_ peer: PeerCredentials) -> Bool {
      switch subject {
      case .user(let id): peer.user == id
      case .group(let id): peer.isMember(of: id)
      }
    }
  }

  /// Somebody on TCP.
  public struct Token: Sendable, Equatable {
    /// How they are named, after `token:`.
    public var name: String
    /// SHA-256 of the token: 32 bytes. The token itself is kept nowhere.
    public var digest: [UInt8]
    /// What they may do.
    public var roles: Roles
    /// Whose events they may append.
    public var sources: SourceScope

    /// Joins the parts.
    public init(name: String, digest: [UInt8], roles: Roles, sources: SourceScope = .all) {
      precondition(digest.count == SHA256.byteCount, "a digest has 32 bytes")
      self.name = name
      self.digest = digest
      self.roles = roles
      self.sources = sources
    }
  }

  /// What an administrator grants: what may change while the daemon runs.
  public struct Grants: Sendable, Equatable {
    /// The first that names a caller decides.
    public var rules: [Rule]
    /// Who may call on TCP.
    public var tokens: [Token]

    /// Joins the parts.
    public init(rules: [Rule] = [], tokens: [Token] = []) {
      self.rules = rules
      self.tokens = tokens
    }
  }

  /// The grants in force.
  private final class Current: Sendable {
    let grants: Mutex<Grants>
    let version = Atomic<Int>(0)

    init(_ grants: Grants) { self.grants = Mutex(grants) }
  }

  /// What a connection says about who calls.
  enum Identity: Sendable, Equatable {
    /// The kernel says who.
    case peer(Principal)
    /// Each request says it, by its token.
    case network
  }

  private let administrators: Set<UInt32>
  private let current: Current
  /// The group that the socket is given to.
  let socketGroup: UInt32
  /// The socket's permissions: who may connect at all.
  let socketMode: UInt32
  private let hosts: Set<String>
  /// Refusals so far, and their lines in the log.
  let refusals: RefusalLog

  /// Makes the rules.
  ///
  /// - Parameters:
  ///   - administrators: Users that may do everything: the daemon's own and root, usually.
  ///   - rules: The first that names a caller decides.
  ///   - socketGroup: The group that the socket is given to; its members may append and read.
  ///   - socketMode: The socket's permissions. 0660: its owner and its group may connect; 0666: everybody may, and the
  ///     rules decide.
  ///   - tokens: Who may call on TCP.
  ///   - hosts: Names, beside those of the loopback interface, that a request on TCP may be addressed to.
  ///   - logger: Where refusals go.
  public init(
    administrators: Set<UInt32>, rules: [Rule] = [], socketGroup: UInt32, socketMode: UInt32 = 0o660, tokens: [Token] = [],
    hosts: [String] = [], logger: Logger
  ) {
    self.administrators = administrators
    current = Current(Grants(rules: rules, tokens: tokens))
    self.socketGroup = socketGroup
    self.socketMode = socketMode
    self.hosts = Set(["localhost", "127.0.0.1", "::1"] + hosts.map { $0.lowercased() })
    refusals = RefusalLog(logger: logger)
  }

  // MARK: Changing

  /// The grants in force.
  public var grants: Grants { current.grants.withLock { $0 } }

  /// Puts other grants in force, for every request that begins from now on. A stream that is under way goes on as it was
  /// admitted.
  public func replace(_ grants: Grants) {
    current.grants.withLock { $0 = grants }
    current.version.add(1, ordering: .releasing)
  }

  /// Moves when grants are replaced: whoever keeps a principal asks again.
  var version: Int { current.version.load(ordering: .acquiring) }

  // MARK: Identifying

  /// Who is at the other end of a connection, by the grants in force. Call it on the connection's event loop.
  ///
  /// - Returns: ``Identity/network`` if it is no Unix socket.
  func identity(of channel: any Channel) throws -> Identity {
    let peer = try channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) {
      try PeerCredentials.ofPeer(socket: $0)
    }
    if case .some(.some(let peer)) = peer { return .peer(principal(of: peer)) }
    return .network
  }

  /// What a process that connected to the Unix socket may do.
  func principal(of peer: PeerCredentials) -> Principal {
    let name = "uid:\(peer.user)"
    if administrators.contains(peer.user) { return Principal(name: name, user: peer.user, roles: .admin) }
    if let rule = grants.rules.first(where: { $0.isAbout(peer) }) {
      return Principal(name: name, user: peer.user, roles: rule.roles, sources: rule.sources)
    }
    return Principal(name: name, user: peer.user, roles: peer.isMember(of: socketGroup) ? [.append, .read] : [])
  }

  /// Whose token it is.
  private func principal(bearing text: some StringProtocol) -> Principal? {
    let digest = Array(SHA256.hash(data: Array(text.utf8)))
    var found: Token?
    for token in grants.tokens where Self.areEqual(token.digest, digest) { found = token }
    return found.map { Principal(name: "token:" + $0.name, roles: $0.roles, sources: $0.sources) }
  }

  /// Compares without stopping at the first difference.
  private static func areEqual(_ one: [UInt8], _ other: [UInt8]) -> Bool {
    var difference: UInt8 = 0
    for index in 0..<SHA256.byteCount { difference |= one[index] ^ other[index] }
    return difference == 0
  }

  /// Gives the socket to its group and sets who may connect.
  func protect(socket path: String) throws(UnixError) {
    if try Accounts.group(ofFile: path) != socketGroup { try Accounts.setGroup(socketGroup, ofFile: path) }
    try Accounts.setMode(socketMode, ofFile: path)
  }

  // MARK: Admitting

  /// Who sends a request, if they may.
  ///
  /// - Parameters:
  ///   - permission: What the call needs; nil: it is open to everybody.
  ///   - route: The method and the path's pattern, for the log; never the path itself, which may name a customer.
  ///   - host: The header `Host`.
  ///   - authorization: The header `Authorization`.
  /// - Throws: A ``Problem`` of code `unauthorized` or `forbidden`; it has been logged.
  func admit(
    _ identity: Identity, _ permission: Permission?, route: String, host: String?, authorization: String?
  ) throws(Problem) -> Principal {
    var principal = Principal.nobody
    do throws(Problem) {
      switch identity {
      case .peer(let known): principal = known
      case .network:
        try check(host: host)
        if let permission { principal = try bearer(authorization, permission) }
      }
      if let permission { try principal.require(permission) }
      return principal
    } catch {
      refusals.report(error, principal, route: route)
      throw error
    }
  }

  private func bearer(_ authorization: String?, _ permission: Permission) throws(Problem) -> Principal {
    guard let authorization else {
      throw Problem(.unauthorized, "a token is needed here: send Authorization: Bearer and a token that ledgerd token new made")
    }
    let parts = authorization.split(separator: " ", maxSplits: 1)
    guard parts.count == 2, parts[0].lowercased() == "bearer", let principal = principal(bearing: parts[1]) else {
      throw Problem(.unauthorized, "the token is not known; send Authorization: Bearer and a token that is in the daemon's token file")
    }
    return principal
  }

  /// Refuses requests that a page of somebody else's made a browser send here (DNS rebinding): they carry that page's host.
  private func check(host: String?) throws(Problem) {
    guard let host, hosts.contains(Self.name(ofHost: host)) else {
      throw Problem(
        .forbidden, "the request is addressed to a host that this daemon does not answer for; use localhost, or add it to allowed-hosts")
    }
  }

  /// The name without the port, and an IPv6 address without its brackets.
  private static func name(ofHost host: String) -> String {
    var name = host.lowercased()[...]
    if let colon = name.lastIndex(of: ":"), name[name.index(after: colon)...].allSatisfy(\.isNumber),
      name.firstIndex(of: ":") == colon || name.hasPrefix("[")
    {
      name = name[..<colon]
    }
    if name.hasPrefix("["), name.hasSuffix("]") { name = name.dropFirst().dropLast() }
    return String(name)
  }
}
