// Replays the kept corpus: what libFuzzer has found to take different ways through the code, and what once broke it.

import Bytes
@testable import EventLog
import Foundation
import LedgerCore
import Testing

@Suite struct FuzzTests {
  private static let corpus = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Corpus")

  private func inputs(_ target: FuzzTarget) throws -> [[UInt8]] {
    let folder = Self.corpus.appendingPathComponent(target.rawValue)
    return try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
      .sorted { $0.path < $1.path }.map { [UInt8](try Data(contentsOf: $0)) }
  }

  /// A trap ends the test process, which is how a finding shows here, too.
  @Test(arguments: FuzzTarget.allCases)
  func `whatever is in the corpus is taken or refused`(target: FuzzTarget) throws {
    let inputs = try inputs(target)
    #expect(inputs.count >= 5, "\(target) has a corpus")
    for bytes in inputs { target.run(bytes) }
  }

  /// Each input, shortened and with one byte changed: what a fuzzer begins with.
  @Test(arguments: FuzzTarget.allCases)
  func `whatever is near the corpus is taken or refused`(target: FuzzTarget) throws {
    var state: UInt64 = 1
    for bytes in try inputs(target) where !bytes.isEmpty {
      for _ in 0..<20 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        var changed = bytes
        changed[Int(state >> 33) % bytes.count] ^= UInt8(truncatingIfNeeded: state >> 24) | 1
        target.run(changed)
        target.run(Array(bytes.prefix(Int(state >> 40) % bytes.count)))
      }
    }
  }

  @Test func `a sound block is taken, and whatever is near it is taken or refused`() throws {
    for compression in [CommitCompression.none, .zstd(level: -1)] {
      let block = try sound(compression)
      var decoded = DecodedBlock(logSeed: 7)
      try decoded.decode(block.rawSpan, key: 1)
      #expect(decoded.entries.count == 20)
      for offset in block.indices {
        var changed = block
        changed[offset] ^= 1 << UInt8(offset % 8)
        FuzzTarget.block.run(changed)
      }
    }
  }

  private func sound(_ compression: CommitCompression) throws -> [UInt8] {
    var builder = BlockBuilder(logSeed: 7, compression: compression)
    for index in 0..<20 {
      let text = String(repeating: "a", count: 100)
      let event = Array(#"{"specversion":"1.0","id":"\#(index)","source":"urn:fuzz","type":"page.viewed","data":{"text":"\#(text)"}}"#.utf8)
      builder.add(
        event.rawSpan, position: UInt64(index) + 1,
        envelope: Envelope(
          recorded: Timestamp(microseconds: 1_000), received: Timestamp(microseconds: 900), revision: UInt64(index), door: .http,
          principal: "fuzz"), chainBefore: 1, chainAfter: 2)
    }
    return try builder.finish()
  }
}
