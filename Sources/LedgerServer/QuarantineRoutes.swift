// `/v1/quarantine`: events that were set aside; looked at, corrected and appended, or discarded.
//
// Invariant: an event leaves after it, or what it was corrected to, is in the log; or by a decision with a reason. A crash
// in between leaves it here, and repeating the call is safe: it finds a duplicate.

import Bytes
import EventLog
import HTTPTypes
import Hummingbird
import JSON
import LedgerCore
import LedgerHTTP
import NIOCore

struct QuarantineRoutes: Sendable {
  let append: AppendRoute
  private var log: EventLog { append.log }

  /// Events on one page, if the call does not say.
  static let limitDefault: UInt64 = 100
  /// Events on one page at most.
  static let limitMax: UInt64 = 1_000
  /// Bytes of the reason of a discard.
  static let reasonByteCountMax = 1_024

  var routes: [Route] {
    [
      Route(.get, "/v1/quarantine", list), Route(.get, "/v1/quarantine/{number}", show),
      Route(.post, "/v1/quarantine/{number}/append", appendAgain), Route(.delete, "/v1/quarantine/{number}", discard),
    ]
  }

  func list(_ request: Request, _ context: LedgerContext) async throws -> Response {
    let parameters = try Parameters(request, allowed: ["after", "limit", "resolved"])
    let after = try parameters.number("after") ?? 0
    let limit = Int(try parameters.number("limit", 1...Self.limitMax) ?? Self.limitDefault)
    var writer = JSONWriter()
    writer.beginObject()
    var last: UInt64?
    if try parameters.flag("resolved") {
      let resolutions = try await onThread { [log] () throws(QuarantineError) in
        try log.quarantine.resolutions(after: after, limit: limit + 1)
      }
      writer.key("resolved")
      writer.beginArray()
      for resolution in resolutions.prefix(limit) { Self.write(resolution, &writer) }
      writer.endArray()
      if resolutions.count > limit { last = resolutions[limit - 1].number }
    } else {
      let events = try await onThread { [log] () throws(QuarantineError) in try log.quarantine.events(after: after, limit: limit + 1) }
      let status = log.quarantine.status
      writer.member("count", status.eventCount)
      writer.member("byteCount", status.byteCount)
      writer.key("quarantined")
      writer.beginArray()
      for event in events.prefix(limit) {
        writer.beginObject()
        try describe(event, &writer)
        writer.endObject()
      }
      writer.endArray()
      if events.count > limit { last = events[limit - 1].number }
    }
    writer.member("next", orNull: last)
    writer.endObject()
    return Response(json: writer.bytes)
  }

  func show(_ request: Request, _ context: LedgerContext) async throws -> Response {
    _ = try Parameters(request, allowed: [])
    let number = try number(context)
    let event = try await onThread { [log] () throws(QuarantineError) in try log.quarantine.event(number) }
    var writer = JSONWriter()
    writer.beginObject()
    try describe(event, &writer)
    writer.key("event")
    writer.raw(event.bytes)
    writer.endObject()
    return Response(json: writer.bytes)
  }

  func appendAgain(_ request: Request, _ context: LedgerContext) async throws -> Response {
    _ = try Parameters(request, allowed: [])
    let number = try number(context)
    let principal = context.principal.name
    let corrected = try await append.bytes(of: request)
    if !corrected.isEmpty, request.headers[.contentType].map(MediaType.essence(of:)) != MediaType.cloudEvent {
      throw Problem(.invalidRequest, "a corrected event is sent as \(MediaType.cloudEvent); without a body the event is appended as it is")
    }
    let event = try await onThread { [log] () throws(QuarantineError) in try log.quarantine.event(number) }
    // It came in when it came in; who corrects it answers for what it says.
    let batch = log.makeBatch(
      door: corrected.isEmpty ? event.door : .http, principal: corrected.isEmpty ? event.principal : principal,
      received: event.received, sent: event.sent)
    let body = AppendBody(limits: append.limits, readers: append.readers, wantsNames: true)
    let parsed = try body.single((corrected.isEmpty ? event.bytes : corrected).rawSpan, into: batch)
    let answer = try await append.append(parsed)
    guard let position = answer.receipts?.first?.position else {
      throw Problem(.internal, "an append has no receipt")
    }
    do {
      try await onThread { [log] () throws(QuarantineError) in
        try log.quarantine.resolve(number, .appended(UInt64(position)), principal: principal)
      }
    } catch let problem as Problem where problem.code == .gone {
      // Somebody else was faster; the event is in the log, once.
    }
    return Response(json: answer.encoded())
  }

  func discard(_ request: Request, _ context: LedgerContext) async throws -> Response {
    let parameters = try Parameters(request, allowed: ["reason"])
    let number = try number(context)
    let principal = context.principal.name
    guard let reason = parameters.first("reason"), !reason.isEmpty, reason.utf8.count <= Self.reasonByteCountMax else {
      throw Problem(.invalidRequest, "parameter reason must say why, in 1 to \(Self.reasonByteCountMax) bytes and without personal data")
    }
    try await onThread { [log] () throws(QuarantineError) in
      try log.quarantine.resolve(number, .discarded(reason), principal: principal)
    }
    var writer = JSONWriter()
    writer.beginObject()
    writer.member("number", number)
    writer.member("outcome", "discarded")
    writer.endObject()
    return Response(json: writer.bytes)
  }

  private func number(_ context: LedgerContext) throws(Problem) -> UInt64 {
    guard let text = context.parameters.get("number"), text.utf8.first != UInt8(ascii: "+"), let number = UInt64(text), number > 0 else {
      throw Problem(.invalidRequest, "the number of an event in quarantine is a whole number from 1")
    }
    return number
  }

  private func describe(_ event: QuarantinedEvent, _ writer: inout JSONWriter) throws(Problem) {
    writer.member("number", event.number)
    writer.member("recordedtime", event.recorded.rfc3339)
    writer.member("receivedtime", event.received.rfc3339)
    if let sent = event.sent { writer.member("senttime", sent.rfc3339) }
    writer.member("principal", event.principal)
    writer.member("code", event.reason.code.rawValue)
    writer.member("detail", event.detail)
    let names = try append.readers.withReader(keepUpTo: event.bytes.count) { (pooled) throws(Problem) in
      do throws(JSONError) {
        let root = try pooled.reader.parse(event.bytes.rawSpan)
        return ["type", "source", "id"].map { name in pooled.member(name, of: root) }
      } catch {
        throw Problem(.internal, "event \(event.number) in quarantine is damaged: \(error.description)")
      }
    }
    writer.member("type", orNull: names[0])
    writer.member("source", orNull: names[1])
    writer.member("id", orNull: names[2])
    writer.member("byteCount", event.bytes.count)
  }

  private static func write(_ resolution: QuarantineResolution, _ writer: inout JSONWriter) {
    writer.beginObject()
    writer.member("number", resolution.number)
    writer.member("time", resolution.time.rfc3339)
    writer.member("principal", resolution.principal)
    switch resolution.outcome {
    case .appended(let position):
      writer.member("outcome", "appended")
      writer.member("position", position)
    case .discarded(let reason):
      writer.member("outcome", "discarded")
      writer.member("reason", reason)
    }
    writer.endObject()
  }

  private func onThread<R: Sendable>(_ body: @escaping @Sendable () throws(QuarantineError) -> R) async throws -> R {
    do throws(QuarantineError) {
      return try await append.onThread(body)
    } catch {
      throw error.problem
    }
  }
}

extension PooledReader {
  /// The text of a member of an object, if it has one.
  fileprivate func member(_ name: StaticString, of object: JSONNode) -> String? {
    reader.member(name, of: object).map { reader.string(of: $0) }
  }
}
