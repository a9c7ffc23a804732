// Tables of units' rows: whatever is moved when, and however often it is flushed in between, the rows end where a list of
// rows would have them.

import Bytes
import LedgerCore
import ProjectionEngine
import Testing

private struct PairKey: RowKey {
  let unit: UInt64
  let number: UInt64

  init(unit: UInt64, number: UInt64) {
    self.unit = unit
    self.number = number
  }
  init(from reader: inout ByteReader) throws(ByteError) {
    unit = try reader.uint64()
    number = try reader.uint64()
  }
  func write(to writer: inout ByteWriter) {
    writer.uint64(unit)
    writer.uint64(number)
  }
}

private let pairTable = TableName<PairKey, Tally>("pairs")

private enum Step {
  case insert(UInt64)
  case move(UInt64, UInt64)
  case flush
}

/// Rows as `unit:number`, sorted, after the steps; each insertion takes the next number.
private func rows(after steps: [Step], isEmpty: Bool) throws -> (stored: [String], expected: [String], digest: Hash128, count: Int64) {
  let backing = MemoryBacking()
  let store = RowStore(backing: backing, isEmpty: isEmpty)
  let table = store.unitTable(pairTable)
  var model: [(unit: UInt64, number: UInt64)] = []
  for step in steps {
    switch step {
    case .insert(let unit):
      let number = UInt64(model.count)
      table.insert(PairKey(unit: unit, number: number), Tally(count: Int64(number)))
      model.append((unit, number))
    case .move(let from, let unit):
      try table.move(from: from, to: unit)
      for index in model.indices where model[index].unit == from { model[index].unit = unit }
    case .flush: try store.flush()
    }
  }
  try store.flush()
  #expect(store.cachedRowCount == 0 && store.waitingByteCount == 0)
  var stored: [String] = []
  try backing.scan(table: backing.table(named: "pairs") ?? 0, prefix: [], from: []) { (key, value) throws(RowError) in
    stored.append("\(key.uint64(at: 0)):\(key.uint64(at: 8))")
    return true
  }
  return (stored.sorted(), model.map { "\($0.unit):\($0.number)" }.sorted(), store.digest, store.rowCount)
}

@Suite struct UnitTableTests {
  @Test(arguments: [
    [Step.insert(1), .insert(2), .move(2, 1), .insert(2)],
    [.insert(1), .flush, .move(1, 2), .insert(2), .flush],
    [.insert(1), .flush, .insert(1), .move(1, 2), .move(2, 3), .insert(1), .flush, .move(1, 3)],
    [.insert(5), .move(5, 4), .insert(5), .move(5, 3), .flush],
    [.insert(1), .move(1, 2), .move(2, 1), .insert(1)],
    [.move(1, 2), .insert(1)],
  ])
  fileprivate func `rows follow the moves made after them`(_ steps: [Step]) throws {
    for isEmpty in [true, false] {
      let result = try rows(after: steps, isEmpty: isEmpty)
      #expect(result.stored == result.expected)
    }
  }

  @Test func `random moves and flushes end as a list of rows does, with one digest`() throws {
    for seed in UInt64(1)...200 {
      var random = SplitMix(seed)
      let steps: [Step] = (0..<120).map { _ in
        switch random.next() % 8 {
        case 0:
          let from = random.next() % 12
          return .move(from, (from + 1 + random.next() % 11) % 12)
        case 1: return .flush
        default: return .insert(random.next() % 12)
        }
      }
      let result = try rows(after: steps, isEmpty: seed % 2 == 0)
      #expect(result.stored == result.expected, "seed \(seed)")
      let withoutFlushes = try rows(
        after: steps.filter {
          if case .flush = $0 { false } else { true }
        }, isEmpty: true)
      #expect(result.digest == withoutFlushes.digest && result.count == withoutFlushes.count, "seed \(seed)")
    }
  }
}

private struct SplitMix {
  private var state: UInt64
  init(_ seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
    return mixed ^ mixed >> 31
  }
}
