// A block taken apart: its events' envelopes and where their bytes are. A reader owns one and fills it again and again.

import Bytes
import LedgerCore
import Zstd

/// One entry of a block's table.
struct StoredEntry {
  enum Kind: UInt8 { case event = 0 }

  var envelope: Envelope
  /// Where the event's bytes begin and end in the payload.
  var start: Int
  var end: Int
}

struct DecodedBlock: ~Copyable {
  private(set) var header: BlockHeader?
  private(set) var entries: [StoredEntry] = []
  private var payload: [UInt8] = []
  private var decompressor = Decompressor()
  private let seed: UInt64

  init(logSeed: UInt64) { seed = logSeed }

  /// True if the position is in the block.
  func contains(_ position: Position) -> Bool {
    guard let header else { return false }
    return position >= header.first && position <= header.last
  }

  /// The entry at a position that the block contains.
  func entry(at position: Position) -> StoredEntry {
    guard let header else { preconditionFailure("the block is empty") }
    return entries[Int(position - header.first)]
  }

  /// Hands the stored bytes of an entry out.
  func withBytes<R, E: Error>(of entry: StoredEntry, _ body: (RawSpan) throws(E) -> R) throws(E) -> R {
    try body(payload.rawSpan.slice(entry.start..<entry.end))
  }

  /// Forgets the block.
  mutating func clear() { header = nil }

  /// Checks and takes a stored block apart.
  mutating func decode(_ block: RawSpan, key: Position) throws(LogError) {
    header = nil
    let header = try BlockHeader(block, key: key, seed: seed)
    let stored = block.slice(header.headerByteCount..<block.byteCount)
    switch header.codec {
    case .raw:
      guard stored.byteCount == header.payloadByteCount else { throw .damaged(position: key, "the payload's size contradicts the header") }
      payload.removeAll(keepingCapacity: true)
      payload.append(stored)
    case .zstd:
      do throws(ZstdError) {
        try decompressor.decompress(stored, byteCount: header.payloadByteCount, into: &payload)
      } catch {
        throw .damaged(position: key, error.description)
      }
    }
    do throws(ByteError) {
      try Self.readTable(of: payload, header, into: &entries)
    } catch {
      throw .damaged(position: key, "the block's table cannot be read (\(error))")
    }
    self.header = header
  }

  private static func readTable(of payload: [UInt8], _ header: BlockHeader, into entries: inout [StoredEntry]) throws(ByteError) {
    var reader = ByteReader(payload.rawSpan)
    var principals: [String] = []
    for _ in 0..<(try reader.count(max: header.count)) { principals.append(try reader.string()) }
    entries.removeAll(keepingCapacity: true)
    entries.reserveCapacity(header.count)
    var recorded = header.recordedFirst.microseconds
    var start = 0
    for _ in 0..<header.count {
      let at = reader.offset
      let kind = try reader.uint8()
      guard StoredEntry.Kind(rawValue: kind) != nil else { throw .unknownValue(offset: at, UInt64(kind)) }
      let flags = try reader.uint8()
      let doorByte = try reader.uint8()
      guard let door = FrontDoor(rawValue: doorByte) else { throw .unknownValue(offset: at, UInt64(doorByte)) }
      let principal = try reader.count(max: max(0, principals.count - 1))
      guard principal < principals.count else { throw .unknownValue(offset: at, UInt64(principal)) }
      recorded &+= Int64(bitPattern: try reader.varint())
      let received = recorded &- (try reader.zigzag())
      let sent: Int64? = flags & 1 == 0 ? nil : received &- (try reader.zigzag())
      let revision = try reader.varint()
      let byteCount = try reader.count(max: BlockFormat.payloadByteCountLimit)
      entries.append(
        StoredEntry(
          envelope: Envelope(
            recorded: Timestamp(microseconds: recorded), received: Timestamp(microseconds: received),
            sent: sent.map { Timestamp(microseconds: $0) }, revision: revision, door: door, principal: principals[principal]),
          start: start, end: start + byteCount))
      start += byteCount
    }
    let base = reader.offset
    guard base + start == payload.count else {
      throw .truncated(offset: base, needed: start, available: payload.count - base)
    }
    for index in entries.indices {
      entries[index].start += base
      entries[index].end += base
    }
  }
}
