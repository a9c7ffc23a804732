import EventLog
import Files
import Foundation
import LMDB
import LedgerCore
import Testing

/// Closing, reopening, losing what is derived, and rolling over segments.
struct RecoveryTests {
  @Test func `a reopened log has the same id, head, events, duplicates and revisions`() async throws {
    let directory = TemporaryDirectory()
    let first = try LogUnderTest(directory)
    try await first.append((0..<700).map { event("\($0)", subject: "s\($0 % 7)") })
    let (id, mark, texts) = (first.log.id, try first.log.mark(at: 700), try first.read().map(\.text))
    first.log.close()

    let second = try LogUnderTest(directory)
    #expect(second.log.id == id)
    #expect(second.log.head == 700)
    #expect(try second.log.mark(at: 700) == mark)
    #expect(try second.read().map(\.text) == texts)
    let again = try await second.append([event("699", subject: "s6"), event("new", subject: "s6")])
    #expect(again.receipts == [Receipt(position: 700, isDuplicate: true), Receipt(position: 701, isDuplicate: false)])
    #expect(try second.read(after: 700)[0].envelope.revision == 100)
    second.log.close()
  }

  @Test(arguments: ["deleted", "of another log", "damaged"])
  func `without its index a log answers the same`(_ fate: String) async throws {
    let directory = TemporaryDirectory()
    let first = try LogUnderTest(directory)
    try await first.append((0..<2_000).map { event("\($0)", subject: "s\($0 % 7)") })
    first.log.close()
    let index = directory.path + "/index"
    try Files.removeTree(index)
    if fate == "of another log" {
      let other = TemporaryDirectory()
      let stranger = try LogUnderTest(other)
      try await stranger.append([event("0", subject: "s0")])
      stranger.log.close()
      try FileManager.default.copyItem(atPath: other.path + "/index", toPath: index)
    } else if fate == "damaged" {
      try Files.createDirectory(index)
      try Files.writeAtomically(Array(repeating: 7, count: 8192), to: index + "/data.mdb")
    }
    let second = try LogUnderTest(directory)
    let again = try await second.append([event("0", subject: "s0"), event("1999", subject: "s4"), event("x", subject: "s0")])
    #expect(again.receipts.map(\.position) == [1, 2_000, 2_001])
    #expect(again.duplicates == 2)
    #expect(try second.read(after: 2_000)[0].envelope.revision == 286)
    second.log.close()
  }

  @Test func `segments roll over, also inside of one batch`() async throws {
    let directory = TemporaryDirectory()
    let first = try LogUnderTest(directory, segmentPositionCount: 256)
    try await first.append((0..<200).map { event("a\($0)") })
    try await first.append((0..<700).map { event("b\($0)") })
    #expect(try first.log.status().segmentCount == 4)
    #expect(try first.read().map(\.position) == Array(1...900))
    let mark = try first.log.mark(at: 513)
    first.log.close()
    let second = try LogUnderTest(directory, segmentPositionCount: 256)
    #expect(second.log.head == 900)
    #expect(try second.log.mark(at: 513) == mark)
    #expect(try await second.append([event("b699"), event("c")]).receipts.map(\.position) == [900, 901])
    second.log.close()
  }

  @Test func `a log is not opened with segments of another size than it was made with, and says which`() async throws {
    let directory = TemporaryDirectory()
    let first = try LogUnderTest(directory, segmentPositionCount: 512)
    try await first.append((0..<500).map { event("a\($0)") })
    first.log.close()
    // One segment, which is not full: that it will be larger changes nothing.
    try LogUnderTest(directory, segmentPositionCount: 1_024).log.close()
    #expect(throws: LogError.otherSegmentSize(found: nil, configured: 256)) { try LogUnderTest(directory, segmentPositionCount: 256) }
    let second = try LogUnderTest(directory, segmentPositionCount: 512)
    try await second.append((0..<100).map { event("b\($0)") })
    second.log.close()
    for size: UInt64 in [256, 1_024] {
      let error = #expect(throws: LogError.otherSegmentSize(found: 512, configured: size)) {
        try LogUnderTest(directory, segmentPositionCount: size)
      }
      #expect(error?.description.contains("set it to 512") == true)
    }
    let third = try LogUnderTest(directory, segmentPositionCount: 512)
    #expect(try third.read().map(\.position) == Array(1...600))
    third.log.close()
    // A segment that is gone is another matter.
    try Files.removeTree(directory.path + "/log/00000000000000000001")
    #expect(throws: LogError.damaged(position: 513, "the segment before it is missing")) {
      try LogUnderTest(directory, segmentPositionCount: 512)
    }
  }

  @Test func `the later half of a group whose earlier half was lost is removed at the next start`() async throws {
    let directory = TemporaryDirectory()
    let first = try LogUnderTest(directory, segmentPositionCount: 256)
    try await first.append((0..<250).map { event("a\($0)") })
    first.log.close()
    let kept = directory.path + "-kept"
    defer { #expect(throws: Never.self) { try Files.removeTree(kept) } }
    try FileManager.default.copyItem(atPath: directory.path, toPath: kept)
    let second = try LogUnderTest(directory, segmentPositionCount: 256)
    try await second.append((0..<20).map { event("b\($0)") })
    second.log.close()
    // As after a crash between the two commits: the second segment has its part, the first does not.
    try Files.removeTree(kept + "/index")
    try FileManager.default.copyItem(
      atPath: directory.path + "/log/00000000000000000257", toPath: kept + "/log/00000000000000000257")
    var options = EventLogOptions()
    options.segmentPositionCount = 256
    let log = try EventLog(directory: kept, options: options)
    #expect(log.head == 250)
    while log.appendObstacle != nil { try await Task.sleep(for: .milliseconds(1)) }
    var batch = log.makeBatch(door: .process, principal: "p")
    for number in 0..<20 { try batch.addText(event("c\(number)")) }
    let result = try await log.append(batch)
    #expect((result.first, result.last) == (251, 270))
    log.close()
  }

  @Test func `a flipped bit is found and named by its position`() async throws {
    let directory = TemporaryDirectory()
    let first = try LogUnderTest(directory)
    try await first.append((0..<100).map { event("\($0)") })
    first.log.close()
    let segment = directory.path + "/log/00000000000000000001"
    do {
      let environment = try Environment(path: segment)
      let blocks = try environment.database("blocks", UInt64.self, [UInt8].self)
      try environment.write { (transaction) throws(LMDBError) in
        var block = try transaction.get(blocks, 1) ?? []
        block[block.count / 2] ^= 4
        try transaction.put(blocks, 1, block)
      }
    }
    #expect(throws: LogError.damaged(position: 1, "the block's checksum does not match")) { try LogUnderTest(directory) }
  }

  @Test func `a mark depends on every event before it and on nothing after`() async throws {
    let left = TemporaryDirectory()
    let log = try LogUnderTest(left)
    try await log.append((0..<300).map { event("\($0)") })
    let marks = try (0...300).map { try log.log.mark(at: UInt64($0)) }
    #expect(Set(marks.map(\.chain)).count == 301)
    try await log.append([event("more")])
    #expect(try (0...300).map { try log.log.mark(at: UInt64($0)) } == marks)
    log.log.close()
  }

  @Test func `maps of log and index grow in place when they are full`() async throws {
    let directory = TemporaryDirectory()
    let subject = try LogUnderTest(directory) { $0.indexTailCountMax = 1_000 }
    // 20,000 ids take more than the index's 1 MiB, 20,000 events with noise more than the log's.
    for round in 0..<20 {
      let texts = (0..<1_000).map { number in
        event("\(round)-\(number)", data: "[\((0..<8).map { _ in String(UInt64.random(in: .min ... .max)) }.joined(separator: ","))]")
      }
      try await subject.append(texts)
      #expect(try await subject.append([texts[0], texts[999]]).duplicates == 2)
    }
    #expect(try subject.log.status().byteCount > 1 << 20)
    subject.log.close()
    let environment = try Environment(path: directory.path + "/index")
    #expect(environment.info.usedByteCount > 1 << 20)
  }

  @Test func `a segment whose creation was cut off is made again`() async throws {
    let directory = TemporaryDirectory()
    let first = try LogUnderTest(directory, segmentPositionCount: 256)
    try await first.append((0..<256).map { event("\($0)") })
    first.log.close()
    // As a kill or a full disk leaves it: half of LMDB's first two pages.
    let unfinished = directory.path + "/log/00000000000000000257.new"
    try Files.createDirectory(unfinished)
    try Files.writeAtomically([UInt8](repeating: 7, count: 4_096), to: unfinished + "/data.mdb")
    let second = try LogUnderTest(directory, segmentPositionCount: 256)
    #expect(!Files.exists(unfinished))
    try Files.createDirectory(unfinished)
    #expect(try await second.append([event("next")]).last == 257)
    second.log.close()
    let third = try LogUnderTest(directory, segmentPositionCount: 256)
    #expect(third.log.head == 257)
    third.log.close()
  }

  @Test func `one directory has one owner`() throws {
    let directory = TemporaryDirectory()
    let first = try LogUnderTest(directory)
    #expect(throws: LogError.locked(directory.path)) { try LogUnderTest(directory) }
    first.log.close()
  }

  @Test func `a foreign directory, a newer format and a lost key are refused`() throws {
    let foreign = TemporaryDirectory()
    try Files.createDirectory(foreign.path)
    try Files.writeAtomically([1], to: foreign.path + "/something")
    #expect(throws: LogError.self) { try LogUnderTest(foreign) }

    let newer = TemporaryDirectory()
    try LogUnderTest(newer).log.close()
    try Files.writeAtomically(Array("interaction-ledger 99\n".utf8), to: newer.path + "/FORMAT")
    #expect(
      throws: LogError.foreignFormat(
        "\(newer.path) has format 99, this ledgerd knows up to 1; use the version that wrote it or a newer one")
    ) {
      try LogUnderTest(newer)
    }

    let keyless = TemporaryDirectory()
    try LogUnderTest(keyless).log.close()
    try Files.removeTree(keyless.path + "/keys/hash.key")
    #expect(throws: LogError.keyMissing(keyless.path + "/keys/hash.key")) { try LogUnderTest(keyless) }
  }
}
