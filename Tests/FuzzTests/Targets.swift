// What the outside, or a damaged disk, can hand to the ledger as bytes, each with what must be true whatever they are.
// libFuzzer searches for bytes for which it is not (`deploy/fuzz`); the tests replay those that are kept in Corpus/.
//
// Invariants:
// - A target takes any bytes and either returns or stops the process: no error is a finding, a trap is.
// - The same bytes do the same on every machine: no clock, no randomness that a check depends on.

import Bytes
@testable import EventLog
import HTTPTypes
import JSON
import LedgerCore
import LedgerHTTP
@testable import LedgerServer

/// An entry for bytes. Its raw value is its folder in Corpus/.
enum FuzzTarget: String, CaseIterable, Sendable {
  /// One event on its way in: parsed, checked, stored and read again.
  case event
  /// A block, as it would be read from the disk.
  case block
  /// A body of `POST /v1/events`: one event, a batch, lines.
  case body
  /// The head of a request, as the append door sees it.
  case head
  /// Headers and body of an event in binary mode.
  case binary

  /// Takes the bytes.
  func run(_ bytes: [UInt8]) {
    switch self {
    case .event: takeEvent(bytes)
    case .block: takeBlock(bytes)
    case .body: takeBody(bytes)
    case .head: takeHead(bytes)
    case .binary: takeBinary(bytes)
    }
  }
}

private let keys = LogKeys(secret: Array(0..<16))
private let readers = ReaderPool()
private let body = AppendBody(limits: ServerLimits(), readers: readers, wantsNames: true)

private func makeBatch() -> EventBatch {
  EventBatch(
    keys: keys, limits: EventLimits(), schemas: .none, received: Timestamp(microseconds: 0), sent: nil, door: .http, principal: "fuzz",
    sources: .all)
}

/// What was taken is one line, reads as an event again, and has the same hashes as before.
private func check(_ batch: EventBatch) {
  let event = LoggedEvent()
  var hasher = EventHasher(keys: keys)
  let envelope = Envelope(recorded: batch.received, received: batch.received, revision: 0, door: .http, principal: "fuzz")
  for item in batch.items {
    batch.withBytes(of: item) { bytes in
      precondition(bytes.firstControlByte() == nil, "what is stored has a control byte")
      do throws(EventError) {
        try event.read(bytes, position: 1, envelope: envelope)
      } catch {
        preconditionFailure("what was taken cannot be read: \(error)")
      }
      let hashes = hasher.hashes(of: event.attributes, event.json)
      precondition(hashes.id == item.id && hashes.stream == item.stream, "what is stored has another name")
      precondition(Canonical.areEqual(bytes, bytes), "an event is not the same as itself")
    }
  }
}

private func takeEvent(_ bytes: [UInt8]) {
  var reader = JSONReader()
  var batch = makeBatch()
  do {
    let root = try reader.parse(bytes.rawSpan)
    let canonical = reader.canonicalBytes(of: root)
    try batch.add(root, of: reader)
    checkCanonical(canonical)
  } catch {
    precondition(batch.count == 0 && batch.byteCount == 0, "what was refused has left something")
  }
  check(batch)
}

/// The canonical form of the canonical form is itself.
private func checkCanonical(_ bytes: [UInt8]) {
  var reader = JSONReader()
  do throws(JSONError) {
    let again = reader.canonicalBytes(of: try reader.parse(bytes.rawSpan))
    precondition(again == bytes, "the canonical form is not its own")
  } catch {
    preconditionFailure("the canonical form cannot be read: \(error)")
  }
}

/// As it is; and, so that more than the checksum is met, with sizes and checksum made right.
private func takeBlock(_ bytes: [UInt8]) {
  decode(bytes, key: bytes.count >= 16 ? bytes.rawSpan.uint64(at: 8) : 1)
  guard bytes.count >= BlockFormat.headerByteCount else { return }
  var sound = bytes
  func set(_ value: UInt64, _ count: Int, at offset: Int) {
    for index in 0..<count { sound[offset + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * (count - 1 - index))) }
  }
  set(UInt64(BlockFormat.headerByteCount), 2, at: 0)
  set(UInt64(BlockFormat.version), 1, at: 2)
  set(UInt64(bytes.count - BlockFormat.headerByteCount), 4, at: 20)
  if sound[3] == 0 { set(UInt64(bytes.count - BlockFormat.headerByteCount), 4, at: 16) }
  set(BlockFormat.checksum(sound.rawSpan, seed: 7), 8, at: BlockFormat.checksumOffset)
  decode(sound, key: sound.rawSpan.uint64(at: 8))
}

private func decode(_ bytes: [UInt8], key: Position) {
  var block = DecodedBlock(logSeed: 7)
  do throws(LogError) {
    try block.decode(bytes.rawSpan, key: key)
  } catch {
    precondition(block.header == nil, "a block that was refused is there")
    return
  }
  guard let header = block.header else { preconditionFailure("a block that was taken is not there") }
  precondition(block.entries.count == header.count && block.contains(header.first))
  var byteCount = 0
  for index in 0..<header.count {
    let entry = block.entries[index]
    block.withBytes(of: entry) { byteCount += $0.byteCount }
  }
  precondition(byteCount <= BlockFormat.payloadByteCountLimit)
}

/// Every reading of a body is sound, and what is an event alone is the same event in a batch and on a line.
private func takeBody(_ bytes: [UInt8]) {
  let single = parse { () throws(Problem) in try body.single(bytes.rawSpan, into: makeBatch()) }
  _ = parse { () throws(Problem) in try body.array(bytes.rawSpan, into: makeBatch()) }
  let lines = parse { () throws(Problem) in try body.lines(bytes.rawSpan, into: makeBatch()) }
  let array = parse { () throws(Problem) in
    try body.array(([UInt8(ascii: "[")] + bytes + [UInt8(ascii: "]")]).rawSpan, into: makeBatch())
  }
  guard let single else { return }
  precondition(single.batch.count == 1 && array?.batch.count == 1, "an event alone is none in a batch")
  precondition(single.batch.bytes == array?.batch.bytes && single.batch.items[0].id == array?.batch.items[0].id)
  if !bytes.contains(UInt8(ascii: "\n")) { precondition(lines?.batch.bytes == single.batch.bytes, "an event alone is none on a line") }
}

private func parse(_ body: () throws(Problem) -> ParsedBatch) -> ParsedBatch? {
  do throws(Problem) {
    let parsed = try body()
    precondition(parsed.batch.count > 0 && parsed.names.count == parsed.batch.count, "what was taken is empty, or has no names")
    check(parsed.batch)
    return parsed
  } catch {
    return nil
  }
}

/// What is recognised with more bytes was not taken for something else with fewer.
private func takeHead(_ bytes: [UInt8]) {
  let max = 16 << 10
  switch CommonForm(bytes.rawSpan, headByteCountMax: max) {
  case .append(let head):
    precondition(head.byteCount <= bytes.count && (1...CommonForm.bodyByteCountMax).contains(head.bodyByteCount))
    for count in 0..<head.byteCount {
      precondition(CommonForm(bytes.rawSpan.slice(0..<count), headByteCountMax: max) == .incomplete, "\(count) bytes of a head are judged")
    }
    precondition(CommonForm(bytes.rawSpan.slice(0..<head.byteCount), headByteCountMax: max) == .append(head))
  case .incomplete: precondition(bytes.count < CommonForm.headByteCountMax, "a head without end is waited for")
  case .other: break
  }
}

/// Lines of `name: value`, an empty one, the body.
private func takeBinary(_ bytes: [UInt8]) {
  var headers = HTTPFields()
  var contentType: String?
  var rest = bytes[...]
  while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
    let line = rest[..<end]
    rest = rest[(end + 1)...]
    guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { break }
    let value = String(decoding: line[(colon + 1)...], as: UTF8.self)
    guard let name = HTTPField.Name(String(decoding: line[..<colon], as: UTF8.self)) else { continue }
    if name == .contentType { contentType = value } else { headers.append(HTTPField(name: name, value: value)) }
  }
  do throws(Problem) {
    let event = try BinaryMode.event(headers, contentType: contentType, body: Array(rest))
    var reader = JSONReader()
    do throws(JSONError) {
      _ = try reader.parse(event.rawSpan)
    } catch {
      preconditionFailure("binary mode makes what is no JSON: \(error)")
    }
    _ = parse { () throws(Problem) in try body.single(event.rawSpan, into: makeBatch()) }
  } catch {
    return
  }
}
