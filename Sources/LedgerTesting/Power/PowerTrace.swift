// The record of what a daemon did to its disk (Shim/powercut.c), and of what the harness knew meanwhile: which events it had
// sent, which were acknowledged, which head it had been told.
//
// Invariants:
// - One order over everything: both sides add records to one file, the harness its marks when it has an answer, so an
//   acknowledgement stands behind every sync that it relied on.
// - A trace stands for itself: it begins with the files that were there before the daemon, and holds the seed of the events.
// - A trace with a fault in it, or one that is torn, is refused.

import Bytes
import Files
import Foundation

/// Why a trace is of no use.
struct PowerTraceError: Error, CustomStringConvertible {
  let description: String
}

/// Adds the harness's own records.
final class PowerMarks: Sendable {
  private let file: AppendingFile

  init(_ path: String) throws(FileError) { file = try AppendingFile(path) }

  func add(
    _ kind: PowerTrace.Kind, isThrough: Bool = false, inode: UInt64 = 0, _ a: UInt64 = 0, _ b: UInt64 = 0, path: String = "",
    bytes: [UInt8] = []
  ) throws(FileError) {
    var writer = ByteWriter(capacity: PowerTrace.headByteCount + bytes.count)
    writer.uint32(UInt32(PowerTrace.headByteCount + path.utf8.count + bytes.count))
    writer.uint8(kind.rawValue)
    writer.uint8(isThrough ? 1 : 0)
    writer.uint16(UInt16(path.utf8.count))
    writer.uint64(inode)
    writer.uint64(a)
    writer.uint64(b)
    writer.raw(Array(path.utf8))
    writer.raw(bytes)
    try file.append(writer.bytes)
  }
}

/// A recorded run, in memory.
struct PowerTrace: Sendable {
  /// What happened; the meaning of `a` and `b` stands in Shim/powercut.c, or here for what the harness adds.
  enum Kind: UInt8, Sendable {
    case write = 1
    case resize
    case begin
    case end
    case create
    case makeDirectory
    case rename
    case unlink
    case mapped
    case fault
    /// The directory with everything in it. a: the seed of the events, b: how many customers they have.
    case root = 32
    /// Everything so far is on the disk: here the run begins.
    case settled
    /// A unit of events is about to be sent. a: its first event's index, b: how many there are.
    case begun
    /// A unit was acknowledged. a: its number, b: its first position.
    case acknowledged
    /// A unit that was never acknowledged is in the log the run begins with. a: its number, b: its first position.
    case found
    /// Somebody was told this head. a: the head.
    case seen
    /// A daemon that has just started told this head. a: the head.
    case started
  }

  struct Record: Sendable {
    var kind: Kind
    /// It went through a descriptor with O_DSYNC.
    var isThrough: Bool
    var inode: UInt64
    var a: UInt64
    var b: UInt64
    var path: String
    var bytes: Range<Int>
  }

  static let headByteCount = 32

  let bytes: [UInt8]
  let records: [Record]
  /// The first record of the run itself.
  let start: Int
  let eventSeed: UInt64
  let customerCount: Int

  init(path: String) throws {
    guard let data = FileManager.default.contents(atPath: path) else { throw PowerTraceError(description: "\(path) cannot be read") }
    let all = Array(data)
    let span = all.rawSpan
    var records: [Record] = []
    var offset = 0
    while offset < all.count {
      guard offset + Self.headByteCount <= all.count, case let count = Int(span.uint32(at: offset)), offset + count <= all.count,
        let kind = Kind(rawValue: span.byte(at: offset + 4)), case let pathCount = Int(span.uint16(at: offset + 6)),
        Self.headByteCount + pathCount <= count
      else { throw PowerTraceError(description: "\(path) is torn at byte \(offset)") }
      let content = offset + Self.headByteCount + pathCount
      records.append(
        Record(
          kind: kind, isThrough: span.byte(at: offset + 5) & 1 != 0, inode: span.uint64(at: offset + 8), a: span.uint64(at: offset + 16),
          b: span.uint64(at: offset + 24), path: String(decoding: all[offset + Self.headByteCount..<content], as: UTF8.self),
          bytes: content..<offset + count))
      offset += count
    }
    if let fault = records.first(where: { $0.kind == .fault }) {
      throw PowerTraceError(description: "what the daemon did cannot be followed: \(String(decoding: all[fault.bytes], as: UTF8.self))")
    }
    guard let root = records.first, root.kind == .root, let start = records.firstIndex(where: { $0.kind == .settled }) else {
      throw PowerTraceError(description: "\(path) has no beginning")
    }
    bytes = all
    self.records = records
    self.start = start
    (eventSeed, customerCount) = (root.a, Int(root.b))
  }

  /// What writers knew when the record at `end` had not happened yet.
  func journal(before end: Int) -> (journal: CrashJournal, head: UInt64) {
    var units: [CrashJournal.Unit] = []
    var head: UInt64 = 0
    for record in records[..<end] {
      switch record.kind {
      case .begun: units.append(CrashJournal.Unit(first: record.a, count: Int(record.b)))
      case .acknowledged: units[Int(record.a)].acknowledged = record.b
      case .found: units[Int(record.a)].found = record.b
      case .seen, .started: head = max(head, record.a)
      default: break
      }
    }
    return (CrashJournal(units: units), head)
  }
}
