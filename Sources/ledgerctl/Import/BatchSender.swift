// Why: a daemon restarts, is busy, or refuses an event; an import must come through the first two and account for the third.
//
// Invariants:
// - A batch is settled once: every event in it was appended, was there before, was erased, or is one of its rejects.
// - Repeating is safe, the ids are deterministic. It ends `retryTime` after the failure that began it.
// - A daemon that never answered is reported at once: the socket is likely the wrong one.

import LedgerClient
import LedgerHTTP

/// What the ledger did with events.
struct AppendCounts {
  var appended = 0
  var duplicates = 0
  var erased = 0

  static func += (left: inout AppendCounts, right: AppendCounts) {
    left.appended += right.appended
    left.duplicates += right.duplicates
    left.erased += right.erased
  }
}

/// The import was told to stop.
struct ImportStopped: Error {}

/// Sends batches.
struct BatchSender {
  /// Codes that speak of an event, also when the answer does not say of which: a batch of one leaves no doubt.
  private static let eventCodes = Set(
    [ErrorCode.invalidJSON, .invalidEvent, .eventTooLarge, .batchTooLarge, .idConflict, .schema].map(\.rawValue))

  private let client: LedgerClient
  private let retryTime: Duration
  private let stop: StopFlag
  private let clock = ContinuousClock()
  private var wasThere = false

  /// - Parameter retryTime: How long a batch is repeated before the import gives up.
  init(client: LedgerClient, retryTime: Duration, stop: StopFlag) {
    self.client = client
    self.retryTime = retryTime
    self.stop = stop
  }

  /// Sends a closed batch without waiting for the answer.
  func start(_ batch: inout ImportBatch) async throws {
    guard !batch.entries.isEmpty else { return }
    do throws(ClientError) {
      batch.pending = try await client.startAppend(batch: batch.body)
    } catch {
      guard case .unreachable = error else { throw error }
      batch.pending = nil  // settling it waits for the daemon to come back, if it ever was there
    }
  }

  /// Waits until the ledger has taken or refused every event of a batch.
  mutating func settle(_ batch: inout ImportBatch) async throws -> AppendCounts {
    var deadline: ContinuousClock.Instant?
    var delay = Duration.milliseconds(50)
    while !batch.entries.isEmpty {
      let failure: ClientError
      do throws(ClientError) {
        let answer = try await self.answer(&batch)
        wasThere = true
        return AppendCounts(appended: answer.appended, duplicates: answer.duplicates, erased: answer.erased)
      } catch {
        failure = error
      }
      switch failure {
      case .problem(let problem) where !problem.errors.isEmpty:
        wasThere = true
        try refuse(problem, &batch)
        (deadline, delay) = (nil, .milliseconds(50))
      case .problem(let problem) where problem.code == ErrorCode.batchTooLarge.rawValue && batch.entries.count > 1:
        return try await settleHalves(of: &batch)
      case .problem(let problem) where batch.entries.count == 1 && Self.eventCodes.contains(problem.code):
        batch.reject([0: Self.words(problem.detail, problem.code)])
      case .problem(let problem) where problem.status == 503 || problem.status == 429:
        wasThere = true
        try await wait(&deadline, &delay, failure, atLeast: problem.retryAfterSeconds)
      case .connectionLost:
        wasThere = true
        try await wait(&deadline, &delay, failure)
      case .unreachable where wasThere: try await wait(&deadline, &delay, failure)
      default: throw failure
      }
    }
    return AppendCounts()
  }

  private func answer(_ batch: inout ImportBatch) async throws(ClientError) -> AppendAnswer {
    if let pending = batch.pending {
      batch.pending = nil
      return try LedgerClient.appendAnswer(try await pending.collect())
    }
    return try LedgerClient.appendAnswer(try await client.startAppend(batch: batch.body).collect())
  }

  private func wait(
    _ deadline: inout ContinuousClock.Instant?, _ delay: inout Duration, _ failure: ClientError, atLeast seconds: Int? = nil
  ) async throws {
    let end = deadline ?? clock.now + retryTime
    deadline = end
    guard clock.now < end else { throw failure }
    let pause = min(max(delay, .seconds(seconds ?? 0)), .seconds(5), end - clock.now)
    delay = delay * 2
    // In short pieces, so that a stop is not kept waiting.
    let wakeUp = clock.now + pause
    while clock.now < wakeUp {
      if stop.isSet { throw ImportStopped() }
      try await clock.sleep(for: min(.milliseconds(100), max(wakeUp - clock.now, .milliseconds(1))))
    }
  }

  /// A daemon that is set to smaller requests gets them.
  private mutating func settleHalves(of batch: inout ImportBatch) async throws -> AppendCounts {
    var counts = AppendCounts()
    for var half in batch.halves() {
      counts += try await settle(&half)
      batch.rejects += half.rejects
    }
    return counts
  }

  /// Takes the events that the ledger refused out of the batch.
  private func refuse(_ problem: ServerProblem, _ batch: inout ImportBatch) throws {
    var reasons: [Int: String] = [:]
    for error in problem.errors where batch.entries.indices.contains(error.index) {
      reasons[error.index] = Self.words(error.detail, error.code)
    }
    guard !reasons.isEmpty else { throw ClientError.problem(problem) }
    batch.reject(reasons)
  }

  private static func words(_ detail: String, _ code: String) -> String { "the ledger refused it: \(detail) (\(code))" }
}
