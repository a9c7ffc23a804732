// The log: append, read, follow. Everything else in the product is a fold of a prefix of it.
//
//   <data>/FORMAT            "interaction-ledger 1"
//   <data>/LOCK              held by the process that has the log open
//   <data>/keys/hash.key     16 secret bytes: the key of the hashes in the index
//   <data>/log/<position>/   segments (Segment.swift): the truth
//   <data>/log/schemas/      the schemas that were applied (SchemaRegistry.swift)
//   <data>/log/quarantine/   events that were set aside (Quarantine.swift)
//   <data>/log/subscriptions/   how far consumers are (Subscriptions/)
//   <data>/index/            derived (IdentityIndex.swift)
//
// Invariants:
// - Positions are 1, 2, 3, … without a gap; what is at a position never changes.
// - (source, id) names one event for ever.
// - When `append` answers, the events are on the disk.

import Files
public import LedgerCore
import Bytes
import LMDB
import Synchronization
import Threads

/// How a log is opened.
public struct EventLogOptions: Sendable {
  /// Positions per segment, a multiple of 256.
  public var segmentPositionCount: UInt64 = 1 << 24
  /// What commit blocks are compressed with.
  public var commitCompression = CommitCompression.zstd(level: -1)
  /// The size each memory map starts with.
  public var mapByteCount = 1 << 30
  /// Entries of the index that wait in memory before they are written out. 131,072 take about 10 MB.
  public var indexTailCountMax = 131_072
  /// Bytes of events that may wait for the appender.
  public var queueByteCountMax = 16 << 20
  /// Bytes of one group, unless a single request has more.
  public var groupByteCountMax = 8 << 20
  /// Events of one group, unless a single request has more.
  public var groupEventCountMax = 65_536
  /// Limits on each event.
  public var eventLimits = EventLimits()
  /// A directory of schemas, `<type>.json` each; nil: only those count that are applied by a call.
  public var schemaDirectory: String?
  /// Whether a type without a schema is refused.
  public var refusesTypesWithoutSchema = false
  /// Events that may lie in quarantine.
  public var quarantineEventCountMax = 10_000
  /// Bytes of events that may lie in quarantine.
  public var quarantineByteCountMax = 64 << 20
  /// Told what an operator should know.
  public var report: @Sendable (LogReport) -> Void = { _ in }
  /// The clock that recorded times come from.
  public var clock: @Sendable () -> Timestamp = { Timestamp(microseconds: WallClock.microseconds()) }

  /// The defaults.
  public init() {}
}

/// What an operator should know.
public enum LogReport: Equatable, Sendable {
  /// The index belonged to another history and is made anew.
  case indexDiscarded
  /// The index could not be written; it is caught up at the next start.
  case indexBehind(String)
  /// Appending waits until the disk is well again, and then goes on.
  case stalled(String)
  /// Appending goes on after it was stalled, at this head.
  case resumed(Position)
  /// Appending has stopped until the next start.
  case failed(String)
}

/// What the appender has done, and whether it has something to do.
public struct AppendProgress: Equatable, Sendable {
  /// Counts what is finished; compare it with an earlier one.
  public var doneCount: UInt64
  /// True if something is waiting or in work.
  public var isBusy: Bool
  /// True if appending has stopped until the next start.
  public var hasFailed: Bool

  /// Joins the parts.
  public init(doneCount: UInt64, isBusy: Bool, hasFailed: Bool) {
    self.doneCount = doneCount
    self.isBusy = isBusy
    self.hasFailed = hasFailed
  }
}

/// An append-only log of events. Safe to use from any thread and task.
public final class EventLog: Sendable {
  private let store: LogStore
  private let queue: AppendQueue
  private let options: EventLogOptions
  private let lock: Mutex<FileLock?>
  private let directory: String
  /// Counts since this process opened the log.
  public let counters = LogCounters()
  private let appender: Mutex<NamedThread?>
  /// What the `data` of events must follow.
  public let schemas: SchemaRegistry
  /// Events that were set aside.
  public let quarantine: Quarantine
  /// Consumers that take events and settle them.
  public let subscriptions: Subscriptions

  /// Opens a log, and creates it if the directory is new.
  ///
  /// Reading works at once. Appending does when the index has caught up, which the appender thread sees to.
  ///
  /// - Throws: ``LogError``: the directory is locked, foreign, on a network file system, damaged, or may not be used.
  public init(directory: String, options: EventLogOptions = EventLogOptions()) throws(LogError) {
    precondition(options.segmentPositionCount > 0 && options.segmentPositionCount % BlockFormat.slotPositionCount == 0)
    self.options = options
    self.directory = directory
    lock = Mutex(try DataDirectory.prepare(directory))
    let path = directory + "/log"
    var segments = try Self.openSegments(path, options)
    let secret = try DataDirectory.secret(in: directory, isNewLog: segments.isEmpty)
    if segments.isEmpty {
      segments = [try Segment.create(in: path, first: 1, logID: .random(), mapByteCount: options.mapByteCount)]
    }
    let last = try LogStore.recover(segments, segmentPositionCount: options.segmentPositionCount)
    let id = segments[0].logID
    store = LogStore(
      id: id, keys: LogKeys(secret: secret), path: path, segmentPositionCount: options.segmentPositionCount, segments: segments,
      head: last?.last ?? 0)
    do throws(SchemaError) {
      schemas = try SchemaRegistry(
        path: path + "/schemas", directory: options.schemaDirectory, isStrict: options.refusesTypesWithoutSchema, clock: options.clock)
    } catch {
      throw .schemas(error)
    }
    do throws(QuarantineError) {
      quarantine = try Quarantine(
        path: path + "/quarantine", keys: store.keys, eventCountMax: options.quarantineEventCountMax,
        byteCountMax: options.quarantineByteCountMax, clock: options.clock)
    } catch {
      throw .quarantine(error)
    }
    do throws(SubscriptionError) {
      subscriptions = try Subscriptions(path: path + "/subscriptions", store: store, clock: options.clock)
    } catch {
      throw .subscriptions(error)
    }
    queue = AppendQueue(byteCountMax: options.queueByteCountMax)
    let (store, queue, counters) = (store, queue, counters)
    let start = AppenderStart(indexPath: directory + "/index", last: last)
    appender = Mutex(
      NamedThread(name: "ledger-append") {
        // Made here, since it belongs to this thread.
        let index = queue.insist(report: options.report) { () throws(LogError) in
          try IdentityIndex.open(
            path: start.indexPath, mapByteCount: options.mapByteCount, tailCountMax: options.indexTailCountMax, report: options.report)
        }
        guard let index else { return }
        Appender(store: store, queue: queue, index: index, last: start.last, options: options, counters: counters).run()
      })
  }

  private struct AppenderStart: Sendable {
    let indexPath: String
    let last: BlockHeader?
  }

  deinit { close() }

  /// Ends: what is in the queue is still appended, the index is written out, followers are ended, the directory is given
  /// free. Reading ends too. Closing twice is fine.
  public func close() {
    queue.set(.closing)
    let thread = appender.withLock { thread in
      defer { thread = nil }
      return thread
    }
    thread?.join()
    subscriptions.close()
    store.close()
    lock.withLock { $0 = nil }
  }

  private static func remove(_ path: String) throws(LogError) {
    do throws(FileError) {
      try Files.removeTree(path)
    } catch {
      throw .files(error)
    }
  }

  private static func openSegments(_ path: String, _ options: EventLogOptions) throws(LogError) -> [Segment] {
    var segments: [Segment] = []
    let names: [String]
    do throws(FileError) {
      names = try Files.list(path)
    } catch {
      throw .files(error)
    }
    for name in names {
      guard let first = Segment.first(ofDirectory: name) else {
        if name.hasSuffix(Segment.unfinishedSuffix) { try Self.remove(path + "/" + name) }
        continue
      }
      guard let segment = try Segment.open(in: path, first: first, mapByteCount: options.mapByteCount) else {
        // Its creation was cut off before anything was in it.
        try Self.remove(path + "/" + name)
        continue
      }
      guard segment.logID == segments.first?.logID ?? segment.logID else {
        throw .damaged(position: first, "the segment belongs to another log")
      }
      guard segment.first == (segments.last.map { $0.first + options.segmentPositionCount } ?? 1) else {
        // Full to just before it: nothing is missing, the size is another one.
        if let last = segments.last, try last.lastBlock()?.last == first - 1 {
          throw .otherSegmentSize(found: first - last.first, configured: options.segmentPositionCount)
        }
        throw .damaged(position: first, "the segment before it is missing")
      }
      segments.append(segment)
    }
    if let last = segments.last, let end = try last.lastBlock()?.last, end >= last.first + options.segmentPositionCount {
      throw .otherSegmentSize(found: nil, configured: options.segmentPositionCount)
    }
    return segments
  }

  // MARK: Appending

  /// An empty batch for events that came in together.
  ///
  /// - Parameter sources: Whose events the principal may append; others are refused as they are added.
  public func makeBatch(
    door: FrontDoor, principal: String, sources: SourceScope = .all, received: Timestamp? = nil, sent: Timestamp? = nil
  ) -> EventBatch {
    EventBatch(
      keys: store.keys, limits: options.eventLimits, schemas: schemas.snapshot, received: received ?? options.clock(), sent: sent,
      door: door, principal: principal, sources: sources)
  }

  /// Suspends while the queue is full: call it before reading more from a socket.
  public func waitForRoom() async { await queue.waitForRoom() }

  /// Appends a batch, whole or not at all, and returns when it is on disk.
  ///
  /// An event whose (source, id) is already in the log is not written again: its first position is returned, so retrying
  /// is always safe. The new events of a batch take consecutive positions.
  ///
  /// - Parameters:
  ///   - batch: 1 or more events.
  ///   - expected: The stream's revision as the caller last saw it; then all events must belong to one stream. Not looked
  ///     at if all events are duplicates.
  /// - Throws: ``AppendError``: a conflict or a wrong revision refuses the batch; `outcomeUnknown` says to repeat it with
  ///   the same ids.
  public func append(_ batch: EventBatch, expected: ExpectedRevision = .any) async throws(AppendError) -> AppendResult {
    await queue.waitForRoom()
    let result = await withCheckedContinuation { (continuation: CheckedContinuation<Result<AppendResult, AppendError>, Never>) in
      append(batch, expected: expected) { continuation.resume(returning: $0) }
    }
    return try result.get()
  }

  /// Appends a batch and calls back, on the appender's thread, when it is on disk or refused. Does not wait for room.
  public func append(
    _ batch: EventBatch, expected: ExpectedRevision = .any,
    then complete: @escaping @Sendable (Result<AppendResult, AppendError>) -> Void
  ) {
    precondition(batch.count > 0, "a batch has events")
    queue.enqueue([AppendRequest(batch: batch, expected: expected, reply: .call(complete))])
  }

  /// Appends several batches, each whole or not at all, in their order; the answers go into a mailbox, each under its
  /// token, in that order. Does not wait for room: ask ``hasRoom(orCall:)`` before taking in more.
  ///
  /// For an event loop: one lock and one wake-up for everything that came in together.
  public func append(_ batches: [(batch: EventBatch, token: UInt64)], to mailbox: AppendMailbox) {
    precondition(batches.allSatisfy { $0.batch.count > 0 }, "a batch has events")
    queue.enqueue(batches.map { AppendRequest(batch: $0.batch, expected: .any, reply: .mailbox(mailbox, token: $0.token)) })
  }

  /// True if the queue takes more; else `body` is called once, from any thread, when it does.
  public func hasRoom(orCall body: @escaping @Sendable () -> Void) -> Bool { queue.hasRoom(orCall: body) }

  /// Why nothing can be appended now; nil: everything is well.
  public var appendObstacle: AppendError? {
    switch queue.phase {
    case .open: nil
    case .catchingUp(let done, let total): .catchingUp(done: done, of: total)
    case .stalled(let detail), .failed(let detail): .refused(detail)
    case .closing: .closed
    }
  }

  /// Why nothing will be appended until the next start, such as damage that was found; nil: nothing like that.
  public var failure: String? {
    if case .failed(let detail) = queue.phase { detail } else { nil }
  }

  /// What the appender has done, for whoever watches that it goes on.
  public var progress: AppendProgress {
    let work = counters.work
    var progress = AppendProgress(doneCount: work.ended, isBusy: queue.byteCount > 0 || work.begun > work.ended, hasFailed: false)
    switch queue.phase {
    case .catchingUp(let done, _): (progress.doneCount, progress.isBusy) = (done, true)
    case .failed: progress.hasFailed = true
    // It looks at the disk again and again, and says so.
    case .stalled: progress.isBusy = false
    case .open, .closing: break
    }
    return progress
  }

  // MARK: Reading

  /// The log's identity.
  public var id: LogID { store.id }
  /// The last durable position; 0 in a new log.
  public var head: Position { store.head }
  /// Tells of the head: as it is, before this returns, and whenever it has moved, on the appender's thread. What is told returns soon
  /// and asks nothing of the log, for every append waits for it.
  public func observeHead(_ body: @escaping @Sendable (Position) -> Void) -> HeadObservation { store.observeHead(body) }

  /// Blocks the thread until the head is beyond `position`, the time is up, or ``wakeWaiters()`` was called.
  ///
  /// - Returns: The head.
  public func waitForHead(after position: Position, timeout: Duration?) -> Position {
    store.waitForHead(after: position, timeout: timeout)
  }

  /// Wakes every thread that waits for the head.
  public func wakeWaiters() { store.wakeWaiters() }

  /// The log's state at a position from 0 to the head.
  public func mark(at position: Position) throws(LogError) -> LogMark { try store.mark(at: position) }

  /// A reader that begins after a position.
  public func makeReader(after position: Position) -> LogReader { LogReader(store: store, after: position) }

  /// Reads one event: its envelope and its bytes as stored.
  ///
  /// - Throws: ``LogError/noSuchPosition(_:head:)``.
  public func event(at position: Position) throws(LogError) -> (envelope: Envelope, bytes: [UInt8]) {
    guard position >= 1, position <= head else { throw .noSuchPosition(position, head: head) }
    var found: (Envelope, [UInt8])?
    _ = try makeReader(after: position - 1).read(maxCount: 1, through: position) { _, envelope, bytes in
      found = (envelope, [UInt8](bytes))
      return false
    }
    guard let found else { throw .damaged(position: position, "there is no block for it") }
    return found
  }

  // MARK: Sizes

  /// Sizes, for operators.
  public struct Status: Equatable, Sendable {
    /// How many segments there are.
    public var segmentCount: Int
    /// Bytes used by the segments' files.
    public var byteCount: Int
    /// Bytes of the newest segment's map that are not used yet; it doubles when there are too few.
    public var mapRoomByteCount: Int
    /// Bytes of events that wait for the appender.
    public var queueByteCount: Int
    /// Bytes of events that may wait.
    public var queueByteCountMax: Int
    /// Bytes that the file system has left.
    public var roomByteCount: Int
    /// Reader slots in use over all segments.
    public var readerCount: Int
    /// Transactions committed since the oldest open reader of a segment began; 0: none is open. Pages that it can see
    /// cannot be used again.
    public var oldestReaderTransactionCount: Int
  }

  /// Sizes now.
  public func status() throws(LogError) -> Status {
    let segments = store.allSegments
    let infos = segments.map(\.environment.info)
    let oldest: Int
    do throws(LMDBError) {
      var ages: [Int] = []
      for segment in segments { ages.append(try segment.environment.oldestReaderTransactionCount()) }
      oldest = ages.max() ?? 0
    } catch {
      throw .environment(error)
    }
    let room: Int
    do throws(FileError) {
      room = try Files.roomByteCount(at: directory)
    } catch {
      throw .files(error)
    }
    return Status(
      segmentCount: infos.count, byteCount: infos.reduce(0) { $0 + $1.usedByteCount },
      mapRoomByteCount: infos.last.map { $0.mapByteCount - $0.usedByteCount } ?? 0, queueByteCount: queue.byteCount,
      queueByteCountMax: options.queueByteCountMax,
      roomByteCount: room, readerCount: infos.reduce(0) { $0 + $1.readerCount }, oldestReaderTransactionCount: oldest)
  }

  /// Clears reader slots of processes that died. For a timer.
  public func clearStaleReaders() throws(LogError) {
    do throws(LMDBError) {
      for segment in store.allSegments { try segment.environment.clearStaleReaders() }
    } catch {
      throw .environment(error)
    }
  }
}
