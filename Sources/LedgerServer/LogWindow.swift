// Reads stretches of the log for clients. Readers, with their decompressors and blocks, are lent for one chunk at a time: a
// client that waits, for the head or for its socket, holds a position and nothing else.
//
// Invariants:
// - There are at most as many readers as chunks are read at once; an idle follower has none.
// - No LMDB transaction is open outside of a read.
// - Who follows the head finds its block decoded by whoever was first.

import Bytes
import EventLog
import LedgerCore
import NIOCore
import NIOPosix
import Synchronization

/// Where a client is in the log, and what it wants of it.
struct ReadPlace: Sendable {
  /// Everything up to here has been looked at.
  var position: Position
  let filter: EventFilter
  /// How many events may still come.
  var remaining: UInt64
  /// Bytes that have been read for it.
  fileprivate(set) var byteCount = 0

  init(position: Position, filter: EventFilter, remaining: UInt64) {
    self.position = position
    self.filter = filter
    self.remaining = remaining
  }
}

/// A piece of an answer.
struct ReadChunk: Sendable {
  var bytes: [UInt8] = []
  /// Where it ends.
  var place: ReadPlace

  /// The bytes, for the socket; they are not kept here while it takes them.
  mutating func takeBytes() -> ByteBuffer {
    defer { bytes = [] }
    return ByteBuffer(bytes: bytes)
  }
}

/// The chunk that was read before the status was sent. An answer's body keeps what it was made with to its end: this it lets
/// go of.
final class FirstChunk: Sendable {
  private let chunk: Mutex<ReadChunk?>

  init(_ chunk: ReadChunk) { self.chunk = Mutex(chunk) }

  /// The chunk, once.
  func take() -> ReadChunk {
    guard let chunk = chunk.withLock({ $0.take() }) else { preconditionFailure("a body is written once") }
    return chunk
  }
}

/// The log, as routes read it.
struct LogWindow: Sendable {
  let log: EventLog
  let threads: NIOThreadPool
  private let shelf = ReaderShelf()

  init(log: EventLog, threads: NIOThreadPool) {
    self.log = log
    self.threads = threads
  }

  /// A chunk ends at this many bytes, or after looking at this many events. A slow client holds two: one that the socket has
  /// not taken yet, and one behind it. Chunks begin small and grow to an eighth of what the client has taken: large ones are
  /// a third faster, and who reads nothing, of which a socket's buffer takes a few, holds small ones.
  static let byteCountMin = 64 << 10
  static let byteCountMax = 256 << 10
  static let eventCountMax = 4_096

  /// Reads the next chunk, on a thread that may wait for the disk.
  func next(_ place: ReadPlace, through last: Position) async throws -> ReadChunk {
    try await threads.runIfActive {
      try shelf.withReader(of: log, at: place.position + 1) { (lent) throws(LogError) in try Self.read(lent, place, through: last) }
    }
  }

  /// One event: its envelope and its bytes.
  func event(at position: Position) async throws -> (envelope: Envelope, bytes: [UInt8]) {
    try await threads.runIfActive { try log.event(at: position) }
  }

  /// Lines of the first of given events, as many as make a chunk.
  ///
  /// - Returns: The lines, and how many events they are: 1 or more.
  func lines(of deliveries: ArraySlice<Delivery>) async throws -> (bytes: [UInt8], count: Int) {
    try await threads.runIfActive {
      var out: [UInt8] = []
      var count = 0
      for delivery in deliveries where out.count < Self.byteCountMin {
        try shelf.withReader(of: log, at: delivery.position) { (lent) throws(LogError) in
          lent.reader.seek(after: delivery.position - 1)
          _ = try lent.reader.read(maxCount: 1, through: delivery.position) { position, envelope, bytes in
            EventLine.write(position, envelope, bytes, members: #""delivery":\#(delivery.number),"#, to: &out)
            return true
          }
        }
        count += 1
      }
      return (out, count)
    }
  }

  private static func read(_ lent: LentReader, _ place: ReadPlace, through last: Position) throws(LogError) -> ReadChunk {
    var chunk = ReadChunk(place: place)
    let chunkByteCount = min(max(byteCountMin, place.byteCount / 8), byteCountMax)
    var failure: LogError?
    lent.reader.seek(after: place.position)
    _ = try lent.reader.read(maxCount: eventCountMax, through: last) { position, envelope, bytes in
      if !place.filter.isEmpty {
        do throws(EventError) {
          try lent.event.read(bytes, position: position, envelope: envelope)
        } catch {
          failure = .damaged(position: position, error.message)
          return false
        }
        guard place.filter.takes(lent.event) else { return true }
      }
      EventLine.write(position, envelope, bytes, to: &chunk.bytes)
      chunk.place.remaining -= 1
      return chunk.place.remaining > 0 && chunk.bytes.count < chunkByteCount
    }
    if let failure { throw failure }
    chunk.place.position = lent.reader.position
    chunk.place.byteCount += chunk.bytes.count
    return chunk
  }
}

/// A reader and what it parses with.
final class LentReader {
  let reader: LogReader
  let event = LoggedEvent()

  init(_ log: EventLog) { reader = log.makeReader(after: 0) }
}

/// Readers that nobody uses now.
private final class ReaderShelf: Sendable {
  private struct Idle: @unchecked Sendable {
    // A reader is either in this list or with the one call that took it.
    var readers: [LentReader] = []
  }
  private struct Transfer: @unchecked Sendable { let reader: LentReader }
  private let idle = Mutex(Idle())

  /// Lends a reader, if possible one that has the block of a position decoded.
  func withReader<R>(of log: EventLog, at position: Position, _ body: (LentReader) throws(LogError) -> R) throws(LogError) -> R {
    let found = idle.withLock { idle -> Transfer? in
      guard !idle.readers.isEmpty else { return nil }
      let index = idle.readers.lastIndex { $0.reader.holdsBlock(of: position) } ?? 0
      return Transfer(reader: idle.readers.remove(at: index))
    }
    let lent = found ?? Transfer(reader: LentReader(log))
    // It goes back whatever happens: the next `seek` puts it right.
    defer { idle.withLock { $0.readers.append(lent.reader) } }
    return try body(lent.reader)
  }
}

/// One event as a line.
enum EventLine {
  /// - Parameter members: What stands between recorded time and event, each with a comma behind it.
  static func write(_ position: Position, _ envelope: Envelope, _ bytes: RawSpan, members: String = "", to out: inout [UInt8]) {
    out.append(contentsOf: #"{"position":"#.utf8)
    out.append(contentsOf: String(position).utf8)
    out.append(contentsOf: #","recordedtime":""#.utf8)
    out.append(contentsOf: envelope.recorded.rfc3339Bytes)
    out.append(contentsOf: #"","#.utf8)
    out.append(contentsOf: members.utf8)
    out.append(contentsOf: #""event":"#.utf8)
    out.append(bytes)
    out.append(contentsOf: "}\n".utf8)
  }

  static func mark(_ kind: Mark, _ position: Position) -> ByteBuffer {
    ByteBuffer(string: #"{"mark":"\#(kind.rawValue)","position":\#(position)}"# + "\n")
  }

  /// What a stream says beside events. The position is how far it has looked.
  enum Mark: String, Sendable {
    /// Everything that is in the log has been looked at.
    case caughtUp = "caught-up"
    /// Nothing has been sent for a while.
    case heartbeat
    /// The head is far ahead again.
    case fellBehind = "fell-behind"
  }
}
