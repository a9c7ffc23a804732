// `/v1/subscriptions`: made and removed by administrators, consumed by whoever may read.
//
// Invariants:
// - A consumer that waits, or whose socket does not take more, has no thread: it waits in `Subscriptions` or for its socket.
// - When a stream ends, however it does, what its consumer has in hand comes again without waiting for its time.

import Bytes
import EventLog
import HTTPTypes
import Hummingbird
import JSON
import LedgerCore
import LedgerHTTP
import NIOCore

struct SubscriptionRoutes: Sendable {
  let append: AppendRoute
  let window: LogWindow
  let heads: HeadWatch
  private var log: EventLog { window.log }
  private var subscriptions: Subscriptions { window.log.subscriptions }

  /// Events that one call takes if it does not say.
  static let fetchCountDefault: UInt64 = 100
  /// Seconds that a call waits for events at most.
  static let waitSecondsMax: UInt64 = 60
  /// Positions that one call names at most.
  static let positionCountMax = 10_000
  /// Bytes of the reason of a failure.
  static let reasonByteCountMax = 1_024
  /// Parked events on one page.
  static let parkedCountDefault: UInt64 = 100
  static let parkedCountMax: UInt64 = 1_000

  var routes: [Route] {
    [
      Route(.get, "/v1/subscriptions", list), Route(.get, "/v1/subscriptions/{name}", show),
      Route(.put, "/v1/subscriptions/{name}", put), Route(.delete, "/v1/subscriptions/{name}", delete),
      Route(.post, "/v1/subscriptions/{name}/fetch", needs: .read, fetch),
      Route(.get, "/v1/subscriptions/{name}/events", stream),
      Route(.post, "/v1/subscriptions/{name}/acknowledge", needs: .read) { try await settle($0, $1, .acknowledge) },
      Route(.post, "/v1/subscriptions/{name}/fail", needs: .read) { try await settle($0, $1, .fail(reason: "")) },
      Route(.post, "/v1/subscriptions/{name}/release", needs: .read) { try await settle($0, $1, .release) },
      Route(.get, "/v1/subscriptions/{name}/parked", parked),
      Route(.post, "/v1/subscriptions/{name}/parked/retry") { try await decide($0, $1, isRetry: true) },
      Route(.post, "/v1/subscriptions/{name}/parked/skip") { try await decide($0, $1, isRetry: false) },
    ]
  }

  // MARK: Managing

  func list(_ request: Request, _ context: LedgerContext) async throws -> Response {
    _ = try Parameters(request, allowed: [])
    var writer = JSONWriter()
    writer.beginObject()
    writer.member("head", log.head)
    writer.key("subscriptions")
    writer.beginArray()
    for status in try await subscriptions.list() { describe(status, &writer) }
    writer.endArray()
    writer.endObject()
    return Response(json: writer.bytes)
  }

  func show(_ request: Request, _ context: LedgerContext) async throws -> Response {
    _ = try Parameters(request, allowed: [])
    var writer = JSONWriter()
    describe(try await subscriptions.status(of: try name(context)), &writer)
    return Response(json: writer.bytes)
  }

  func put(_ request: Request, _ context: LedgerContext) async throws -> Response {
    _ = try Parameters(request, allowed: [])
    let name = try name(context)
    let bytes = try await append.bytes(of: request)
    var order = SubscriptionOrder()
    if bytes.contains(where: { $0 > 0x20 }) {
      try requireJSON(request)
      try withObject(bytes) { (root, json) throws(Problem) in try order.read(root, json) }
    }
    let made = try await subscriptions.put(name, order.settings, start: order.start)
    var writer = JSONWriter()
    describe(made.status, isNew: made.isNew, &writer)
    return Response(json: writer.bytes)
  }

  func delete(_ request: Request, _ context: LedgerContext) async throws -> Response {
    _ = try Parameters(request, allowed: [])
    let name = try name(context)
    try await subscriptions.delete(name)
    var writer = JSONWriter()
    writer.beginObject()
    writer.member("name", name.description)
    writer.member("deleted", true)
    writer.endObject()
    return Response(json: writer.bytes)
  }

  private func describe(_ status: SubscriptionStatus, isNew: Bool? = nil, _ writer: inout JSONWriter) {
    let settings = status.settings
    writer.beginObject()
    writer.member("name", status.name.description)
    if let isNew { writer.member("created", isNew) }
    writer.member("createdtime", status.created.rfc3339)
    writer.member("start", status.start)
    writer.member("checkpoint", status.checkpoint)
    writer.member("lagEvents", log.head - min(log.head, status.checkpoint))
    writer.member("inFlight", status.inFlightCount)
    writer.member("parked", status.parkedCount)
    writer.member("delivered", status.deliveredCount)
    writer.member("redelivered", status.redeliveredCount)
    writer.key("consumers")
    writer.beginArray()
    for consumer in status.consumers {
      writer.beginObject()
      writer.member("name", consumer.name.description)
      writer.member("inFlight", consumer.inFlightCount)
      writer.endObject()
    }
    writer.endArray()
    writer.member("maxInFlight", settings.inFlightCountMax)
    writer.member("acknowledgeWithinSeconds", Int(settings.acknowledgeWithin.components.seconds))
    writer.member("redeliverAfterSeconds", Int(settings.redeliverAfter.components.seconds))
    writer.member("maxFailures", settings.failureCountMax)
    writer.key("filter")
    writer.beginObject()
    for condition in settings.filter.conditions {
      writer.key(condition.attribute.rawValue)
      writer.beginArray()
      for value in condition.values { writer.string(String(decoding: value, as: UTF8.self)) }
      writer.endArray()
    }
    if let since = settings.filter.since { writer.member("since", since.rfc3339) }
    if let before = settings.filter.before { writer.member("before", before.rfc3339) }
    writer.endObject()
    writer.endObject()
  }

  // MARK: Consuming

  func fetch(_ request: Request, _ context: LedgerContext) async throws -> Response {
    let parameters = try Parameters(request, allowed: ["consumer", "limit", "wait"])
    let name = try name(context)
    let consumer = try consumer(parameters)
    let limit = Int(try parameters.number("limit", 1...UInt64(Subscriptions.fetchCountMax)) ?? Self.fetchCountDefault)
    let wait = Int64(try parameters.number("wait", 0...Self.waitSecondsMax) ?? 0)
    let deliveries = try await subscriptions.fetch(name, consumer: consumer, countMax: limit, wait: .seconds(wait))
    return Response(
      status: .ok, headers: [.contentType: MediaType.ndjson],
      body: ResponseBody { writer in
        try await write(deliveries, &writer)
        try await writer.finish(nil)
      })
  }

  private func write(_ deliveries: [Delivery], _ writer: inout any ResponseBodyWriter) async throws {
    var rest = deliveries[...]
    while !rest.isEmpty {
      let (bytes, count) = try await window.lines(of: rest)
      try await writer.write(ByteBuffer(bytes: bytes))
      rest = rest.dropFirst(count)
    }
  }

  /// Events as they come, for as long as the client stays. It acknowledges by calls of their own.
  func stream(_ request: Request, _ context: LedgerContext) async throws -> Response {
    let parameters = try Parameters(request, allowed: ["consumer"])
    let name = try name(context)
    let consumer = try consumer(parameters)
    // A name that is not there is an answer of its own, and no stream.
    _ = try await subscriptions.status(of: name)
    let subscriptions = subscriptions
    let channel = context.channel
    return Response(
      status: .ok, headers: [.contentType: MediaType.ndjson],
      body: ResponseBody { writer in
        // Whoever waits here does not see the connection close. It only stops waiting then: leaving a second time would take
        // from the consumer what its next stream has brought already.
        channel.closeFuture.whenComplete { _ in
          Task(name: "consumer's connection closed") { await subscriptions.stopWaiting(name, consumer: consumer) }
        }
        do {
          try await stream(name, consumer, channel, &writer)
        } catch {
          await leave(subscriptions, name, consumer)
          throw error
        }
        await leave(subscriptions, name, consumer)
        try await writer.finish(nil)
      })
  }

  private func stream(
    _ name: SubscriptionName, _ consumer: SubscriptionName, _ channel: any Channel, _ writer: inout any ResponseBodyWriter
  ) async throws {
    let interval = Duration.seconds(append.limits.heartbeatSeconds)
    var isCaughtUp = false
    // Writing to a connection that has just closed can seem to work; what is taken then would have failed for nothing.
    while !heads.isOver, channel.isActive {
      // First what is there, so that a mark can say that there is no more.
      let deliveries = try await subscriptions.fetch(
        name, consumer: consumer, countMax: Int(Self.fetchCountDefault), wait: isCaughtUp ? interval : .zero)
      if deliveries.isEmpty {
        guard !heads.isOver, channel.isActive else { return }
        let checkpoint = try await subscriptions.status(of: name).checkpoint
        try await writer.write(EventLine.mark(isCaughtUp ? .heartbeat : .caughtUp, checkpoint))
        isCaughtUp = true
      } else {
        try await write(deliveries, &writer)
      }
    }
  }

  private func settle(_ request: Request, _ context: LedgerContext, _ settlement: Settlement) async throws -> Response {
    let parameters = try Parameters(request, allowed: ["consumer"])
    let name = try name(context)
    let consumer = try consumer(parameters)
    try requireJSON(request)
    let bytes = try await append.bytes(of: request)
    var isFailure = false
    if case .fail = settlement { isFailure = true }
    let order = try withObject(bytes) { [isFailure] (root, json) throws(Problem) in
      try SettlementOrder(root, json, takesReason: isFailure)
    }
    guard let events = order.events else {
      throw Problem(.invalidRequest, "the body must have positions, a list, or through, a position")
    }
    let result = try await subscriptions.settle(
      name, consumer: consumer, events, isFailure ? .fail(reason: order.reason ?? "not given") : settlement)
    var writer = JSONWriter()
    writer.beginObject()
    switch settlement {
    case .acknowledge: writer.member("acknowledged", result.count)
    case .fail:
      writer.member("failed", result.count)
      writer.member("parked", result.parkedCount)
    case .release: writer.member("released", result.count)
    }
    writer.member("checkpoint", result.checkpoint)
    writer.endObject()
    return Response(json: writer.bytes)
  }

  // MARK: Parked events

  func parked(_ request: Request, _ context: LedgerContext) async throws -> Response {
    let parameters = try Parameters(request, allowed: ["after", "limit"])
    let after = try parameters.number("after") ?? 0
    let limit = Int(try parameters.number("limit", 1...Self.parkedCountMax) ?? Self.parkedCountDefault)
    let found = try await subscriptions.parked(try name(context), after: after, limit: limit + 1)
    var writer = JSONWriter()
    writer.beginObject()
    writer.key("parked")
    writer.beginArray()
    for event in found.prefix(limit) {
      writer.beginObject()
      writer.member("position", event.position)
      writer.member("failures", event.failureCount)
      writer.member("time", event.time.rfc3339)
      writer.member("reason", event.reason)
      writer.member("retried", event.isRetried)
      writer.endObject()
    }
    writer.endArray()
    writer.member("next", orNull: found.count > limit ? found[limit - 1].position : nil)
    writer.endObject()
    return Response(json: writer.bytes)
  }

  private func decide(_ request: Request, _ context: LedgerContext, isRetry: Bool) async throws -> Response {
    _ = try Parameters(request, allowed: [])
    let name = try name(context)
    try requireJSON(request)
    let bytes = try await append.bytes(of: request)
    let order = try withObject(bytes) { (root, json) throws(Problem) in try ParkedOrder(root, json) }
    let count =
      isRetry
      ? try await subscriptions.retryParked(name, order.positions) : try await subscriptions.skipParked(name, order.positions)
    var writer = JSONWriter()
    writer.beginObject()
    writer.member(isRetry ? "retried" : "skipped", count)
    writer.endObject()
    return Response(json: writer.bytes)
  }

  // MARK: Requests

  private func name(_ context: LedgerContext) throws(Problem) -> SubscriptionName {
    guard let name = SubscriptionName(try context.decodedParameter("name")) else {
      throw Problem(.invalidRequest, "a subscription's name has 1 to 128 of the characters A-Z a-z 0-9 . _ -")
    }
    return name
  }

  private func consumer(_ parameters: Parameters) throws(Problem) -> SubscriptionName {
    guard let name = SubscriptionName(parameters.first("consumer") ?? "default") else {
      throw Problem(.invalidRequest, "parameter consumer has 1 to 128 of the characters A-Z a-z 0-9 . _ -")
    }
    return name
  }

  private func requireJSON(_ request: Request) throws(Problem) {
    guard request.headers[.contentType].map(MediaType.essence(of:)) == MediaType.json else {
      throw Problem(.invalidRequest, "Content-Type must be \(MediaType.json)")
    }
  }

  /// Parses a body that must be an object.
  private func withObject<R>(_ bytes: [UInt8], _ body: (JSONNode, borrowing JSONReader) throws(Problem) -> R) throws(Problem) -> R {
    try append.readers.withReader(keepUpTo: bytes.count) { (pooled) throws(Problem) in
      let root: JSONNode
      do throws(JSONError) {
        root = try pooled.reader.parse(bytes.rawSpan)
      } catch {
        throw Problem(.invalidJSON, error.description)
      }
      guard pooled.reader.kind(of: root) == .object else { throw Problem(.invalidRequest, "the body must be an object") }
      return try body(root, pooled.reader)
    }
  }
}

/// A consumer has gone; that its subscription has, too, is no error here.
private func leave(_ subscriptions: Subscriptions, _ name: SubscriptionName, _ consumer: SubscriptionName) async {
  do throws(SubscriptionError) {
    try await subscriptions.leave(name, consumer: consumer)
  } catch {
    // What it had in hand comes again when its time is up, or after the next start.
  }
}

/// What a subscription is to be, read from a body.
private struct SubscriptionOrder: Sendable {
  var settings = SubscriptionSettings()
  var start = SubscriptionStart.after(0)

  mutating func read(_ root: JSONNode, _ json: borrowing JSONReader) throws(Problem) {
    // A closure cannot take `self` and the reader both: members are listed first.
    for (key, value) in Self.members(of: root, json) {
      switch key {
      case "start": start = try Self.start(value, json)
      case "maxInFlight": settings.inFlightCountMax = try Self.number(key, value, json, SubscriptionSettings.inFlightCounts)
      case "acknowledgeWithinSeconds":
        settings.acknowledgeWithin = .seconds(try Self.number(key, value, json, SubscriptionSettings.acknowledgeSeconds))
      case "redeliverAfterSeconds":
        settings.redeliverAfter = .seconds(try Self.number(key, value, json, SubscriptionSettings.redeliverSeconds))
      case "maxFailures": settings.failureCountMax = try Self.number(key, value, json, SubscriptionSettings.failureCounts)
      case "filter": settings.filter = try Self.filter(value, json)
      default:
        throw Problem(
          .invalidRequest,
          "the body has a member that is not known; known are start, filter, maxInFlight, acknowledgeWithinSeconds, "
            + "redeliverAfterSeconds and maxFailures")
      }
    }
  }

  static func members(of object: JSONNode, _ json: borrowing JSONReader) -> [(key: String, value: JSONNode)] {
    var found: [(String, JSONNode)] = []
    json.forEachMember(of: object) { key, value in found.append((json.string(of: key), value)) }
    return found
  }

  private static func number(
    _ name: String, _ node: JSONNode, _ json: borrowing JSONReader, _ range: ClosedRange<Int>
  ) throws(Problem) -> Int {
    guard let number = json.int64(of: node), range.contains(Int(number)) else {
      throw Problem(.invalidRequest, "\(name) must be a whole number from \(range.lowerBound) to \(range.upperBound)")
    }
    return Int(number)
  }

  private static func start(_ node: JSONNode, _ json: borrowing JSONReader) throws(Problem) -> SubscriptionStart {
    if json.kind(of: node) == .string {
      switch json.string(of: node) {
      case "beginning": return .after(0)
      case "head": return .head
      default: break
      }
    } else if let position = json.int64(of: node), position >= 0 {
      return .after(Position(position))
    }
    throw Problem(.invalidRequest, "start must be \"beginning\", \"head\", or the position to begin behind")
  }

  private static func filter(_ node: JSONNode, _ json: borrowing JSONReader) throws(Problem) -> EventFilter {
    guard json.kind(of: node) == .object else { throw Problem(.invalidRequest, "filter must be an object") }
    var filter = EventFilter()
    var (count, byteCount) = (0, 0)
    for (name, value) in members(of: node, json) {
      switch name {
      case "since": filter.since = try time(name, value, json)
      case "before": filter.before = try time(name, value, json)
      default:
        guard let attribute = EventFilter.Attribute(rawValue: name) else {
          let known = EventFilter.Attribute.allCases.map(\.rawValue).joined(separator: ", ")
          throw Problem(.invalidRequest, "filter has a member that is not known; known are \(known), since and before")
        }
        let values = try texts(name, value, json)
        guard !filter.conditions.contains(where: { $0.attribute == attribute }) else {
          throw Problem(.invalidRequest, "filter has \(name) twice")
        }
        count += values.count
        byteCount += values.reduce(0) { $0 + $1.count }
        filter.conditions.append(EventFilter.Condition(attribute, values))
      }
    }
    guard count <= SubscriptionSettings.filterValueCountMax, byteCount <= SubscriptionSettings.filterByteCountMax else {
      throw Problem(
        .invalidRequest,
        "a filter has at most \(SubscriptionSettings.filterValueCountMax) values of \(SubscriptionSettings.filterByteCountMax) bytes together"
      )
    }
    // The same filter is the same however it is written.
    filter.conditions.sort { $0.attribute.rawValue < $1.attribute.rawValue }
    return filter
  }

  private static func time(_ name: String, _ node: JSONNode, _ json: borrowing JSONReader) throws(Problem) -> Timestamp {
    guard json.kind(of: node) == .string, let parsed = Timestamp.parse(json.string(of: node)) else {
      throw Problem(.invalidRequest, "\(name) must be RFC 3339, such as 2026-11-21T20:00:00Z")
    }
    return parsed.timestamp
  }

  /// One text or a list of some.
  private static func texts(_ name: String, _ node: JSONNode, _ json: borrowing JSONReader) throws(Problem) -> [[UInt8]] {
    var nodes: [JSONNode] = []
    if json.kind(of: node) == .string { nodes = [node] }
    json.forEachElement(of: node) { nodes.append($0) }
    for node in nodes where json.kind(of: node) != .string { nodes = [] }
    guard !nodes.isEmpty else { throw Problem(.invalidRequest, "\(name) must be a text or a list of texts") }
    var values: [[UInt8]] = []
    for node in nodes where !values.contains(json.bytes(of: node)) { values.append(json.bytes(of: node)) }
    return values
  }
}

/// Positions in a body.
private func listedPositions(_ node: JSONNode, _ json: borrowing JSONReader) throws(Problem) -> [Position] {
  var found: [Position] = []
  var isList = json.kind(of: node) == .array
  json.forEachElement(of: node) { element in
    if let position = json.int64(of: element), position > 0 { found.append(Position(position)) } else { isList = false }
  }
  guard isList, found.count <= SubscriptionRoutes.positionCountMax else {
    throw Problem(.invalidRequest, "positions must be a list of at most \(SubscriptionRoutes.positionCountMax) positions")
  }
  return found
}

/// Which events were settled, read from a body.
private struct SettlementOrder: Sendable {
  private(set) var events: SettledEvents?
  private(set) var reason: String?

  init(_ root: JSONNode, _ json: borrowing JSONReader, takesReason: Bool) throws(Problem) {
    for (key, value) in SubscriptionOrder.members(of: root, json) {
      switch key {
      case "positions" where events == nil: events = .positions(try listedPositions(value, json))
      case "through" where events == nil:
        guard let position = json.int64(of: value), position >= 0 else {
          throw Problem(.invalidRequest, "through must be a position")
        }
        events = .through(Position(position))
      case "reason" where takesReason:
        guard json.kind(of: value) == .string, json.stringByteCount(of: value) <= SubscriptionRoutes.reasonByteCountMax else {
          throw Problem(
            .invalidRequest,
            "reason must be a text of at most \(SubscriptionRoutes.reasonByteCountMax) bytes, without personal data")
        }
        reason = json.string(of: value)
      default:
        throw Problem(
          .invalidRequest,
          "the body must have positions, a list, or through, a position, and not both\(takesReason ? "; and a reason" : "")")
      }
    }
  }
}

/// Which parked events are meant, read from a body.
private struct ParkedOrder: Sendable {
  /// nil: all.
  private(set) var positions: [Position]?

  init(_ root: JSONNode, _ json: borrowing JSONReader) throws(Problem) {
    let members = SubscriptionOrder.members(of: root, json)
    guard members.count == 1, let (key, value) = members.first else { throw Self.problem }
    switch key {
    case "positions": positions = try listedPositions(value, json)
    case "all":
      guard json.bool(of: value) == true else { throw Self.problem }
    default: throw Self.problem
    }
  }

  private static var problem: Problem { Problem(.invalidRequest, "the body must have positions, a list, or \"all\":true") }
}

extension SubscriptionError {
  /// What a client is told.
  var problem: Problem {
    switch self {
    case .unknown, .notParked: Problem(.notFound, description)
    case .differs: Problem(.subscriptionExists, description)
    case .tooMany, .startBeyondHead: Problem(.invalidRequest, description)
    case .tooManyConsumers, .busy, .closed: Problem(.busy, description)
    case .log(let error): Problem(error)
    case .environment, .files: Problem(isDiskFull ? .diskFull : .outcomeUnknown, description)
    case .foreignFormat: Problem(.internal, description)
    }
  }
}
