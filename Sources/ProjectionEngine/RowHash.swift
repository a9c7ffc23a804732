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
