// A slot as seen from outside: answers, waiting, status.

import EventLog
import LedgerCore
import Synchronization

extension Slot {
  /// Answers a question from the live generation, in one short read transaction. On a reader thread.
  func answer(_ query: ProjectionQuery, _ request: QueryRequest) -> Result<Answer, any Error> {
    let found: Generation? = state.withLock { $0.isReadable ? $0.live : nil }
    guard let generation = found else { return .failure(EngineError.rebuilding(name)) }
    do throws(StorageFailure) {
      let source = try LMDBSource(try generation.environment())
      defer { source.close() }
      let committed: GenerationState
      do throws(RowError) {
        committed = try source.state()
      } catch {
        return .failure(QueryFailure.storage(error))
      }
      let snapshot = Snapshot(
        source: source, projection: name, version: committed.version, generation: generation.number,
        checkpoint: committed.mark.position)
      do throws(QueryFailure) {
        let body = try query.answer(request, snapshot)
        return .success(Answer(body: body, generation: generation.number, checkpoint: committed.mark.position))
      } catch {
        return .failure(error)
      }
    } catch {
      return .failure(EngineError(error))
    }
  }

  /// Suspends until the live generation reflects `position`; false if cancelled or stopped.
  func wait(for position: Position) async -> Bool {
    let ticket = WaitTicket()
    return await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let id = wait(for: position) { continuation.resume(returning: $0) }
        if let id, ticket.hold(id) { cancelWait(id) }
      }
    } onCancel: {
      if let id = ticket.cancel() { cancelWait(id) }
    }
  }

  func status(head: Position, now: Timestamp) -> ProjectionStatus {
    let (live, committed, liveWorker, rebuildWorker) = state.withLock { ($0.live, $0.liveState, $0.liveWorker, $0.rebuildWorker) }
    let progress = liveWorker?.progress ?? Worker.Progress()
    let position = committed?.mark.position ?? 0
    let lag = head > position ? head - position : 0
    let recorded = committed?.lastRecorded ?? now
    return ProjectionStatus(
      name: name, version: projection.version, liveVersion: committed?.version, generation: live?.number, state: progress.state,
      position: position, head: head, lagEventCount: lag,
      lagSeconds: lag == 0 ? 0 : Double(max(0, now.microseconds - recorded.microseconds)) / 1_000_000,
      parkedCount: committed?.parkedCount ?? 0, rowCount: committed?.rowCount ?? 0, foldedCount: progress.foldedCount,
      eventsPerSecond: progress.eventsPerSecond, secondsLeft: Self.secondsLeft(lag, progress),
      rebuild: rebuildWorker.flatMap { Self.rebuildProgress($0, head: head) }, storage: live?.sizes)
  }

  private static func rebuildProgress(_ worker: Worker, head: Position) -> RebuildProgress? {
    guard case .rebuild(let number) = worker.role else { return nil }
    let progress = worker.progress
    let lag = head > progress.position ? head - progress.position : 0
    return RebuildProgress(
      generation: number, state: progress.state, position: progress.position, foldedCount: progress.foldedCount,
      eventsPerSecond: progress.eventsPerSecond, secondsLeft: secondsLeft(lag, progress))
  }

  private static func secondsLeft(_ lag: UInt64, _ progress: Worker.Progress) -> Double? {
    guard lag > 0, progress.eventsPerSecond > 0 else { return nil }
    return Double(lag) / progress.eventsPerSecond
  }
}

/// Brings a waiter's id and its cancellation together, whichever comes first.
private final class WaitTicket: Sendable {
  private struct State {
    var id: UInt64?
    var isCancelled = false
  }
  private let state = Mutex(State())

  /// True if it was cancelled before.
  func hold(_ id: UInt64) -> Bool {
    state.withLock { state in
      state.id = id
      return state.isCancelled
    }
  }

  func cancel() -> UInt64? {
    state.withLock { state in
      state.isCancelled = true
      return state.id
    }
  }
}
