// A typed value that points at a person, and its written form `kind:value`.
//
// Invariants:
// - Kinds and values are compared, hashed and sorted as UTF-8 bytes; a value is normalised before it is compared.
// - A kind has 1 to 64 bytes, none of them a control character, so `kind 0x00 value` is unambiguous as a key.
// - A kind that is a person's name is no identifier: a name never joins anybody (SEMANTICS §2.1).

import Bytes

/// A typed value that points at a person: `email`, `phone`, `dni:ES`, `social:instagram`.
public struct Identifier: Hashable, Comparable, Sendable {
  /// The kind's UTF-8.
  public let kind: [UInt8]
  /// The normalised value's UTF-8: what is compared.
  public let value: [UInt8]
  /// The value's UTF-8 as it was sent; the same as ``value`` if normalising changed nothing.
  public let raw: [UInt8]

  /// The longest kind, in bytes.
  public static let kindByteCountMax = 64

  /// Normalises a value of a kind; see ``IdentifierNormalisation``.
  ///
  /// - Returns: nil if the kind is not one of an identifier, or the value is blocked (SEMANTICS §2.3).
  public init?(kind: [UInt8], raw: RawSpan) {
    guard Identifier.isKind(kind.rawSpan) else { return nil }
    let value = IdentifierNormalisation.normalised(raw, kind: kind.rawSpan)
    guard !IdentifierNormalisation.isBlocked(value.rawSpan) else { return nil }
    self.kind = kind
    self.raw = raw.isEqual(to: value.rawSpan) ? value : [UInt8](raw)
    self.value = value
  }

  /// Same kind, same normalised value; the raw text does not count.
  public static func == (left: Identifier, right: Identifier) -> Bool {
    left.value == right.value && left.kind == right.kind
  }

  /// Hashes kind and normalised value.
  public func hash(into hasher: inout Hasher) {
    hasher.combine(kind)
    hasher.combine(value)
  }

  /// Byte order of kinds, then of values.
  public static func < (left: Identifier, right: Identifier) -> Bool {
    if left.kind != right.kind { return left.kind.lexicographicallyPrecedes(right.kind) }
    return left.value.lexicographicallyPrecedes(right.value)
  }

  /// Reads `kind:value`. In the families `dni`, `nie`, `cuit`, `cif` and `social` the second colon separates, if there is
  /// one: `dni:ES:12345678Z` is `12345678Z` of kind `dni:ES`.
  public static func parse(_ text: RawSpan) -> ParsedIdentifier {
    guard let first = colon(in: text, from: 0) else { return .malformed }
    var end = first
    if isFamily(text.slice(0..<first)), let second = colon(in: text, from: first + 1) { end = second }
    let kind = text.slice(0..<end)
    guard isKind(kind) else { return .malformed }
    let value = text.slice(end + 1..<text.byteCount)
    guard let identifier = Identifier(kind: [UInt8](kind), raw: value) else { return .blocked }
    return .identifier(identifier)
  }

  /// Reads `kind:value` from a string.
  public static func parse(_ text: String) -> ParsedIdentifier { parse(Array(text.utf8).rawSpan) }

  /// `kind:value` with the normalised value; ``parse(_:)-(String)`` reads it back.
  public var text: String { String(decoding: kind + [0x3a] + value, as: UTF8.self) }

  /// True for what may be a kind: 1 to 64 bytes without control characters, and not a kind of name.
  public static func isKind(_ kind: RawSpan) -> Bool {
    guard kind.byteCount > 0, kind.byteCount <= kindByteCountMax else { return false }
    for index in 0..<kind.byteCount where kind.byte(at: index) < 0x20 || kind.byte(at: index) == 0x7f { return false }
    return !isName(kind)
  }

  private static func colon(in text: RawSpan, from start: Int) -> Int? {
    (start..<text.byteCount).first { text.byte(at: $0) == 0x3a }
  }

  private static func isFamily(_ kind: RawSpan) -> Bool {
    kind.isEqual(to: "dni") || kind.isEqual(to: "nie") || kind.isEqual(to: "cuit") || kind.isEqual(to: "cif")
      || kind.isEqual(to: "social")
  }

  /// Kinds under which senders are known to put a person's name.
  private static func isName(_ kind: RawSpan) -> Bool {
    guard kind.byteCount >= 4, kind.byte(at: kind.byteCount - 1) == UInt8(ascii: "e") else { return false }
    return kind.isEqual(to: "name") || kind.isEqual(to: "full_name") || kind.isEqual(to: "first_name")
      || kind.isEqual(to: "last_name") || kind.isEqual(to: "given_name") || kind.isEqual(to: "family_name")
  }
}

/// What a text says of an identifier.
public enum ParsedIdentifier: Equatable, Sendable {
  /// A usable identifier.
  case identifier(Identifier)
  /// Well formed, but the value is blocked: it points at nobody.
  case blocked
  /// Not `kind:value`.
  case malformed
}
