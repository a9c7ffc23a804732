// What comes in on `POST /v1/events`: one event, a batch, or a stream of lines; structured or in binary mode. Everything
// is checked here, before the log sees it.

import Bytes
import EventLog
import FoundationEssentials
import HTTPTypes
import JSON
import LedgerCore
import LedgerHTTP
import Synchronization

/// A JSON reader that requests use one after another.
final class PooledReader {
  var reader = JSONReader()
}

/// Readers are expensive to make (their buffers grow with use), so a few are kept. Those that read a large text are not.
final class ReaderPool: Sendable {
  private struct Idle: @unchecked Sendable {
    // A reader is either in this list or with the one request that took it.
    var readers: [PooledReader] = []
  }
  private let idle = Mutex(Idle())

  func withReader<R, E: Error>(keepUpTo byteCount: Int, _ body: (PooledReader) throws(E) -> R) throws(E) -> R {
    let pooled = idle.withLock { $0.readers.popLast() }.map { Transfer(reader: $0) } ?? Transfer(reader: PooledReader())
    defer {
      if byteCount <= 1 << 20 { idle.withLock { if $0.readers.count < 16 { $0.readers.append(pooled.reader) } } }
    }
    return try body(pooled.reader)
  }

  private struct Transfer: @unchecked Sendable { let reader: PooledReader }
}

/// The source and id of an event, for its receipt.
struct EventName: Sendable {
  var source: String
  var id: String
}

/// Checked events and, if asked for, their names.
struct ParsedBatch: Sendable {
  var batch: EventBatch
  var names: [EventName] = []
  /// How many events of the request came before.
  var firstIndex = 0

  func prefix(_ count: Int) -> ParsedBatch {
    ParsedBatch(batch: batch.prefix(count), names: Array(names.prefix(count)), firstIndex: firstIndex)
  }
}

/// Turns bodies into batches.
struct AppendBody: Sendable {
  let limits: ServerLimits
  let readers: ReaderPool
  let wantsNames: Bool
  /// Whether events that the log does not take go into quarantine, and the others are appended.
  var setsAside = false

  /// Parses one structured event.
  func single(_ bytes: RawSpan, into batch: EventBatch) throws(Problem) -> ParsedBatch {
    var parsed = ParsedBatch(batch: batch)
    try readers.withReader(keepUpTo: bytes.byteCount) { (pooled) throws(Problem) in
      let root = try wholeRoot(of: bytes, pooled)
      do throws(EventError) {
        try add(root, pooled, to: &parsed)
      } catch {
        throw problem([Problem.EventError(index: 0, code: code(error), detail: error.message)])
      }
    }
    return parsed
  }

  /// Parses a JSON array of events. Every bad event is listed; the first one's code decides.
  func array(_ bytes: RawSpan, into batch: EventBatch) throws(Problem) -> ParsedBatch {
    var parsed = ParsedBatch(batch: batch)
    try readers.withReader(keepUpTo: bytes.byteCount) { (pooled) throws(Problem) in
      let root = try wholeRoot(of: bytes, pooled)
      guard pooled.reader.kind(of: root) == .array else {
        throw Problem(.invalidEvent, "a batch must be a JSON array of events; send a single event as \(MediaType.cloudEvent)")
      }
      let count = pooled.reader.childCount(of: root)
      guard count > 0 else { throw Problem(.emptyBatch, "the batch holds no event; send 1 to \(limits.batchEventCountMax)") }
      guard count <= limits.batchEventCountMax else {
        throw Problem(.batchTooLarge, "the batch holds \(count) events; at most \(limits.batchEventCountMax) are taken, so split it")
      }
      var errors: [Problem.EventError] = []
      var index = 0
      var element = pooled.reader.firstChild(of: root)
      while let event = element {
        do throws(EventError) {
          try add(event, pooled, to: &parsed)
        } catch {
          errors.append(Problem.EventError(index: index, code: code(error), detail: error.message))
        }
        index += 1
        element = pooled.reader.next(after: event, in: root)
      }
      if !errors.isEmpty { throw problem(setsAside ? errors : withBreaches(errors, of: parsed.batch, count)) }
    }
    return parsed
  }

  /// Parses all lines of an NDJSON body that is here as a whole.
  func lines(_ bytes: RawSpan, into batch: EventBatch) throws(Problem) -> ParsedBatch {
    var parsed = ParsedBatch(batch: batch)
    var start = 0
    var isBlank = true
    for index in 0...bytes.byteCount {
      let byte = index < bytes.byteCount ? bytes.byte(at: index) : UInt8(ascii: "\n")
      isBlank = isBlank && byte <= 0x20
      guard byte == UInt8(ascii: "\n") else { continue }
      if !isBlank { try line(bytes.slice(start..<index), into: &parsed) }
      start = index + 1
      isBlank = true
    }
    guard parsed.batch.count > 0 else { throw Problem(.emptyBatch, "the stream holds no event; send one event a line") }
    return parsed
  }

  /// Parses one line of NDJSON; the batch is as before if that fails.
  func line(_ bytes: RawSpan, into parsed: inout ParsedBatch) throws(Problem) {
    try readers.withReader(keepUpTo: bytes.byteCount) { (pooled) throws(Problem) in
      let root = try root(of: bytes, pooled)
      do throws(EventError) {
        try add(root, pooled, to: &parsed)
      } catch {
        throw Problem(code(error), error.message)
      }
    }
  }

  private func root(of bytes: RawSpan, _ pooled: PooledReader) throws(Problem) -> JSONNode {
    do throws(JSONError) {
      return try pooled.reader.parse(bytes)
    } catch {
      throw Problem(.invalidJSON, error.description)
    }
  }

  private func wholeRoot(of bytes: RawSpan, _ pooled: PooledReader) throws(Problem) -> JSONNode {
    do throws(Problem) {
      return try root(of: bytes, pooled)
    } catch {
      throw Problem(error.code, "\(error.detail); nothing was appended")
    }
  }

  /// Errors of a batch together with breaches of schemas among its other events. The log is not asked whether it has those:
  /// the batch is refused in any case.
  private func withBreaches(_ errors: [Problem.EventError], of batch: EventBatch, _ count: Int) -> [Problem.EventError] {
    let bad = Set(errors.map(\.index))
    let places = (0..<count).filter { !bad.contains($0) }
    let breaches = batch.schemaBreaches.map { Problem.EventError(index: places[$0.index], code: .schema, detail: $0.detail) }
    return (errors + breaches).sorted { $0.index < $1.index }
  }

  private func add(_ event: JSONNode, _ pooled: PooledReader, to parsed: inout ParsedBatch) throws(EventError) {
    let attributes = try parsed.batch.add(event, of: pooled.reader)
    if wantsNames {
      parsed.names.append(
        EventName(source: pooled.reader.string(of: attributes.source), id: pooled.reader.string(of: attributes.id)))
    }
  }

  private func code(_ error: EventError) -> ErrorCode { ErrorCode(rawValue: error.kind.rawValue) ?? .invalidEvent }

  private func problem(_ errors: [Problem.EventError]) -> Problem {
    let first = errors[0]
    let others = errors.count > 1 ? " (and \(errors.count - 1) more)" : ""
    return Problem(first.code, "event \(first.index): \(first.detail)\(others); nothing was appended", errors: errors)
  }
}

/// CloudEvents' binary mode: attributes in `ce-` headers, the body is the data. Stored as version 1 of the ledger's own
/// serialisation: specversion, id, source, type, the other attributes in byte order of their names, datacontenttype, data.
enum BinaryMode {
  /// Content of a CloudEvents type is structured, whatever other headers say (CloudEvents HTTP binding, §3).
  static func isUsed(_ headers: HTTPFields, essence: String?) -> Bool {
    guard essence != MediaType.cloudEvent, essence != MediaType.cloudEventBatch else { return false }
    return headers.contains { $0.name.canonicalName.hasPrefix("ce-") }
  }

  static func event(_ headers: HTTPFields, contentType: String?, body: [UInt8]) throws(Problem) -> [UInt8] {
    var attributes: [String: String] = [:]
    for field in headers where field.name.canonicalName.hasPrefix("ce-") {
      let name = String(field.name.canonicalName.dropFirst(3))
      guard attributes[name] == nil else { throw Problem(.invalidEvent, "header ce-\(name) is sent twice; send each once") }
      guard name != "data", name != "data_base64" else {
        throw Problem(.invalidEvent, "the data of an event in binary mode goes in the body")
      }
      attributes[name] = try decoded(field.value, name)
    }
    var writer = JSONWriter()
    writer.beginObject()
    for name in ["specversion", "id", "source", "type"] {
      if let value = attributes.removeValue(forKey: name) {
        writer.key(name)
        writer.string(value)
      }
    }
    for (name, value) in attributes.sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) {
      writer.key(name)
      writer.string(value)
    }
    if let contentType {
      writer.key("datacontenttype")
      writer.string(contentType)
    }
    if !body.isEmpty {
      let essence = contentType.map(MediaType.essence(of:)) ?? MediaType.json
      if essence == MediaType.json || essence.hasSuffix("+json") {
        writer.key("data")
        writer.raw(try validated(body))
      } else if essence.hasPrefix("text/"), String(validating: body, as: UTF8.self) != nil {
        writer.key("data")
        writer.string(utf8: body)
      } else {
        writer.key("data_base64")
        writer.string(Data(body).base64EncodedString())
      }
    }
    writer.endObject()
    return writer.bytes
  }

  /// The body's JSON must be whole before it is put into the event: `{}, "x":1` would otherwise add members.
  private static func validated(_ body: [UInt8]) throws(Problem) -> [UInt8] {
    var reader = JSONReader()
    do throws(JSONError) {
      _ = try reader.parse(body.rawSpan)
    } catch {
      throw Problem(.invalidJSON, "\(error.description); nothing was appended")
    }
    return body
  }

  /// Percent-decoding, as CloudEvents' HTTP binding asks.
  private static func decoded(_ value: String, _ name: String) throws(Problem) -> String {
    var bytes: [UInt8] = []
    var rest = value.utf8[...]
    while let byte = rest.popFirst() {
      let digits = rest.prefix(2).compactMap { Character(Unicode.Scalar($0)).hexDigitValue }
      if byte == UInt8(ascii: "%"), digits.count == 2 {
        bytes.append(UInt8(digits[0] << 4 | digits[1]))
        rest = rest.dropFirst(2)
      } else {
        bytes.append(byte)
      }
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw Problem(.invalidEvent, "header ce-\(name) is not UTF-8 when percent-decoded")
    }
    return text
  }
}
