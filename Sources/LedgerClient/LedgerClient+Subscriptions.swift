// Why: a consumer takes events and says what became of them; this is all that it has to know of the socket.

import LedgerHTTP

/// What a subscription is to deliver, and how. What is nil is left to the daemon.
public struct SubscriptionOptions: Sendable, Equatable {
  /// Where a new one begins: `beginning`, `head`, or the position to begin behind.
  public var start: String?
  /// Filters in the order given: `type`, `source`, `subject`, `stream`, `channel`, `campaign`, `since`, `before`.
  public var filters: [(name: String, value: String)] = []
  /// Events that one consumer may have in hand.
  public var maxInFlight: Int?
  /// How long a consumer has for an event.
  public var acknowledgeWithinSeconds: Int?
  /// How long a failed event waits.
  public var redeliverAfterSeconds: Int?
  /// After so many failures an event is parked.
  public var maxFailures: Int?

  /// Everything, from the beginning.
  public init() {}

  /// Compares.
  public static func == (left: Self, right: Self) -> Bool { left.encoded() == right.encoded() }

  /// The body of the call that makes it.
  public func encoded() -> [UInt8] {
    var members: [(name: String, value: JSONValue)] = []
    if let start { members.append(("start", Int64(start) == nil ? .string(start) : .number(start))) }
    var filter: [(name: String, value: JSONValue)] = []
    for (name, value) in filters {
      if name == "since" || name == "before" {
        filter.append((name, .string(value)))
      } else if let index = filter.firstIndex(where: { $0.name == name }), case .array(let values) = filter[index].value {
        filter[index].value = .array(values + [.string(value)])
      } else {
        filter.append((name, .array([.string(value)])))
      }
    }
    if !filter.isEmpty { members.append(("filter", .object(filter))) }
    for (name, number) in [
      ("maxInFlight", maxInFlight), ("acknowledgeWithinSeconds", acknowledgeWithinSeconds),
      ("redeliverAfterSeconds", redeliverAfterSeconds), ("maxFailures", maxFailures),
    ] {
      if let number { members.append((name, .number(String(number)))) }
    }
    return JSONValue.object(members).encoded()
  }
}

/// Which events a consumer speaks of.
public enum DeliveredEvents: Sendable, Equatable {
  /// These.
  case positions([Int64])
  /// All that the consumer has in hand, up to a position.
  case through(Int64)

  var member: (name: String, value: JSONValue) {
    switch self {
    case .positions(let positions): ("positions", .array(positions.map { .number(String($0)) }))
    case .through(let position): ("through", .number(String(position)))
    }
  }
}

/// A consumer's call about events it has in hand.
public enum SettlementCall: Sendable, Equatable {
  /// They are done.
  case acknowledge
  /// They could not be handled, for this reason, which holds no personal data.
  case fail(reason: String)
  /// They are given back, which is no failure.
  case release

  var path: String {
    switch self {
    case .acknowledge: "acknowledge"
    case .fail: "fail"
    case .release: "release"
    }
  }
}

extension LedgerClient {
  /// Path and query of a call about a subscription.
  public static func subscriptionTarget(_ name: String, _ call: String = "", _ query: [(name: String, value: String)] = []) -> String {
    target("/v1/subscriptions/" + encoded(name) + (call.isEmpty ? "" : "/" + call), query)
  }

  /// Sends a JSON body to a call about a subscription. Repeated as the policy says, which is safe: every such call is.
  public func subscriptionCall(_ method: String, _ target: String, _ body: JSONValue) async throws(ClientError) -> JSONValue {
    try await retrying(method, target, headers: [(name: "content-type", value: MediaType.json)], body: body.encoded()).json()
  }

  /// Makes a subscription, or gives one that is there other settings.
  ///
  /// - Throws: ``ClientError/problem(_:)`` of code `subscription-exists` if there is one with another filter.
  public func putSubscription(_ name: String, _ options: SubscriptionOptions = SubscriptionOptions()) async throws(ClientError) -> JSONValue
  {
    try await retrying(
      "PUT", Self.subscriptionTarget(name), headers: [(name: "content-type", value: MediaType.json)], body: options.encoded()
    ).json()
  }

  /// Removes a subscription. The log is not touched.
  public func deleteSubscription(_ name: String) async throws(ClientError) {
    let response = try await request("DELETE", Self.subscriptionTarget(name))
    if let problem = response.problem { throw .problem(problem) }
  }

  /// Takes events of a subscription, and waits while there are none. Not repeated: an answer that got lost has events in
  /// hand until their time is up.
  ///
  /// - Parameters:
  ///   - waitSeconds: 0 to 60.
  /// - Returns: Events, each with the number of its delivery: 1, and one more for each failure.
  public func fetch(
    _ name: String, consumer: String = "default", limit: Int = 100, waitSeconds: Int = 0
  ) async throws(ClientError) -> [DeliveredEvent] {
    let response = try await request(
      "POST",
      Self.subscriptionTarget(
        name, "fetch",
        [(name: "consumer", value: consumer), (name: "limit", value: String(limit)), (name: "wait", value: String(waitSeconds))]))
    if let problem = response.problem { throw .problem(problem) }
    return try response.body.split(separator: UInt8(ascii: "\n")).map { (line) throws(ClientError) in
      try DeliveredEvent(parsing: Array(line))
    }
  }

  /// Follows a subscription, line by line, until the daemon ends or the connection breaks; ``DeliveredEvent/init(parsing:)``
  /// reads those that are no marks.
  public func subscriptionLines(_ name: String, consumer: String = "default") async throws(ClientError) -> ResponseLines {
    try await lines(Self.subscriptionTarget(name, "events", [(name: "consumer", value: consumer)]))
  }

  /// Says what became of events; on the daemon's disk when it returns. Repeated as the policy says.
  ///
  /// - Returns: How many were settled by this call, how many of them parked, and up to where everything is settled.
  @discardableResult
  public func settle(
    _ name: String, consumer: String = "default", _ events: DeliveredEvents, _ call: SettlementCall = .acknowledge
  ) async throws(ClientError) -> (count: Int, parked: Int, checkpoint: Int64) {
    var members = [events.member]
    if case .fail(let reason) = call { members.append(("reason", .string(reason))) }
    let json = try await subscriptionCall(
      "POST", Self.subscriptionTarget(name, call.path, [(name: "consumer", value: consumer)]), .object(members))
    let count = json["acknowledged"]?.integer ?? json["failed"]?.integer ?? json["released"]?.integer ?? 0
    return (Int(count), Int(json["parked"]?.integer ?? 0), try json.integer(named: "checkpoint"))
  }
}

/// An event that a subscription delivered.
public struct DeliveredEvent: Sendable {
  /// Where it is in the log.
  public var position: Int64
  /// 1 for the first time, one more for each time that it failed before.
  public var delivery: Int
  /// The event; nil if it was erased.
  public var event: JSONValue?

  /// Reads a line.
  ///
  /// - Throws: ``ClientError/protocolViolation(_:)``, also if it is a mark.
  public init(parsing line: [UInt8]) throws(ClientError) {
    let json: JSONValue
    do throws(JSONSyntaxError) {
      json = try JSONValue(parsing: line)
    } catch {
      throw .protocolViolation("a line is no JSON: \(error)")
    }
    position = try json.integer(named: "position")
    delivery = Int(try json.integer(named: "delivery"))
    event = json["event"] == .null ? nil : json["event"]
  }
}
