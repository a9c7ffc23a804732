// One projection as the engine runs it: its live generation, its workers, and who waits for it.
//
// Invariants:
// - There is one live generation at a time; what `live` names on the disk is changed first, then what questions see.
// - While a generation takes over, the old worker stands still between two batches, so no answer goes back in the log.

import Bytes
import EventLog
import Files
import LMDB
import LedgerCore
import Synchronization
import Threads

/// What all projections of one engine share.
struct EngineContext: Sendable {
  let log: EventLog
  let options: EngineOptions
  let events: @Sendable (EngineEvent) -> Void
  /// Counts commits and commands: dependents wait for it to move.
  let pulse = Monitor<UInt64>(0)

  /// Where the log ends, as far as this engine is concerned.
  var head: Position { min(log.head, options.positionMax) }
}

final class Slot: Sendable {
  struct State {
    var live: Generation?
    /// The live generation's last commit.
    var liveState: GenerationState?
    /// False while the live rows are of a version that the queries cannot read.
    var isReadable = false
    /// True if the live generation cannot be folded any further.
    var isRebuildRequired = false
    var liveWorker: Worker?
    var rebuildWorker: Worker?
    /// Workers that ended or will soon; joined when the engine stops.
    var retired: [Worker] = []
    var isPaused = false
    var isStopped = false
    var waiters: [UInt64: Waiter] = [:]
    var nextWaiter: UInt64 = 0
    /// Which changes the dependents have folded, by dependent and generation. Nil: not known yet, so all are kept.
    var consumers: [String: UpstreamMark?] = [:]
  }

  struct Waiter {
    let position: Position
    let resume: @Sendable (Bool) -> Void
  }

  let projection: any Projection
  let upstream: Slot?
  let store: GenerationStore
  let context: EngineContext
  let tableNames: [String]
  let state: Mutex<State>

  init(projection: any Projection, upstream: Slot?, dependents: [String], directory: String, context: EngineContext) {
    self.projection = projection
    self.upstream = upstream
    self.context = context
    store = GenerationStore(directory: directory + "/" + projection.name)
    let rows = RowStore()
    _ = projection.makeFold(rows: rows)
    tableNames = rows.tableNames
    var state = State()
    for dependent in dependents { state.consumers[dependent] = .some(nil) }
    self.state = Mutex(state)
  }

  var name: String { projection.name }

  func emit(_ kind: EngineEvent.Kind, _ generation: UInt64?, _ position: Position, _ detail: String, isWarning: Bool = false) {
    context.events(
      EngineEvent(
        kind: kind, projection: name, generation: generation, position: position, detail: detail, isWarning: isWarning))
  }

  // MARK: - Opening

  enum Opening {
    /// The generation can be folded further.
    case fold(Generation, GenerationState)
    /// It is of another fold version: it can only be read, until its successor is ready.
    case serve
  }

  /// Opens a generation's directory.
  func open(_ number: UInt64) throws(StorageFailure) -> Generation {
    do throws(LMDBError) {
      return try Generation(
        number: number, directory: store.path(of: number), tableNames: tableNames, version: projection.version, options: context.options)
    } catch {
      throw StorageFailure(error)
    }
  }

  /// The state that a generation begins with.
  func freshState() throws(WorkerFailure) -> GenerationState {
    do throws(LogError) {
      return GenerationState(version: projection.version, birth: UInt64.random(in: 1...UInt64.max), mark: try context.log.mark(at: 0))
    } catch {
      throw WorkerFailure(error)
    }
  }

  /// True if the log still is the one that was folded.
  func matches(_ mark: LogMark) throws(WorkerFailure) -> Bool {
    guard mark.logID == context.log.id, mark.position <= context.log.head else { return false }
    do throws(LogError) {
      return try context.log.mark(at: mark.position) == mark
    } catch {
      throw WorkerFailure(error)
    }
  }

  /// Nothing was lost with such a generation, so nobody is told.
  private static let neverCommitted = "it was never committed"

  /// Why what is stored cannot be used; nil: it can.
  private func flaw(_ stored: GenerationState.Stored, _ number: UInt64) throws(WorkerFailure) -> String? {
    switch stored {
    case .nothing: return Self.neverCommitted
    case .damaged: return "its meta row is unreadable"
    case .newer(let format):
      throw WorkerFailure(
        .newerFormat,
        "generation \(number) of projection \(name) has format \(format) and this program reads up to \(GenerationState.format): "
          + "start the newer program, or remove the directory to have it folded again")
    case .state(let state):
      return try matches(state.mark) ? nil : "it was folded from another log, or from one that has gone back"
    }
  }

  /// Opens a stored generation if it can be used at all; else removes it.
  private func openUsable(_ number: UInt64) throws(WorkerFailure) -> (Generation, GenerationState)? {
    do throws(StorageFailure) {
      let generation = try open(number)
      let stored = try generation.readState()
      if let flaw = try flawAsStorage(stored, number) {
        discard(number, flaw)
        generation.doom()
        return nil
      }
      guard case .state(let state) = stored else { return nil }
      return (generation, state)
    } catch {
      guard error.kind == .damaged else { throw WorkerFailure(error) }
      discard(number, error.text)
      try removeDirectory(number)
      return nil
    }
  }

  private func flawAsStorage(_ stored: GenerationState.Stored, _ number: UInt64) throws(StorageFailure) -> String? {
    do throws(WorkerFailure) {
      return try flaw(stored, number)
    } catch {
      throw StorageFailure(error.kind, error.text)
    }
  }

  private func discard(_ number: UInt64, _ reason: String) {
    if reason == Self.neverCommitted { return }
    emit(.generationDiscarded, number, 0, reason, isWarning: true)
  }

  private func removeDirectory(_ number: UInt64) throws(WorkerFailure) {
    do throws(FileError) {
      try store.remove(number)
    } catch {
      throw WorkerFailure(StorageFailure(error))
    }
  }

  /// Makes an empty generation.
  private func begin() throws(WorkerFailure) -> (Generation, GenerationState) {
    let fresh = try freshState()
    let number = try createDirectory()
    do throws(StorageFailure) {
      let generation = try open(number)
      try generation.reset(to: fresh)
      emit(.generationBegun, number, 0, "")
      return (generation, fresh)
    } catch {
      throw WorkerFailure(error)
    }
  }

  private func createDirectory() throws(WorkerFailure) -> UInt64 {
    do throws(FileError) {
      return try store.create()
    } catch {
      throw WorkerFailure(StorageFailure(error))
    }
  }

  private func point(_ pointer: GenerationStore.Pointer, to number: UInt64?) throws(WorkerFailure) {
    do throws(FileError) {
      try store.write(pointer, number)
    } catch {
      throw WorkerFailure(StorageFailure(error))
    }
  }

  private struct Listing {
    var live: UInt64?
    var building: UInt64?
    var numbers: [UInt64]
  }

  private func list() throws(WorkerFailure) -> Listing {
    do throws(FileError) {
      try Files.createDirectory(store.directory)
      let live = try store.read(.live)
      let building = try store.read(.building)
      return Listing(live: live, building: building == live ? nil : building, numbers: try store.numbers())
    } catch {
      throw WorkerFailure(StorageFailure(error))
    }
  }

  /// Opens the live generation, or finds one that can be it, or begins one; removes what is left over. On the live
  /// worker's thread.
  func openLive() throws(WorkerFailure) -> Opening {
    let listing = try list()
    var found: (Generation, GenerationState)?
    if let live = listing.live { found = try openUsable(live) }
    if found == nil, listing.live == nil {
      // The pointer is lost: the generation that got furthest is as good as any.
      for number in listing.numbers where number != listing.building {
        guard let (generation, candidate) = try openUsable(number), candidate.upstream?.isScanning != true else { continue }
        if let best = found?.1, best.mark.position > candidate.mark.position { continue }
        found = (generation, candidate)
      }
    }
    if found == nil { found = try begin() }
    guard let (generation, stored) = found else { preconditionFailure("one was begun a line above") }
    if listing.live != generation.number { try point(.live, to: generation.number) }
    try removeLeftovers(keeping: [generation.number, listing.building])
    let isCurrent = stored.version == projection.version
    let isReadable = isCurrent || projection.canRead(version: stored.version)
    state.withLock { state in
      state.live = generation
      state.liveState = stored
      state.isReadable = isReadable
      state.isRebuildRequired = !isCurrent
    }
    if isCurrent { return .fold(generation, stored) }
    return .serve
  }

  private func removeLeftovers(keeping kept: [UInt64?]) throws(WorkerFailure) {
    for number in try list().numbers where !kept.contains(number) {
      discard(number, "it is neither live nor being built")
      try removeDirectory(number)
    }
  }

  /// A stored generation that this fold version can go on with; else it is removed.
  private func resumable(_ number: UInt64) throws(WorkerFailure) -> (Generation, GenerationState)? {
    guard Files.isDirectory(store.path(of: number)), let (generation, stored) = try openUsable(number) else { return nil }
    if stored.version == projection.version { return (generation, stored) }
    discard(number, "it is of fold version \(stored.version)")
    generation.doom()
    return nil
  }

  /// Opens the generation that is being built, and makes it empty if it cannot be gone on with. On its worker's thread.
  func openBuilding(_ number: UInt64) throws(WorkerFailure) -> (Generation, GenerationState) {
    if let found = try resumable(number) { return found }
    let fresh = try freshState()
    do throws(StorageFailure) {
      do throws(FileError) {
        try Files.createDirectory(store.path(of: number))
      } catch {
        throw StorageFailure(error)
      }
      let generation = try open(number)
      try generation.reset(to: fresh)
      return (generation, fresh)
    } catch {
      throw WorkerFailure(error)
    }
  }

  // MARK: - Rebuilding

  /// Begins a rebuild beside the live generation.
  func beginRebuild() throws(EngineError) -> UInt64 {
    try state.withLock { (state) throws(EngineError) in
      guard !state.isStopped else { throw .stopped }
      guard state.rebuildWorker == nil else { throw .rebuildInProgress(name) }
      do throws(WorkerFailure) {
        let number = try createDirectory()
        do throws(WorkerFailure) {
          try point(.building, to: number)
        } catch {
          // Nobody would ever fill it, and whoever asks again makes another one.
          try removeDirectory(number)
          throw error
        }
        startRebuild(number, &state)
        return number
      } catch {
        throw EngineError(error)
      }
    }
  }

  /// Goes on with the rebuild that was under way when the engine was stopped, if there is one and it does not run.
  ///
  /// - Returns: True if one runs now.
  @discardableResult
  func resumeRebuild() throws(EngineError) -> Bool {
    try state.withLock { (state) throws(EngineError) in
      if state.rebuildWorker != nil { return true }
      do throws(WorkerFailure) {
        guard !state.isStopped, let number = try list().building else { return false }
        startRebuild(number, &state)
        return true
      } catch {
        throw EngineError(error)
      }
    }
  }

  private func startRebuild(_ number: UInt64, _ state: inout State) {
    let worker = Worker(slot: self, role: .rebuild(number))
    worker.setPaused(state.isPaused)
    state.rebuildWorker = worker
    worker.start()
  }

  /// Ends a rebuild and removes what it made. Waits for its batch to end.
  func cancelRebuild() throws(EngineError) {
    let worker = try state.withLock { (state) throws(EngineError) in
      guard let worker = state.rebuildWorker else { throw .noRebuild(name) }
      guard !state.isRebuildRequired else { throw .rebuildRequired(name) }
      state.rebuildWorker = nil
      return worker
    }
    worker.end()
    worker.join()
    guard case .rebuild(let number) = worker.role else { return }
    forgetConsumer(number)
    state.withLock { $0.liveWorker }?.setHeld(false)
    do throws(WorkerFailure) {
      try point(.building, to: nil)
      try removeDirectory(number)
    } catch {
      throw EngineError(error)
    }
  }

  /// Lets a rebuilt generation answer from now on.
  ///
  /// - Returns: False if the rebuild was cancelled meanwhile, or the live generation is further.
  func switchLive(to generation: Generation, _ committed: GenerationState, worker: Worker) throws(WorkerFailure) -> Bool {
    let old: (worker: Worker?, generation: Generation?)? = try state.withLock { (state) throws(WorkerFailure) in
      guard state.rebuildWorker === worker, !state.isStopped else { return nil }
      if let live = state.liveState, live.mark.position > committed.mark.position, !state.isRebuildRequired { return nil }
      try point(.live, to: generation.number)
      try point(.building, to: nil)
      let old = (state.liveWorker, state.live)
      if let worker = old.0 { state.retired.append(worker) }
      state.live = generation
      state.liveState = committed
      state.isReadable = true
      state.isRebuildRequired = false
      state.liveWorker = worker
      state.rebuildWorker = nil
      return old
    }
    guard let old else { return false }
    old.generation?.doom()
    old.worker?.end()
    if let number = old.generation?.number { forgetConsumer(number) }
    emit(.switched, generation.number, committed.mark.position, "")
    published(generation, committed)
    return true
  }

  // MARK: - Commits

  /// Tells who waits that a generation has committed.
  func published(_ generation: Generation, _ committed: GenerationState) {
    let ready: [Waiter] = state.withLock { state in
      guard state.live === generation else { return [] }
      state.liveState = committed
      guard !state.waiters.isEmpty, state.isReadable else { return [] }
      var ready: [Waiter] = []
      for (id, waiter) in state.waiters where waiter.position <= committed.mark.position {
        ready.append(waiter)
        state.waiters[id] = nil
      }
      return ready
    }
    for waiter in ready { waiter.resume(true) }
    if let mark = committed.upstream { upstream?.consumed(by: name, generation.number, mark) }
    context.pulse.signal { $0 += 1 }
  }

  /// Calls `resume` once: true when the live generation reflects `position`, false when the engine stops. Nil: at once.
  func wait(for position: Position, _ resume: @escaping @Sendable (Bool) -> Void) -> UInt64? {
    let (id, answer): (UInt64?, Bool?) = state.withLock { state in
      if state.isStopped { return (nil, false) }
      if state.isReadable, let live = state.liveState, live.mark.position >= position { return (nil, true) }
      let id = state.nextWaiter
      state.nextWaiter += 1
      state.waiters[id] = Waiter(position: position, resume: resume)
      return (id, nil)
    }
    if let answer { resume(answer) }
    return id
  }

  /// Takes a waiter back; it is told false.
  func cancelWait(_ id: UInt64) {
    state.withLock { $0.waiters.removeValue(forKey: id) }?.resume(false)
  }

  // MARK: - What dependents have seen

  private func consumed(by dependent: String, _ generation: UInt64, _ mark: UpstreamMark) {
    state.withLock { state in
      state.consumers[dependent] = nil
      state.consumers["\(dependent)/\(generation)"] = .some(mark)
    }
  }

  private func forgetConsumer(_ generation: UInt64) {
    upstream?.state.withLock { $0.consumers["\(name)/\(generation)"] = nil }
  }

  /// Has this upstream keep its changes from now on, for a dependent that is about to hand over all units.
  func attach(_ dependent: String, _ generation: UInt64) {
    state.withLock { state in
      state.consumers[dependent] = nil
      state.consumers["\(dependent)/\(generation)"] = .some(nil)
    }
  }

  /// Which changes a generation has to keep: those that a dependent has yet to see. One that follows another generation
  /// will start again with all units, so nothing is kept for its sake, nor in a generation that is not live.
  func changeKeeping(of generation: Generation, _ current: GenerationState) -> Session.ChangeKeeping {
    let least: UInt64? = state.withLock { state in
      guard state.live === generation else { return nil }
      var least: UInt64?
      for consumer in state.consumers.values {
        guard let mark = consumer else { return 0 }
        if mark.birth == current.birth { least = min(least ?? .max, mark.sequence) }
      }
      return least
    }
    return Session.ChangeKeeping(isKept: least != nil, consumed: least ?? 0)
  }
}
