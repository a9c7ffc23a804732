// The conformance kit, on toys: it passes what is right and catches what is wrong.

import Bytes
import EventLog
import LedgerCore
import LedgerTesting
import ProjectionEngine
import Synchronization
import Testing

func conformingLines() async throws -> [String] {
  var all = events(600)
  all.insert(event("poison", 3), at: 100)
  let log = makeLog(all)
  let kit = ConformanceKit(log: log, projections: [UnitTally(), Histogram()], directory: temporaryDirectory())
  return try await kit.lines()
}

@Suite struct ConformanceTests {
  @Test func `toys that keep the rules pass every check`() async throws {
    var all = events(600)
    all.insert(event("poison", 3), at: 100)
    all.insert(event("poison", 3), at: 101)
    all.insert(event("poison", 3), at: 599)
    let kit = ConformanceKit(log: makeLog(all), projections: [UnitTally(), Histogram()], directory: temporaryDirectory())
    let failures = try await kit.failures()
    #expect(failures.isEmpty, "\(failures)")
  }

  @Test func `a fold that looks at how events were cut into batches is caught`() async throws {
    let kit = ConformanceKit(log: makeLog(events(100)), projections: [BatchCounter()], directory: temporaryDirectory())
    let failures = try await kit.failures()
    #expect(failures.contains { $0.check.hasPrefix("stopping at") })
  }

  @Test func `two processes store the same`() async throws {
    let here = try await conformingLines()
    let result = try await #require(processExitsWith: .success, observing: [\.standardOutputContent]) {
      for line in try await conformingLines() { print("line:\(line)") }
    }
    let output = String(decoding: result.standardOutputContent, as: UTF8.self)
    let there = output.split(separator: "\n").filter { $0.hasPrefix("line:") }.map { String($0.dropFirst(5)) }
    #expect(there == here)
    #expect(here.count == 2)
  }
}

/// Breaks the rules: it counts in memory, so a restart shows in its rows.
private struct BatchCounter: Projection {
  let name = "counter"
  let version: UInt32 = 1
  var queries: [ProjectionQuery] { [] }
  func makeFold(rows: RowStore) -> Fold { Fold(rows) }

  final class Fold: ProjectionFold {
    let table: Table<UInt64, Tally>
    var seen: Int64 = 0
    init(_ rows: RowStore) { table = rows.table(TableName<UInt64, Tally>("counts")) }
    func apply(_ event: LoggedEvent) throws(FoldFailure) {
      seen += 1
      try table.set(event.position, Tally(count: seen))
    }
  }
}
