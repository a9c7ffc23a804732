// The block format as bytes: what is stored today must be read by every later version, and nothing that was changed on
// the disk may be read at all.

import Bytes
@testable import EventLog
import LedgerCore
import Testing
import Zstd

/// An event of a block, with what the log knows about it.
private struct Given {
  var bytes: [UInt8]
  var envelope: Envelope
}

private let seed: UInt64 = 0x0123_4567_89ab_cdef

private func envelope(
  _ recorded: Int64, received: Int64? = nil, sent: Int64? = nil, revision: UInt64 = 0, door: FrontDoor = .http,
  principal: String = "uid:1000"
) -> Envelope {
  Envelope(
    recorded: Timestamp(microseconds: recorded), received: Timestamp(microseconds: received ?? recorded),
    sent: sent.map { Timestamp(microseconds: $0) }, revision: revision, door: door, principal: principal)
}

/// The fixtures' events: every field of an entry takes several forms.
private let given: [Given] = [
  Given(bytes: Array("{\"id\":\"1\"}".utf8), envelope: envelope(1_795_291_200_000_000)),
  Given(
    bytes: Array("{\"id\":\"ñ\"}".utf8),
    envelope: envelope(
      1_795_291_200_000_300, received: 1_795_291_199_999_000, sent: 1_795_291_201_000_000, revision: 300, door: .httpBinary,
      principal: "uid:0")),
  Given(bytes: Array("{}".utf8), envelope: envelope(1_795_291_200_000_300, received: -5, revision: .max, door: .process)),
  Given(
    bytes: Array("{\"id\":\"3\",\"data\":\"\(String(repeating: "ledger ", count: 300))\"}".utf8),
    envelope: envelope(1_795_291_999_000_000, received: 1_795_291_999_000_001, revision: 1, door: .ledger, principal: "uid:0")),
]

private func block(
  _ events: [Given], first: Position = 7, compression: CommitCompression = .none
) throws(ZstdError) -> [UInt8] {
  var builder = BlockBuilder(logSeed: seed, compression: compression)
  for (index, event) in events.enumerated() {
    builder.add(
      event.bytes.rawSpan, position: first + UInt64(index), envelope: event.envelope, chainBefore: 0x11 + UInt64(index),
      chainAfter: 0x12 + UInt64(index))
  }
  return try builder.finish()
}

/// What a decoded block holds.
private func decoded(_ bytes: [UInt8], key: Position = 7, seed: UInt64 = seed) throws(LogError) -> [Given] {
  var block = DecodedBlock(logSeed: seed)
  try block.decode(bytes.rawSpan, key: key)
  guard let header = block.header else { return [] }
  return (header.first...header.last).map { position in
    let entry = block.entry(at: position)
    return Given(bytes: block.withBytes(of: entry) { [UInt8]($0) }, envelope: entry.envelope)
  }
}

private func expectGiven(_ found: [Given], _ expected: [Given]) {
  #expect(found.map(\.bytes) == expected.map(\.bytes))
  #expect(found.map(\.envelope) == expected.map(\.envelope))
}

private func hexadecimalDigits(_ bytes: [UInt8]) -> String {
  bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}

private func bytes(ofHex text: String) -> [UInt8] {
  let digits = text.utf8.filter { $0 != 0x0a && $0 != 0x20 }.map { $0 < 0x3a ? $0 - 0x30 : $0 - 0x61 + 10 }
  return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
}

/// Version 1, raw: the first three events. Changing these digits means changing the format: add a version instead.
private let rawFixture = """
  004801000000000300000000000000070000005500000055000660cece3e9000000660cece3e912c0000000000000011000000000000001400000000
  0000000066331e1bd5a76dee02087569643a31303030057569643a30000001000000000a00010201ac02a814cf987aac020b0000030000e2c4f4e3d9
  b3b006ffffffffffffffffff01027b226964223a2231227d7b226964223a22c3b1227d7b7d
  """

/// Version 1, zstd: all four events, compressed by libzstd 1.5.4 at level 1.
private let zstdFixture = """
  00480101000000040000000000000007000008aa00000080000660cece3e9000000660cefdde55c00000000000000011000000000000001500000000
  00000000a0f1892c6ff518df28b52ffd60aa07b50300640602087569643a31303030057569643a30000001000000000a00010201ac02a814cf987aac
  020b0000030000e2c4f4e3d9b3b006ff0102000004019489fffc020101c8107b226964223a2231227dc3b1227d7b33222c2264617461223a226c6564
  67657220227d040054a0e203ccf76a71985eb007
  """

@Suite struct BlockFormatTests {
  @Test func `a raw block is written as version 1 wrote it`() throws {
    let written = hexadecimalDigits(try block(Array(given[..<3])))
    #expect(written == hexadecimalDigits(bytes(ofHex: rawFixture)), "\(written)")
  }

  @Test func `blocks of version 1 are read`() throws {
    expectGiven(try decoded(bytes(ofHex: rawFixture)), Array(given[..<3]))
    expectGiven(try decoded(bytes(ofHex: zstdFixture)), given)
  }

  @Test func `the header's fields stand where the format says`() throws {
    let bytes = try block(Array(given[..<3]))
    let size = UInt64(bytes.count - 72)
    let small = [(0, 2), (2, 1), (3, 1), (4, 4), (8, 8), (16, 4), (20, 4), (24, 8), (32, 8), (40, 8), (48, 8), (56, 8)].map {
      offset, width in
      bytes[offset..<offset + width].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    }
    #expect(small == [72, 1, 0, 3, 7, size, size, 1_795_291_200_000_000, 1_795_291_200_000_300, 0x11, 0x14, 0])
    let compressed = try block(given, compression: .zstd(level: 1))
    #expect(compressed[3] == 1 && compressed.count < bytes.count + 2_000)
  }

  @Test func `a small payload is not worth a frame`() throws {
    #expect(try block(Array(given[..<3]), compression: .zstd(level: 1)) == block(Array(given[..<3])))
  }

  @Test func `a payload that does not shrink is stored as it is`() throws {
    var state: UInt64 = 1
    let noise = (0..<4_000).map { _ in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return UInt8(truncatingIfNeeded: state >> 56)
    }
    let events = [Given(bytes: noise, envelope: envelope(1))]
    let bytes = try block(events, compression: .zstd(level: 1))
    #expect(bytes[3] == 0)
    expectGiven(try decoded(bytes), events)
  }

  @Test(arguments: [CommitCompression.none, .zstd(level: 1), .zstd(level: -5)])
  func `what goes in comes out, and a builder and a reader serve again and again`(compression: CommitCompression) throws {
    var builder = BlockBuilder(logSeed: seed, compression: compression)
    for round in 0..<3 {
      for (index, event) in given[round...].enumerated() {
        builder.add(event.bytes.rawSpan, position: 100 + UInt64(index), envelope: event.envelope, chainBefore: 1, chainAfter: 2)
      }
      expectGiven(try decoded(try builder.finish(), key: 100), Array(given[round...]))
    }
  }

  @Test(arguments: [CommitCompression.none, .zstd(level: 1)])
  func `no single bit can change unnoticed`(compression: CommitCompression) throws {
    let bytes = try block(compression == .none ? Array(given[..<3]) : given, compression: compression)
    var reader = DecodedBlock(logSeed: seed)
    for bit in 0..<bytes.count * 8 {
      var changed = bytes
      changed[bit / 8] ^= 1 << (bit % 8)
      do throws(LogError) {
        try reader.decode(changed.rawSpan, key: 7)
        Issue.record("bit \(bit) was changed and the block was read")
      } catch {
        guard case .damaged(position: 7, _) = error else {
          Issue.record("bit \(bit): \(error)")
          continue
        }
      }
      let holdsSomething = reader.contains(7)
      #expect(!holdsSomething, "bit \(bit): a refused block holds nothing")
    }
  }

  @Test func `a block that was cut off or has more behind it is refused`() throws {
    let bytes = try block(given)
    for length in 0..<bytes.count {
      #expect(throws: LogError.self, "length \(length)") { try decoded(Array(bytes[..<length])) }
    }
    #expect(throws: LogError.self) { try decoded(bytes + [0]) }
  }

  @Test func `a block of another place or another log is refused`() throws {
    let bytes = try block(given)
    #expect(throws: LogError.self) { try decoded(bytes, key: 8) }
    #expect(throws: LogError.self) { try decoded(bytes, seed: seed + 1) }
  }

  @Test func `a newer version is named in the refusal`() throws {
    var bytes = try block(given)
    bytes[2] = 2
    let error = #expect(throws: LogError.self) { try decoded(bytes) }
    #expect(error == .damaged(position: 7, "block version 2 is not known to this version of ledgerd"))
  }

  /// The checksum finds accidents; these blocks have a right one and contradict themselves: a fault of a writer, never a trap.
  @Test func `a block with a right checksum and wrong contents is refused or read, never trapped on`() throws {
    var refused = 0
    for random in 1...2_000 as ClosedRange<UInt64> {
      var state = random &* 0x9e37_79b9_7f4a_7c15
      func next(_ bound: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int((state >> 33) % UInt64(bound))
      }
      var changed = ByteWriter()
      changed.raw(try block(random % 2 == 0 ? given : Array(given[..<3]), compression: random % 3 == 0 ? .zstd(level: 1) : .none))
      for _ in 0...next(4) {
        // The header's count, sizes and times, or the payload's table.
        let at = next(2) == 0 ? next(64) : 72 + next(min(60, changed.count - 72))
        changed.bytes[at] = UInt8(truncatingIfNeeded: next(3) == 0 ? 0xff : next(256))
      }
      changed.patch(uint64: BlockFormat.checksum(changed.bytes.rawSpan, seed: seed), at: BlockFormat.checksumOffset)
      do throws(LogError) {
        #expect(try decoded(changed.bytes).count <= 256, "seed \(random)")
      } catch {
        refused += 1
        guard case .damaged = error else {
          Issue.record("seed \(random): \(error)")
          return
        }
      }
    }
    #expect(refused > 500 && refused < 2_000)
  }

  @Test func `slots are 256 positions from 1`() {
    #expect(([1, 256, 257, 512, 513] as [Position]).map { BlockFormat.slot(of: $0) } == [0, 0, 1, 1, 2])
  }
}

@Suite struct BlockBoundsTests {
  /// Cuts events into blocks as the appender does: by asking the builder.
  private func cut(_ events: [Given], first: Position, compression: CommitCompression = .none) throws -> [[UInt8]] {
    var builder = BlockBuilder(logSeed: seed, compression: compression)
    var blocks: [[UInt8]] = []
    for (index, event) in events.enumerated() {
      let position = first + UInt64(index)
      if !builder.accepts(position, byteCount: event.bytes.count, principal: event.envelope.principal) {
        blocks.append(try builder.finish())
      }
      builder.add(event.bytes.rawSpan, position: position, envelope: event.envelope, chainBefore: 0, chainAfter: 0)
    }
    blocks.append(try builder.finish())
    return blocks
  }

  private func expectWithinBounds(_ blocks: [[UInt8]], _ events: [Given], first: Position, _ note: String) throws {
    var next = first
    var found: [Given] = []
    for block in blocks {
      let header = try BlockHeader(block.rawSpan, key: next, seed: seed)
      #expect(header.first == next, "\(note)")
      #expect(BlockFormat.slot(of: header.first) == BlockFormat.slot(of: header.last), "\(note): a block crosses a slot")
      #expect(
        header.count == 1 || header.payloadByteCount <= 128 * 1024, "\(note): \(header.payloadByteCount) bytes in \(header.count) events")
      found += try decoded(block, key: next)
      next = header.last + 1
    }
    expectGiven(found, events)
  }

  @Test(arguments: 1...12 as ClosedRange<UInt64>)
  func `blocks keep to slots and sizes, whatever comes`(random: UInt64) throws {
    var state = random &* 0x9e37_79b9_7f4a_7c15
    func next(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int((state >> 33) % UInt64(bound))
    }
    var recorded: Int64 = -1_000
    let largest = [300, 3_000, 70_000, 200_000][next(4)]
    let events = (0..<min(700, 8_000_000 / largest)).map { index in
      recorded += Int64(next(1 << next(31)))
      return Given(
        bytes: [UInt8](repeating: UInt8(truncatingIfNeeded: index), count: 1 + next(largest)),
        envelope: envelope(
          recorded, received: Int64(truncatingIfNeeded: state), sent: next(2) == 0 ? Int64(truncatingIfNeeded: ~state) : nil,
          revision: state,
          principal: "uid:\(next(3))"))
    }
    let first = Position(1 + next(600))
    let compression: CommitCompression = random % 2 == 0 ? .none : .zstd(level: -1)
    try expectWithinBounds(try cut(events, first: first, compression: compression), events, first: first, "seed \(random)")
  }

  /// Every varint at its longest, and no principal twice.
  @Test(arguments: [100, 512, 4_000])
  func `principals and long entries count towards a block's size`(principalByteCount: Int) throws {
    let events = (0..<256).map { index in
      let digits = String(index)
      return Given(
        bytes: [UInt8](repeating: 0x20, count: 400),
        envelope: envelope(
          Int64(index), received: .min, sent: .max, revision: .max,
          principal: digits + String(repeating: "p", count: principalByteCount - digits.count)))
    }
    try expectWithinBounds(try cut(events, first: 257), events, first: 257, "\(principalByteCount)")
  }

  @Test func `a full slot of small events is one block`() throws {
    let events = (0..<512).map { Given(bytes: [0x7b, 0x7d], envelope: envelope(Int64($0))) }
    #expect(try cut(events, first: 1).count == 2)
    #expect(try cut(events, first: 2).count == 3)
  }

  @Test func `the largest event has a block to itself`() throws {
    let large = Given(bytes: [UInt8](repeating: 0x61, count: 1 << 20), envelope: envelope(5))
    let small = Given(bytes: [0x7b, 0x7d], envelope: envelope(5))
    let events = [small, large, small, large, large]
    for compression in [CommitCompression.none, .zstd(level: 1)] {
      let blocks = try cut(events, first: 1, compression: compression)
      #expect(blocks.count == 5)
      try expectWithinBounds(blocks, events, first: 1, "\(compression)")
    }
  }
}
