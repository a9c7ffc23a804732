// gzip without a compressor: stored blocks for what must be read, one endless match for what must not.

enum Gzip {
  /// RFC 1952 around RFC 1951's stored blocks.
  static func stored(_ bytes: [UInt8]) -> [UInt8] {
    var out = header
    var rest = bytes[...]
    repeat {
      let piece = rest.prefix(65_535)
      rest = rest.dropFirst(piece.count)
      let count = UInt16(piece.count)
      out += [rest.isEmpty ? 1 : 0, UInt8(count & 255), UInt8(count >> 8), UInt8(~count & 255), UInt8(~count >> 8)]
      out += piece
    } while !rest.isEmpty
    return out + littleEndian(checksum(bytes)) + littleEndian(UInt32(truncatingIfNeeded: bytes.count))
  }

  /// A small stream of spaces that never ends: one literal, then matches of 258 bytes at distance 1 (fixed Huffman codes).
  static func bomb(byteCount: Int) -> [UInt8] {
    var out = header
    var accumulator: UInt32 = 0
    var bitCount: UInt32 = 0
    func put(_ bits: UInt32, _ count: UInt32) {
      accumulator |= bits << bitCount
      bitCount += count
      while bitCount >= 8 {
        out.append(UInt8(accumulator & 255))
        accumulator >>= 8
        bitCount -= 8
      }
    }
    // Huffman codes go in from their highest bit on.
    func code(_ bits: UInt32, _ count: UInt32) {
      for shift in (0..<count).reversed() { put(bits >> shift & 1, 1) }
    }
    put(1, 1)  // the last block
    put(1, 2)  // fixed codes
    code(0x30 + 0x20, 8)  // a space
    for _ in 0..<(byteCount / 258 + 1) {
      code(0b1100_0101, 8)  // length 258
      code(0, 5)  // distance 1
    }
    code(0, 7)  // the end of the block
    if bitCount > 0 { put(0, 8 - bitCount) }
    return out + [0, 0, 0, 0, 0, 0, 0, 0]
  }

  private static let header: [UInt8] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]

  private static func littleEndian(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(value >> ($0 * 8) & 255) } }

  /// CRC-32 as RFC 1952 §8 gives it.
  private static func checksum(_ bytes: [UInt8]) -> UInt32 {
    var value: UInt32 = .max
    for byte in bytes {
      value ^= UInt32(byte)
      for _ in 0..<8 { value = value & 1 == 1 ? 0xEDB8_8320 ^ (value >> 1) : value >> 1 }
    }
    return ~value
  }
}
