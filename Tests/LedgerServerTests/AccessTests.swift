// Who may do what: the rules by themselves, then over the real socket, then with other users of this machine.

import Bytes
import Crypto
import Foundation
import LedgerClient
import LedgerCore
import LedgerHTTP
import Logging
import Synchronization
import Testing
import Unix

@testable import LedgerServer

/// Keeps log lines.
final class LinesLog: Sendable {
  private let lines = Mutex<[String]>([])
  var all: [String] { lines.withLock { $0 } }

  var logger: Logger {
    var logger = Logger(label: "test") { _ in Handler(log: self) }
    logger.logLevel = .debug
    return logger
  }

  private struct Handler: LogHandler {
    let log: LinesLog
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.debug
    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
      get { metadata[key] }
      set { metadata[key] = newValue }
    }
    func log(event: LogEvent) {
      let metadata = (event.metadata ?? [:]).sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
      log.lines.withLock { $0.append("\(event.level) \(event.message) " + metadata.joined(separator: " ")) }
    }
  }
}

private func token(_ name: String, _ text: String, _ roles: Roles, _ sources: SourceScope = .all) -> Access.Token {
  Access.Token(name: name, digest: Array(SHA256.hash(data: Array(text.utf8))), roles: roles, sources: sources)
}

private let rules: [Access.Rule] = [
  .init(.user(1_001), roles: .append, sources: SourceScope(prefixes: ["urn:web:"])), .init(.user(1_002), roles: []),
  .init(.group(3_000), roles: .analyst), .init(.user(0), roles: []), .init(.user(1_003), roles: [.append, .read]),
]

private func access(tokens: [Access.Token] = [], hosts: [String] = [], log: LinesLog = LinesLog()) -> Access {
  Access(administrators: [0, 900], rules: rules, socketGroup: 2_000, tokens: tokens, hosts: hosts, logger: log.logger)
}

@Suite struct AccessRuleTests {
  @Test(arguments: [
    (PeerCredentials(user: 0, group: 0), "admin"), (.init(user: 900, group: 5), "admin"),  // whatever a rule says of root
    (.init(user: 1_001, group: 2_000), "append"),  // the rule decides alone: the socket's group gives nothing more
    (.init(user: 1_002, group: 2_000), ""), (.init(user: 7, group: 3_000), "analyst"),
    (.init(user: 7, group: 7, groups: [1, 3_000]), "analyst"), (.init(user: 1_003, group: 7, groups: [3_000]), "analyst"),
    (.init(user: 8, group: 2_000), "append read"), (.init(user: 8, group: 9, groups: [2_000]), "append read"),
    (.init(user: 8, group: 9, groups: [10]), ""),
  ])
  func `the daemon and root, then the first rule, then the socket's group decide`(peer: PeerCredentials, roles: String) {
    let principal = access().principal(of: peer)
    #expect(Roles.byName.filter { principal.roles.contains($0.role) }.map(\.name).joined(separator: " ") == roles)
    #expect(principal.name == "uid:\(peer.user)")
    #expect(principal.user == peer.user)
  }

  @Test(
    arguments: [
      (Roles.append, "append"), (.read, "read"), (.analyst, "read rebuild"), (.admin, "append read rebuild administer"),
      (Roles(), ""), ([.append, .analyst], "append read rebuild"),
    ] as [(Roles, String)])
  func `a role permits what it says`(roles: Roles, permissions: String) {
    let all: [Permission] = [.append, .read, .rebuild, .administer]
    #expect(all.filter { roles.permit($0) }.map(\.rawValue).joined(separator: " ") == permissions)
    for permission in all where !roles.permit(permission) {
      let problem = #expect(throws: Problem.self) { try Principal(name: "uid:7", roles: roles).require(permission) }
      #expect(problem?.code == .forbidden)
      #expect(problem?.detail.hasPrefix("uid:7 may not do this: ") == true)
    }
  }

  @Test(arguments: [
    (["urn:web:"], "urn:web:shop", true), (["urn:web:"], "urn:web", false), (["urn:web"], "urn:webshop", true), ([], "urn:web", false),
    (["a", "b"], "b", true), ([""], "x", true), (["caf\u{e9}"], "cafe\u{301}", false),
  ])
  func `a prefix covers the sources that begin with its bytes`(prefixes: [String], source: String, isCovered: Bool) {
    let bytes = Array(source.utf8)
    let covers = SourceScope(prefixes: prefixes).covers(bytes.rawSpan)
    #expect(covers == isCovered)
    let isCoveredByAll = SourceScope.all.covers(bytes.rawSpan)
    #expect(isCoveredByAll)
  }
}

@Suite struct TokenTests {
  private let known = [token("web", "s3cret-web", .append, SourceScope(prefixes: ["urn:web:"])), token("ana", "s3cret-ana", .analyst)]

  private func admit(
    _ authorization: String?, _ permission: Permission?, host: String? = "localhost", _ log: LinesLog = LinesLog(), hosts: [String] = []
  ) throws(Problem) -> Principal {
    try access(tokens: known, hosts: hosts, log: log).admit(
      .network, permission, route: "GET /x", host: host, authorization: authorization)
  }

  @Test func `a token is its principal, with its roles and sources`() throws {
    let web = try admit("Bearer s3cret-web", .append)
    #expect(web == Principal(name: "token:web", roles: .append, sources: SourceScope(prefixes: ["urn:web:"])))
    #expect(try admit("bearer s3cret-ana", .rebuild).name == "token:ana")
  }

  @Test(arguments: [nil, "", "Bearer", "Bearer ", "Bearer s3cret-we", "Bearer s3cret-web ", "Basic s3cret-web", "s3cret-web"])
  func `whoever has no token that is known is asked for one`(authorization: String?) {
    let log = LinesLog()
    let problem = #expect(throws: Problem.self) { try admit(authorization, .append, log) }
    #expect(problem?.code == .unauthorized)
    #expect(log.all.count == 1 && log.all[0].contains("principal=anonymous"))
    #expect(!log.all[0].contains("s3cret"))
  }

  @Test func `a token's role is all that it gives`() {
    let problem = #expect(throws: Problem.self) { try admit("Bearer s3cret-web", .rebuild) }
    #expect(problem?.code == .forbidden)
  }

  @Test(arguments: ["localhost", "LOCALHOST:80", "127.0.0.1", "127.0.0.1:8080", "[::1]:1", "[::1]", "ledger.internal:443"])
  func `a request addressed to this machine is taken`(host: String) throws {
    #expect(try admit(nil, nil, host: host, hosts: ["Ledger.internal"]).name == "anonymous")
  }

  @Test(arguments: [nil, "", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "evil.example:127", "[::1", ":80"])
  func `a request addressed to somebody else is refused, whatever its token`(host: String?) {
    for permission in [nil, Permission.append] {
      let problem = #expect(throws: Problem.self) { try admit("Bearer s3cret-web", permission, host: host) }
      #expect(problem?.code == .forbidden)
    }
  }

  @Test func `on the Unix socket neither token nor host mean anything`() throws {
    let peer = Principal(name: "uid:7", user: 7, roles: .read)
    let access = access(tokens: known)
    #expect(try access.admit(.peer(peer), .read, route: "GET /x", host: "evil.example", authorization: "Bearer nonsense") == peer)
    #expect(throws: Problem.self) {
      try access.admit(.peer(peer), .append, route: "POST /x", host: nil, authorization: "Bearer s3cret-web")
    }
  }
}

@Suite struct RefusalLogTests {
  @Test func `the like of a refusal is logged once in ten seconds, and how many were not`() {
    let log = LinesLog()
    let clock = Mutex(ContinuousClock.now)
    let refusals = RefusalLog(logger: log.logger) { clock.withLock { $0 } }
    let somebody = Principal(name: "uid:7", user: 7, roles: [])
    for _ in 0..<5 { refusals.report(Problem(.forbidden, "no"), somebody, route: "POST /v1/events") }
    refusals.report(Problem(.forbidden, "no"), somebody, route: "GET /v1/events")
    #expect(
      log.all == [
        "warning refused code=forbidden principal=uid:7 reason=no route=POST /v1/events uid=7",
        "warning refused code=forbidden principal=uid:7 reason=no route=GET /v1/events uid=7 unlogged=4",
      ])
    clock.withLock { $0 += .seconds(10) }
    refusals.report(Problem(.forbidden, "no"), somebody, route: "POST /v1/events")
    #expect(log.all.count == 3)
    #expect(refusals.count == 7)
  }

  @Test func `many who are refused cannot flood the log`() {
    let log = LinesLog()
    let refusals = RefusalLog(logger: log.logger)
    for user in 0..<1_000 {
      refusals.report(Problem(.forbidden, "no"), Principal(name: "uid:\(user)", roles: []), route: "GET /x")
    }
    #expect(log.all.count == RefusalLog.linesPerWindowMax)
    #expect(refusals.count == 1_000)
  }
}

/// The ways in which an event can be sent; each has `source` in it.
private let ways: [(name: String, sent: @Sendable (String) -> Sent)] = [
  ("single", { .post(event(freshID(), ["source": "\"\($0)\""])) }),
  ("batch", { .post("[\(event(freshID(), ["source": #""urn:web:1""#])),\(event(freshID(), ["source": "\"\($0)\""]))]", batched) }),
  ("stream", { .post(event(freshID(), ["source": "\"\($0)\""]), streamed) }),
  (
    "binary",
    {
      .post("{}", "application/json", "/v1/events", [("ce-specversion", "1.0"), ("ce-id", freshID()), ("ce-source", $0), ("ce-type", "t")])
    }
  ),
  ("escaped", { .post(event(freshID(), ["source": "\"\\u0075\($0.dropFirst())\""])) }),
]

@Suite(.serialized) struct ReplacedGrantTests {
  @Test(arguments: ["", "x-way: onwards"]) func `a connection that is open follows the grants, on both ways`(_ header: String) async throws
  {
    let rule = { (roles: Roles, sources: SourceScope) in Access.Grants(rules: [.init(.user(getuid()), roles: roles, sources: sources)]) }
    let server = try await RunningServer.start(administrators: [], rules: rule([.append], .all).rules)
    let headers = (header.isEmpty ? [] : [(name: "x-way", value: "onwards")]) + [(name: "content-type", value: structured)]
    // One client is one connection, which is kept.
    func send() async throws -> Int {
      try await server.client.request("POST", "/v1/events", headers: headers, body: Array(event(freshID()).utf8)).status
    }
    #expect(try await send() == 200)
    for (roles, sources, status) in [
      ([.read], .all, 403), ([.append], .all, 200), ([.append], SourceScope(prefixes: ["urn:other:"]), 403),
      ([.append], SourceScope(prefixes: ["urn:test"]), 200), ([], .all, 403), ([.admin], .all, 200),
    ] as [(Roles, SourceScope, Int)] {
      server.access.replace(rule(roles, sources))
      #expect(try await send() == status, "\(roles) \(sources)")
    }
    #expect(server.access.grants == rule([.admin], .all))
    try await server.stop()
  }
}

@Suite(.serialized) struct SourcePrefixTests {
  private func server(_ log: LinesLog) async throws -> RunningServer {
    try await .start(
      administrators: [], rules: [.init(.user(geteuid()), roles: .append, sources: SourceScope(prefixes: ["urn:web:", "urn:app:"]))],
      log: log.logger)
  }

  @Test func `whoever owns prefixes appends events of these sources and of no others`() async throws {
    let log = LinesLog()
    let server = try await server(log)
    for way in ways {
      try await server.accepted(way.sent("urn:web:shop"))
      let problem = try await server.refused(way.sent("urn:leak:shop"), 403, "forbidden", "may not append events of this source")
      if way.name == "batch" { #expect(problem["errors"]?.array?.first?["index"]?.integer == 1) }
    }
    // In an answer that has begun, the refusal is its last line.
    let answer = try await server.answer(.post(event(freshID(), ["source": #""urn:leak:shop""#]), streamed, "/v1/events?receipts=stream"))
    #expect(answer.lines.last?.contains(#""code":"forbidden""#) == true, "\(answer.text)")
    // A reader's call is not theirs, an appender's is.
    try await server.refused(.get("/v1/events"), 403, "forbidden", "reading needs the role read")
    try await server.refused(.post("", nil, "/v1/projections/customers/rebuild"), 403, "forbidden", "rebuilding needs the role analyst")
    #expect(try await server.get("/healthz").status == 200)
    try await server.stop()
    let lines = log.all.filter { $0.contains("refused") }
    #expect(lines.contains { $0.contains("principal=uid:\(geteuid())") && $0.contains("route=POST /v1/events ") }, "\(lines)")
    #expect(lines.contains { $0.contains("route=POST /v1/projections/{name}/rebuild") }, "\(lines)")
    #expect(!lines.contains { $0.contains("leak") })
  }
}

@Suite(.serialized, OtherUser.canBeSomebodyElse) struct OtherUserTests {
  @Test func `a stranger cannot connect, a member of the socket's group may append and read, but not rebuild`() async throws {
    let group: UInt32 = 61_002
    let server = try await RunningServer.start(socketGroup: group)
    #expect(try Accounts.group(ofFile: server.socketPath) == group)
    #expect(try Accounts.mode(ofFile: server.socketPath) == 0o660)
    // 7: curl could not connect.
    #expect(try OtherUser.stranger.curl(server.socketPath, "GET", "/healthz").status == 7)
    for member in [try OtherUser.nobody(in: group), OtherUser(user: 61_003, group: group)] {
      #expect(try member.curl(server.socketPath, "POST", "/v1/events", body: event(freshID())).output.hasSuffix("\n200"))
      let read = try member.curl(server.socketPath, "GET", "/v1/events/\(server.head)").output
      #expect(read.contains(#""principal":"uid:\#(member.user)""#) && read.hasSuffix("\n200"), "\(read)")
      let rebuild = try member.curl(server.socketPath, "POST", "/v1/projections/customers/rebuild").output
      #expect(rebuild.contains("rebuilding needs the role analyst") && rebuild.hasSuffix("\n403"), "\(rebuild)")
    }
    try await server.stop()
  }

  @Test func `where everybody may connect, rules say what each may do`() async throws {
    let log = LinesLog()
    let (reader, analyst, stranger) = (OtherUser(user: 61_004, group: 61_004), OtherUser(user: 61_005, group: 61_005), OtherUser.stranger)
    let server = try await RunningServer.start(
      rules: [.init(.user(reader.user), roles: .read), .init(.group(analyst.group), roles: .analyst)], socketMode: 0o666, log: log.logger)
    let body = event(freshID())
    let rebuild = "/v1/projections/channels/rebuild"
    for (user, method, path, status) in [
      (stranger, "GET", "/v1/log", 403), (stranger, "POST", "/v1/events", 403), (stranger, "GET", "/healthz", 200),
      (reader, "GET", "/v1/log", 200), (reader, "GET", "/metrics", 200), (reader, "POST", "/v1/events", 403),
      (reader, "POST", rebuild, 403),
      (analyst, "GET", "/v1/log", 200), (analyst, "POST", "/v1/events", 403), (analyst, "POST", rebuild, 200),
    ] {
      let output = try user.curl(server.socketPath, method, path, body: path == "/v1/events" ? body : nil).output
      #expect(output.hasSuffix("\n\(status)"), "\(user.user) \(method) \(path): \(output)")
    }
    #expect(server.head == 0)
    try await server.stop()
    #expect(log.all.contains { $0.contains("principal=uid:61001") && $0.contains("uid=61001") && $0.contains("route=GET /v1/log") })
  }
}
