// What runs on a worker's thread.

import EventLog
import LedgerCore
import Synchronization
import Threads

final class WorkerLoop {
  private let worker: Worker
  private let slot: Slot
  private let options: EngineOptions
  private var session: Session?
  private var isRebuild: Bool
  /// False until the head was reached once: until then batches are large.
  private var hasCaughtUp = false
  private var retryDelay: Duration
  /// True from a failure until something works: what fails again and again is shown as failed, and told once.
  private var isRetrying = false
  /// An event to set aside instead of folding it, found in the batch before.
  private var parking: ParkedEvent?
  private var parkingUnits: [UInt64: String] = [:]
  /// Batches end here, so that an event that cannot be folded comes last or next.
  private var batchEnd: Position?
  /// Small after a poisoned event, so that a run of them is not folded again and again; doubles with each clean batch.
  private var batchCountMax = Int.max
  private var foldedCount: UInt64 = 0
  private var rate = Rate()

  init(_ worker: Worker) {
    self.worker = worker
    slot = worker.slot
    options = worker.slot.context.options
    retryDelay = options.retryDelayMin
    if case .rebuild = worker.role { isRebuild = true } else { isRebuild = false }
  }

  func run() {
    while true {
      switch nextOrder() {
      case .end:
        session = nil
        return
      case .command(let command):
        command(session)
      case .fold:
        let pulse = slot.context.pulse.withLock { $0 }
        do throws(WorkerFailure) {
          try step(pulse)
          retryDelay = options.retryDelayMin
          isRetrying = false
        } catch {
          recover(from: error)
        }
      }
    }
  }

  // MARK: - Orders

  private enum Order {
    case end
    case command(Worker.Command)
    case fold
  }

  private func nextOrder() -> Order {
    worker.takeInterrupt()
    let mustStand: Bool = worker.control.signal { control in
      control.isIdle = control.isPaused || control.isHeld || control.isEnding
      if control.isPaused, !control.isHeld, !control.isEnding { control.progress.state = .paused }
      return control.isIdle
    }
    if mustStand { noteState() }
    return worker.control.wait { control -> Order? in
      if control.isEnding { return .end }
      if !control.commands.isEmpty { return .command(control.commands.removeFirst()) }
      if control.isPaused || control.isHeld {
        control.isIdle = true
        return nil
      }
      control.isIdle = false
      control.isWoken = false
      return .fold
    } ?? .end
  }

  /// Stands still for a while, or until told to go on; answers commands meanwhile.
  private func pause(_ duration: Duration?) {
    let end = duration.map { ContinuousClock.now + $0 }
    while true {
      let command: Worker.Command?? = worker.control.wait(timeout: end.map { $0 - ContinuousClock.now }) { control in
        if control.isEnding || control.isWoken || control.isHeld || control.isPaused { return .some(nil) }
        return control.commands.isEmpty ? nil : .some(control.commands.removeFirst())
      }
      guard case .some(.some(let run)) = command else { return }
      run(session)
    }
  }

  private var lastState = ProjectionState.starting

  private func setState(_ state: ProjectionState) {
    if isRetrying, case .catchingUp = state { return }
    worker.control.signal { $0.progress.state = state }
    noteState()
  }

  private func noteState() {
    let state = worker.progress.state
    guard state != lastState else { return }
    lastState = state
    let isWarning: Bool
    switch state {
    case .failed, .stopped: isWarning = true
    default: isWarning = false
    }
    slot.emit(.stateChanged, session?.generation.number, worker.progress.position, "\(state)", isWarning: isWarning)
  }

  private func markOpened() { worker.control.signal { $0.hasOpened = true } }

  private func hold() {
    worker.control.signal { $0.isHeld = true }
    setState(.rebuilding)
  }

  // MARK: - Steps

  private func recover(from failure: WorkerFailure) {
    if failure.kind == .newerFormat {
      setState(.stopped(failure.text))
      markOpened()
      pause(nil)
      return
    }
    setState(.failed(failure.text))
    isRetrying = true
    markOpened()
    if isRebuild { releaseLive() }
    let generation = session?.generation
    session = nil
    pause(retryDelay)
    retryDelay = min(retryDelay * 2, options.retryDelayMax)
    guard failure.kind == .reopen, let generation else { return }
    do throws(StorageFailure) {
      try generation.reopen()
    } catch {
      setState(.failed(error.text))
    }
  }

  private func step(_ pulse: UInt64) throws(WorkerFailure) {
    if session == nil { try open() }
    guard let session else { return }
    do throws(BatchFailure) {
      if let upstream = slot.upstream {
        try feed(session, upstream, pulse)
      } else {
        try follow(session)
      }
    } catch {
      try handle(error, session)
    }
  }

  private func open() throws(WorkerFailure) {
    let generation: Generation
    let stored: GenerationState
    switch worker.role {
    case .live:
      var opening = try reopenedLive()
      if opening == nil { opening = try slot.openLive() }
      switch opening {
      case .fold(let found, let state): (generation, stored) = (found, state)
      case .serve, .none:
        hold()
        beginRebuild()
        markOpened()
        return
      }
    case .rebuild(let number):
      // After the switch, and a failure since, the generation is the live one.
      if case .fold(let found, let state) = try reopenedLive() {
        (generation, stored) = (found, state)
      } else {
        (generation, stored) = try slot.openBuilding(number)
      }
    }
    try use(generation, stored)
    markOpened()
  }

  /// The live generation, if this worker is the one that folds it and has lost its session.
  private func reopenedLive() throws(WorkerFailure) -> Slot.Opening? {
    let live: Generation? = slot.state.withLock { $0.liveWorker === worker ? $0.live : nil }
    guard let live else { return nil }
    do throws(StorageFailure) {
      guard case .state(let state) = try live.readState() else { throw StorageFailure(.passing, "the meta row is unreadable") }
      return state.version == slot.projection.version ? .fold(live, state) : .serve
    } catch {
      throw WorkerFailure(error)
    }
  }

  private func use(_ generation: Generation, _ state: GenerationState) throws(WorkerFailure) {
    do throws(StorageFailure) {
      session = try Session(
        generation: generation, state: state, projection: slot.projection, log: slot.context.log, options: options,
        interrupt: { [worker] in worker.isInterrupted })
    } catch {
      throw WorkerFailure(error)
    }
    publish()
  }

  /// Begins the rebuild that replaces a live generation which cannot go on.
  private func beginRebuild() {
    slot.state.withLock { $0.isRebuildRequired = true }
    do throws(EngineError) {
      if try !slot.resumeRebuild() { _ = try slot.beginRebuild() }
    } catch {
      // One is under way already, or the engine stops, or the disk refuses: then this worker looks again.
      switch error {
      case .storage, .diskFull:
        setState(.failed(error.description))
        pause(retryDelay)
        worker.control.signal { $0.isHeld = false }
      default: break
      }
    }
  }

  private func publish() {
    guard let session else { return }
    let state = session.state
    worker.control.signal { control in
      control.progress.position = state.mark.position
      control.progress.lastRecorded = state.lastRecorded
      control.progress.foldedCount = foldedCount
      control.progress.eventsPerSecond = rate.perSecond
    }
    slot.published(session.generation, state)
  }

  private func folded(_ count: Int) {
    foldedCount += UInt64(count)
    rate.add(count)
    publish()
  }

  // MARK: - Fed from the log

  private func follow(_ session: Session) throws(BatchFailure) {
    let position = session.state.mark.position
    let head = slot.context.head
    if position >= head {
      try caughtUp(session)
      if isRebuild { return }
      if slot.context.head == position, !worker.isInterrupted {
        let timeout = Duration.seconds(1)
        clearStaleReaders(session)
        if position < options.positionMax {
          _ = slot.context.log.waitForHead(after: position, timeout: timeout)
        } else {
          pause(timeout)
        }
      }
      return
    }
    if !hasCaughtUp || head - position > UInt64(options.liveBatchEventCountMax) { setState(.catchingUp) }
    let last = min(head, batchEnd ?? head)
    let usual = hasCaughtUp && !isRebuild ? options.liveBatchEventCountMax : options.rebuildBatchEventCountMax
    let countMax = batchEnd == nil ? min(batchCountMax, usual) : Int(last - position)
    let count = try session.foldEvents(
      through: last, countMax: countMax, parking: parking, changes: slot.changeKeeping(of: session.generation, session.state))
    if let parked = parking, session.state.mark.position >= parked.position {
      slot.emit(.parked, session.generation.number, parked.position, parked.reason, isWarning: true)
      parking = nil
      batchCountMax = 256
    } else if batchCountMax < Int.max {
      batchCountMax = batchCountMax > 1 << 30 ? Int.max : batchCountMax * 2
    }
    if let end = batchEnd, session.state.mark.position >= end { batchEnd = nil }
    if count == 0 { pause(.milliseconds(10)) }
    folded(count)
    // A log that is appended to all the time is never met at its head: close enough is caught up.
    if isRebuild, count <= options.liveBatchEventCountMax, session.state.mark.position >= head { try caughtUp(session) }
  }

  private func caughtUp(_ session: Session) throws(BatchFailure) {
    hasCaughtUp = true
    if isRebuild { try takeOver(session) }
    if !isRebuild { setState(.live) }
  }

  private var lastReaderCheck = ContinuousClock.now

  /// Now and then: a reader of another process that died would keep pages from being used again.
  private func clearStaleReaders(_ session: Session) {
    guard ContinuousClock.now - lastReaderCheck > .seconds(60) else { return }
    lastReaderCheck = ContinuousClock.now
    do throws(StorageFailure) {
      try session.generation.clearStaleReaders()
    } catch {
      slot.emit(.stateChanged, session.generation.number, 0, "stale readers could not be cleared: \(error.text)", isWarning: true)
    }
  }

  // MARK: - Fed from another projection

  private func feed(_ session: Session, _ upstream: Slot, _ pulse: UInt64) throws(BatchFailure) {
    let source: Generation? = upstream.state.withLock { state in
      state.isReadable && state.liveState?.version == upstream.projection.version ? state.live : nil
    }
    guard let source else {
      waitForPulse(pulse)
      return
    }
    if session.state.upstream == nil { upstream.attach(slot.name, session.generation.number) }
    switch try session.foldUnits(
      of: upstream.projection, in: source, parking: parkingUnits, changes: slot.changeKeeping(of: session.generation, session.state))
    {
    case .startOver:
      try startOver(session)
    case .fed(let count, let isCaughtUp):
      for (unit, reason) in parkingUnits.sorted(by: { $0.key < $1.key }) {
        slot.emit(.parked, session.generation.number, unit, reason, isWarning: true)
      }
      parkingUnits = [:]
      folded(count)
      guard isCaughtUp else {
        setState(.catchingUp)
        return
      }
      try caughtUp(session)
      if !isRebuild {
        clearStaleReaders(session)
        waitForPulse(pulse)
      }
    }
  }

  private func waitForPulse(_ seen: UInt64) {
    _ = slot.context.pulse.wait(timeout: .seconds(1)) { $0 != seen ? true : nil }
  }

  private func startOver(_ session: Session) throws(BatchFailure) {
    guard isRebuild else {
      hold()
      beginRebuild()
      return
    }
    do throws(WorkerFailure) {
      let fresh = try slot.freshState()
      self.session = nil
      do throws(StorageFailure) {
        try session.generation.reset(to: fresh)
      } catch {
        throw WorkerFailure(error)
      }
      try use(session.generation, fresh)
    } catch {
      throw .storage(StorageFailure(error.kind, error.text))
    }
  }

  // MARK: - Failures in a batch

  private func handle(_ failure: BatchFailure, _ session: Session) throws(WorkerFailure) {
    switch failure {
    case .storage(let failure) where failure.kind == .mapFull:
      do throws(StorageFailure) {
        try session.growMap()
      } catch {
        throw WorkerFailure(error)
      }
      slot.emit(.mapGrown, session.generation.number, session.state.mark.position, "the map was full")
    case .storage(let failure), .unknownOutcome(let failure):
      throw WorkerFailure(failure)
    case .log(let error):
      throw WorkerFailure(error)
    case .poison(let key, let reason):
      poisoned(at: key, reason, session)
    }
  }

  private func poisoned(at key: UInt64, _ reason: String, _ session: Session) {
    let isUnit = slot.upstream != nil
    switch slot.projection.failurePolicy {
    case .park where isUnit:
      parkingUnits[key] = reason
    case .park:
      parking = ParkedEvent(position: key, reason: reason)
      batchEnd = key
    case .stop where !isUnit && key > session.state.mark.position + 1:
      batchEnd = key - 1
    case .stop:
      batchEnd = nil
      if isRebuild { releaseLive() }
      setState(.stopped("\(isUnit ? "unit" : "position") \(key): \(reason)"))
      pause(nil)
    }
  }

  // MARK: - Taking over

  /// Makes the rebuilt generation the live one. The old worker is held meanwhile, so that it does not run ahead.
  private func takeOver(_ session: Session) throws(BatchFailure) {
    let old = slot.state.withLock { $0.liveWorker }
    if let old, old !== worker {
      let isHeld = old.control.withLock { $0.isHeld }
      if !isHeld {
        old.setHeld(true)
        old.waitUntilIdle()
        // It may have committed once more: fold up to there, then come back.
        return
      }
    }
    do throws(WorkerFailure) {
      if try slot.switchLive(to: session.generation, session.state, worker: worker) {
        isRebuild = false
      } else if !worker.isEnding {
        pause(.milliseconds(5))
      }
    } catch {
      throw .storage(StorageFailure(error.kind, error.text))
    }
  }
}

extension WorkerLoop {
  /// Lets the live generation's worker go on, if it was held for a take-over that did not come about.
  private func releaseLive() {
    let live: Worker? = slot.state.withLock { $0.isRebuildRequired ? nil : $0.liveWorker }
    if let live, live !== worker { live.setHeld(false) }
  }
}

/// Events per second over the last stretch of work: an average that forgets with a half-life of about five seconds.
struct Rate {
  private var last = ContinuousClock.now
  private(set) var perSecond = 0.0

  mutating func add(_ count: Int) {
    let now = ContinuousClock.now
    let elapsed = (now - last) / .seconds(1)
    guard elapsed > 0.000_001 else { return }
    last = now
    let weight = min(1, elapsed / 5)
    perSecond = perSecond == 0 ? Double(count) / elapsed : perSecond * (1 - weight) + Double(count) / elapsed * weight
  }
}
