// Three hashes, each for one thing:
// - XXH3 (libxxhash) finds damage: block checksums and the digest of a projection. Not keyed, not secret.
// - SipHash-2-4 (Aumasson and Bernstein, 2012) is a keyed pseudo-random function: without the key, a stored hash tells
//   nothing about the id behind it. Its 128-bit form names ids and streams in the index.

import CXXHash

/// A 128-bit hash, which sorts and stores big-endian.
public struct Hash128: Hashable, Comparable, Sendable {
  /// The upper eight bytes.
  public var high: UInt64
  /// The lower eight bytes.
  public var low: UInt64

  /// Joins two halves.
  @inlinable
  public init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  /// A hash is as good as random already: hashing it again for each look-up stood at the top of the appender's profile. Who could
  /// choose hashes to collide would need the key.
  @inlinable
  public func _rawHashValue(seed: Int) -> Int { Int(truncatingIfNeeded: low) ^ seed }

  /// Byte order.
  @inlinable
  public static func < (left: Hash128, right: Hash128) -> Bool {
    left.high != right.high ? left.high < right.high : left.low < right.low
  }

  /// Adds as 128-bit numbers, wrapping: the sum of hashes of a multiset does not depend on order.
  @inlinable
  public static func &+= (left: inout Hash128, right: Hash128) {
    let (low, carry) = left.low.addingReportingOverflow(right.low)
    left.low = low
    left.high = left.high &+ right.high &+ (carry ? 1 : 0)
  }

  /// Takes a hash out of a sum.
  @inlinable
  public static func &-= (left: inout Hash128, right: Hash128) {
    let (low, borrow) = left.low.subtractingReportingOverflow(right.low)
    left.low = low
    left.high = left.high &- right.high &- (borrow ? 1 : 0)
  }

  /// 32 lower-case hexadecimal digits.
  public var hex: String { hexadecimal(high) + hexadecimal(low) }
}

/// Sixteen lower-case hexadecimal digits.
public func hexadecimal(_ value: UInt64) -> String {
  let digits = String(value, radix: 16)
  return String(repeating: "0", count: 16 - digits.count) + digits
}

/// XXH3 of libxxhash. Stable by its specification since 0.8.0, so it may be stored.
public enum XXH3 {
  /// 64 bits (`XXH3_64bits_withSeed`).
  @inline(__always)
  public static func hash64(_ span: RawSpan, seed: UInt64 = 0) -> UInt64 {
    unsafe span.withUnsafeBytes { unsafe XXH3_64bits_withSeed($0.baseAddress, $0.count, seed) }
  }

  /// 128 bits (`XXH3_128bits_withSeed`).
  @inline(__always)
  public static func hash128(_ span: RawSpan, seed: UInt64 = 0) -> Hash128 {
    let hash = unsafe span.withUnsafeBytes { unsafe XXH3_128bits_withSeed($0.baseAddress, $0.count, seed) }
    return Hash128(high: hash.high64, low: hash.low64)
  }
}

/// SipHash-2-4 with a 128-bit key.
public struct SipHash: Sendable {
  let key0: UInt64
  let key1: UInt64

  /// Takes the key's two halves, each as the little-endian reading of eight key bytes.
  public init(key0: UInt64, key1: UInt64) {
    self.key0 = key0
    self.key1 = key1
  }

  /// Takes sixteen key bytes.
  public init(key: [UInt8]) {
    precondition(key.count == 16, "a SipHash key has 16 bytes")
    func word(_ at: Int) -> UInt64 {
      (0..<8).reduce(0) { $0 | UInt64(key[at + $1]) << UInt64(8 * $1) }
    }
    self.init(key0: word(0), key1: word(8))
  }

  /// The 128-bit output. The halves hold the reference implementation's 16 output bytes, read big-endian.
  public func hash128(_ span: RawSpan) -> Hash128 {
    var state = State(key0: key0, key1: key1, wide: true)
    state.absorb(span)
    let (first, second) = state.finish128()
    return Hash128(high: first.byteSwapped, low: second.byteSwapped)
  }

  /// The 64-bit output, as the reference implementation's eight output bytes read little-endian.
  public func hash64(_ span: RawSpan) -> UInt64 {
    var state = State(key0: key0, key1: key1, wide: false)
    state.absorb(span)
    return state.finish64()
  }

  /// The 64-bit output over whole words, each fed as eight little-endian bytes.
  public func hash64(_ first: UInt64, _ second: UInt64, _ third: UInt64, _ fourth: UInt64) -> UInt64 {
    var state = State(key0: key0, key1: key1, wide: false)
    state.word(first)
    state.word(second)
    state.word(third)
    state.word(fourth)
    state.word(UInt64(32) << 56)
    return state.finish64()
  }

  private struct State {
    var v0: UInt64
    var v1: UInt64
    var v2: UInt64
    var v3: UInt64
    let wide: Bool

    init(key0: UInt64, key1: UInt64, wide: Bool) {
      v0 = 0x736f_6d65_7073_6575 ^ key0
      v1 = 0x646f_7261_6e64_6f6d ^ key1
      v2 = 0x6c79_6765_6e65_7261 ^ key0
      v3 = 0x7465_6462_7974_6573 ^ key1
      self.wide = wide
      if wide { v1 ^= 0xee }
    }

    @inline(__always)
    mutating func round() {
      v0 = v0 &+ v1
      v1 = (v1 << 13 | v1 >> 51) ^ v0
      v0 = v0 << 32 | v0 >> 32
      v2 = v2 &+ v3
      v3 = (v3 << 16 | v3 >> 48) ^ v2
      v0 = v0 &+ v3
      v3 = (v3 << 21 | v3 >> 43) ^ v0
      v2 = v2 &+ v1
      v1 = (v1 << 17 | v1 >> 47) ^ v2
      v2 = v2 << 32 | v2 >> 32
    }

    @inline(__always)
    mutating func word(_ word: UInt64) {
      v3 ^= word
      round()
      round()
      v0 ^= word
    }

    mutating func absorb(_ span: RawSpan) {
      let byteCount = span.byteCount
      unsafe span.withUnsafeBytes { bytes in
        var offset = 0
        while offset + 8 <= byteCount {
          word(UInt64(littleEndian: unsafe bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)))
          offset += 8
        }
        var last = UInt64(truncatingIfNeeded: byteCount) << 56
        var shift: UInt64 = 0
        while offset < byteCount {
          last |= unsafe UInt64(bytes[offset]) << shift
          shift += 8
          offset += 1
        }
        word(last)
      }
    }

    mutating func finish64() -> UInt64 {
      v2 ^= 0xff
      for _ in 0..<4 { round() }
      return v0 ^ v1 ^ v2 ^ v3
    }

    mutating func finish128() -> (UInt64, UInt64) {
      v2 ^= 0xee
      for _ in 0..<4 { round() }
      let first = v0 ^ v1 ^ v2 ^ v3
      v1 ^= 0xdd
      for _ in 0..<4 { round() }
      return (first, v0 ^ v1 ^ v2 ^ v3)
    }
  }
}
