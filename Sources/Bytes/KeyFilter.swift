// Which keys a file can have, so that nobody looks there for what cannot be.
//
// Invariants:
// - It forgets no key: what was inserted may be there, for ever. What was not may be there as well: a test holds that to one in ten.
// - It grows by layers, each four times the last, and ends at ``KeyFilter/wordCountMax``: 43 MiB for some thirty million keys.

/// A Bloom filter over the hashes of keys.
public struct KeyFilter: Sendable {
  /// 64 MiB of bits: beyond it looking is no slower than asking.
  static let wordCountMax = 8 << 20

  private struct Layer: Sendable {
    var words: [UInt64]
    var room: Int

    init(wordCount: Int) {
      words = Array(repeating: 0, count: wordCount)
      // About twelve bits a key.
      room = wordCount * 64 / 12
    }

    func place(_ hash: UInt64) -> Int { Int(truncatingIfNeeded: hash >> 32) & (words.count - 1) }
  }

  /// Five bits of one word: one cache miss a key.
  private static func bits(_ hash: UInt64) -> UInt64 {
    1 << (hash & 63) | 1 << (hash >> 6 & 63) | 1 << (hash >> 12 & 63) | 1 << (hash >> 18 & 63) | 1 << (hash >> 24 & 63)
  }

  private var layers = [Layer(wordCount: 4_096)]

  /// No keys.
  public init() {}

  /// False: the key was never stored.
  public func mayContain(_ hash: UInt64) -> Bool {
    let bits = KeyFilter.bits(hash)
    for layer in layers where layer.words[layer.place(hash)] & bits == bits { return true }
    return false
  }

  /// Notes a key. False: there are too many, and the filter is of no more use.
  public mutating func insert(_ hash: UInt64) -> Bool {
    if layers[layers.count - 1].room == 0 {
      let wordCount = 4 * layers[layers.count - 1].words.count
      guard wordCount <= KeyFilter.wordCountMax else { return false }
      layers.append(Layer(wordCount: wordCount))
    }
    let last = layers.count - 1
    layers[last].words[layers[last].place(hash)] |= KeyFilter.bits(hash)
    layers[last].room -= 1
    return true
  }
}
