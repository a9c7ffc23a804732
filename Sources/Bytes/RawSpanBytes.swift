// What Swift 6.3's RawSpan lacks for bytes: safe loads, comparison, copies.

public import Glibc

extension Array where Element == UInt8 {
  /// The array's bytes, borrowed. (`Span<UInt8>.bytes` itself is marked unsafe; for bytes it is not.)
  @inlinable
  public var rawSpan: RawSpan {
    @_lifetime(borrow self)
    get { unsafe span.bytes }
  }

  /// Copies the bytes of a span.
  @inlinable
  public init(_ span: RawSpan) {
    self = unsafe span.withUnsafeBytes { unsafe [UInt8]($0) }
  }

  /// Appends the bytes of a span.
  @inlinable
  public mutating func append(_ span: RawSpan) {
    unsafe span.withUnsafeBytes { unsafe self.append(contentsOf: $0) }
  }
}

extension ContiguousArray where Element == UInt8 {
  /// The array's bytes, borrowed.
  @inlinable
  public var rawSpan: RawSpan {
    @_lifetime(borrow self)
    get { unsafe span.bytes }
  }
}

extension String {
  /// Decodes UTF-8; malformed parts become U+FFFD.
  @inlinable
  public init(utf8 span: RawSpan) {
    self = unsafe span.withUnsafeBytes { unsafe String(decoding: $0, as: UTF8.self) }
  }
}

extension RawSpan {
  /// One byte. Traps outside of the span.
  @inlinable
  public func byte(at offset: Int) -> UInt8 {
    precondition(offset >= 0 && offset < byteCount)
    return unsafe unsafeLoad(fromByteOffset: offset, as: UInt8.self)
  }

  /// Two bytes, big-endian. Traps outside of the span.
  @inlinable
  public func uint16(at offset: Int) -> UInt16 {
    precondition(offset >= 0 && offset + 2 <= byteCount)
    return UInt16(bigEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt16.self))
  }

  /// Four bytes, big-endian. Traps outside of the span.
  @inlinable
  public func uint32(at offset: Int) -> UInt32 {
    precondition(offset >= 0 && offset + 4 <= byteCount)
    return UInt32(bigEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt32.self))
  }

  /// Eight bytes, big-endian. Traps outside of the span.
  @inlinable
  public func uint64(at offset: Int) -> UInt64 {
    precondition(offset >= 0 && offset + 8 <= byteCount)
    return UInt64(bigEndian: unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self))
  }

  /// A part of the span, without copying. Traps outside of the span.
  @_lifetime(copy self)
  @inlinable
  public func slice(_ range: Range<Int>) -> RawSpan { extracting(range) }

  /// True if both hold the same bytes.
  @inlinable
  public func isEqual(to other: RawSpan) -> Bool {
    guard byteCount == other.byteCount else { return false }
    return unsafe withUnsafeBytes { left in
      unsafe other.withUnsafeBytes { right in
        guard let left = left.baseAddress, let right = right.baseAddress else { return true }
        return unsafe memcmp(left, right, byteCount) == 0
      }
    }
  }

  /// True if these bytes sort before the others (`memcmp`; a prefix sorts first).
  @inlinable
  public func precedes(_ other: RawSpan) -> Bool {
    let common = Swift.min(byteCount, other.byteCount)
    let order = unsafe withUnsafeBytes { left in
      unsafe other.withUnsafeBytes { right -> Int in
        guard let left = left.baseAddress, let right = right.baseAddress else { return 0 }
        return Int(unsafe memcmp(left, right, common))
      }
    }
    return order != 0 ? order < 0 : byteCount < other.byteCount
  }

  /// Where the first byte below a space is; nil if there is none. Eight bytes at a step.
  public func firstControlByte() -> Int? {
    let ones: UInt64 = 0x0101_0101_0101_0101
    let highs: UInt64 = 0x8080_8080_8080_8080
    var offset = 0
    while offset + 8 <= byteCount {
      let word = unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self)
      // "Bit Twiddling Hacks", determine if a word has a byte less than n, for n up to 128.
      if (word &- ones &* 0x20) & ~word & highs != 0 { break }
      offset += 8
    }
    while offset < byteCount {
      if byte(at: offset) < 0x20 { return offset }
      offset += 1
    }
    return nil
  }

  /// True if the bytes begin with `prefix`.
  @inlinable
  public func hasPrefix(_ prefix: RawSpan) -> Bool {
    byteCount >= prefix.byteCount && extracting(0..<prefix.byteCount).isEqual(to: prefix)
  }

  /// Up to eight bytes from `offset` as a big-endian number, filled up with zeros: sorts as the bytes do, as far as it goes.
  @inlinable
  public func sortPrefix(at offset: Int) -> UInt64 {
    if offset + 8 <= byteCount { return uint64(at: offset) }
    var value: UInt64 = 0
    var index = offset
    while index < offset + 8 {
      value = value << 8 | (index < byteCount ? UInt64(byte(at: index)) : 0)
      index += 1
    }
    return value
  }

  /// True if the bytes are those of `literal` in UTF-8.
  @inlinable
  public func isEqual(to literal: StaticString) -> Bool {
    guard byteCount == literal.utf8CodeUnitCount else { return false }
    return unsafe withUnsafeBytes { left in
      guard let left = left.baseAddress else { return true }
      return unsafe memcmp(left, literal.utf8Start, byteCount) == 0
    }
  }
}

/// Bytes as a dictionary key that compares as bytes. Swift's `String` compares canonically: `é` in its two Unicode
/// forms would be one key.
public struct ByteString: Hashable, Comparable, Sendable {
  /// The bytes, usually UTF-8.
  public let bytes: [UInt8]

  /// Takes bytes as they are.
  public init(_ bytes: [UInt8]) { self.bytes = bytes }
  /// Takes a string's UTF-8.
  public init(_ string: String) { self.bytes = Array(string.utf8) }
  /// Copies a span.
  public init(_ span: RawSpan) { self.bytes = [UInt8](span) }

  /// The text; malformed UTF-8 is repaired.
  public var string: String { String(decoding: bytes, as: UTF8.self) }

  /// Byte order, which for UTF-8 is code point order.
  @inlinable
  public static func < (left: ByteString, right: ByteString) -> Bool { left.bytes.rawSpan.precedes(right.bytes.rawSpan) }

  /// Equal bytes.
  @inlinable
  public static func == (left: ByteString, right: ByteString) -> Bool { left.bytes.rawSpan.isEqual(to: right.bytes.rawSpan) }

  /// Hashes all bytes in one step, several times faster than one by one.
  @inlinable
  public func hash(into hasher: inout Hasher) {
    unsafe bytes.withUnsafeBytes { unsafe hasher.combine(bytes: $0) }
  }
}
