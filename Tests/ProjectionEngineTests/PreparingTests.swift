// A fold that takes its events prepared sees what a straight one sees: in chunks, ahead, around events that cannot be folded,
// and one by one at the head.

import Bytes
import EventLog
import JSON
import LedgerCore
import ProjectionEngine
import Testing

private let sumTable = TableName<UInt64, Tally>("sums")
private let orderTable = TableName<UInt64, Tally>("orders")

/// What both folds keep: sums per unit, and the unit of each position.
private struct Sums {
  let sums: Table<UInt64, Tally>
  let orders: Table<UInt64, Tally>

  init(_ rows: RowStore) {
    sums = rows.table(sumTable)
    orders = rows.table(orderTable)
  }

  func add(_ seen: Seen) throws(FoldFailure) {
    orders.insert(seen.position, Tally(count: seen.unit))
    try sums.update(UInt64(bitPattern: seen.unit)) { (row: inout Tally?) throws(FoldFailure) in
      row = Tally(count: (row?.count ?? 0) + 1, sum: (row?.sum ?? 0) &* 31 &+ Int64(seen.position))
    }
    // Touched before the poison shows: giving the batch up must undo it.
    if seen.isPoisoned { throw .poison("it is poisoned") }
  }
}

private struct Seen: Sendable {
  let position: Position
  let unit: Int64
  let isPoisoned: Bool

  init(_ event: LoggedEvent) {
    position = event.position
    let node = event.attributes.data.flatMap { event.json.member("unit", of: $0) }
    unit = node.flatMap { event.json.int64(of: $0) } ?? -1
    isPoisoned = event.json.equals(event.attributes.type, "poison")
  }
}

private struct StraightSums: Projection {
  let name = "sums"
  let version: UInt32 = 1
  let queries: [ProjectionQuery] = []
  func makeFold(rows: RowStore) -> Fold { Fold(Sums(rows)) }

  final class Fold: ProjectionFold {
    private let sums: Sums
    init(_ sums: Sums) { self.sums = sums }
    func apply(_ event: LoggedEvent) throws(FoldFailure) { try sums.add(Seen(event)) }
  }
}

private struct PreparedSums: Projection {
  let name = "sums"
  let version: UInt32 = 1
  let queries: [ProjectionQuery] = []
  func makeFold(rows: RowStore) -> Fold { Fold(Sums(rows)) }

  struct Prepared: PreparedEvents {
    fileprivate var seen: [Seen] = []
    init() {}
    mutating func append(_ event: LoggedEvent) { seen.append(Seen(event)) }
    var byteCount: Int { seen.count * 24 }
    mutating func removeAll() { seen.removeAll() }
  }

  final class Fold: PreparingFold {
    private let sums: Sums
    init(_ sums: Sums) { self.sums = sums }
    func apply(_ prepared: borrowing Prepared, at index: Int) throws(FoldFailure) { try sums.add(prepared.seen[index]) }
  }
}

@Suite struct PreparingTests {
  private func digest(_ log: EventLog, _ projection: any Projection, batch: Int) async throws -> (String, [Position]) {
    try await withEngine(log, temporaryDirectory(), [projection], testOptions(batch: batch)) { (engine: ProjectionEngine) async throws in
      #expect(try await engine.catchUp(log.head, "sums"))
      let digest = try engine.digest("sums")
      return ("\(digest.digest) \(digest.rowCount)", try engine.parked("sums", after: 0, countMax: 100).map(\.position))
    }
  }

  @Test(arguments: [7, 255, 256, 257, 1_000, 100_000])
  func `rows and parked events are those of a straight fold, in batches of any size`(_ batch: Int) async throws {
    var all = (0..<3_000).map { event("seen", $0 % 37) }
    for position in [1, 2, 256, 257, 258, 512, 1_500, 2_999, 3_000] { all[position - 1] = event("poison", 5) }
    let log = makeLog(all)
    let straight = try await digest(log, StraightSums(), batch: batch)
    let prepared = try await digest(log, PreparedSums(), batch: batch)
    #expect(prepared == straight)
    #expect(prepared.1 == [1, 2, 256, 257, 258, 512, 1_500, 2_999, 3_000])
  }

  @Test func `what is appended while it follows is folded too, little by little and much at once`() async throws {
    let log = makeLog((0..<10).map { event("seen", $0) })
    let directory = temporaryDirectory()
    let followed = try await withEngine(log, directory, [PreparedSums()], testOptions()) { (engine: ProjectionEngine) async throws in
      for count in [1, 300, 2, 5_000, 1] {
        log.append((0..<count).map { event("seen", $0 % 7) })
        #expect(try await engine.catchUp(log.head, "sums"))
      }
      return "\(try engine.digest("sums").digest)"
    }
    let straight = try await digest(log, StraightSums(), batch: 1_000)
    #expect(straight.0.hasPrefix(followed))
  }
}
