// The table of settings: the one place where each has its name, unit, range and meaning. Defaults are those of the options
// that the paths lead to.

import EventLog
import LedgerCore
import LedgerServer
import Logging
import ProjectionEngine

extension Setting {
  /// Every setting, in the order of the reference.
  static let all: [Setting] = places + accessSettings + logging + limits + appending + schemas + projections

  /// The setting of that name.
  static func named(_ name: String) -> Setting? { all.first { $0.name == name } }

  private static let places: [Setting] = [
    .text(
      "data", .places, \.data, placeholder: "DIR", range: "a directory on a local disk",
      "The data directory; made if it is not there. Only the daemon's user can read it."),
    .text(
      "socket", .places, \.socket, placeholder: "PATH", range: "a path of at most 107 bytes",
      "The Unix socket to listen on. A stale one is replaced. Not looked at if systemd hands a socket over."),
    .text(
      "listen", .places, \.listen, placeholder: "ADDRESS:PORT", range: "a loopback address and a port",
      "Listens on TCP, too, for clients that cannot use a Unix socket. Needs token-file."),
    .flag(
      "listen-beyond-loopback", .places, \.listensBeyondLoopback,
      "Allows listen to be any address. Tokens and events then cross the network as they are: put TLS before it."),
    .list(
      "allowed-hosts", .places, \.allowedHosts, placeholder: "HOST,…", range: "names of hosts, without ports",
      "What a request on TCP may have in its Host header, beside localhost, 127.0.0.1 and [::1]. Others are refused: a web page could "
        + "have made a browser send them."),
  ]

  private static let accessSettings: [Setting] = [
    .text(
      "socket-group", .access, \.socketGroup, placeholder: "GROUP", range: "a group's name or number",
      "The group that the socket is given to: its members may append and read. Without it, the group of the daemon, or of the socket "
        + "that systemd made."),
    .choice(
      "socket-mode", .access, \.socketMode, placeholder: "MODE",
      "Who may connect to the socket: its group, or everybody; then the list access says what each may do."),
    .text(
      "token-file", .access, \.tokenFile, placeholder: "FILE", range: "a file that others cannot read",
      "Who may call on TCP: names, hashes of tokens, roles and sources. Made by ledgerd token new."),
  ]

  private static let logging: [Setting] = [
    .choice("log-level", .logging, \.logLevel, placeholder: "LEVEL", "How much is logged."),
    .choice(
      "log-format", .logging, \.logFormat, placeholder: "FORMAT", "How log lines on standard error look: text, or an object of JSON a line."
    ),
  ]

  private static let limits: [Setting] = [
    .number("event-bytes-max", .limits, \.log.eventLimits.eventByteCountMax, .bytes, 1_024...(1 << 20), "What one event may have."),
    .number(
      "batch-events-max", .limits, \.limits.batchEventCountMax, .events, 1...100_000, "What one batch may have; a stream has no end."),
    .number(
      "request-bytes-max", .limits, \.limits.requestByteCountMax, .bytes, (1 << 10)...(1 << 30),
      "What one request's body may have when it is decompressed; a stream has no end."),
    .number("header-bytes-max", .limits, \.limits.headerByteCountMax, .bytes, 1_024...(1 << 20), "What the headers of a request may have."),
    .number(
      "attribute-bytes-max", .limits, \.log.eventLimits.attributeByteCountMax, .bytes, 256...(64 << 10),
      "What one attribute of an event may have."),
    .number(
      "attributes-max", .limits, \.log.eventLimits.attributeCountMax, .attributes, 16...1_024, "What one event may have at its top level."),
    .number(
      "identifier-bytes-max", .limits, \.log.eventLimits.identifierByteCountMax, .bytes, 64...512,
      "What the value of one identifier may have."),
    .number(
      "identifier-kinds-max", .limits, \.log.eventLimits.identifierKindCountMax, .kinds, 1...256,
      "Kinds of identifiers of one person in one event."),
    .number("participants-max", .limits, \.log.eventLimits.participantCountMax, .people, 1...256, "People in one event."),
    .number(
      "connections-max", .limits, \.limits.connectionCountMax, .connections, 1...65_536,
      "Connections at once, for each place that is listened on; more wait. Each needs a file descriptor."),
    .number("idle-seconds", .limits, \.limits.idleSeconds, .seconds, 1...86_400, "A connection that is silent for so long is closed."),
    .number(
      "head-seconds-max", .limits, \.limits.headSecondsMax, .seconds, 1...3_600,
      "A request whose headers take longer from the first byte to the last is refused, and the connection closed."),
    .number(
      "body-seconds-max", .limits, \.limits.bodySecondsMax, .seconds, 1...86_400,
      "A request whose body takes longer is refused, and the connection closed. A stream may last for ever; each of its lines has this "
        + "time."),
    .number(
      "at-least-seconds-max", .limits, \.limits.atLeastWaitSecondsMax, .seconds, 1...600,
      "How long a question with atLeast waits for its position before it is told not-yet."),
    .number(
      "heartbeat-seconds", .limits, \.limits.heartbeatSeconds, .seconds, 1...3_600,
      "A follower that has nothing to read gets a mark so often."),
    .number(
      "shutdown-seconds-max", .limits, \.limits.shutdownSecondsMax, .seconds, 1...600, "How long a shutdown waits for requests that stall."),
  ]

  private static let appending: [Setting] = [
    .number(
      "queue-bytes-max", .appending, \.log.queueByteCountMax, .bytes, (1 << 20)...(4 << 30),
      "Events that may wait for the appender; then sockets are not read."),
    .number(
      "group-bytes-max", .appending, \.log.groupByteCountMax, .bytes, (64 << 10)...(1 << 30),
      "What is committed together at most, unless a single request has more."),
    .number(
      "group-events-max", .appending, \.log.groupEventCountMax, .events, 1...1_000_000,
      "What is committed together at most, unless a single request has more."),
    .choice(
      "compression", .appending, \.log.commitCompression.name, placeholder: "LEVEL",
      "What new blocks are compressed with: zstd's levels, of which negative ones are fast and 19 is small, or nothing. Blocks that are "
        + "there stay as they are."),
    .number(
      "segment-positions", .appending, \.log.segmentPositionCount, .positions, 256...(1 << 32), multipleOf: 256,
      "Positions of one segment. For a new ledger only: it must stay what it was, or the daemon does not start."),
    .number(
      "log-map-bytes", .appending, \.log.mapByteCount, .bytes, (1 << 20)...(1 << 40),
      "The size that the memory map of a segment starts with; it doubles when needed. Address space, not memory."),
  ]

  private static let schemas: [Setting] = [
    .text(
      "schemas", .schemas, \.log.schemaDirectory, placeholder: "DIR", range: "a directory",
      "JSON Schemas, TYPE.json each, that the data of events must follow, such as Schemas/events. A schema that is applied by a call goes "
        + "before the one here."),
    .flag(
      "strict-schemas", .schemas, \.log.refusesTypesWithoutSchema, "Refuses events whose type has no schema."),
    .number(
      "quarantine-events-max", .schemas, \.log.quarantineEventCountMax, .events, 1...1_000_000,
      "Events that quarantine may hold; a request that would set more aside is refused."),
    .number(
      "quarantine-bytes-max", .schemas, \.log.quarantineByteCountMax, .bytes, (1 << 20)...(16 << 30),
      "What the events in quarantine may have together."),
  ]

  private static let projections: [Setting] = [
    .number(
      "projection-map-bytes", .projections, \.engine.mapByteCount, .bytes, (1 << 20)...(1 << 40),
      "The size that the memory map of a generation starts with; it doubles when needed. Address space, not memory."),
    .number(
      "batch-reserve-bytes", .projections, \.engine.batchByteCountReserve, .bytes, (1 << 20)...(4 << 30),
      "Room made sure of in the map before each batch."),
    .number(
      "cached-rows-max", .projections, \.engine.cachedRowCountMax, .rows, 1_000...100_000_000,
      "Rows that one worker holds in memory; a batch ends when it is reached."),
    .number(
      "waiting-bytes-max", .projections, \.engine.waitingByteCountMax, .bytes, (1 << 20)...(64 << 30),
      "New rows held in memory by one worker, beside the cached ones; a batch ends when it is reached. Less makes a rebuild slower, and "
        + "the daemon smaller."),
    .number(
      "live-batch-events-max", .projections, \.engine.liveBatchEventCountMax, .events, 1...10_000_000,
      "What one commit of a worker takes while it follows the log."),
    .number(
      "rebuild-batch-events-max", .projections, \.engine.rebuildBatchEventCountMax, .events, 1...10_000_000,
      "What one commit of a worker takes while it catches up or rebuilds."),
    .number(
      "dependent-batch-units-max", .projections, \.engine.dependentBatchUnitCountMax, .units, 1...1_000_000,
      "Changed units in one commit of a projection that depends on another."),
    .number(
      "changes-max", .projections, \.engine.changeCountMax, .changes, 1_000...1_000_000_000,
      "Changed units kept for a projection that lags behind the one it depends on; beyond it, it starts again."),
    .number("reader-threads", .projections, \.engine.readerCount, .threads, 1...100, "Threads that answer questions."),
    .number(
      "reader-queue-max", .projections, \.engine.readerQueueCountMax, .questions, 1...100_000,
      "Questions that may wait for a thread; one more is told busy."),
  ]
}

extension CommitCompression {
  /// What a configuration calls it.
  enum Name: Sendable, RawRepresentable, CaseIterable {
    case none
    case level(Int)

    static let allCases: [Name] = [.none] + [-7, -5, -4, -3, -2, -1, 1, 3, 6, 9, 12, 19].map { .level($0) }

    var rawValue: String {
      switch self {
      case .none: "none"
      case .level(let level): String(level)
      }
    }

    init?(rawValue: String) {
      guard let name = Self.allCases.first(where: { $0.rawValue == rawValue }) else { return nil }
      self = name
    }
  }

  var name: Name {
    get {
      switch self {
      case .none: .none
      case .zstd(let level): .level(level)
      }
    }
    set {
      switch newValue {
      case .none: self = .none
      case .level(let level): self = .zstd(level: level)
      }
    }
  }
}
