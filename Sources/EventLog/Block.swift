// The unit of storage: consecutive events of one slot, as one LMDB value.
//
//   offset bytes  header (big-endian)
//        0     2  byte count of the header: 72 in version 1, more when fields are added behind
//        2     1  version: 1
//        3     1  codec of the payload: 0 raw, 1 zstd
//        4     4  count of entries, 1 to 256
//        8     8  first position
//       16     4  byte count of the payload
//       20     4  byte count of the payload as stored
//       24     8  recorded time of the first entry, µs
//       32     8  recorded time of the last entry, µs (the running maximum: recorded times never fall)
//       40     8  chain before the first entry
//       48     8  chain after the last entry
//       56     8  flags: 0; bit 0 will say "sealed"
//       64     8  XXH3-64 of all other bytes, seeded with the log's id
//   payload: count of principals (varint), each length-prefixed; then per entry
//        kind u8 (0 event; 1 is kept for tombstones), flags u8 (bit 0: sent time present), door u8, principal (varint),
//        recorded − previous entry's recorded (varint), recorded − received (zigzag), [received − sent (zigzag)],
//        revision (varint), byte count (varint); then all events' bytes.
//
// Invariants:
// - A block never crosses a slot (256 positions) and its payload is at most 128 KiB unless it holds a single event.
// - The checksum covers the log's id and the position: a block in the wrong place is as wrong as a damaged one.

import Bytes
import LedgerCore
import Zstd

enum BlockFormat {
  static let version: UInt8 = 1
  static let headerByteCount = 72
  static let checksumOffset = 64
  static let slotPositionCount: UInt64 = 256
  static let payloadByteCountMax = 128 * 1024
  /// What a damaged header can make us allocate: one event of 1 MiB and its entry, generously.
  static let payloadByteCountLimit = 2 << 20

  /// The slot of a position, from 0.
  static func slot(of position: Position) -> UInt64 { (position - 1) / slotPositionCount }

  /// XXH3 over the header without its checksum, then over the rest.
  static func checksum(_ block: RawSpan, seed: UInt64) -> UInt64 {
    let head = XXH3.hash64(block.slice(0..<checksumOffset), seed: seed)
    return XXH3.hash64(block.slice(checksumOffset + 8..<block.byteCount), seed: head)
  }
}

/// The fixed part of a block.
struct BlockHeader: Equatable {
  enum Codec: UInt8 { case raw = 0, zstd = 1 }

  var headerByteCount: Int
  var codec: Codec
  var count: Int
  var first: Position
  var payloadByteCount: Int
  var storedByteCount: Int
  var recordedFirst: Timestamp
  var recordedLast: Timestamp
  var chainBefore: UInt64
  var chainAfter: UInt64

  var last: Position { first + UInt64(count) - 1 }

  /// Reads and checks a header.
  ///
  /// - Parameter key: The position the block is stored under.
  init(_ block: RawSpan, key: Position, seed: UInt64) throws(LogError) {
    func damaged(_ detail: String) -> LogError { .damaged(position: key, detail) }
    guard block.byteCount >= BlockFormat.headerByteCount else { throw damaged("the block is too short") }
    headerByteCount = Int(block.uint16(at: 0))
    let version = block.byte(at: 2)
    guard version == BlockFormat.version else {
      throw damaged("block version \(version) is not known to this version of ledgerd")
    }
    guard let codec = Codec(rawValue: block.byte(at: 3)) else { throw damaged("unknown codec") }
    self.codec = codec
    count = Int(block.uint32(at: 4))
    first = block.uint64(at: 8)
    payloadByteCount = Int(block.uint32(at: 16))
    storedByteCount = Int(block.uint32(at: 20))
    recordedFirst = Timestamp(microseconds: Int64(bitPattern: block.uint64(at: 24)))
    recordedLast = Timestamp(microseconds: Int64(bitPattern: block.uint64(at: 32)))
    chainBefore = block.uint64(at: 40)
    chainAfter = block.uint64(at: 48)
    guard headerByteCount >= BlockFormat.headerByteCount, block.byteCount == headerByteCount + storedByteCount else {
      throw damaged("the block has \(block.byteCount) bytes, its header says otherwise")
    }
    guard block.uint64(at: BlockFormat.checksumOffset) == BlockFormat.checksum(block, seed: seed) else {
      throw damaged("the block's checksum does not match")
    }
    guard first == key, count >= 1, count <= Int(BlockFormat.slotPositionCount), payloadByteCount <= BlockFormat.payloadByteCountLimit
    else {
      throw damaged("the block's header contradicts its place")
    }
  }
}
