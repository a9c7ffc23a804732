import Bytes
import Testing

@Suite struct KeyFilterTests {
  /// The hash of a number, as tables have them.
  private func hash(_ number: UInt64) -> UInt64 {
    var bytes: [UInt8] = []
    for shift in stride(from: UInt64(0), to: 64, by: 8) { bytes.append(UInt8(truncatingIfNeeded: number >> shift)) }
    return XXH3.hash64(bytes.rawSpan)
  }

  @Test(arguments: [0, 1, 1_000, 21_845, 21_846, 400_000])
  func `no key is forgotten, and few others are taken for one`(_ count: UInt64) {
    var filter = KeyFilter()
    var fits = true
    for number in 0..<count { fits = filter.insert(hash(number)) && fits }
    #expect(fits)
    #expect((0..<count).allSatisfy { filter.mayContain(hash($0)) })
    let strangers = (count..<count + 100_000).count { filter.mayContain(hash($0)) }
    print("\(count) keys: \(strangers) of 100000 strangers taken for one")
    #expect(strangers < 10_000)
  }
}
