// Writes rows, keys and block headers. The layouts themselves live with their types; this is only the alphabet.

/// Appends fixed- and variable-width values to a byte array. Fixed-width integers are big-endian.
public struct ByteWriter: Sendable {
  /// What has been written.
  public var bytes: [UInt8]

  /// Starts empty, with room for `capacity` bytes.
  @inlinable
  public init(capacity: Int = 0) {
    bytes = []
    bytes.reserveCapacity(capacity)
  }

  /// How many bytes have been written.
  @inlinable public var count: Int { bytes.count }

  /// Forgets what was written and keeps the memory.
  @inlinable
  public mutating func removeAll() { bytes.removeAll(keepingCapacity: true) }

  /// One byte.
  @inlinable
  public mutating func uint8(_ value: UInt8) { bytes.append(value) }
  /// Two bytes, big-endian.
  @inlinable
  public mutating func uint16(_ value: UInt16) { fixed(value.bigEndian) }
  /// Four bytes, big-endian.
  @inlinable
  public mutating func uint32(_ value: UInt32) { fixed(value.bigEndian) }
  /// Eight bytes, big-endian.
  @inlinable
  public mutating func uint64(_ value: UInt64) { fixed(value.bigEndian) }
  /// Eight bytes, big-endian, two's complement.
  @inlinable
  public mutating func int64(_ value: Int64) { uint64(UInt64(bitPattern: value)) }
  /// Eight bytes, big-endian, with the sign bit flipped, so that byte order is number order.
  @inlinable
  public mutating func sortableInt64(_ value: Int64) { uint64(UInt64(bitPattern: value) ^ (1 << 63)) }

  @inlinable
  mutating func fixed<T: FixedWidthInteger>(_ value: T) {
    unsafe withUnsafeBytes(of: value) { unsafe bytes.append(contentsOf: $0) }
  }

  /// An unsigned LEB128 integer.
  @inlinable
  public mutating func varint(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(truncatingIfNeeded: rest))
  }
  /// A signed integer in zigzag form.
  @inlinable
  public mutating func zigzag(_ value: Int64) { varint(UInt64(bitPattern: (value << 1) ^ (value >> 63))) }
  /// A count or a length, not negative.
  @inlinable
  public mutating func count(_ value: Int) {
    precondition(value >= 0)
    varint(UInt64(value))
  }

  /// Bytes as they are.
  @inlinable
  public mutating func raw(_ value: [UInt8]) { bytes.append(contentsOf: value) }
  /// Bytes as they are.
  @inlinable
  public mutating func raw(_ value: RawSpan) { bytes.append(value) }
  /// Bytes behind their length as a varint.
  @inlinable
  public mutating func lengthPrefixed(_ value: [UInt8]) {
    count(value.count)
    bytes.append(contentsOf: value)
  }
  /// Bytes behind their length as a varint.
  @inlinable
  public mutating func lengthPrefixed(_ value: RawSpan) {
    count(value.byteCount)
    bytes.append(value)
  }
  /// A string's UTF-8 behind its length as a varint.
  @inlinable
  public mutating func string(_ value: String) {
    var value = value
    value.withUTF8 { utf8 in
      count(utf8.count)
      unsafe bytes.append(contentsOf: utf8)
    }
  }

  /// Overwrites eight bytes at `offset`, big-endian: for sums that stand in front of what they cover.
  public mutating func patch(uint64 value: UInt64, at offset: Int) {
    precondition(offset >= 0 && offset + 8 <= bytes.count)
    for index in 0..<8 { bytes[offset + index] = UInt8(truncatingIfNeeded: value >> UInt64(56 - 8 * index)) }
  }
}
