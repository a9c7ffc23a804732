// Reads what `ByteWriter` wrote, from memory that somebody else owns: a page of LMDB, a decompressed block.
//
// Invariants:
// - Every read is bounds-checked; stored bytes are input from the world (a disk), so a short or malformed value is a
//   typed error and never a trap.
// - Fixed-width integers are big-endian, so that keys sort and files travel.

/// What a `ByteReader` finds wrong with stored bytes.
public enum ByteError: Error, Equatable, Sendable {
  /// The bytes end before the value does.
  case truncated(offset: Int, needed: Int, available: Int)
  /// A variable-length integer is longer than ten bytes or does not fit its type.
  case malformedVarint(offset: Int)
  /// A value is there but is not one that this version knows.
  case unknownValue(offset: Int, UInt64)
}

/// A cursor over borrowed bytes.
public struct ByteReader: ~Escapable {
  /// The bytes that are read.
  public let span: RawSpan
  /// Where the next read begins, from 0.
  public private(set) var offset: Int

  /// Starts at `offset` of `span`.
  @_lifetime(copy span)
  @inlinable
  public init(_ span: RawSpan, at offset: Int = 0) {
    self.init(span: span, offset: offset)
  }

  @_lifetime(copy span)
  @usableFromInline
  init(span: RawSpan, offset: Int) {
    self.span = span
    self.offset = offset
  }

  /// How many bytes are left.
  public var remaining: Int { span.byteCount - offset }
  /// True when every byte has been read.
  public var isAtEnd: Bool { offset >= span.byteCount }

  private mutating func take(_ byteCount: Int) throws(ByteError) -> Int {
    guard byteCount >= 0, byteCount <= span.byteCount - offset else {
      throw .truncated(offset: offset, needed: byteCount, available: span.byteCount - offset)
    }
    defer { offset += byteCount }
    return offset
  }

  /// One byte.
  public mutating func uint8() throws(ByteError) -> UInt8 {
    let at = try take(1)
    return unsafe span.unsafeLoad(fromByteOffset: at, as: UInt8.self)
  }
  /// Two bytes, big-endian.
  public mutating func uint16() throws(ByteError) -> UInt16 {
    let at = try take(2)
    return UInt16(bigEndian: unsafe span.unsafeLoadUnaligned(fromByteOffset: at, as: UInt16.self))
  }
  /// Four bytes, big-endian.
  public mutating func uint32() throws(ByteError) -> UInt32 {
    let at = try take(4)
    return UInt32(bigEndian: unsafe span.unsafeLoadUnaligned(fromByteOffset: at, as: UInt32.self))
  }
  /// Eight bytes, big-endian.
  public mutating func uint64() throws(ByteError) -> UInt64 {
    let at = try take(8)
    return UInt64(bigEndian: unsafe span.unsafeLoadUnaligned(fromByteOffset: at, as: UInt64.self))
  }
  /// Eight bytes, big-endian, two's complement.
  public mutating func int64() throws(ByteError) -> Int64 { Int64(bitPattern: try uint64()) }
  /// Eight bytes, big-endian, with the sign bit flipped, so that byte order is number order.
  public mutating func sortableInt64() throws(ByteError) -> Int64 { Int64(bitPattern: try uint64() ^ (1 << 63)) }

  /// An unsigned LEB128 integer of at most ten bytes.
  public mutating func varint() throws(ByteError) -> UInt64 {
    let start = offset
    var result: UInt64 = 0
    var shift: UInt64 = 0
    while true {
      let at = try take(1)
      let byte = unsafe span.unsafeLoad(fromByteOffset: at, as: UInt8.self)
      if shift == 63, byte > 1 { throw .malformedVarint(offset: start) }
      result |= UInt64(byte & 0x7f) << shift
      if byte < 0x80 { return result }
      shift += 7
      if shift > 63 { throw .malformedVarint(offset: start) }
    }
  }
  /// A signed integer in zigzag form.
  public mutating func zigzag() throws(ByteError) -> Int64 {
    let raw = try varint()
    return Int64(bitPattern: raw >> 1) ^ -Int64(bitPattern: raw & 1)
  }
  /// A varint that must fit an `Int` and be at most `max`: a count or a length.
  public mutating func count(max: Int = Int(Int32.max)) throws(ByteError) -> Int {
    let start = offset
    let value = try varint()
    guard value <= UInt64(max) else { throw .malformedVarint(offset: start) }
    return Int(value)
  }

  /// The next `byteCount` bytes, without copying.
  @_lifetime(copy self)
  public mutating func bytes(_ byteCount: Int) throws(ByteError) -> RawSpan {
    let at = try take(byteCount)
    return span.extracting(at..<at + byteCount)
  }
  /// Bytes behind their length as a varint, without copying.
  @_lifetime(copy self)
  public mutating func lengthPrefixed() throws(ByteError) -> RawSpan {
    let byteCount = try count()
    return try bytes(byteCount)
  }
  /// Bytes behind their length as a varint, copied.
  public mutating func lengthPrefixedArray() throws(ByteError) -> [UInt8] {
    let span = try lengthPrefixed()
    return [UInt8](span)
  }
  /// UTF-8 behind its length as a varint; malformed UTF-8 is repaired, as `String(decoding:)` does.
  public mutating func string() throws(ByteError) -> String {
    let span = try lengthPrefixed()
    return String(utf8: span)
  }
}
