// The three hashes against vectors from outside: what they answer is stored, so it may never change.

import Bytes
import Testing

private func counting(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0) } }

@Suite struct HashingTests {
  private let sip = SipHash(key: counting(16))

  /// The reference implementation's vectors (github.com/veorq/SipHash, vectors.h).
  @Test func `SipHash-2-4 answers what its authors publish`() {
    #expect(sip.hash64(counting(15).rawSpan) == 0xa129_ca61_49be_45e5)
    #expect(sip.hash64([UInt8]().rawSpan) == 0x726f_db47_dd0e_0e31)
    #expect(sip.hash64(counting(1).rawSpan) == 0x74f8_39c5_93dc_67fd)
    #expect(sip.hash64(counting(8).rawSpan) == 0x93f5_f579_9a93_2462)
    #expect(sip.hash128([UInt8]().rawSpan).hex == "a3817f04ba25a8e66df67214c7550293")
    #expect(sip.hash128(counting(15).rawSpan).hex == "5493e99933b0a8117e08ec0f97cfc3d9")
  }

  @Test func `a key in two halves is the key in sixteen bytes`() {
    let halves = SipHash(key0: 0x0706_0504_0302_0100, key1: 0x0f0e_0d0c_0b0a_0908)
    #expect(halves.hash128(counting(100).rawSpan) == sip.hash128(counting(100).rawSpan))
    let other = SipHash(key: [1] + counting(16).dropFirst())
    #expect(other.hash128(counting(100).rawSpan) != sip.hash128(counting(100).rawSpan))
  }

  @Test func `hashing four words is hashing their 32 little-endian bytes`() {
    var generator = SeededGenerator(state: 5)
    for _ in 0..<50 {
      let words = (0..<4).map { _ in generator.next() }
      let bytes = words.flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(8 * $0)) } }
      #expect(sip.hash64(words[0], words[1], words[2], words[3]) == sip.hash64(bytes.rawSpan))
    }
  }

  @Test func `every length and every bit counts`() {
    var seen: Set<Hash128> = []
    for length in 0...64 { seen.insert(sip.hash128([UInt8](repeating: 0, count: length).rawSpan)) }
    #expect(seen.count == 65)
    for bit in 0..<160 {
      var bytes = [UInt8](repeating: 0, count: 20)
      bytes[bit / 8] ^= 1 << (bit % 8)
      seen.insert(sip.hash128(bytes.rawSpan))
    }
    #expect(seen.count == 65 + 160)
  }

  /// Made with libxxhash 0.8.1 by a C program: bytes 0, 1, 2, …, seed 7.
  static let xxh3: [(count: Int, hash64: UInt64, high: UInt64, low: UInt64)] = [
    (0, 0x913a_e087_3e9b_7eb8, 0x76a3_0bdf_56cd_fa2c, 0xcb4a_a04f_e72c_771f),
    (1, 0x2c45_aa60_ff5d_c0e5, 0x5f2a_b574_a275_3d0c, 0x2c45_aa60_ff5d_c0e5),
    (3, 0x3868_dcb4_98f6_507c, 0xf12a_97a0_c3e9_bd79, 0x3868_dcb4_98f6_507c),
    (8, 0xdb86_d781_f5b8_bd4a, 0xef41_0570_eefa_548c, 0x20ae_4863_fcd1_e45e),
    (16, 0xee0b_9003_ece2_cff1, 0xdcc5_9ef2_9d2a_d371, 0xd5a8_d200_0d3c_bb72),
    (17, 0xce3f_6da0_a1ce_63a2, 0x7ce2_1ef7_f004_0c9e, 0x6b5b_994d_48a6_0d09),
    (128, 0x0de8_157d_d773_7803, 0x24fe_1df6_cf35_2024, 0x7b36_4d6f_5de5_8b1f),
    (129, 0x7445_cdd6_c2d3_7b03, 0x4e74_6e45_a5fe_c98e, 0x152f_7839_d788_da0e),
    (240, 0x7c24_1a22_d405_c084, 0x981a_c794_2d47_65a0, 0xb9eb_3fec_e6a0_c9d7),
    (241, 0xd8f2_ad25_6b03_a316, 0xef3e_ef39_f676_1963, 0xd8f2_ad25_6b03_a316),
    (256, 0xbdc8_5720_69c5_da9d, 0x3d47_3d0f_128c_aa3f, 0xbdc8_5720_69c5_da9d),
  ]

  @Test(arguments: xxh3)
  func `XXH3 is the one that was stored`(row: (count: Int, hash64: UInt64, high: UInt64, low: UInt64)) {
    let bytes = counting(row.count)
    #expect(XXH3.hash64(bytes.rawSpan, seed: 7) == row.hash64)
    #expect(XXH3.hash128(bytes.rawSpan, seed: 7) == Hash128(high: row.high, low: row.low))
  }

  /// xxHash's own test values for the empty input.
  @Test func `XXH3 of nothing, without a seed`() {
    #expect(XXH3.hash64([UInt8]().rawSpan) == 0x2d06_8005_38d3_94c2)
    #expect(XXH3.hash128([UInt8]().rawSpan).hex == "99aa06d3014798d86001c324468d497f")
  }
}

@Suite struct Hash128Tests {
  @Test func `adding carries into the upper half and wraps`() {
    var sum = Hash128(high: 1, low: .max)
    sum &+= Hash128(high: 0, low: 1)
    #expect(sum == Hash128(high: 2, low: 0))
    sum = Hash128(high: .max, low: .max)
    sum &+= Hash128(high: 0, low: 2)
    #expect(sum == Hash128(high: 0, low: 1))
    sum &-= Hash128(high: 0, low: 2)
    #expect(sum == Hash128(high: .max, low: .max))
  }

  @Test func `a sum forgets order, and what is taken out is gone`() {
    var generator = SeededGenerator(state: 3)
    let hashes = (0..<100).map { _ in Hash128(high: generator.next(), low: generator.next()) }
    var forward = Hash128(high: 0, low: 0)
    for hash in hashes { forward &+= hash }
    var shuffled = Hash128(high: 0, low: 0)
    for hash in hashes.shuffled(using: &generator) { shuffled &+= hash }
    #expect(forward == shuffled)
    for hash in hashes[1...] { forward &-= hash }
    #expect(forward == hashes[0])
  }

  @Test func `hashes sort as their hexadecimal digits do`() {
    var generator = SeededGenerator(state: 4)
    let hashes = (0..<200).map { _ in Hash128(high: generator.next() >> 62, low: generator.next()) }
    #expect(hashes.sorted().map(\.hex) == hashes.map(\.hex).sorted())
    #expect(Hash128(high: 0, low: 0xa).hex == "0000000000000000000000000000000a")
    #expect(hexadecimal(0xf0) == "00000000000000f0")
  }
}

@Suite struct ByteStringTests {
  private let composed = "caf\u{e9}"
  private let decomposed = "cafe\u{301}"

  @Test func `two forms of é are one String but two ByteStrings`() {
    #expect(composed == decomposed)
    #expect(ByteString(composed) != ByteString(decomposed))
    #expect(Set([ByteString(composed), ByteString(decomposed)]).count == 2)
    #expect(ByteString(composed).string == composed)
    #expect(ByteString(Array(composed.utf8)) == ByteString(composed))
    #expect(ByteString(Array(composed.utf8).rawSpan) == ByteString(composed))
  }

  @Test func `ByteStrings sort by code point where Strings sort canonically`() {
    // "cafe\u{301}" sorts as "café" for String, so behind "cafz"; as bytes, e comes before z.
    #expect(ByteString(decomposed) < ByteString("cafz"))
    #expect(ByteString("cafz") < ByteString(composed))
    #expect(!(decomposed < composed) && !(composed < decomposed))
    #expect(ByteString("a") < ByteString("ab") && !(ByteString("ab") < ByteString("a")))
    #expect(ByteString("\u{ffff}") < ByteString("\u{10000}"))
  }

  @Test func `spans compare as bytes`() {
    let bytes: [UInt8] = [1, 2, 3]
    let text = Array("ledger".utf8)
    let others: [[UInt8]] = [[1, 2, 3], [1, 2], [1, 2, 4], []]
    let verdicts = others.map { bytes.rawSpan.isEqual(to: $0.rawSpan) }
    #expect(verdicts == [true, false, false, false])
    let literals = [text.rawSpan.isEqual(to: "ledger"), text.rawSpan.isEqual(to: "ledges"), text.rawSpan.isEqual(to: "ledge")]
    #expect(literals == [true, false, false])
    let third = ContiguousArray(bytes).rawSpan.byte(at: 2)
    #expect(third == 3)
    #expect([UInt8](bytes.rawSpan.slice(1..<3)) == [2, 3])
  }
}
