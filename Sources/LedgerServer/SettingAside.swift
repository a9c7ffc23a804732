// `?onInvalid=quarantine`: what breaks its schema, or has an id that is taken by other content, is set aside, and the rest is
// appended.
//
// Invariants:
// - Nothing is acknowledged before it is on the disk, in the log or in quarantine.
// - The log says what it does not take: what it has already is a duplicate, and is not set aside.
// - What is set aside is set aside before the rest is appended; if that is refused, it is taken back, unless nobody knows
//   whether the commit happened. Repeating the request is safe in any case.

import EventLog
import LedgerCore
import LedgerHTTP
import NIOPosix

/// A batch whose refused events leave it, one after another.
private struct Sieve {
  private(set) var parsed: ParsedBatch
  /// Where each event of the batch stood in its request.
  private var indexes: [Int]

  init(_ parsed: ParsedBatch) {
    self.parsed = parsed
    indexes = Array(parsed.firstIndex..<parsed.firstIndex + parsed.batch.count)
  }

  /// Takes events out of the batch that the log does not take.
  ///
  /// - Returns: Them, and their names if they are wanted.
  mutating func takeOut(_ refusals: [EventRefusal]) -> (events: [SetAside], names: [EventName]) {
    let events = refusals.map { refusal in
      SetAside(
        index: indexes[refusal.index], bytes: parsed.batch.eventBytes(at: refusal.index), reason: SetAside.Reason(refusal.reason),
        detail: refusal.detail)
    }
    let names = parsed.names.isEmpty ? [] : refusals.map { parsed.names[$0.index] }
    let removed = Set(refusals.map(\.index))
    func remaining<Element>(_ elements: [Element]) -> [Element] {
      elements.enumerated().filter { !removed.contains($0.offset) }.map(\.element)
    }
    indexes = remaining(indexes)
    parsed.names = remaining(parsed.names)
    parsed.batch = parsed.batch.removing(removed)
    return (events, names)
  }
}

extension AppendRoute {
  /// Sets aside what must be, appends the rest, and shapes the answer.
  func appendSettingAside(_ parsed: ParsedBatch, wantsReceipts: Bool) async throws(Problem) -> AppendAnswer {
    var sieve = Sieve(parsed)
    var receipts: [QuarantineReceipt] = []
    var isNew: [UInt64] = []
    var count = 0
    while true {
      var answer: AppendAnswer
      do throws(AppendError) {
        answer =
          sieve.parsed.batch.count > 0
          ? try await append(sieve.parsed)
          : AppendAnswer(appended: 0, duplicates: 0, erased: 0, first: nil, last: nil, head: Int64(log.head))
      } catch .events(let refusals) {
        // The log refused the batch as a whole, so nothing of it is there yet.
        let (events, names) = sieve.takeOut(refusals)
        let numbers: [(number: UInt64, isNew: Bool)]
        do throws(QuarantineError) {
          numbers = try await onThread { [log, batch = sieve.parsed.batch] () throws(QuarantineError) in
            try log.quarantine.add(events, of: batch)
          }
        } catch {
          throw await takingBack(isNew, error.problem)
        }
        count += numbers.count
        isNew += numbers.filter(\.isNew).map(\.number)
        for (place, event) in events.enumerated() where wantsReceipts {
          receipts.append(
            QuarantineReceipt(
              index: event.index, source: names[place].source, id: names[place].id, number: Int64(numbers[place].number),
              code: event.reason.code, detail: event.detail))
        }
        continue
      } catch {
        throw await takingBack(isNew, error.problem)
      }
      answer.quarantined = count
      if wantsReceipts {
        answer.receipts = answer.receipts ?? []
        answer.quarantine = receipts.sorted { $0.index < $1.index }
      }
      return answer
    }
  }

  /// Takes back what this request has set aside, since it is refused.
  private func takingBack(_ numbers: [UInt64], _ problem: Problem) async -> Problem {
    guard !numbers.isEmpty, problem.code != .outcomeUnknown else { return problem }
    do throws(QuarantineError) {
      try await onThread { () throws(QuarantineError) in try log.quarantine.withdraw(numbers) }
      return problem
    } catch {
      var problem = problem
      problem.detail += "; \(numbers.count) of its events stay in quarantine, and repeating the request is safe"
      return problem
    }
  }

  /// Runs something that waits for the quarantine's disk on a thread that may.
  func onThread<R: Sendable>(_ body: @escaping @Sendable () throws(QuarantineError) -> R) async throws(QuarantineError) -> R {
    let result: Result<R, QuarantineError>
    do {
      result = try await threads.runIfActive {
        do throws(QuarantineError) {
          return .success(try body())
        } catch {
          return .failure(error)
        }
      }
    } catch {
      throw .closed
    }
    return try result.get()
  }
}

extension SetAside.Reason {
  /// The reason that the log gave.
  fileprivate init(_ reason: EventRefusal.Reason) {
    switch reason {
    case .schema: self = .schema
    case .conflict: self = .conflict
    }
  }

  /// The code that the event would have been refused with.
  var code: ErrorCode {
    switch self {
    case .schema: .schema
    case .conflict: .idConflict
    }
  }
}

extension QuarantineError {
  /// What a client is told.
  var problem: Problem {
    switch self {
    case .full: Problem(.quarantineFull, description)
    case .unknown: Problem(.notFound, description)
    case .resolved: Problem(.gone, description)
    case .environment, .files: Problem(isDiskFull ? .diskFull : .outcomeUnknown, description)
    case .foreignFormat: Problem(.internal, description)
    case .closed: Problem(.busy, description)
    }
  }
}
