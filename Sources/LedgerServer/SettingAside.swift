// `?onInvalid=quarantine`: what breaks its schema, or has an id that is taken by other content, is set aside, and the rest is
// appended.
//
// Invariants:
// - Nothing is acknowledged before it is on the disk, in the log or in quarantine.
// - What is set aside is set aside before the rest is appended; if that is refused, it is taken back, unless nobody knows
//   whether the commit happened. Repeating the request is safe in any case.

import EventLog
import JSON
import LedgerCore
import LedgerHTTP
import NIOPosix

/// The events of a request that the log does not take, and where the others stood in it.
struct AsideEvents: Sendable {
  /// Where the request's next event stands, from 0.
  private var nextIndex: Int
  /// Where each event of the batch stood.
  private(set) var indexes: [Int] = []
  fileprivate(set) var events: [SetAside] = []
  /// The names of `events`, if they are wanted.
  fileprivate(set) var names: [EventName] = []

  /// - Parameter firstIndex: How many events of the request came before.
  init(firstIndex: Int) { nextIndex = firstIndex }

  mutating func noteAdded() {
    indexes.append(nextIndex)
    nextIndex += 1
  }

  fileprivate mutating func takeIndex() -> Int {
    defer { nextIndex += 1 }
    return nextIndex
  }

  fileprivate mutating func removeIndexes(_ removed: Set<Int>) {
    indexes = indexes.enumerated().filter { !removed.contains($0.offset) }.map(\.element)
  }
}

extension ParsedBatch {
  /// Keeps an event that breaks its schema.
  mutating func setAside(_ event: JSONNode, of json: borrowing JSONReader, because error: EventError, wantsName: Bool) {
    guard var kept = aside else { return }
    kept.events.append(
      SetAside(index: kept.takeIndex(), bytes: EventBatch.storedBytes(of: event, in: json), reason: .schema, detail: error.message))
    if wantsName, let source = json.member("source", of: event), let id = json.member("id", of: event) {
      kept.names.append(EventName(source: json.string(of: source), id: json.string(of: id)))
    }
    aside = kept
  }

  /// Takes the events out of the batch whose ids are taken.
  ///
  /// - Returns: Them, and their names if they are wanted.
  fileprivate mutating func takeOut(_ conflicts: [Conflict]) -> (events: [SetAside], names: [EventName]) {
    guard var kept = aside else { return ([], []) }
    let events = conflicts.map { conflict in
      SetAside(
        index: kept.indexes[conflict.index], bytes: batch.eventBytes(at: conflict.index), reason: .conflict,
        detail: "its source and id are taken by other content \(conflict.place)")
    }
    let removed = Set(conflicts.map(\.index))
    let taken = names.isEmpty ? [] : conflicts.map { names[$0.index] }
    kept.removeIndexes(removed)
    if !names.isEmpty { names = names.enumerated().filter { !removed.contains($0.offset) }.map(\.element) }
    batch = batch.removing(removed)
    aside = kept
    return (events, taken)
  }
}

extension AppendRoute {
  /// Sets aside what must be, appends the rest, and shapes the answer.
  func appendSettingAside(_ parsed: ParsedBatch, wantsReceipts: Bool) async throws(Problem) -> AppendAnswer {
    var parsed = parsed
    var waiting = (events: parsed.aside?.events ?? [], names: parsed.aside?.names ?? [])
    var receipts: [QuarantineReceipt] = []
    var isNew: [UInt64] = []
    var count = 0
    while true {
      if !waiting.events.isEmpty {
        let numbers: [(number: UInt64, isNew: Bool)]
        do throws(QuarantineError) {
          numbers = try await onThread { [waiting, parsed] () throws(QuarantineError) in
            try log.quarantine.add(waiting.events, of: parsed.batch)
          }
        } catch {
          throw await takingBack(isNew, error.problem)
        }
        count += numbers.count
        isNew += numbers.filter(\.isNew).map(\.number)
        for (place, event) in waiting.events.enumerated() where wantsReceipts {
          receipts.append(
            QuarantineReceipt(
              index: event.index, source: waiting.names[place].source, id: waiting.names[place].id,
              number: Int64(numbers[place].number), code: event.reason.code, detail: event.detail))
        }
      }
      var answer: AppendAnswer
      do throws(AppendError) {
        answer =
          parsed.batch.count > 0
          ? try await append(parsed)
          : AppendAnswer(appended: 0, duplicates: 0, erased: 0, first: nil, last: nil, head: Int64(log.head))
      } catch .conflict(let conflicts) {
        // The log refused the batch as a whole, so nothing of it is there yet.
        waiting = parsed.takeOut(conflicts)
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
