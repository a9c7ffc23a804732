// Finding rows by key: where a row stands in the cache, and whether it can be in the file at all.
//
// Invariants:
// - Neither shows in what is stored: a row is found or not, whatever the hash.
// - Hashes of bytes that senders choose are seeded per process, so that nobody can choose them to collide.

import Bytes

/// Row hashes: 64 well-mixed bits.
public enum RowHash {
  @usableFromInline static let seed = UInt64.random(in: 0 ... .max)

  /// Mixes one number: the upper half of the product depends on all bits.
  @inlinable
  public static func of(_ number: UInt64) -> UInt64 {
    let (high, low) = (number ^ 0x9e37_79b9_7f4a_7c15).multipliedFullWidth(by: 0xd6e8_feb8_6659_fd93)
    return high ^ low
  }

  /// Adds a number to a hash.
  @inlinable
  public static func combine(_ hash: UInt64, _ number: UInt64) -> UInt64 { of(hash &* 31 ^ number) }

  /// Hashes bytes with the process's seed.
  public static func of(_ bytes: [UInt8]) -> UInt64 { of(bytes.rawSpan) }

  /// Hashes bytes with the process's seed.
  public static func of(_ bytes: RawSpan) -> UInt64 { XXH3.hash64(bytes, seed: seed) }
}

/// A Bloom filter over all keys that a table ever stored. Only a worker that began with an empty generation has one: it
/// knows all that is in the file, and need not look for what cannot be there.
@usableFromInline
struct StoredKeys {
  /// 64 MiB of bits: beyond it looking is no slower than asking.
  static let wordCountMax = 8 << 20

  private struct Layer {
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

  @usableFromInline
  init() {}

  /// False: the key was never stored.
  @usableFromInline
  func mayContain(_ hash: UInt64) -> Bool {
    let bits = StoredKeys.bits(hash)
    for layer in layers where layer.words[layer.place(hash)] & bits == bits { return true }
    return false
  }

  /// Notes a key. False: there are too many, and the filter is of no more use.
  @usableFromInline
  mutating func insert(_ hash: UInt64) -> Bool {
    if layers[layers.count - 1].room == 0 {
      let wordCount = 4 * layers[layers.count - 1].words.count
      guard wordCount <= StoredKeys.wordCountMax else { return false }
      layers.append(Layer(wordCount: wordCount))
    }
    let last = layers.count - 1
    layers[last].words[layers[last].place(hash)] |= StoredKeys.bits(hash)
    layers[last].room -= 1
    return true
  }
}
