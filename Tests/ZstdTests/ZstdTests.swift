// Frames come back as they went in, and damaged ones are typed errors that ask for no memory.

import Bytes
import Testing
import Zstd

private func compressed(_ bytes: [UInt8], level: Int = 1) throws -> [UInt8] {
  var compressor = Compressor()
  var frame: [UInt8] = []
  try compressor.compress(bytes.rawSpan, level: level, into: &frame)
  return frame
}

private func decompressed(_ frame: [UInt8], byteCount: Int) throws(ZstdError) -> [UInt8] {
  var decompressor = Decompressor()
  var output: [UInt8] = []
  try decompressor.decompress(frame.rawSpan, byteCount: byteCount, into: &output)
  return output
}

/// Text-like bytes: words of a small vocabulary in random order.
private func sample(_ count: Int) -> [UInt8] {
  let words = ["order", "placed", "channel", "campaign", "ana", "Zürich"].map { Array($0.utf8) }
  var state: UInt64 = 99
  var bytes: [UInt8] = []
  while bytes.count < count {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    bytes += words[Int((state >> 33) % 6)]
  }
  return Array(bytes.prefix(count))
}

@Suite struct ZstdTests {
  @Test(arguments: [-5, -1, 1, 3, 19], [0, 1, 100, 128 * 1024, 1 << 20])
  func `a frame holds what was put into it`(level: Int, count: Int) throws {
    let bytes = sample(count)
    let frame = try compressed(bytes, level: level)
    #expect(try decompressed(frame, byteCount: count) == bytes)
    if count >= 100 * 1024 { #expect(frame.count < count) }
  }

  @Test func `a frame is appended behind what is there`() throws {
    var compressor = Compressor()
    var output: [UInt8] = [1, 2, 3]
    try compressor.compress(sample(500).rawSpan, level: 1, into: &output)
    #expect(output[..<3] == [1, 2, 3])
    #expect(try decompressed(Array(output[3...]), byteCount: 500) == sample(500))
  }

  @Test func `one context serves for frame after frame, and output of any size before`() throws {
    var compressor = Compressor()
    var decompressor = Decompressor()
    var output: [UInt8] = []
    for count in [5_000, 10, 0, 70_000, 3] {
      var frame: [UInt8] = []
      try compressor.compress(sample(count).rawSpan, level: -1, into: &frame)
      try decompressor.decompress(frame.rawSpan, byteCount: count, into: &output)
      #expect(output == sample(count))
    }
  }

  @Test(arguments: [0, 1, 999, 1_001, 2_000])
  func `a size that is not the content's is an error`(byteCount: Int) throws {
    let frame = try compressed(sample(1_000))
    #expect(throws: ZstdError.self) { try decompressed(frame, byteCount: byteCount) }
  }

  @Test func `a frame cut off anywhere is an error`() throws {
    let frame = try compressed(sample(300))
    for length in 0..<frame.count {
      #expect(throws: ZstdError.self, "length \(length)") { try decompressed(Array(frame[..<length]), byteCount: 300) }
    }
  }

  @Test func `what is no frame is an error that says so`() throws {
    let error = #expect(throws: ZstdError.self) { try decompressed(Array("not a frame".utf8), byteCount: 10) }
    #expect(error?.operation == "ZSTD_decompressDCtx")
    #expect(error.map { !$0.name.isEmpty && $0.description.contains($0.name) } == true)
  }

  @Test func `damage is an error or another content, never a trap`() throws {
    let frame = try compressed(sample(300))
    for bit in 0..<frame.count * 8 {
      var damaged = frame
      damaged[bit / 8] ^= 1 << (bit % 8)
      do throws(ZstdError) {
        #expect(try decompressed(damaged, byteCount: 300).count == 300)
      } catch {
        #expect(!error.name.isEmpty)
      }
    }
  }

  @Test func `the library is of the release that was measured, or a newer one`() {
    #expect(zstdVersionNumber >= 10_504)
  }
}
