// The form in which nearly every append comes: `POST /v1/events` with a length and nothing out of the way. It is
// recognised here, in the bytes as they came, without a parser of HTTP in between.
//
// Invariants:
// - What is recognised means the same to the HTTP parser and the route behind it: the form is a narrow part of HTTP/1.1.
//   Everything else (another header, an odd value, a second length, a bare line feed) is `other`, and theirs to judge.
// - Nothing is `append` before its head is there to the last byte.

import Bytes
import LedgerHTTP

/// What stands at the beginning of some bytes.
enum CommonForm: Equatable {
  /// More bytes are needed to tell.
  case incomplete
  /// Not the common form.
  case other
  case append(Head)

  /// How the events stand in the body.
  enum Content: Equatable, Sendable { case single, batch, lines }

  struct Head: Equatable {
    var content: Content
    var wantsReceipts = false
    /// Bytes of the head, to the end of its empty line.
    var byteCount = 0
    var bodyByteCount = 0
  }

  /// Bodies up to this size are parsed on the event loop, in about two milliseconds at most (2,000 events of 500 bytes);
  /// larger ones go the way of the rarer forms, which wait on threads of their own.
  static let bodyByteCountMax = 1 << 20

  /// Heads of programs are much shorter.
  static let headByteCountMax = 4 << 10

  private static let start: StaticString = "POST /v1/events"

  /// Looks at the bytes of a connection from the beginning of a request on.
  ///
  /// - Complexity: O(bytes of the head).
  ///
  /// - Parameter headByteCountMax: What the server takes; the smaller of the two bounds holds.
  init(_ bytes: RawSpan, headByteCountMax: Int) {
    let limit = min(headByteCountMax, Self.headByteCountMax)
    let startCount = Self.start.utf8CodeUnitCount
    guard bytes.byteCount > startCount else {
      self = Self.isBeginning(bytes) ? .incomplete : .other
      return
    }
    guard bytes.slice(0..<startCount).isEqual(to: Self.start) else {
      self = .other
      return
    }
    var scanner = HeadScanner(offset: startCount, limit: min(bytes.byteCount, limit))
    var head = Head(content: .single)
    switch scanner.scan(bytes, &head) {
    case .done: self = .append(head)
    case .other: self = .other
    case .outOfBytes: self = bytes.byteCount >= limit ? .other : .incomplete
    }
  }

  private static func isBeginning(_ bytes: RawSpan) -> Bool {
    let start = Array(start.description.utf8)
    return bytes.isEqual(to: start.rawSpan.slice(0..<min(bytes.byteCount, start.count)))
  }
}

/// Walks through a head behind its path.
private struct HeadScanner {
  var offset: Int
  let limit: Int

  enum End { case done, other, outOfBytes }

  mutating func scan(_ bytes: RawSpan, _ head: inout CommonForm.Head) -> End {
    guard let lineEnd = endOfLine(bytes) else { return isLineLegal(bytes) ? .outOfBytes : .other }
    guard takeTarget(bytes.slice(offset..<lineEnd), &head) else { return .other }
    offset = lineEnd + 2
    var found = Found()
    while true {
      guard let end = endOfLine(bytes) else { return isLineLegal(bytes) ? .outOfBytes : .other }
      if end == offset {
        offset += 2
        break
      }
      guard takeField(bytes.slice(offset..<end), &found) else { return .other }
      offset = end + 2
    }
    guard let content = found.content, let count = found.byteCount, found.hasHost else { return .other }
    head.content = content
    head.byteCount = offset
    head.bodyByteCount = count
    return .done
  }

  private struct Found {
    var hasHost = false
    var content: CommonForm.Content?
    var byteCount: Int?
  }

  /// Where the line ends that begins at `offset`: at a carriage return and line feed.
  private func endOfLine(_ bytes: RawSpan) -> Int? {
    var index = offset
    while index + 1 < limit {
      if bytes.byte(at: index) == 0x0d { return bytes.byte(at: index + 1) == 0x0a ? index : nil }
      index += 1
    }
    return nil
  }

  /// False if the rest holds what no line of the common form does, so that there is nothing to wait for.
  private func isLineLegal(_ bytes: RawSpan) -> Bool {
    for index in offset..<limit {
      let byte = bytes.byte(at: index)
      if byte == 0x0d { return index + 1 == limit }
      guard byte >= 0x20 && byte < 0x7f else { return false }
    }
    return true
  }

  private func takeTarget(_ rest: RawSpan, _ head: inout CommonForm.Head) -> Bool {
    if rest.isEqual(to: " HTTP/1.1") { return true }
    // Parameters that change nothing, and the one that does; any other, or several, are for the route.
    if rest.isEqual(to: "?receipts=true HTTP/1.1") {
      head.wantsReceipts = true
      return true
    }
    return rest.isEqual(to: "?receipts=false HTTP/1.1")
  }

  private func takeField(_ line: RawSpan, _ found: inout Found) -> Bool {
    let end = line.byteCount
    var colon = 0
    while colon < end, line.byte(at: colon) != UInt8(ascii: ":") { colon += 1 }
    guard colon > 0, colon < end else { return false }
    var start = colon + 1
    while start < end, line.byte(at: start) == 0x20 { start += 1 }
    for index in start..<end where line.byte(at: index) < 0x20 || line.byte(at: index) > 0x7e { return false }
    let value = line.slice(start..<end)
    let name = line.slice(0..<colon)
    switch name.byteCount {
    case 4 where name.isCaseInsensitively("host"):
      guard !found.hasHost else { return false }
      found.hasHost = true
      return true
    case 6: return name.isCaseInsensitively("accept")
    case 10 where name.isCaseInsensitively("connection"): return value.isCaseInsensitively("keep-alive")
    case 10: return name.isCaseInsensitively("user-agent") || name.isCaseInsensitively("tracestate")
    case 11: return name.isCaseInsensitively("traceparent")
    case 12 where name.isCaseInsensitively("content-type"):
      guard found.content == nil, let content = Self.content(value) else { return false }
      found.content = content
      return true
    case 12: return name.isCaseInsensitively("x-request-id")
    case 14 where name.isCaseInsensitively("content-length"):
      guard found.byteCount == nil, let count = Self.length(value) else { return false }
      found.byteCount = count
      return true
    case 15: return name.isCaseInsensitively("accept-encoding") || name.isCaseInsensitively("accept-language")
    default: return false
    }
  }

  private static func content(_ value: RawSpan) -> CommonForm.Content? {
    if value.isEqual(to: "application/cloudevents-batch+json") { return .batch }
    if value.isEqual(to: "application/cloudevents+json") { return .single }
    if value.isEqual(to: "application/x-ndjson") { return .lines }
    if value.isEqual(to: "application/cloudevents-batch+json; charset=utf-8") { return .batch }
    return value.isEqual(to: "application/cloudevents+json; charset=utf-8") ? .single : nil
  }

  private static func length(_ value: RawSpan) -> Int? {
    guard (1...7).contains(value.byteCount) else { return nil }
    var length = 0
    for index in 0..<value.byteCount {
      let byte = value.byte(at: index)
      guard byte >= 0x30, byte <= 0x39 else { return nil }
      length = length * 10 + Int(byte & 15)
    }
    return (1...CommonForm.bodyByteCountMax).contains(length) ? length : nil
  }
}

extension RawSpan {
  /// True if the bytes are those of a lower-case literal, in any case of letters.
  fileprivate func isCaseInsensitively(_ literal: StaticString) -> Bool {
    guard byteCount == literal.utf8CodeUnitCount else { return false }
    if isEqual(to: literal) { return true }
    var lowered: [UInt8] = []
    lowered.reserveCapacity(byteCount)
    for index in 0..<byteCount {
      let byte = byte(at: index)
      lowered.append((0x41...0x5a).contains(byte) ? byte | 0x20 : byte)
    }
    return lowered.rawSpan.isEqual(to: literal)
  }
}
