// Repeats are duplicates and revisions go on whatever the index remembers of its file: before it has read it, after it has,
// and after it was made anew.

import EventLog
import Files
import LedgerCore
import Testing

@Suite struct StoredIDsTests {
  private func events(_ numbers: some Sequence<Int>) -> [String] {
    numbers.map { event("\($0)", stream: "s\($0 % 10)") }
  }

  @Test func `every id and stream is found again after restarts, in tails of every age`() async throws {
    let directory = TemporaryDirectory()
    for round in 0..<5 {
      let ledger = try LogUnderTest(directory) { $0.indexTailCountMax = 64 }
      // At once: most look-ups come before the file has been read.
      if round > 0 {
        let old = try await ledger.append(events((0..<round * 500).reversed()))
        #expect(old.appended == 0 && old.duplicates == round * 500, "round \(round)")
      }
      for start in stride(from: round * 500, to: (round + 1) * 500, by: 50) {
        let new = try await ledger.append(events(start..<start + 50))
        #expect(new.appended == 50 && new.first == Position(start + 1), "round \(round)")
        #expect(try ledger.read(after: new.head - 1)[0].envelope.revision == UInt64((start + 49) / 10), "round \(round)")
      }
      let all = try await ledger.append(events(0..<(round + 1) * 500))
      #expect(all.appended == 0 && all.receipts.map(\.position) == (1...(round + 1) * 500).map { Position($0) }, "round \(round)")
      ledger.log.close()
      if round == 2 { try Files.removeTree(directory.path + "/index") }
    }
  }
}
