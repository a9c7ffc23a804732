// `GET /v1/events`: the log, read and followed. Events are read on threads of their own, a chunk at a time, and written
// when the client takes them: a slow reader costs one chunk of memory and no LMDB reader.

import Bytes
import EventLog
import HTTPTypes
import Hummingbird
import JSON
import LedgerCore
import LedgerHTTP
import NIOCore
import NIOPosix
import ServiceLifecycle

/// Which events are wanted. Each list is an "or", the lists together an "and"; an empty one takes everything.
struct EventFilter: Sendable {
  var attributes: [(attribute: Attribute, values: [[UInt8]])] = []
  var since: Timestamp?
  var before: Timestamp?

  enum Attribute: String, CaseIterable, Sendable { case type, source, subject, stream, channel, campaign }

  init(_ parameters: Parameters) throws(Problem) {
    for attribute in Attribute.allCases {
      let values = parameters.values(attribute.rawValue)
      if !values.isEmpty { attributes.append((attribute, values.map { Array($0.utf8) })) }
    }
    since = try parameters.time("since")
    before = try parameters.time("before")
  }

  var isEmpty: Bool { attributes.isEmpty && since == nil && before == nil }

  func takes(_ event: LoggedEvent) -> Bool {
    if let since, event.occurred < since { return false }
    if let before, event.occurred >= before { return false }
    for (attribute, values) in attributes {
      let found = event.attributes
      let node: JSONNode? =
        switch attribute {
        case .type: found.type
        case .source: found.source
        case .subject: found.subject
        case .stream: found.stream
        case .channel: found.channel
        case .campaign: found.campaign
        }
      guard let node else { return false }
      let text = event.json.bytes(of: node)
      guard values.contains(text) else { return false }
    }
    return true
  }
}

/// Reads the log for one client. Used by one pool thread at a time: the route waits for each chunk.
private final class ChunkReader: @unchecked Sendable {
  // Guarded by its route, which awaits one `next` before it asks for another.
  private let reader: LogReader
  private let filter: EventFilter
  private let event = LoggedEvent()
  private(set) var position: Position
  private(set) var remaining: UInt64

  /// A chunk ends at this many bytes, or after looking at this many events.
  static let byteCountMax = 256 << 10
  static let eventCountMax = 4_096

  init(_ log: EventLog, after: Position, filter: EventFilter, limit: UInt64) {
    reader = log.makeReader(after: after)
    self.filter = filter
    position = after
    remaining = limit
  }

  func next(through last: Position) throws(LogError) -> [UInt8] {
    var out: [UInt8] = []
    var failure: LogError?
    _ = try reader.read(maxCount: Self.eventCountMax, through: last) { position, envelope, bytes in
      if !filter.isEmpty {
        do throws(EventError) {
          try event.read(bytes, position: position, envelope: envelope)
        } catch {
          failure = .damaged(position: position, error.message)
          return false
        }
        guard filter.takes(event) else { return true }
      }
      EventLine.write(position, envelope, bytes, to: &out)
      remaining -= 1
      return remaining > 0 && out.count < Self.byteCountMax
    }
    if let failure { throw failure }
    position = reader.position
    return out
  }
}

/// One event as a line.
enum EventLine {
  static func write(_ position: Position, _ envelope: Envelope, _ bytes: RawSpan, to out: inout [UInt8]) {
    out.append(contentsOf: #"{"position":"#.utf8)
    out.append(contentsOf: String(position).utf8)
    out.append(contentsOf: #","recordedtime":""#.utf8)
    out.append(contentsOf: envelope.recorded.rfc3339Bytes)
    out.append(contentsOf: #"","event":"#.utf8)
    out.append(bytes)
    out.append(contentsOf: "}\n".utf8)
  }

  static func mark(_ kind: String, _ position: Position) -> ByteBuffer {
    ByteBuffer(string: #"{"mark":"\#(kind)","position":\#(position)}"# + "\n")
  }
}

struct ReadRoutes: Sendable {
  let log: EventLog
  let limits: ServerLimits
  let threads: NIOThreadPool

  static let parameters =
    ["after", "until", "limit", "since", "before", "follow"] + EventFilter.Attribute.allCases.map(\.rawValue)

  func list(_ request: Request, _ context: LedgerContext) async throws -> Response {
    let parameters = try Parameters(request, allowed: Self.parameters)
    let after = try parameters.number("after") ?? 0
    let until = try parameters.number("until")
    let limit = try parameters.number("limit", 1...UInt64(Int64.max)) ?? .max
    let isFollowing = try parameters.flag("follow")
    let filter = try EventFilter(parameters)
    let head = log.head
    let end = min(until ?? (isFollowing ? .max : head), isFollowing ? .max : head)
    let reader = ChunkReader(log, after: after, filter: filter, limit: limit)
    // The first chunk is read before the status is sent, so that a damaged log answers with an error.
    let first = try await threads.runIfActive { try reader.next(through: end) }
    return Response(
      status: .ok, headers: [.contentType: MediaType.ndjson],
      body: ResponseBody { writer in
        if !first.isEmpty { try await writer.write(ByteBuffer(bytes: first)) }
        if isFollowing {
          try await follow(reader, through: end, &writer)
        } else {
          while reader.remaining > 0, reader.position < end {
            let chunk = try await threads.runIfActive { try reader.next(through: end) }
            if !chunk.isEmpty { try await writer.write(ByteBuffer(bytes: chunk)) }
          }
        }
        try await writer.finish(nil)
      })
  }

  /// Stays at the head. A mark says when it is reached, when nothing happens, and when the client has fallen behind.
  private func follow(_ reader: ChunkReader, through end: Position, _ writer: inout any ResponseBodyWriter) async throws {
    let (wakes, waker) = AsyncStream<Bool>.makeStream(bufferingPolicy: .bufferingNewest(1))
    let heads = log.heads()
    let interval = Duration.seconds(limits.heartbeatSeconds)
    let headTask = Task {
      for await _ in heads { waker.yield(true) }
      waker.finish()
    }
    let tickTask = Task {
      while !Task.isCancelled {
        try await Task.sleep(for: interval)
        waker.yield(false)
      }
    }
    defer {
      headTask.cancel()
      tickTask.cancel()
    }
    try await withGracefulShutdownHandler {
      var isCaughtUp = false
      for await isNews in wakes {
        // A wake-up by the clock may have replaced one by the head: look in any case.
        var isAnythingNew = false
        while reader.remaining > 0, reader.position < min(end, log.head) {
          if isCaughtUp, log.head - reader.position > 100_000 {
            isCaughtUp = false
            try await writer.write(EventLine.mark("fell-behind", reader.position))
          }
          let chunk = try await threads.runIfActive { try reader.next(through: end) }
          isAnythingNew = true
          if !chunk.isEmpty { try await writer.write(ByteBuffer(bytes: chunk)) }
        }
        if reader.remaining == 0 || reader.position >= end { return }
        if !isCaughtUp {
          isCaughtUp = true
          try await writer.write(EventLine.mark("caught-up", reader.position))
        } else if !isNews, !isAnythingNew {
          try await writer.write(EventLine.mark("heartbeat", reader.position))
        }
      }
    } onGracefulShutdown: {
      waker.finish()
    }
  }

  func one(_ request: Request, _ context: LedgerContext) async throws -> Response {
    _ = try Parameters(request, allowed: [])
    guard let position = context.parameters.get("position").flatMap(UInt64.init), position > 0 else {
      throw Problem(.invalidRequest, "a position is a whole number from 1")
    }
    let log = log
    let (envelope, bytes) = try await threads.runIfActive { try log.event(at: position) }
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
