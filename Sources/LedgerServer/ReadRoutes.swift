// `GET /v1/events`: the log, read and followed. Events are read on threads of their own, a chunk at a time, and written
// when the client takes them: a slow reader costs two chunks of memory, an idle one none, and neither a thread or an LMDB
// reader (LogWindow.swift, HeadWatch.swift).

import Bytes
import EventLog
import HTTPTypes
import Hummingbird
import JSON
import LedgerCore
import LedgerHTTP
import NIOCore

extension EventFilter {
  /// The parameters of a filter.
  static let parameters = ["since", "before"] + Attribute.allCases.map(\.rawValue)

  /// Reads a filter from a request's parameters.
  init(_ parameters: Parameters) throws(Problem) {
    self.init()
    for attribute in Attribute.allCases {
      let values = parameters.values(attribute.rawValue)
      if !values.isEmpty { conditions.append(Condition(attribute, values.map { Array($0.utf8) })) }
    }
    since = try parameters.time("since")
    before = try parameters.time("before")
  }
}

struct ReadRoutes: Sendable {
  let window: LogWindow
  let heads: HeadWatch
  let limits: ServerLimits
  private var log: EventLog { window.log }

  static let parameters = ["after", "until", "limit", "follow"] + EventFilter.parameters
  /// How far behind the head a follower that had caught up is told that it has fallen behind.
  static let fallenBehindEventCount: UInt64 = 100_000

  func list(_ request: Request, _ context: LedgerContext) async throws -> Response {
    let parameters = try Parameters(request, allowed: Self.parameters)
    let after = try parameters.number("after") ?? 0
    let until = try parameters.number("until")
    let limit = try parameters.number("limit", 1...UInt64(Int64.max)) ?? .max
    let isFollowing = try parameters.flag("follow")
    let start = ReadPlace(position: after, filter: try EventFilter(parameters), remaining: limit)
    let head = log.head
    let end = min(until ?? (isFollowing ? .max : head), isFollowing ? .max : head)
    // The first chunk is read before the status is sent, so that a damaged log answers with an error.
    let first = FirstChunk(try await window.next(start, through: end))
    return Response(
      status: .ok, headers: [.contentType: MediaType.ndjson],
      body: ResponseBody { writer in
        if isFollowing {
          try await follow(first.take(), through: end, &writer)
        } else {
          try await read(first.take(), through: end, &writer)
        }
        try await writer.finish(nil)
      })
  }

  /// Sends chunk after chunk, each when the client has taken the one before.
  private func read(_ first: ReadChunk, through end: Position, _ writer: inout any ResponseBodyWriter) async throws {
    var chunk = first
    while true {
      if !chunk.bytes.isEmpty { try await writer.write(chunk.takeBytes()) }
      guard chunk.place.remaining > 0, chunk.place.position < end else { return }
      chunk = try await window.next(chunk.place, through: end)
    }
  }

  /// Stays at the head. A mark says when it is reached, when nothing was sent for a while, and when the client has fallen
  /// behind: each carries the position up to which the log has been looked at, also if nothing passed the filter. So whoever
  /// begins again behind the last position that he has seen, of an event or of a mark, misses nothing and sees nothing twice.
  private func follow(_ first: ReadChunk, through end: Position, _ writer: inout any ResponseBodyWriter) async throws {
    let interval = Duration.seconds(limits.heartbeatSeconds)
    var chunk = first
    var isCaughtUp = false
    var sent = ContinuousClock.now
    func mark(_ mark: EventLine.Mark) async throws {
      try await writer.write(EventLine.mark(mark, chunk.place.position))
      sent = .now
    }
    while true {
      if !chunk.bytes.isEmpty {
        try await writer.write(chunk.takeBytes())
        sent = .now
      }
      let position = chunk.place.position
      if chunk.place.remaining == 0 { return }
      let head = log.head
      if position < min(end, head) {
        if isCaughtUp, head - position > Self.fallenBehindEventCount {
          isCaughtUp = false
          try await mark(.fellBehind)
        } else if .now - sent >= interval {
          try await mark(.heartbeat)
        }
      } else {
        if !isCaughtUp {
          isCaughtUp = true
          try await mark(.caughtUp)
        }
        if position >= end { return }
        switch await heads.wait(beyond: position, until: sent + interval) {
        case .headMoved: break
        case .timeUp:
          try await mark(.heartbeat)
          continue
        case .over: return
        }
      }
      chunk = try await window.next(chunk.place, through: end)
    }
  }

  func one(_ request: Request, _ context: LedgerContext) async throws -> Response {
    _ = try Parameters(request, allowed: [])
    guard let position = context.parameters.get("position").flatMap(UInt64.init), position > 0 else {
      throw Problem(.invalidRequest, "a position is a whole number from 1")
    }
    let (envelope, bytes) = try await window.event(at: position)
    var writer = JSONWriter()
    writer.beginObject()
    writer.member("position", position)
    writer.member("recordedtime", envelope.recorded.rfc3339)
    writer.member("receivedtime", envelope.received.rfc3339)
    if let sent = envelope.sent { writer.member("senttime", sent.rfc3339) }
    writer.member("revision", envelope.revision)
    writer.member("door", "\(envelope.door)")
    writer.member("principal", envelope.principal)
    writer.key("event")
    writer.raw(bytes)
    writer.endObject()
    return Response(json: writer.bytes)
  }
}
