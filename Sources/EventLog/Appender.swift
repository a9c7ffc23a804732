// The one writer. It drains whatever waits, drops duplicates, checks expected revisions, assigns positions, writes blocks,
// commits once, publishes the head and answers everybody: group commit. The slower the disk, the bigger the groups.
//
// Invariants:
// - Positions are given out inside of the transaction that commits them: gapless, and visible in order.
// - A request is appended whole or not at all.
// - A group that fails leaves head, index and chain where they were.
// - After an error in a commit the disk is asked: what its files show is made durable first, and then the group is in the
//   log or it is not, and is answered so. Only if the disk refuses that, too, is the outcome unknown. Then nothing is
//   appended, what waits is refused, and head, chain and index are derived anew from the files as soon as they can be
//   read and written (`resume`). Reading goes on all the time.
// - An event is compared with what the log has under its (source, id): equal bytes, or equal in canonical form (RFC 8785),
//   is a duplicate, whatever the schemas say by now; anything else is a conflict.

import Bytes
import Files
import JSON
import LMDB
import LedgerCore
import Zstd

final class Appender {
  /// One new event of the group.
  private struct Pending {
    var request: Int
    var item: Int
    var envelope: Envelope
    var chainBefore: UInt64
    var chainAfter: UInt64
  }

  /// What the index must forget if the group fails.
  private struct Undo {
    var id: Hash128
    var stream: Hash128
    var streamBefore: StreamEnd?
  }

  private let store: LogStore
  private let queue: AppendQueue
  private let index: IdentityIndex
  private let options: EventLogOptions
  private let counters: LogCounters

  private var head: Position
  private var chain: UInt64
  private var recorded: Timestamp
  private var builder: BlockBuilder
  private var confirmed: DecodedBlock
  private var pending: [Pending] = []
  private var replies = ReplySender()
  private var undo: [Undo] = []
  /// The outcome of a commit is unknown: head, chain and index may be behind what is on the disk.
  private var isStalled = false

  init(
    store: LogStore, queue: AppendQueue, index: IdentityIndex, last: BlockHeader?, options: EventLogOptions, counters: LogCounters
  ) {
    self.store = store
    self.queue = queue
    self.index = index
    self.options = options
    self.counters = counters
    head = last?.last ?? 0
    chain = last?.chainAfter ?? LogKeys.chainStart(store.id)
    recorded = last?.recordedLast ?? .earliest
    builder = BlockBuilder(logSeed: store.id.seed, compression: options.commitCompression)
    confirmed = DecodedBlock(logSeed: store.id.seed)
  }

  private var mark: LogMark { LogMark(logID: store.id, position: head, chain: chain) }

  /// The thread's life: catch up, serve, write the index out.
  func run() {
    guard queue.insist(report: options.report, { () throws(LogError) in try catchUp() }) != nil else { return }
    queue.set(.open)
    while let group = queue.takeGroup(byteCountMax: options.groupByteCountMax, eventCountMax: options.groupEventCountMax) {
      counters.groupBegun()
      append(group)
      counters.groupEnded()
      guard isStalled else { continue }
      guard queue.insist(report: options.report, { () throws(LogError) in try resume() }) != nil else { break }
      isStalled = false
      queue.set(.open)
      options.report(.resumed(head))
    }
    do throws(LMDBError) {
      try index.close(mark: mark)
    } catch {
      options.report(.indexBehind(error.description))
    }
  }

  // MARK: Catching up

  /// Brings the index up to the head: after a crash, what had not been written behind; after `index/` was deleted, all.
  private func catchUp() throws(LogError) {
    var from = LogMark(logID: store.id, position: 0, chain: LogKeys.chainStart(store.id))
    if let mark = index.mark {
      if mark.logID == store.id, mark.position <= head, try store.mark(at: mark.position) == mark {
        from = mark
      } else {
        options.report(.indexDiscarded)
        try index.clear()
      }
    }
    try catchUp(from: from)
  }

  private func catchUp(from: LogMark) throws(LogError) {
    let reader = LogReader(store: store, after: from.position)
    var hasher = EventHasher(keys: store.keys)
    let event = LoggedEvent()
    var reached = from.chain
    while reader.position < head {
      queue.set(.catchingUp(done: reader.position, of: head))
      reached = try reader.readHashed(from: reached, &hasher, event, maxCount: 16_384) { position, entry, hashes in
        index.insert(id: hashes.id, at: position)
        _ = index.set(StreamEnd(revision: entry.envelope.revision, position: position), of: hashes.stream)
      }
      do throws(LMDBError) {
        try index.flushIfLarge(mark: LogMark(logID: store.id, position: reader.position, chain: reached))
      } catch {
        throw .environment(error)
      }
    }
    guard reached == chain else {
      throw .damaged(position: head, "the chain over the events does not end where the last block says")
    }
  }

  // MARK: After a commit whose outcome is unknown

  /// Derives the state anew from what is on the disk, as at a start, and sees to it that the disk takes writes again.
  private func resume() throws(LogError) {
    let segments = store.allSegments
    for segment in segments { try environment { () throws(LMDBError) in try segment.environment.settle() } }
    let last = try LogStore.recover(segments, segmentPositionCount: store.segmentPositionCount)
    for segment in segments where segment.first + store.segmentPositionCount > head {
      try environment { () throws(LMDBError) in try segment.confirm(last?.last ?? 0) }
    }
    guard (last?.last ?? 0) >= head else {
      throw .damaged(position: (last?.last ?? 0) + 1, "it was durable, and is not there after an error of the disk")
    }
    guard let last, last.last > head else { return }
    // The group made it. Its entries in the index were taken back; they come from the log again.
    let before = mark
    (head, chain, recorded) = (last.last, last.chainAfter, max(recorded, last.recordedLast))
    store.publish(head: head)
    try catchUp(from: before)
  }

  private func environment(_ body: () throws(LMDBError) -> Void) throws(LogError) {
    do throws(LMDBError) {
      try body()
    } catch {
      throw .environment(error)
    }
  }

  // MARK: One group

  private func append(_ group: [AppendRequest]) {
    let now = options.clock()
    let (headBefore, chainBefore, recordedBefore) = (head, chain, recorded)
    recorded = max(now, recorded)
    pending.removeAll(keepingCapacity: true)
    undo.removeAll(keepingCapacity: true)
    var outcomes: [Result<AppendResult, AppendError>] = []
    outcomes.reserveCapacity(group.count)
    // It may have become writable since.
    if index.isOverfull { flushIndex() }
    do throws(AppendFailure) {
      if index.isOverfull { throw .nothingChanged("the index of ids cannot be written", isDiskFull: false) }
      try admitAll(group, headBefore, &outcomes)
      if !pending.isEmpty {
        let start = ContinuousClock.now
        try commit(group, headBefore)
        counters.flushed(.now - start)
      }
    } catch {
      for step in undo.reversed() { takeBack(step) }
      (head, chain, recorded) = (headBefore, chainBefore, recordedBefore)
      let failure = error.appendError
      if case .outcomeUnknown = failure { isStalled = true }
      // What was refused on its own merits keeps its answer; duplicates of earlier groups do too.
      for (request, outcome) in zip(group, outcomes) {
        if case .success(let result) = outcome, result.appended > 0 || result.receipts.contains(where: { $0.position > headBefore }) {
          replies.send(.failure(failure), to: request)
        } else {
          replies.send(outcome.map { withHead($0, headBefore) }, to: request)
        }
      }
      for request in group.dropFirst(outcomes.count) { replies.send(.failure(failure), to: request) }
      replies.end()
      return
    }
    if head != headBefore { store.publish(head: head) }
    counters.groupDone(eventCount: pending.count)
    for (request, outcome) in zip(group, outcomes) { replies.send(outcome.map { withHead($0, head) }, to: request) }
    replies.end()
    flushIndex()
  }

  private func flushIndex() {
    do throws(LMDBError) {
      try index.flushIfLarge(mark: mark)
    } catch {
      options.report(.indexBehind(error.description))
    }
  }

  private func withHead(_ result: AppendResult, _ head: Position) -> AppendResult {
    var result = result
    result.head = head
    return result
  }

  private func takeBack(_ step: Undo) {
    index.remove(id: step.id)
    index.restore(step.streamBefore, of: step.stream)
  }

  private func admitAll(
    _ group: [AppendRequest], _ headBefore: Position, _ outcomes: inout [Result<AppendResult, AppendError>]
  ) throws(AppendFailure) {
    do throws(LMDBError) {
      let lookup = try index.beginLookup()
      for number in group.indices {
        outcomes.append(try admit(group, number, headBefore, lookup))
      }
    } catch {
      throw .environment(error)
    }
  }

  /// Decides on one request: which of its events are new, and whether it is refused as a whole.
  private func admit(
    _ group: [AppendRequest], _ number: Int, _ headBefore: Position, _ lookup: borrowing IdentityIndex.Lookup
  ) throws(LMDBError) -> Result<AppendResult, AppendError> {
    let request = group[number]
    let batch = request.batch
    let (pendingBefore, undoBefore, chainBefore) = (pending.count, undo.count, chain)
    var receipts: [Receipt] = []
    receipts.reserveCapacity(batch.count)
    var refused: [EventRefusal] = []
    let hasBreaches = !batch.breaches.isEmpty
    var refusal: AppendError?
    for (itemNumber, item) in batch.items.enumerated() {
      if let position = try index.position(of: item.id, lookup) {
        switch isSame(group, batch, item, position, headBefore) {
        case .success(true): receipts.append(Receipt(position: position, isDuplicate: true))
        case .success(false):
          let isOfThisRequest = position > headBefore && pending[Int(position - headBefore) - 1].request == number
          refused.append(EventRefusal(index: itemNumber, reason: .conflict(isOfThisRequest ? nil : position)))
        case .failure(let error): refusal = .refused(error.description)
        }
        continue
      }
      if hasBreaches, let breach = batch.breaches[itemNumber] {
        refused.append(EventRefusal(index: itemNumber, reason: .schema(breach)))
        continue
      }
      let end = try index.end(of: item.stream, lookup)
      if refusal == nil, request.expected != .any, pending.count == pendingBefore {
        refusal = check(request, end)
      }
      let position = headBefore + UInt64(pending.count) + 1
      let envelope = Envelope(
        recorded: recorded, received: batch.received, sent: batch.sent, revision: end.map { $0.revision + 1 } ?? 0, door: batch.door,
        principal: batch.principal)
      let after = store.keys.chain(chain, recorded: recorded, id: item.id)
      pending.append(Pending(request: number, item: itemNumber, envelope: envelope, chainBefore: chain, chainAfter: after))
      chain = after
      index.insert(id: item.id, at: position)
      let before = index.set(StreamEnd(revision: envelope.revision, position: position), of: item.stream)
      undo.append(Undo(id: item.id, stream: item.stream, streamBefore: before))
      receipts.append(Receipt(position: position, isDuplicate: false))
    }
    if !refused.isEmpty { refusal = .events(refused) }
    if let refusal {
      for step in undo[undoBefore...].reversed() { takeBack(step) }
      undo.removeSubrange(undoBefore...)
      pending.removeSubrange(pendingBefore...)
      chain = chainBefore
      counters.refused(conflicts: refused.count { if case .conflict = $0.reason { true } else { false } })
      return .failure(refusal)
    }
    let appended = pending.count - pendingBefore
    let first = headBefore + UInt64(pendingBefore) + 1
    counters.admitted(appended: appended, duplicates: receipts.count - appended)
    return .success(
      AppendResult(
        appended: appended, duplicates: receipts.count - appended, erased: 0, first: appended > 0 ? first : nil,
        last: appended > 0 ? first + UInt64(appended) - 1 : nil, head: 0, receipts: receipts))
  }

  /// The expected revision, compared when the request's first new event is met: repeats alone are fine whatever it says.
  private func check(_ request: AppendRequest, _ end: StreamEnd?) -> AppendError? {
    guard let stream = request.batch.items.first?.stream, request.batch.items.allSatisfy({ $0.stream == stream }) else {
      return .severalStreams
    }
    switch (request.expected, end) {
    case (.any, _), (.noStream, nil): return nil
    case (.exactly(let expected), .some(let end)) where end.revision == expected: return nil
    default: return .wrongRevision(expected: request.expected, actual: end?.revision)
    }
  }

  /// True if what the log (or the group so far) has at `position` is the same event.
  private func isSame(
    _ group: [AppendRequest], _ batch: EventBatch, _ item: EventBatch.Item, _ position: Position, _ headBefore: Position
  ) -> Result<Bool, LogError> {
    batch.withBytes(of: item) { bytes in
      if position > headBefore {
        let earlier = pending[Int(position - headBefore) - 1]
        let other = group[earlier.request].batch
        return .success(other.withBytes(of: other.items[earlier.item]) { Canonical.areEqual(bytes, $0) })
      }
      do throws(LogError) {
        if !confirmed.contains(position) { try store.load(position, into: &confirmed) }
        return .success(confirmed.withBytes(of: confirmed.entry(at: position)) { Canonical.areEqual(bytes, $0) })
      } catch {
        return .failure(error)
      }
    }
  }

  // MARK: Committing

  private func commit(_ group: [AppendRequest], _ headBefore: Position) throws(AppendFailure) {
    head = headBefore + UInt64(pending.count)
    // One part per segment. The later ones are committed first: if only they make it, the positions before them are
    // missing, and the next start (or the next lines) removes them.
    var parts: [(segment: Segment, range: Range<Int>)] = []
    var start = 0
    while start < pending.count {
      let first = store.segmentFirst(of: headBefore + UInt64(start) + 1)
      let room = Int(first + store.segmentPositionCount - (headBefore + UInt64(start) + 1))
      let end = min(pending.count, start + room)
      parts.append((try segment(first), start..<end))
      start = end
    }
    for part in parts.reversed() {
      do throws(AppendFailure) {
        try write(part.segment, part.range, group, headBefore)
      } catch {
        guard try isCommitted(part.segment, through: headBefore + UInt64(part.range.upperBound), despite: error) else {
          try dropLaterParts(headBefore, because: error)
          throw .nothingChanged(error.description, isDiskFull: error.isDiskFull || isRoomLacking(error))
        }
      }
    }
  }

  private func segment(_ first: Position) throws(AppendFailure) -> Segment {
    if let segment = store.segment(holding: first) { return segment }
    do throws(LogError) {
      let segment = try Segment.create(in: store.path, first: first, logID: store.id, mapByteCount: options.mapByteCount)
      store.add(segment)
      return segment
    } catch {
      throw .log(error)
    }
  }

  private func write(
    _ segment: Segment, _ range: Range<Int>, _ group: [AppendRequest], _ headBefore: Position
  ) throws(AppendFailure) {
    var blocks: [(first: Position, bytes: [UInt8])] = []
    var byteCount = 0
    do throws(ZstdError) {
      // Taken out once a request: copying it for each event would count references up and down for nothing.
      var (request, batch) = (pending[range.lowerBound].request, group[pending[range.lowerBound].request].batch)
      for number in range {
        let entry = pending[number]
        let position = headBefore + UInt64(number) + 1
        if entry.request != request { (request, batch) = (entry.request, group[entry.request].batch) }
        let item = batch.items[entry.item]
        if builder.count > 0, !builder.accepts(position, byteCount: item.end - item.start, principal: entry.envelope.principal) {
          blocks.append((builder.first, try builder.finish()))
        }
        batch.withBytes(of: item) {
          builder.add($0, position: position, envelope: entry.envelope, chainBefore: entry.chainBefore, chainAfter: entry.chainAfter)
        }
      }
      if builder.count > 0 { blocks.append((builder.first, try builder.finish())) }
    } catch {
      preconditionFailure("compressing into a buffer of the bound's size cannot fail: \(error)")
    }
    for block in blocks { byteCount += block.bytes.count + 4_096 }
    do throws(LMDBError) {
      try segment.environment.ensureRoom(for: byteCount)
      let transaction = try segment.environment.beginWrite()
      for block in blocks {
        try transaction.put(segment.blocks, block.first, block.bytes, mode: .append)
        if (block.first - 1) % BlockFormat.slotPositionCount == 0 {
          try transaction.put(segment.slots, BlockFormat.slot(of: block.first), [1] + randomBytes(32), mode: .append)
        }
      }
      try transaction.commit()
    } catch {
      throw .environment(error)
    }
  }

  /// After an error in a commit: is it in the log or not? What its last block says is made durable first, so that it stays
  /// true whatever happens next.
  private func isCommitted(_ segment: Segment, through last: Position, despite failure: AppendFailure) throws(AppendFailure) -> Bool {
    do throws(LogError) {
      try environment { () throws(LMDBError) in try segment.environment.settle() }
      guard try segment.lastBlock()?.last == last else { return false }
      try environment { () throws(LMDBError) in try segment.confirm(last) }
      return true
    } catch {
      throw .unknown("\(failure.description); then \(error.description)")
    }
  }

  /// A file system that fills up in the middle of a write answers with a short one, which LMDB calls an error of the disk.
  private func isRoomLacking(_ failure: AppendFailure) -> Bool {
    guard case .environment(let error) = failure, error.kind == .inputOutput else { return false }
    do throws(FileError) {
      return try Files.roomByteCount(at: store.path) < 1 << 20
    } catch {
      return false
    }
  }

  private func dropLaterParts(_ headBefore: Position, because failure: AppendFailure) throws(AppendFailure) {
    do throws(LogError) {
      try LogStore.removeBlocks(after: headBefore, in: store.allSegments)
    } catch {
      throw .unknown("\(failure.description); then \(error.description)")
    }
  }
}

/// Why a group was not committed.
private enum AppendFailure: Error, CustomStringConvertible {
  /// LMDB answered with an error; what it left behind is looked at.
  case environment(LMDBError)
  /// A segment could not be made.
  case log(LogError)
  /// Everything is as it was.
  case nothingChanged(String, isDiskFull: Bool)
  /// The environment does not say.
  case unknown(String)

  var description: String {
    switch self {
    case .environment(let error): error.description
    case .log(let error): error.description
    case .nothingChanged(let detail, _), .unknown(let detail): detail
    }
  }

  var isDiskFull: Bool {
    switch self {
    case .environment(let error), .log(.environment(let error)): error.kind == .diskFull
    case .log(.files(let error)): error.isDiskFull
    case .nothingChanged(_, let isDiskFull): isDiskFull
    case .log, .unknown: false
    }
  }

  var appendError: AppendError {
    if case .unknown(let detail) = self { return .outcomeUnknown(detail) }
    return isDiskFull ? .diskFull(description) : .refused(description)
  }
}

enum Canonical {
  /// True if two events are equal as bytes or in canonical form. Parses only if the bytes differ.
  static func areEqual(_ left: RawSpan, _ right: RawSpan) -> Bool {
    if left.isEqual(to: right) { return true }
    guard let leftForm = form(left), let rightForm = form(right) else { return false }
    return leftForm == rightForm
  }

  private static func form(_ bytes: RawSpan) -> [UInt8]? {
    var reader = JSONReader()
    do throws(JSONError) {
      return reader.canonicalBytes(of: try reader.parse(bytes))
    } catch {
      return nil
    }
  }
}
