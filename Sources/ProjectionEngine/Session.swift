// One worker's hold on one generation: its fold, its cache, its write transaction, batch by batch.
//
// Invariants:
// - A batch commits rows, digest, checkpoint, changed units and parked events together, or nothing.
// - After a batch that was given up, the fold and its cache are made anew from what is committed: whatever the fold
//   derived in memory cannot outlive the rows it was derived from.
// - Used on the worker's thread only.

import Bytes
import EventLog
import LMDB
import LedgerCore
import Synchronization

/// Why a batch was given up.
enum BatchFailure: Error {
  /// The event at the position (the unit, for a dependent) cannot be folded.
  case poison(at: UInt64, reason: String)
  case storage(StorageFailure)
  case log(LogError)
  /// The commit's outcome is unknown: only opening the generation again tells.
  case unknownOutcome(StorageFailure)
}

final class Session {
  let generation: Generation
  let projection: any Projection
  /// As committed.
  private(set) var state: GenerationState
  /// Cuts a batch short.
  private let interrupt: @Sendable () -> Bool
  private let options: EngineOptions
  private let log: EventLog
  private let backing: LMDBBacking
  private var rows: RowStore
  private var fold: any ProjectionFold
  private var pump: any EventPump

  init(
    generation: Generation, state: GenerationState, projection: any Projection, log: EventLog, options: EngineOptions,
    interrupt: @escaping @Sendable () -> Bool
  ) throws(StorageFailure) {
    self.generation = generation
    self.state = state
    self.projection = projection
    self.log = log
    self.options = options
    self.interrupt = interrupt
    backing = LMDBBacking(try generation.environment())
    rows = RowStore(backing: backing, digest: state.digest, rowCount: state.rowCount, isEmpty: state.rowCount == 0)
    fold = projection.makeFold(rows: rows)
    pump = makePump(for: fold, of: log, name: projection.name)
  }

  /// The tables, in byte order of their names.
  var tableNames: [String] { rows.tableNames.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) } }

  /// Goes back to the last commit.
  private func giveUp() {
    backing.abort()
    rows = RowStore(backing: backing, digest: state.digest, rowCount: state.rowCount, isEmpty: state.rowCount == 0)
    fold = projection.makeFold(rows: rows)
    pump = makePump(for: fold, of: log, name: projection.name)
  }

  /// Enlarges the map after `mapFull`.
  func growMap() throws(StorageFailure) {
    do throws(LMDBError) {
      try backing.opened.environment.growMap()
    } catch {
      throw StorageFailure(error)
    }
  }

  /// What a batch did.
  struct Batch {
    /// Events or units folded, or set aside.
    var count = 0
    var next: GenerationState
    var parked: [ParkedEvent] = []
    var unparked: [UInt64] = []
  }

  private func begin() throws(BatchFailure) {
    do throws(LMDBError) {
      if options.batchByteCountReserve > 0 { try backing.opened.environment.ensureRoom(for: options.batchByteCountReserve) }
      try backing.begin()
    } catch {
      throw .storage(StorageFailure(error))
    }
    rows.beginBatch()
  }

  private func storage(_ error: RowError) -> BatchFailure {
    if let failure = backing.failure { return .storage(StorageFailure(failure)) }
    return .storage(StorageFailure(.passing, error.description))
  }

  private func failure(_ failure: FoldFailure, at key: UInt64) -> BatchFailure {
    switch failure {
    case .poison(let reason): .poison(at: key, reason: reason)
    case .storage(let error): storage(error)
    }
  }

  /// Folds the events after the checkpoint, up to `last` and at most `countMax`, and commits.
  ///
  /// - Parameter parking: An event to set aside instead of folding it.
  /// - Returns: How many events the checkpoint moved.
  func foldEvents(
    through last: Position, countMax: Int, parking: ParkedEvent?, changes: ChangeKeeping
  ) throws(BatchFailure) -> Int {
    try begin()
    rows.keepsChangedUnits = changes.isKept
    var batch = Batch(next: state)
    do throws(BatchFailure) {
      try readEvents(through: last, countMax: countMax, parking: parking, &batch)
      guard batch.count > 0 else {
        backing.abort()
        return 0
      }
      do throws(LogError) {
        batch.next.mark = try log.mark(at: state.mark.position + UInt64(batch.count))
      } catch {
        throw .log(error)
      }
      try commit(batch, changes)
    } catch {
      giveUp()
      throw error
    }
    return batch.count
  }

  private func readEvents(through last: Position, countMax: Int, parking: ParkedEvent?, _ batch: inout Batch) throws(BatchFailure) {
    let store = rows
    do throws(PumpFailure) {
      let pumped = try pump.pump(Stretch(after: state.mark.position, through: last, countMax: countMax, parking: parking)) { position in
        store.cachedRowCount < options.cachedRowCountMax && store.waitingByteCount < options.waitingByteCountMax
          && !(position & 0xff == 0 && interrupt())
      }
      batch.count = pumped.count
      batch.next.lastRecorded = pumped.lastRecorded ?? batch.next.lastRecorded
      batch.parked = pumped.parked
    } catch {
      switch error {
      case .fold(let error, let position): throw failure(error, at: position)
      case .unreadable(let reason, let position): throw .poison(at: position, reason: "the stored event cannot be read: \(reason)")
      case .log(let error): throw .log(error)
      }
    }
  }

  /// What becomes of the units that a batch changed.
  struct ChangeKeeping {
    /// Nobody depends on this projection: they are counted only.
    var isKept: Bool
    /// All dependents have folded the changes up to this one.
    var consumed: UInt64
  }

  private func commit(_ batch: Batch, _ changes: ChangeKeeping) throws(BatchFailure) {
    var next = batch.next
    do throws(RowError) {
      try rows.flush()
      try writeChanges(&next, changes)
      try writeParked(batch, &next)
      next.digest = rows.digest
      next.rowCount = rows.rowCount
      let encoded = next.encoded
      try backing.withTransaction { (transaction) throws(LMDBError) in
        try transaction.put(backing.opened.meta, Generation.metaKey, encoded)
      }
    } catch {
      throw storage(error)
    }
    do throws(LMDBError) {
      try backing.commit()
    } catch {
      let failure = StorageFailure(error)
      throw failure.kind == .mapFull ? .storage(failure) : .unknownOutcome(failure)
    }
    state = next
    rows.evictCleanRows(countMax: options.cachedRowCountMax / 2)
  }

  private func writeChanges(_ next: inout GenerationState, _ changes: ChangeKeeping) throws(RowError) {
    let hasChanged = rows.hasChangedUnits
    let units = rows.takeChangedUnits()
    var sequence = next.changeSequence
    var floor = next.changeFloor
    if changes.isKept {
      // Those that all dependents have seen, and those over the bound, are removed: a bounded number at a time.
      let total = sequence + UInt64(units.count)
      let overflow = total > options.changeCountMax ? total - options.changeCountMax : 0
      let through = max(min(changes.consumed, sequence), overflow)
      try backing.withTransaction { (transaction) throws(LMDBError) in
        for unit in units {
          sequence += 1
          try transaction.put(backing.opened.changes, sequence, unit, mode: .append)
        }
        guard floor <= through else { return }
        let stop = min(through, floor + UInt64(2 * units.count) + 10_000)
        while floor <= stop {
          _ = try transaction.delete(backing.opened.changes, floor)
          floor += 1
        }
      }
    } else {
      // Nobody asks which units they were; that there were some is enough.
      sequence += hasChanged ? 1 : 0
      if floor <= next.changeSequence {
        try backing.withTransaction { (transaction) throws(LMDBError) in try transaction.clear(backing.opened.changes) }
      }
      floor = sequence + 1
    }
    next.changeSequence = sequence
    next.changeFloor = floor
  }

  private func writeParked(_ batch: Batch, _ next: inout GenerationState) throws(RowError) {
    guard !batch.parked.isEmpty || !batch.unparked.isEmpty else { return }
    var count = next.parkedCount
    try backing.withTransaction { (transaction) throws(LMDBError) in
      for parked in batch.parked {
        let isNew = try transaction.get(backing.opened.parked, parked.position) == nil
        try transaction.put(backing.opened.parked, parked.position, parked.reason)
        if isNew { count += 1 }
      }
      for unit in batch.unparked where try transaction.delete(backing.opened.parked, unit) { count -= 1 }
    }
    next.parkedCount = count
  }

  // MARK: - A projection that depends on another

  /// Why a dependent cannot go on from where it is.
  enum Feed {
    /// So many units were folded; `isCaughtUp` if there is nothing more now.
    case fed(count: Int, isCaughtUp: Bool)
    /// The upstream generation is another, or the changes are gone: all units again, from empty rows.
    case startOver
  }

  /// Folds the next units of the upstream and commits.
  ///
  /// - Parameter parking: Units to set aside instead of folding them.
  func foldUnits(
    of upstream: any Projection, in generation: Generation, parking: [UInt64: String], changes: ChangeKeeping
  ) throws(BatchFailure) -> Feed {
    let source: LMDBSource
    do throws(StorageFailure) {
      source = try LMDBSource(try generation.environment())
    } catch {
      throw .storage(error)
    }
    defer { source.close() }
    let upstreamState: GenerationState
    do throws(RowError) {
      upstreamState = try source.state()
    } catch {
      throw .storage(StorageFailure(.passing, error.description))
    }
    var mark =
      state.upstream
      ?? UpstreamMark(
        birth: upstreamState.birth, generation: generation.number, sequence: upstreamState.changeSequence, cursor: 0, isScanning: true)
    guard mark.birth == upstreamState.birth, mark.sequence + 1 >= upstreamState.changeFloor else { return .startOver }
    let snapshot = Snapshot(
      source: source, projection: upstream.name, version: upstreamState.version, generation: generation.number,
      checkpoint: upstreamState.mark.position)
    let units = try nextUnits(of: upstream, snapshot, source, &mark)
    let isCaughtUp = !mark.isScanning && mark.sequence == upstreamState.changeSequence
    var next = state
    next.upstream = mark
    if isCaughtUp {
      next.mark = upstreamState.mark
      next.lastRecorded = upstreamState.lastRecorded
    }
    guard next != state else { return .fed(count: 0, isCaughtUp: isCaughtUp) }
    try begin()
    rows.keepsChangedUnits = changes.isKept
    do throws(BatchFailure) {
      var batch = Batch(count: units.count, next: next)
      try apply(units, snapshot, parking, &batch)
      try commit(batch, changes)
    } catch {
      giveUp()
      throw error
    }
    return .fed(count: units.count, isCaughtUp: isCaughtUp)
  }

  private func apply(
    _ units: [UInt64], _ snapshot: Snapshot, _ parking: [UInt64: String], _ batch: inout Batch
  ) throws(BatchFailure) {
    guard let fold = fold as? any DependentFold else { preconditionFailure("the engine checked this when it was made") }
    for unit in units {
      if let reason = parking[unit] {
        batch.parked.append(ParkedEvent(position: unit, reason: reason))
        continue
      }
      do throws(FoldFailure) {
        try fold.apply(changed: unit, upstream: snapshot)
      } catch {
        throw failure(error, at: unit)
      }
      if state.parkedCount > 0 { batch.unparked.append(unit) }
    }
  }

  private func nextUnits(
    of upstream: any Projection, _ snapshot: Snapshot, _ source: LMDBSource, _ mark: inout UpstreamMark
  ) throws(BatchFailure) -> [UInt64] {
    let countMax = options.dependentBatchUnitCountMax
    guard mark.isScanning else {
      do throws(RowError) {
        let (units, last) = try source.changes(after: mark.sequence, countMax: countMax)
        mark.sequence = last
        return units.sorted()
      } catch {
        throw .storage(StorageFailure(.passing, error.description))
      }
    }
    var units: [UInt64] = []
    do throws(QueryFailure) {
      try upstream.scanUnits(in: snapshot, from: mark.cursor) { (unit) throws(QueryFailure) in
        units.append(unit)
        return units.count < countMax
      }
    } catch {
      throw .storage(StorageFailure(.passing, "the upstream's units could not be read: \(error)"))
    }
    if units.count < countMax || units.last == .max {
      mark.isScanning = false
    } else {
      mark.cursor = (units.last ?? 0) + 1
    }
    return units
  }

  /// Visits every row, table by table in key order, in short transactions. Nothing changes meanwhile, since only this
  /// thread writes here: all slices show one state.
  func forEachRow(
    _ body: (_ table: String, _ key: RawSpan, _ value: RawSpan) -> Void, isStopping: () -> Bool
  ) throws(StorageFailure) {
    for table in tableNames {
      var start: [UInt8]? = []
      while let from = start {
        if isStopping() { throw StorageFailure(.passing, "the engine was stopped") }
        start = nil
        let source = try LMDBSource(try generation.environment())
        defer { source.close() }
        do throws(RowError) {
          guard let handle = try source.table(named: table) else { continue }
          var count = 0
          try source.scan(table: handle, prefix: [], from: from) { (key, value) throws(RowError) in
            if count == 10_000 {
              start = [UInt8](key)
              return false
            }
            body(table, key, value)
            count += 1
            return true
          }
        } catch {
          throw StorageFailure(.passing, error.description)
        }
      }
    }
  }
}
