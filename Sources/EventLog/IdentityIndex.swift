// Which ids the log has, and where each stream ends. Derived from the log and written behind it: committing a random-key
// index with every group would make appending several times slower.
//
//   index/
//     meta     "mark" → log id, position, chain: what the index reflects
//     ids      keyed hash of (source, id) → position
//     streams  keyed hash of the stream → last revision u64, last position u64
//
// Invariants:
// - What is not yet in LMDB is in a tail in memory: `active` grows, `frozen` is being written by the flusher. A look-up
//   asks them in that order and LMDB last, in a snapshot that began after `frozen` was last seen unwritten.
// - The rows and the mark commit together. A mark that is not the log's means another history: everything goes.
// - Where the file cannot have an entry (``StoredIDs``), it is not asked.
// - Used by the appender thread, but for `frozen`, which the flusher reads and nobody changes.

import Bytes
import Files
import LMDB
import LedgerCore
import Threads

/// Where a stream ends.
struct StreamEnd: Equatable, Sendable {
  var revision: UInt64
  var position: Position
}

/// Entries of the index that are not in LMDB yet.
struct IndexTail: Sendable {
  var ids: [Hash128: Position] = [:]
  var streams: [Hash128: StreamEnd] = [:]
}

final class IdentityIndex {
  /// A tail on its way to LMDB, with the mark that holds when it is there.
  private struct Flush: Sendable {
    let tail: IndexTail
    let mark: LogMark
  }

  private enum FlusherState: Sendable {
    case idle
    case writing(Flush)
    /// Tried again after a while.
    case failed(LMDBError, Flush)
    case stopping
  }

  private let environment: Environment
  private let ids: Database<Hash128, UInt64>
  private let streams: Database<Hash128, [UInt8]>
  private let meta: Database<String, [UInt8]>
  private(set) var mark: LogMark?
  private var active = IndexTail()
  private var frozen: IndexTail?
  private let flusher: Monitor<FlusherState>
  private var thread: NamedThread?
  private let stored: StoredIDs

  /// A tail of this many ids is written out.
  private let tailCountMax: Int

  init(path: String, mapByteCount: Int, tailCountMax: Int) throws(LogError) {
    self.tailCountMax = tailCountMax
    do throws(FileError) {
      try Files.createDirectory(path)
    } catch {
      throw .files(error)
    }
    do throws(LMDBError) {
      environment = try Environment(path: path, options: .init(mapByteCount: mapByteCount))
      ids = try environment.database("ids", Hash128.self, UInt64.self)
      streams = try environment.database("streams", Hash128.self, [UInt8].self)
      meta = try environment.database("meta", String.self, [UInt8].self)
      let (env, table, idTable) = (environment, meta, ids)
      mark = try env.read { (transaction) throws(LMDBError) in try transaction.get(table, "mark") }.flatMap(decodeMark)
      let isEmpty = try env.read { (transaction) throws(LMDBError) in try transaction.count(idTable) == 0 }
      stored = StoredIDs(env, ids: ids.handle, streams: streams.handle, isEmpty: isEmpty)
    } catch {
      throw .environment(error)
    }
    flusher = Monitor(.idle)
    let (state, write) = (flusher, writer())
    thread = NamedThread(name: "ledger-index") { Self.runFlusher(state, write) }
  }

  /// Opens the index; one that cannot be opened is derived data and is made anew.
  static func open(
    path: String, mapByteCount: Int, tailCountMax: Int, report: (LogReport) -> Void
  ) throws(LogError) -> IdentityIndex {
    do throws(LogError) {
      return try IdentityIndex(path: path, mapByteCount: mapByteCount, tailCountMax: tailCountMax)
    } catch .environment(let error) where [.corrupted, .foreignFile].contains(error.kind) {
      report(.indexDiscarded)
    } catch {
      throw error
    }
    do throws(FileError) {
      try Files.removeTree(path)
    } catch {
      throw .files(error)
    }
    return try IdentityIndex(path: path, mapByteCount: mapByteCount, tailCountMax: tailCountMax)
  }

  /// True if more waits in memory than may, since the index cannot be written: nothing is appended until it can.
  var isOverfull: Bool { active.ids.count >= 8 * tailCountMax }

  /// How many entries wait in memory.
  var tailCount: Int { active.ids.count + (frozen?.ids.count ?? 0) }
  /// Bytes of the index's file.
  var usedByteCount: Int { environment.info.usedByteCount }

  /// Forgets everything: the index belongs to another history.
  func clear() throws(LogError) {
    active = IndexTail()
    mark = nil
    stored.end()
    let (ids, streams, meta) = (ids, streams, meta)
    do throws(LMDBError) {
      try environment.write { (transaction) throws(LMDBError) in
        try transaction.clear(ids)
        try transaction.clear(streams)
        try transaction.clear(meta)
      }
    } catch {
      throw .environment(error)
    }
    stored.clear()
  }

  // MARK: Looking up

  /// A snapshot for the look-ups of one group.
  struct Lookup: ~Copyable {
    fileprivate let transaction: ReadTransaction
  }

  /// Begins looking up. What the flusher finished before is dropped from memory first, so the snapshot has it.
  func beginLookup() throws(LMDBError) -> Lookup {
    if frozen != nil, isFlusherIdle { frozen = nil }
    return Lookup(transaction: try environment.beginRead())
  }

  private var isFlusherIdle: Bool {
    flusher.withLock { state in
      if case .idle = state { true } else { false }
    }
  }

  func position(of id: Hash128, _ lookup: borrowing Lookup) throws(LMDBError) -> Position? {
    if let position = active.ids[id] { return position }
    if let position = frozen?.ids[id] { return position }
    guard stored.mayHave(id: id) else { return nil }
    return try lookup.transaction.get(ids, id)
  }

  func end(of stream: Hash128, _ lookup: borrowing Lookup) throws(LMDBError) -> StreamEnd? {
    if let end = active.streams[stream] { return end }
    if let end = frozen?.streams[stream] { return end }
    guard stored.mayHave(stream: stream) else { return nil }
    return try lookup.transaction.getPair(streams, stream).map { StreamEnd(revision: $0.0, position: $0.1) }
  }

  // MARK: Changing

  /// Adds an id; it is in no part of the index yet.
  func insert(id: Hash128, at position: Position) { active.ids[id] = position }
  /// Takes back what ``insert(id:at:)`` added.
  func remove(id: Hash128) { active.ids[id] = nil }
  /// Sets where a stream ends, and answers what the tail said before, to be given back to ``restore(_:_:)``.
  func set(_ end: StreamEnd, of stream: Hash128) -> StreamEnd? { active.streams.updateValue(end, forKey: stream) }
  /// Takes back what ``set(_:of:)`` changed.
  func restore(_ end: StreamEnd?, of stream: Hash128) { active.streams[stream] = end }

  /// Hands the tail to the flusher if it is large enough. Called when everything in it is durable in the log.
  ///
  /// Waits for the flusher only when the tail has grown to four times its size: one bound on memory; ``isOverfull`` is the
  /// other, for when it cannot be written.
  func flushIfLarge(mark: LogMark) throws(LMDBError) {
    guard active.ids.count >= tailCountMax else { return }
    if active.ids.count < 4 * tailCountMax, frozen != nil, !isFlusherIdle { return }
    try freeze(mark)
  }

  private func freeze(_ mark: LogMark) throws(LMDBError) {
    try waitForFlusher()
    stored.freeze(active)
    frozen = active
    active = IndexTail()
    // As large as the last one was: growing step by step would hash everything several times over.
    active.ids.reserveCapacity(tailCountMax)
    let flush = Flush(tail: frozen ?? IndexTail(), mark: mark)
    flusher.signal { $0 = .writing(flush) }
    self.mark = mark
  }

  private func waitForFlusher() throws(LMDBError) {
    let failure: LMDBError?? = flusher.wait { state in
      switch state {
      case .idle, .stopping: .some(nil)
      case .failed(let error, _): .some(error)
      case .writing: nil
      }
    }
    if case .some(.some(let error)) = failure { throw error }
  }

  /// Writes everything out and ends the flusher. What cannot be written is read from the log at the next start.
  func close(mark: LogMark) throws(LMDBError) {
    stored.end()
    defer {
      flusher.signal { $0 = .stopping }
      thread?.join()
      thread = nil
    }
    try waitForFlusher()
    guard !active.ids.isEmpty else { return }
    try freeze(mark)
    try waitForFlusher()
  }

  // MARK: The flusher

  private func writer() -> @Sendable (Flush) throws(LMDBError) -> Void {
    let (environment, ids, streams, meta) = (environment, ids, streams, meta)
    return { (flush) throws(LMDBError) in
      let sortedIDs = flush.tail.ids.sorted { $0.key < $1.key }
      let sortedStreams = flush.tail.streams.sorted { $0.key < $1.key }
      // Random keys touch a page each in the worst case.
      try environment.ensureRoom(for: (sortedIDs.count + sortedStreams.count) * 128 + (4 << 20))
      try environment.write { (transaction) throws(LMDBError) in
        for (id, position) in sortedIDs { try transaction.put(ids, id, position) }
        var value = ByteWriter(capacity: 16)
        for (stream, end) in sortedStreams {
          value.removeAll()
          value.uint64(end.revision)
          value.uint64(end.position)
          try transaction.put(streams, stream, value.bytes)
        }
        try transaction.put(meta, "mark", encode(flush.mark))
      }
    }
  }

  private static func runFlusher(_ state: Monitor<FlusherState>, _ write: (Flush) throws(LMDBError) -> Void) {
    while let flush = nextFlush(state) {
      do throws(LMDBError) {
        try write(flush)
        state.signal { state in
          if case .writing = state { state = .idle }
        }
      } catch {
        state.signal { state in
          if case .writing = state { state = .failed(error, flush) }
        }
      }
    }
  }

  /// What to write next: a new tail, or after a second the one that could not be written; nil at the end.
  private static func nextFlush(_ state: Monitor<FlusherState>) -> Flush? {
    let isFailed: Bool = state.withLock { state in
      if case .failed = state { true } else { false }
    }
    let next: Flush?? = state.wait(timeout: isFailed ? .seconds(1) : nil) { state in
      switch state {
      case .writing(let flush): .some(flush)
      case .stopping: .some(nil)
      case .idle, .failed: nil
      }
    }
    if case .some(let next) = next { return next }
    return state.withLock { state in
      guard case .failed(_, let flush) = state else { return nil }
      state = .writing(flush)
      return flush
    }
  }
}

private func encode(_ mark: LogMark) -> [UInt8] {
  var writer = ByteWriter(capacity: 32)
  writer.raw(mark.logID.bytes)
  writer.uint64(mark.position)
  writer.uint64(mark.chain)
  return writer.bytes
}

private func decodeMark(_ bytes: [UInt8]) -> LogMark? {
  guard bytes.count == 32 else { return nil }
  return LogMark(logID: LogID(bytes: Array(bytes[0..<16])), position: bytes.rawSpan.uint64(at: 16), chain: bytes.rawSpan.uint64(at: 24))
}
