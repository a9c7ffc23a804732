// Why this file exists: what nodes stand for: bytes of the text, strings, numbers. Zero copy unless a string has escapes.

import CSimdJSON

extension JSONReader {
  /// The byte range of the whole value in the text: strings with quotes, containers with brackets.
  @inlinable public func textRange(of node: JSONNode) -> Range<Int> {
    let value = indexed(node)
    let quote = value.kind == JSONKind.string.rawValue ? 1 : 0
    return Int(value.offset) - quote..<Int(value.offset) + Int(value.byteCount) + quote
  }

  /// Lends the text of the whole value, as ``textRange(of:)`` delimits it, without copying.
  @inlinable public func withText<R, E: Error>(of node: JSONNode, _ body: (RawSpan) throws(E) -> R) throws(E) -> R {
    let range = textRange(of: node)
    let bytes = unsafe UnsafeRawBufferPointer(start: text + range.lowerBound, count: range.count)
    return try body(unsafe bytes.bytes)
  }

  /// Lends the UTF-8 of a string or key, unescaped; without copying unless it has an escape.
  ///
  /// For other kinds: their text.
  @inlinable public func withString<R, E: Error>(of node: JSONNode, _ body: (RawSpan) throws(E) -> R) throws(E) -> R {
    let value = indexed(node)
    if value.escaped != 0 {
      let copy = bytes(of: node)
      return try body(unsafe copy.span.bytes)
    }
    let bytes = unsafe UnsafeRawBufferPointer(start: text + Int(value.offset), count: Int(value.byteCount))
    return try body(unsafe bytes.bytes)
  }

  /// The byte count of what ``withString(of:_:)`` lends.
  @inlinable public func stringByteCount(of node: JSONNode) -> Int {
    let value = indexed(node)
    return value.escaped == 0 ? Int(value.byteCount) : unsafe unescape(value, into: nil)
  }

  /// A string or key, unescaped; for other kinds their text.
  public func string(of node: JSONNode) -> String {
    let value = indexed(node)
    return unsafe String(unsafeUninitializedCapacity: Int(value.byteCount)) { buffer in
      unsafe copy(value, to: UnsafeMutableRawBufferPointer(buffer))
    }
  }

  /// The UTF-8 of a string or key, unescaped; for other kinds their text.
  public func bytes(of node: JSONNode) -> [UInt8] {
    unescapedBytes(of: indexed(node))
  }

  /// Whether a string or key equals `literal` as unescaped UTF-8 bytes; `false` for other kinds.
  @inlinable public func equals(_ node: JSONNode, _ literal: StaticString) -> Bool {
    let value = indexed(node)
    guard value.kind == JSONKind.string.rawValue else { return false }
    if value.escaped != 0 { return escapedEquals(value, literal) }
    let count = Int(value.byteCount)
    guard count == literal.utf8CodeUnitCount else { return false }
    return unsafe equalBytes(text + Int(value.offset), literal.utf8Start, count)
  }

  /// The value of `true` or `false`; `nil` for other kinds.
  @inlinable public func bool(of node: JSONNode) -> Bool? {
    let value = indexed(node)
    guard value.kind == JSONKind.bool.rawValue else { return nil }
    return value.byteCount == 4
  }

  /// An integer written as one: no point, no exponent, within `Int64`; else `nil`. `-0` is 0.
  @inlinable public func int64(of node: JSONNode) -> Int64? {
    let value = indexed(node)
    guard value.kind == JSONKind.number.rawValue else { return nil }
    let digits = unsafe UnsafeRawBufferPointer(start: text + Int(value.offset), count: Int(value.byteCount))
    let isNegative = unsafe digits[0] == UInt8(ascii: "-")
    var result: Int64 = 0
    var i = isNegative ? 1 : 0
    while i < digits.count {
      let digit = unsafe digits[i] &- UInt8(ascii: "0")
      guard digit <= 9 else { return nil }
      let (product, overflows) = result.multipliedReportingOverflow(by: 10)
      let (sum, overflows2) = product.subtractingReportingOverflow(Int64(digit))
      if overflows || overflows2 { return nil }
      result = sum
      i += 1
    }
    if isNegative { return result }
    return result == Int64.min ? nil : -result
  }

  /// A number as the nearest double; `nil` for other kinds and where no finite double is near (`1e400`).
  public func double(of node: JSONNode) -> Double? {
    guard kind(of: node) == .number, let value = Double(string(of: node)), value.isFinite else { return nil }
    return value
  }

  /// Whether two members of an object have the same unescaped name. Members of values inside are not looked at.
  ///
  /// - Complexity: O(members), in practice; above 32 members with one allocation each.
  public func hasDuplicateKeys(in object: JSONNode) -> Bool {
    let container = indexed(object)
    guard container.kind == JSONKind.object.rawValue else { return false }
    let members = childCount(of: object)
    guard members > 1 else { return false }
    if members <= 32 { return hasDuplicateKeysAmongFew(object, container.next) }
    var seen = Set<[UInt8]>(minimumCapacity: members)
    var index = object.index + 1
    while index < container.next {
      if !seen.insert(bytes(of: JSONNode(index))).inserted { return true }
      index = unsafe nodes[Int(index + 1)].next
    }
    return false
  }
}

extension JSONReader {
  /// Unescapes a string into `destination`, or only counts its bytes.
  @usableFromInline func unescape(_ value: IndexedNode, into destination: UnsafeMutableRawPointer?) -> Int {
    let source = unsafe (text + Int(value.offset)).assumingMemoryBound(to: UInt8.self)
    return unsafe csimdjson_unescape(source, Int(value.byteCount), destination?.assumingMemoryBound(to: UInt8.self))
  }

  @usableFromInline func escapedEquals(_ value: IndexedNode, _ literal: StaticString) -> Bool {
    // An escape is never shorter than what it stands for, \u0000 and \ud83d\ude00 (six to one, twelve to four) at most.
    let count = literal.utf8CodeUnitCount
    guard Int(value.byteCount) >= count, Int(value.byteCount) <= 6 * count else { return false }
    let copy = unsafe [UInt8](unsafeUninitializedCapacity: Int(value.byteCount)) { buffer, count in
      unsafe count = unescape(value, into: UnsafeMutableRawPointer(buffer.baseAddress))
    }
    return unsafe copy.elementsEqual(UnsafeBufferPointer(start: literal.utf8Start, count: count))
  }

  private func copy(_ value: IndexedNode, to destination: UnsafeMutableRawBufferPointer) -> Int {
    if value.escaped != 0 { return unsafe unescape(value, into: destination.baseAddress) }
    unsafe destination.copyMemory(from: UnsafeRawBufferPointer(start: text + Int(value.offset), count: Int(value.byteCount)))
    return Int(value.byteCount)
  }

  /// Most objects are settled by one pass: no two names share length, first and last byte. Only those that do are compared.
  private func hasDuplicateKeysAmongFew(_ object: JSONNode, _ end: UInt32) -> Bool {
    var seen: UInt64 = 0
    var index = object.index + 1
    while index < end {
      let key = unsafe nodes[Int(index)]
      let bit: UInt64 = key.escaped != 0 || key.byteCount == 0 ? .max : 1 << (signature(of: key) & 63)
      if seen & bit != 0 && repeatsEarlierKey(index, of: object) { return true }
      seen |= bit
      index = unsafe nodes[Int(index + 1)].next
    }
    return false
  }

  private func signature(of key: IndexedNode) -> UInt32 {
    let start = unsafe text + Int(key.offset)
    let first = unsafe UInt32(start.load(as: UInt8.self))
    let last = unsafe UInt32(start.load(fromByteOffset: Int(key.byteCount) - 1, as: UInt8.self))
    return (key.byteCount &* 0x9E37_79B1 ^ first &* 0x85EB_CA77 ^ last &* 0xC2B2_AE3D) >> 26
  }

  private func repeatsEarlierKey(_ key: UInt32, of object: JSONNode) -> Bool {
    var index = object.index + 1
    while index < key {
      if isSameString(unsafe nodes[Int(index)], unsafe nodes[Int(key)]) { return true }
      index = unsafe nodes[Int(index + 1)].next
    }
    return false
  }

  private func isSameString(_ left: IndexedNode, _ right: IndexedNode) -> Bool {
    if left.escaped != 0 || right.escaped != 0 { return unescapedBytes(of: left) == unescapedBytes(of: right) }
    return unsafe left.byteCount == right.byteCount
      && equalBytes(text + Int(left.offset), text + Int(right.offset), Int(left.byteCount))
  }

  private func unescapedBytes(of value: IndexedNode) -> [UInt8] {
    unsafe [UInt8](unsafeUninitializedCapacity: Int(value.byteCount)) { buffer, count in
      unsafe count = copy(value, to: UnsafeMutableRawBufferPointer(buffer))
    }
  }
}

/// `memcmp` for short texts, inlined.
@inlinable func equalBytes(_ left: UnsafeRawPointer, _ right: UnsafeRawPointer, _ count: Int) -> Bool {
  var i = 0
  while i + 8 <= count {
    let a = unsafe left.loadUnaligned(fromByteOffset: i, as: UInt64.self)
    let b = unsafe right.loadUnaligned(fromByteOffset: i, as: UInt64.self)
    if a != b { return false }
    i += 8
  }
  while i < count {
    let a = unsafe left.load(fromByteOffset: i, as: UInt8.self)
    let b = unsafe right.load(fromByteOffset: i, as: UInt8.self)
    if a != b { return false }
    i += 1
  }
  return true
}
