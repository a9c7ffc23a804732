// Runs projections over a log: catch-up, checkpoints, rebuilds, switches, parked events, digests, and questions.
//
// Invariants:
// - Everything it stores can be deleted and folded again to the same rows; it never writes to the log.
// - A generation's rows and checkpoint commit together, so stopping or dying loses nothing but time.
// - Questions are answered from a committed state, on threads of the engine's own; no thread waits for a socket.

import Bytes
public import EventLog
public import LedgerCore
import Synchronization
import Threads

/// The engine. Make it, ``start()`` it, ``stop()`` it; then it is done.
///
/// Every call is safe from any thread or task. The synchronous ones take a lock at most, except where they say so.
public final class ProjectionEngine: Sendable {
  private let context: EngineContext
  private let slots: [Slot]
  private let queriesByPath: [[String: ProjectionQuery]]
  private let pool = Mutex<ReaderPool?>(nil)

  /// Makes an engine; nothing runs yet.
  ///
  /// - Parameters:
  ///   - log: The log to fold.
  ///   - directory: Where `<projection>/<generation>/` go; made if need be. One engine at a time.
  ///   - projections: Each name once, a projection after the one it depends on (a precondition).
  ///   - events: Told what is worth a log line, from any thread; must not block.
  public init(
    log: EventLog, directory: String, projections: [any Projection], options: EngineOptions,
    events: @escaping @Sendable (EngineEvent) -> Void = { _ in }
  ) {
    context = EngineContext(log: log, options: options, events: events)
    var slots: [Slot] = []
    for projection in projections {
      precondition(!slots.contains { $0.name.utf8.elementsEqual(projection.name.utf8) }, "two projections named \(projection.name)")
      let upstream = projection.dependsOn.map { name in
        guard let found = slots.first(where: { $0.name.utf8.elementsEqual(name.utf8) }) else {
          preconditionFailure("projection \(projection.name) must come after \(name), on which it depends")
        }
        return found
      }
      let dependents = projections.filter { $0.dependsOn?.utf8.elementsEqual(projection.name.utf8) == true }.map { $0.name }
      precondition(upstream == nil || makesDependentFold(projection), "the fold of \(projection.name) must be a DependentFold")
      slots.append(
        Slot(projection: projection, upstream: upstream, dependents: dependents, directory: directory, context: context))
    }
    self.slots = slots
    queriesByPath = slots.map { slot in
      Dictionary(slot.projection.queries.map { ($0.path, $0) }, uniquingKeysWith: { first, _ in first })
    }
  }

  // MARK: - Life

  /// Starts the workers and readers. Returns when each live generation is open, or has failed to open (then its state says
  /// why, and it is tried again). A rebuild that was under way goes on.
  public func start() {
    pool.withLock { pool in
      precondition(pool == nil, "an engine is started once")
      pool = ReaderPool(threadCount: context.options.readerCount, queueCountMax: context.options.readerQueueCountMax)
    }
    for slot in slots {
      let worker = Worker(slot: slot, role: .live)
      slot.state.withLock { $0.liveWorker = worker }
      worker.start()
    }
    for slot in slots {
      slot.state.withLock { $0.liveWorker }?.waitUntilOpened()
      resumeRebuild(of: slot)
    }
  }

  private func resumeRebuild(of slot: Slot) {
    do throws(EngineError) {
      try slot.resumeRebuild()
    } catch {
      slot.emit(.stateChanged, nil, 0, "the rebuild could not be resumed: \(error.description)", isWarning: true)
    }
  }

  /// Stops: batches in work commit what they have, threads are joined, who waits is told. Blocks until then. Once.
  public func stop() {
    var workers: [Worker] = []
    for slot in slots {
      let waiters: [Slot.Waiter] = slot.state.withLock { state in
        state.isStopped = true
        workers += [state.liveWorker, state.rebuildWorker].compactMap { $0 } + state.retired
        defer { state.waiters = [:] }
        return Array(state.waiters.values)
      }
      for waiter in waiters { waiter.resume(false) }
    }
    for worker in workers { worker.end() }
    for worker in workers { worker.join() }
    pool.withLock { $0.take() }?.stop()
    for slot in slots {
      slot.state.withLock { state in
        state.live = nil
        state.liveWorker = nil
        state.rebuildWorker = nil
        state.retired = []
      }
    }
  }

  // MARK: - Looking

  /// Every projection, in the order given to the engine.
  public func statuses() -> [ProjectionStatus] {
    let head = context.head
    let now = context.options.now()
    return slots.map { $0.status(head: head, now: now) }
  }

  /// The questions of all projections, each with its projection's name.
  public var queries: [(projection: String, query: ProjectionQuery)] {
    slots.flatMap { slot in slot.projection.queries.map { (slot.name, $0) } }
  }

  /// The digest of the live generation at its last commit. Kept up with each commit, so this costs nothing.
  public func digest(_ name: String) throws(EngineError) -> DigestReport {
    let slot = try slot(name)
    return try slot.state.withLock { (state) throws(EngineError) in
      guard let live = state.live, let committed = state.liveState else { throw .rebuilding(name) }
      return DigestReport(name, committed, live.number)
    }
  }

  /// The digest of the live generation, computed from every stored row.
  ///
  /// The worker does it between two batches, so folding waits meanwhile and the rows stand still; it reads slices of
  /// 10,000 rows, each in a transaction of its own, so no reader is held long. Equals ``digest(_:)`` at the same position,
  /// or something is wrong.
  public func recomputeDigest(_ name: String) async throws(EngineError) -> DigestReport {
    let sum = Mutex((digest: Hash128(high: 0, low: 0), rowCount: Int64(0)))
    let seeds = Mutex<(table: String, seed: UInt64)>(("", 0))
    let (state, generation) = try await visitRows(name) { table, key, value in
      let seed = seeds.withLock { known in
        if known.table != table { known = (table, RowDigest.seed(table: table)) }
        return known.seed
      }
      let term = RowDigest.term(seed: seed, key: key, value: value)
      sum.withLock { sum in
        sum.digest &+= term
        sum.rowCount += 1
      }
    }
    var found = state
    (found.digest, found.rowCount) = sum.withLock { $0 }
    return DigestReport(name, found, generation)
  }

  /// Visits every row of the live generation, table by table (by name), in key order; the fold's tables only. Runs on the
  /// worker's thread as ``recomputeDigest(_:)`` does. For comparisons and tests.
  ///
  /// - Returns: The digest as kept, of the state that was visited.
  @discardableResult
  public func forEachRow(
    of name: String, _ body: @escaping @Sendable (_ table: String, _ key: RawSpan, _ value: RawSpan) -> Void
  ) async throws(EngineError) -> DigestReport {
    let (state, generation) = try await visitRows(name, body)
    return DigestReport(name, state, generation)
  }

  private func visitRows(
    _ name: String, _ body: @escaping @Sendable (String, RawSpan, RawSpan) -> Void
  ) async throws(EngineError) -> (GenerationState, UInt64) {
    let slot = try slot(name)
    guard let worker = slot.state.withLock({ $0.isStopped ? nil : $0.liveWorker }) else { throw .stopped }
    let result: Result<(GenerationState, UInt64), EngineError> = await withCheckedContinuation { continuation in
      let isTaken = worker.submit { session in
        guard let session else { return continuation.resume(returning: .failure(worker.isEnding ? .stopped : .rebuilding(name))) }
        do throws(StorageFailure) {
          try session.forEachRow(body, isStopping: { worker.isEnding })
          continuation.resume(returning: .success((session.state, session.generation.number)))
        } catch {
          continuation.resume(returning: .failure(worker.isEnding ? .stopped : EngineError(error)))
        }
      }
      if !isTaken { continuation.resume(returning: .failure(.stopped)) }
    }
    return try result.get()
  }

  /// Events that were set aside, ascending, after `position`. One short read on the caller's thread.
  public func parked(_ name: String, after position: UInt64 = 0, countMax: Int = 1_000) throws(EngineError) -> [ParkedEvent] {
    let slot = try slot(name)
    guard let live = slot.state.withLock({ $0.live }) else { throw .rebuilding(name) }
    do throws(StorageFailure) {
      return try live.parked(after: position, countMax: countMax)
    } catch {
      throw EngineError(error)
    }
  }

  // MARK: - Orders

  /// Begins to fold a new generation beside the live one, which goes on answering. When it has caught up it takes over, and
  /// the old one is removed when its last reader is done. Survives a restart.
  ///
  /// - Returns: The new generation's number.
  @discardableResult
  public func rebuild(_ name: String) throws(EngineError) -> UInt64 { try slot(name).beginRebuild() }

  /// Gives a rebuild up and removes what it made. Waits for its batch to end.
  public func cancelRebuild(_ name: String) throws(EngineError) { try slot(name).cancelRebuild() }

  /// Stops folding after the batch in work; questions go on. Not kept over a restart.
  public func pause(_ name: String) throws(EngineError) { try setPaused(name, true) }

  /// Goes on folding; a worker that stopped or failed tries again at once.
  public func resume(_ name: String) throws(EngineError) { try setPaused(name, false) }

  private func setPaused(_ name: String, _ isPaused: Bool) throws(EngineError) {
    let workers = try slot(name).state.withLock { state in
      state.isPaused = isPaused
      return [state.liveWorker, state.rebuildWorker].compactMap { $0 }
    }
    for worker in workers { worker.setPaused(isPaused) }
  }

  // MARK: - Questions

  /// Answers a question from the live generation, on a reader thread.
  ///
  /// - Throws: ``EngineError``; what the query throws (``QueryFailure``); `CancellationError` if the task is cancelled
  ///   before a reader took the question up.
  public func answer(projection name: String, query path: String, request: QueryRequest) async throws -> Answer {
    guard let index = slots.firstIndex(where: { $0.name.utf8.elementsEqual(name.utf8) }) else {
      throw EngineError.unknownProjection(name)
    }
    guard let query = queriesByPath[index][path] else { throw EngineError.unknownQuery(path) }
    guard let pool = pool.withLock({ $0 }) else { throw EngineError.stopped }
    let slot = slots[index]
    let question = Question()
    return try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        guard question.wait(continuation) else { return }
        let isTaken = pool.submit {
          guard let continuation = question.take() else { return }
          continuation.resume(with: slot.answer(query, request))
        }
        if !isTaken { question.take()?.resume(throwing: EngineError.busy) }
      }
    } onCancel: {
      question.cancel()
    }
  }

  /// Waits until the live generation reflects a position, so that a writer reads what it wrote. Blocks no thread.
  ///
  /// - Returns: False if the time is up, the task is cancelled or the engine stops.
  public func waitFor(projection name: String, position: Position, timeout: Duration) async throws(EngineError) -> Bool {
    let slot = try slot(name)
    return await withTaskGroup(of: Bool.self) { group in
      group.addTask(name: "wait for \(position)") { await slot.wait(for: position) }
      group.addTask(name: "time out") {
        do {
          try await Task.sleep(for: timeout)
        } catch {
          // Cancelled, because the other task is done.
        }
        return false
      }
      defer { group.cancelAll() }
      return await group.next() ?? false
    }
  }

  private func slot(_ name: String) throws(EngineError) -> Slot {
    guard let slot = slots.first(where: { $0.name.utf8.elementsEqual(name.utf8) }) else { throw .unknownProjection(name) }
    return slot
  }
}

private func makesDependentFold(_ projection: some Projection) -> Bool {
  projection.makeFold(rows: RowStore()) is any DependentFold
}

/// A question on its way to a reader, which either takes it or finds it cancelled.
private final class Question: Sendable {
  private enum State {
    case new
    case waiting(CheckedContinuation<Answer, any Error>)
    case over
  }
  private let state = Mutex(State.new)

  /// False if it was cancelled before: then the continuation has been told.
  func wait(_ continuation: CheckedContinuation<Answer, any Error>) -> Bool {
    let isNew: Bool = state.withLock { state in
      guard case .new = state else { return false }
      state = .waiting(continuation)
      return true
    }
    if !isNew { continuation.resume(throwing: CancellationError()) }
    return isNew
  }

  func take() -> CheckedContinuation<Answer, any Error>? {
    state.withLock { state in
      defer { state = .over }
      guard case .waiting(let continuation) = state else { return nil }
      return continuation
    }
  }

  func cancel() { take()?.resume(throwing: CancellationError()) }
}

extension DigestReport {
  init(_ name: String, _ state: GenerationState, _ generation: UInt64) {
    self.init(
      projection: name, version: state.version, generation: generation, position: state.mark.position, rowCount: state.rowCount,
      digest: state.digest)
  }
}
