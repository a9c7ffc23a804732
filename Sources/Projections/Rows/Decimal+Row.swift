// The stored form of a decimal: a byte of scale, with the top bit set if the mantissa needs more than 64 bits; then the
// mantissa, as a zigzag varint or as sixteen bytes.

import Bytes
import LedgerCore

extension ByteWriter {
  mutating func decimal(_ value: Decimal) {
    if let narrow = Int64(exactly: value.mantissa) {
      uint8(UInt8(value.scale))
      zigzag(narrow)
    } else {
      uint8(UInt8(value.scale) | 0x80)
      let bits = UInt128(bitPattern: value.mantissa)
      uint64(UInt64(truncatingIfNeeded: bits >> 64))
      uint64(UInt64(truncatingIfNeeded: bits))
    }
  }
}

extension ByteReader {
  mutating func decimal() throws(ByteError) -> Decimal {
    let start = offset
    let head = try uint8()
    var mantissa: Int128
    if head & 0x80 == 0 {
      mantissa = Int128(try zigzag())
    } else {
      let high = try uint64()
      let low = try uint64()
      mantissa = Int128(bitPattern: UInt128(high) << 64 | UInt128(low))
    }
    guard let value = Decimal(mantissa: mantissa, scale: Int(head & 0x7f)) else {
      throw .unknownValue(offset: start, UInt64(head))
    }
    return value
  }
}
