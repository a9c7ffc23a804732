// What the appender and every reader share: the segments, the secrets, and the head.
//
// Invariant: a position up to the head is durable, and nothing beyond it is ever handed out.

import LMDB
import LedgerCore
import Synchronization
import Threads

final class LogStore: Sendable {
  private struct HeadState: Sendable {
    var head: Position
    /// Raised by `wakeWaiters`, so that waiting threads look up.
    var wakeCount = 0
  }

  let id: LogID
  let keys: LogKeys
  let segmentPositionCount: UInt64
  let path: String
  private let segments: Mutex<[Segment]>
  private let current: Atomic<UInt64>
  private let state: Monitor<HeadState>
  private let observers = Mutex<(next: Int, bodies: [Int: @Sendable (Position) -> Void])>((0, [:]))

  init(id: LogID, keys: LogKeys, path: String, segmentPositionCount: UInt64, segments: [Segment], head: Position) {
    self.id = id
    self.keys = keys
    self.path = path
    self.segmentPositionCount = segmentPositionCount
    self.segments = Mutex(segments)
    current = Atomic(head)
    state = Monitor(HeadState(head: head))
  }

  var head: Position { current.load(ordering: .acquiring) }

  func publish(head: Position) {
    current.store(head, ordering: .releasing)
    state.signal { $0.head = head }
    observers.withLock { observers in
      for body in observers.bodies.values { body(head) }
    }
  }

  func waitForHead(after position: Position, timeout: Duration?) -> Position {
    let before = state.withLock { $0.wakeCount }
    let reached: Position? = state.wait(timeout: timeout) { state in
      state.head > position || state.wakeCount != before ? state.head : nil
    }
    return reached ?? head
  }

  func wakeWaiters() { state.signal { $0.wakeCount += 1 } }

  func observeHead(_ body: @escaping @Sendable (Position) -> Void) -> HeadObservation {
    let number = observers.withLock { observers in
      observers.next += 1
      observers.bodies[observers.next] = body
      body(head)
      return observers.next
    }
    return HeadObservation { [weak self] in _ = self?.observers.withLock { $0.bodies.removeValue(forKey: number) } }
  }

  /// Ends observing and lets go of the segments; whoever still reads one keeps it open until he is done.
  func close() {
    observers.withLock { $0.bodies = [:] }
    segments.withLock { $0 = [] }
    wakeWaiters()
  }

  // MARK: Segments

  var allSegments: [Segment] { segments.withLock { $0 } }

  /// The first position of the segment that holds `position`.
  func segmentFirst(of position: Position) -> Position {
    (position - 1) / segmentPositionCount * segmentPositionCount + 1
  }

  /// Decodes the block that holds a position up to the head.
  func load(_ position: Position, into block: inout DecodedBlock) throws(LogError) {
    guard let segment = segment(holding: position) else {
      guard allSegments.isEmpty else { throw .damaged(position: position, "its segment is missing") }
      throw .closed
    }
    guard try segment.load(position, into: &block) else { throw .damaged(position: position, "there is no block for it") }
  }

  func segment(holding position: Position) -> Segment? {
    let first = segmentFirst(of: position)
    return segments.withLock { segments in segments.last { $0.first == first } }
  }

  func add(_ segment: Segment) { segments.withLock { $0.append(segment) } }

  /// Finds the head: the last block of the first segment that is not full. What lies in later segments is the half of a
  /// group whose other half did not make it, and goes.
  static func recover(_ segments: [Segment], segmentPositionCount: UInt64) throws(LogError) -> BlockHeader? {
    var last: BlockHeader?
    for segment in segments {
      guard let block = try segment.lastBlock() else { break }
      last = block
      if block.last < segment.first + segmentPositionCount - 1 { break }
    }
    try removeBlocks(after: last?.last ?? 0, in: segments)
    return last
  }

  /// Removes blocks that lie beyond the head: the later half of a group that crossed a segment boundary and whose earlier
  /// half did not make it.
  static func removeBlocks(after head: Position, in segments: [Segment]) throws(LogError) {
    for segment in segments where segment.first > head {
      do throws(LMDBError) {
        guard try segment.environment.read({ (transaction) throws(LMDBError) in try transaction.count(segment.blocks) }) > 0 else {
          continue
        }
        try segment.environment.write { (transaction) throws(LMDBError) in
          try transaction.clear(segment.blocks)
          try transaction.clear(segment.slots)
        }
      } catch {
        throw .environment(error)
      }
    }
  }

  // MARK: Marks

  /// The log's state at a position: what derived data are checked against.
  func mark(at position: Position) throws(LogError) -> LogMark {
    guard position <= head else { throw .noSuchPosition(position, head: head) }
    guard position > 0 else { return LogMark(logID: id, position: 0, chain: LogKeys.chainStart(id)) }
    var block = DecodedBlock(logSeed: id.seed)
    try load(position, into: &block)
    guard let header = block.header else { preconditionFailure("a loaded block has a header") }
    if header.last == position { return LogMark(logID: id, position: position, chain: header.chainAfter) }
    let event = LoggedEvent()
    var hasher = EventHasher(keys: keys)
    var chain = header.chainBefore
    for at in header.first...position {
      chain = try hasher.chain(chain, at, block.entry(at: at), block, event).chain
    }
    return LogMark(logID: id, position: position, chain: chain)
  }
}

/// Somebody who is told of the head, until this is let go of or ended.
public final class HeadObservation: Sendable {
  private let remove: @Sendable () -> Void

  fileprivate init(_ remove: @escaping @Sendable () -> Void) { self.remove = remove }

  deinit { remove() }

  /// Ends it: once this has returned, nothing is told any more. Not to be called while being told.
  public func end() { remove() }
}
