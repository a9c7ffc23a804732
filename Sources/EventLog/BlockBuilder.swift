// Builds one block from consecutive events. The appender owns one and uses it again and again.

import Bytes
import LedgerCore
import Zstd

/// What a commit block's payload is compressed with.
public enum CommitCompression: Equatable, Sendable {
  /// Stored as it is: the fastest way in.
  case none
  /// zstd at this level, for payloads of 2 KiB and more; negative levels are the fast ones.
  case zstd(level: Int)
}

struct BlockBuilder: ~Copyable {
  private(set) var count = 0
  private(set) var first: Position = 0
  private var table = ByteWriter(capacity: 16 * 1024)
  private var events: [UInt8] = []
  private var principals: [String] = []
  /// Of the principals with their lengths, at most.
  private var principalsByteCount = 0
  private var recordedFirst = Timestamp.earliest
  private var recordedLast = Timestamp.earliest
  private var chainBefore: UInt64 = 0
  private var chainAfter: UInt64 = 0
  private var compressor = Compressor()
  private let seed: UInt64
  private let compression: CommitCompression

  /// Payloads below this are not worth a frame.
  static let compressionByteCountMin = 2_048
  /// A varint of a number below 2 MiB.
  private static let countByteCountMax = 3
  /// Kind, flags and door; three times of ten bytes and a revision of ten; principal and byte count.
  private static let entryByteCountMax = 3 + 4 * 10 + 2 * countByteCountMax

  init(logSeed: UInt64, compression: CommitCompression) {
    seed = logSeed
    self.compression = compression
    events.reserveCapacity(BlockFormat.payloadByteCountMax)
  }

  /// True if an event of this size and sender, at this position, belongs to the block that is being built.
  func accepts(_ position: Position, byteCount: Int, principal: String) -> Bool {
    guard count > 0 else { return true }
    // As if the principal were new: it is short, and looking it up for each event is not worth the room.
    let payloadByteCountMax =
      Self.countByteCountMax + principalsByteCount + Self.countByteCountMax + principal.utf8.count + table.count + events.count
      + Self.entryByteCountMax + byteCount
    return BlockFormat.slot(of: position) == BlockFormat.slot(of: first) && payloadByteCountMax <= BlockFormat.payloadByteCountMax
  }

  /// Adds the event at the next position.
  mutating func add(_ bytes: RawSpan, position: Position, envelope: Envelope, chainBefore: UInt64, chainAfter: UInt64) {
    if count == 0 {
      first = position
      recordedFirst = envelope.recorded
      recordedLast = envelope.recorded
      self.chainBefore = chainBefore
    }
    precondition(position == first + UInt64(count), "a block holds consecutive positions")
    table.uint8(StoredEntry.Kind.event.rawValue)
    table.uint8(envelope.sent == nil ? 0 : 1)
    table.uint8(envelope.door.rawValue)
    table.count(principalIndex(envelope.principal))
    table.varint(UInt64(envelope.recorded.microseconds - recordedLast.microseconds))
    table.zigzag(envelope.recorded.microseconds &- envelope.received.microseconds)
    if let sent = envelope.sent { table.zigzag(envelope.received.microseconds &- sent.microseconds) }
    table.varint(envelope.revision)
    table.count(bytes.byteCount)
    events.append(bytes)
    recordedLast = envelope.recorded
    self.chainAfter = chainAfter
    count += 1
  }

  private mutating func principalIndex(_ principal: String) -> Int {
    for (index, known) in principals.enumerated() where known.utf8.elementsEqual(principal.utf8) { return index }
    principals.append(principal)
    principalsByteCount += Self.countByteCountMax + principal.utf8.count
    return principals.count - 1
  }

  /// The finished block; the builder is empty again.
  mutating func finish() throws(ZstdError) -> [UInt8] {
    precondition(count > 0, "a block has events")
    var payload = ByteWriter(capacity: table.count + events.count + 64)
    payload.count(principals.count)
    for principal in principals { payload.string(principal) }
    payload.raw(table.bytes)
    payload.raw(events)

    var codec = BlockHeader.Codec.raw
    var stored: [UInt8] = []
    if case .zstd(let level) = compression, payload.count >= Self.compressionByteCountMin {
      try compressor.compress(payload.bytes.rawSpan, level: level, into: &stored)
      if stored.count < payload.count { codec = .zstd }
    }
    let storedByteCount = codec == .zstd ? stored.count : payload.count

    var block = ByteWriter(capacity: BlockFormat.headerByteCount + storedByteCount)
    block.uint16(UInt16(BlockFormat.headerByteCount))
    block.uint8(BlockFormat.version)
    block.uint8(codec.rawValue)
    block.uint32(UInt32(count))
    block.uint64(first)
    block.uint32(UInt32(payload.count))
    block.uint32(UInt32(storedByteCount))
    block.int64(recordedFirst.microseconds)
    block.int64(recordedLast.microseconds)
    block.uint64(chainBefore)
    block.uint64(chainAfter)
    block.uint64(0)
    block.uint64(0)
    block.raw(codec == .zstd ? stored : payload.bytes)
    block.patch(uint64: BlockFormat.checksum(block.bytes.rawSpan, seed: seed), at: BlockFormat.checksumOffset)

    count = 0
    table.removeAll()
    events.removeAll(keepingCapacity: true)
    principals.removeAll(keepingCapacity: true)
    principalsByteCount = 0
    return block.bytes
  }
}
