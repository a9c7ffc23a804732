// What a generation knows about itself, in one row that commits together with its rows.
//
// Layout, big-endian: format (2) · fold version (4) · birth (8) · log id (16) · position (8) · chain (8) · recorded (8) ·
// digest (16) · row count (8) · parked count (8) · change sequence (8) · change floor (8) · upstream flag (1) and, if 1,
// upstream birth (8) · generation (8) · sequence (8) · cursor (8) · is scanning (1) · XXH3-64 of all before it (8).
//
// Invariants:
// - Every format begins with its number and ends with its checksum, so that a newer format is told from damage.

import Bytes
import EventLog
import LedgerCore

/// How far a dependent projection has read its upstream.
struct UpstreamMark: Equatable, Sendable {
  /// The upstream generation's birth number: two generations never share one, even if they share their number.
  var birth: UInt64
  /// The upstream generation.
  var generation: UInt64
  /// The last change folded.
  var sequence: UInt64
  /// While scanning: the first unit not yet handed over.
  var cursor: UInt64
  /// True until every unit has been handed over once.
  var isScanning: Bool
}

/// The meta row of a generation.
struct GenerationState: Equatable, Sendable {
  static let format: UInt16 = 1

  var version: UInt32
  /// Drawn at random when the generation was begun.
  var birth: UInt64
  var mark: LogMark
  /// The recorded time of the last event folded; nil: none was.
  var lastRecorded: Timestamp?
  var digest = Hash128(high: 0, low: 0)
  var rowCount: Int64 = 0
  var parkedCount: UInt64 = 0
  /// How many unit changes there have been.
  var changeSequence: UInt64 = 0
  /// The first change that is still kept, or the next one.
  var changeFloor: UInt64 = 1
  var upstream: UpstreamMark?

  /// What was found in the meta row.
  enum Stored {
    case nothing
    case damaged
    case newer(format: UInt16)
    case state(GenerationState)
  }

  init(version: UInt32, birth: UInt64, mark: LogMark) {
    self.version = version
    self.birth = birth
    self.mark = mark
  }

  var encoded: [UInt8] {
    var writer = ByteWriter(capacity: 160)
    writer.uint16(Self.format)
    writer.uint32(version)
    writer.uint64(birth)
    writer.raw(mark.logID.bytes)
    writer.uint64(mark.position)
    writer.uint64(mark.chain)
    writer.int64(lastRecorded?.microseconds ?? .min)
    writer.uint64(digest.high)
    writer.uint64(digest.low)
    writer.int64(rowCount)
    writer.uint64(parkedCount)
    writer.uint64(changeSequence)
    writer.uint64(changeFloor)
    writer.uint8(upstream == nil ? 0 : 1)
    if let upstream {
      writer.uint64(upstream.birth)
      writer.uint64(upstream.generation)
      writer.uint64(upstream.sequence)
      writer.uint64(upstream.cursor)
      writer.uint8(upstream.isScanning ? 1 : 0)
    }
    writer.uint64(XXH3.hash64(writer.bytes.rawSpan))
    return writer.bytes
  }

  static func decode(_ bytes: RawSpan) -> Stored {
    let bodyByteCount = bytes.byteCount - 8
    guard bodyByteCount >= 2, bytes.uint64(at: bodyByteCount) == XXH3.hash64(bytes.slice(0..<bodyByteCount)) else { return .damaged }
    do throws(ByteError) {
      var reader = ByteReader(bytes.slice(0..<bodyByteCount))
      let format = try reader.uint16()
      if format > Self.format { return .newer(format: format) }
      return .state(try GenerationState(from: &reader))
    } catch {
      return .damaged
    }
  }

  private init(from reader: inout ByteReader) throws(ByteError) {
    version = try reader.uint32()
    birth = try reader.uint64()
    let id = try reader.bytes(16)
    let logID = LogID(bytes: [UInt8](id))
    let position = try reader.uint64()
    mark = LogMark(logID: logID, position: position, chain: try reader.uint64())
    let recorded = try reader.int64()
    lastRecorded = recorded == .min ? nil : Timestamp(microseconds: recorded)
    let high = try reader.uint64()
    digest = Hash128(high: high, low: try reader.uint64())
    rowCount = try reader.int64()
    parkedCount = try reader.uint64()
    changeSequence = try reader.uint64()
    changeFloor = try reader.uint64()
    if try reader.uint8() == 1 {
      let upstreamBirth = try reader.uint64()
      let generation = try reader.uint64()
      let sequence = try reader.uint64()
      let cursor = try reader.uint64()
      upstream = UpstreamMark(
        birth: upstreamBirth, generation: generation, sequence: sequence, cursor: cursor, isScanning: try reader.uint8() == 1)
    }
  }
}
