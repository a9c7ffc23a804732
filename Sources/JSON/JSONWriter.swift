// Why this file exists: writes compact JSON, the same bytes for the same calls on every machine. Commas and colons are
// its own affair; order and names of members are the caller's. Strings get the fewest escapes (RFC 8785 §3.2.2.2).

import Bytes

/// Writes compact JSON into bytes.
///
/// ```swift
/// var writer = JSONWriter()
/// writer.beginObject()
/// writer.member("head", 42)
/// writer.endObject()
/// ```
/// Calls must follow the grammar: in an object each value follows a key. Unbalanced ends trap.
public struct JSONWriter: Sendable {
  /// What was written so far.
  public private(set) var bytes: [UInt8]
  private var needsComma = false
  private var depth = 0

  /// An empty writer.
  public init() { bytes = [] }

  /// Forgets what was written and keeps the memory.
  public mutating func removeAll() {
    bytes.removeAll(keepingCapacity: true)
    needsComma = false
    depth = 0
  }

  /// Makes room for that many bytes in all.
  public mutating func reserveCapacity(_ byteCount: Int) { bytes.reserveCapacity(byteCount) }

  /// Ends a line of NDJSON: what follows is a text of its own.
  ///
  /// - Precondition: Every container has ended.
  public mutating func endLine() {
    precondition(depth == 0, "a line ends inside a JSON container")
    bytes.append(UInt8(ascii: "\n"))
    needsComma = false
  }

  /// Opens an object.
  public mutating func beginObject() { begin(UInt8(ascii: "{")) }
  /// Closes the object opened last.
  public mutating func endObject() { end(UInt8(ascii: "}")) }
  /// Opens an array.
  public mutating func beginArray() { begin(UInt8(ascii: "[")) }
  /// Closes the array opened last.
  public mutating func endArray() { end(UInt8(ascii: "]")) }

  /// The name of the next member.
  public mutating func key(_ name: StaticString) {
    separate()
    let buffer = unsafe UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount)
    appendQuoted(unsafe buffer.bytes, to: &bytes)
    colon()
  }

  /// The name of the next member.
  public mutating func key(_ name: String) {
    separate()
    appendQuoted(name, to: &bytes)
    colon()
  }

  /// The name of the next member, as well-formed UTF-8.
  public mutating func key(bytes name: [UInt8]) {
    separate()
    appendQuoted(name.rawSpan, to: &bytes)
    colon()
  }

  /// The name of the next member, as well-formed UTF-8.
  public mutating func key(utf8 name: RawSpan) {
    separate()
    appendQuoted(name, to: &bytes)
    colon()
  }

  /// A string.
  public mutating func string(_ value: String) {
    separate()
    appendQuoted(value, to: &bytes)
    needsComma = true
  }

  /// A string, as well-formed UTF-8 (not checked).
  public mutating func string(utf8 value: RawSpan) {
    separate()
    appendQuoted(value, to: &bytes)
    needsComma = true
  }

  /// A string, as well-formed UTF-8 (not checked).
  public mutating func string(utf8 value: [UInt8]) { string(utf8: value.rawSpan) }

  /// An integer.
  public mutating func int(_ value: some SignedInteger & FixedWidthInteger) {
    separate()
    if value < 0 { bytes.append(UInt8(ascii: "-")) }
    appendDecimal(UInt64(value.magnitude))
  }

  /// An integer that is not negative.
  public mutating func uint(_ value: some UnsignedInteger & FixedWidthInteger) {
    separate()
    appendDecimal(UInt64(value))
  }

  /// A number in ECMAScript's spelling, the shortest that reads back as the same double.
  ///
  /// - Precondition: `value` is finite.
  public mutating func double(_ value: Double) {
    separate()
    bytes += ecmaScriptBytes(of: value)
    needsComma = true
  }

  /// `true` or `false`.
  public mutating func bool(_ value: Bool) {
    separate()
    bytes += value ? "true".utf8 : "false".utf8
    needsComma = true
  }

  /// `null`.
  public mutating func null() {
    separate()
    bytes += "null".utf8
    needsComma = true
  }

  /// One whole value that is JSON already (not checked).
  public mutating func raw(_ value: RawSpan) {
    separate()
    append(value, to: &bytes)
    needsComma = true
  }

  /// One whole value that is JSON already (not checked).
  public mutating func raw(_ value: [UInt8]) { raw(value.rawSpan) }

  private mutating func separate() {
    if needsComma { bytes.append(UInt8(ascii: ",")) }
  }

  private mutating func colon() {
    bytes.append(UInt8(ascii: ":"))
    needsComma = false
  }

  private mutating func begin(_ bracket: UInt8) {
    separate()
    bytes.append(bracket)
    needsComma = false
    depth += 1
  }

  private mutating func end(_ bracket: UInt8) {
    precondition(depth > 0, "a JSON container ends that was never begun")
    bytes.append(bracket)
    needsComma = true
    depth -= 1
  }

  private mutating func appendDecimal(_ value: UInt64) {
    let first = bytes.count
    var rest = value
    repeat {
      bytes.append(UInt8(ascii: "0") + UInt8(rest % 10))
      rest /= 10
    } while rest > 0
    bytes[first...].reverse()
    needsComma = true
  }
}

// MARK: - Members in one call

extension JSONWriter {
  /// A member with a string.
  public mutating func member(_ name: StaticString, _ value: String) {
    key(name)
    string(value)
  }

  /// A member with an integer.
  public mutating func member(_ name: StaticString, _ value: Int) {
    key(name)
    int(value)
  }

  /// A member with an integer that is not negative.
  public mutating func member(_ name: StaticString, _ value: UInt64) {
    key(name)
    uint(value)
  }

  /// A member with a truth value.
  public mutating func member(_ name: StaticString, _ value: Bool) {
    key(name)
    bool(value)
  }

  /// A member with a number; see ``double(_:)``.
  public mutating func member(_ name: StaticString, _ value: Double) {
    key(name)
    double(value)
  }

  /// A member with a string as well-formed UTF-8.
  public mutating func member(_ name: StaticString, utf8 value: RawSpan) {
    key(name)
    string(utf8: value)
  }

  /// A member whose value is JSON already.
  public mutating func member(_ name: StaticString, raw value: RawSpan) {
    key(name)
    raw(value)
  }

  /// A member with a string, or `null`.
  public mutating func member(_ name: StaticString, orNull value: String?) {
    key(name)
    if let value { string(value) } else { null() }
  }

  /// A member with an integer that is not negative, or `null`.
  public mutating func member(_ name: StaticString, orNull value: UInt64?) {
    key(name)
    if let value { uint(value) } else { null() }
  }
}
