// How values of identifiers are made comparable, and which point at nobody (SEMANTICS §2.2 and §2.3).
//
// Invariants:
// - Normalising twice changes nothing more.
// - The result depends on the bytes, the kind and utf8proc's Unicode tables: a fold that stores it pins their version.
// - `+suffix` and dots are dropped for gmail.com only, and never if nothing would be left before the `@`.

import Bytes
import UTF8Proc

/// Rules for the values of identifiers. Phones and national ids are only composed and trimmed so far.
public enum IdentifierNormalisation {
  /// The version of the Unicode tables that values are normalised with.
  public static var unicodeVersion: String { UTF8Proc.unicodeVersion }

  /// The value as it is compared: NFC without white space at its ends; an `email` in lower case besides.
  public static func normalised(_ raw: RawSpan, kind: RawSpan) -> [UInt8] {
    let composed = UTF8Proc.normalised(raw)
    let range = trimmedRange(composed)
    let trimmed = range.count == composed.count ? composed : Array(composed[range])
    return kind.isEqual(to: "email") ? email(trimmed) : trimmed
  }

  /// True for values that senders use for "nobody": blank, `0`, `-`, `null`, `guest` and their like, in any case.
  public static func isBlocked(_ value: RawSpan) -> Bool {
    var onlyZerosAndHyphens = true
    for index in 0..<value.byteCount {
      let byte = value.byte(at: index)
      if byte != UInt8(ascii: "0"), byte != UInt8(ascii: "-") {
        onlyZerosAndHyphens = false
        break
      }
    }
    if onlyZerosAndHyphens { return true }
    guard value.byteCount <= blockedByteCountMax else { return false }
    return blocked.contains { equalsIgnoringCase(value, $0) }
  }

  private static let blocked: [StaticString] = [
    "-1", "null", "none", "nan", "undefined", "true", "false", "anonymous", "guest", "id", "distinct_id", "not_authenticated",
    "[object Object]",
  ]
  private static let blockedByteCountMax = 17

  private static func equalsIgnoringCase(_ value: RawSpan, _ literal: StaticString) -> Bool {
    guard value.byteCount == literal.utf8CodeUnitCount else { return false }
    var index = 0
    for byte in literal.description.utf8 {
      guard lowercased(value.byte(at: index)) == lowercased(byte) else { return false }
      index += 1
    }
    return true
  }

  private static func lowercased(_ byte: UInt8) -> UInt8 { (0x41...0x5a).contains(byte) ? byte | 0x20 : byte }

  /// UID2's rule: lower case; for gmail.com the local part without dots and without what follows a plus.
  private static func email(_ trimmed: [UInt8]) -> [UInt8] {
    let lower = UTF8Proc.lowercased(trimmed.rawSpan)
    guard let at = lower.lastIndex(of: UInt8(ascii: "@")), lower.rawSpan.slice(at + 1..<lower.count).isEqual(to: "gmail.com") else {
      return lower
    }
    let local = lower[..<at].prefix { $0 != UInt8(ascii: "+") }.filter { $0 != UInt8(ascii: ".") }
    return local.isEmpty ? lower : local + lower[at...]
  }

  /// What is left without code points of Unicode's `White_Space` at both ends.
  private static func trimmedRange(_ text: [UInt8]) -> Range<Int> {
    var lower = 0
    var upper = text.count
    while lower < upper {
      let width = whiteSpaceWidth(text, at: lower, before: upper)
      guard width > 0 else { break }
      lower += width
    }
    shrinking: while upper > lower {
      for width in 1...3 where upper - width >= lower && whiteSpaceWidth(text, at: upper - width, before: upper) == width {
        upper -= width
        continue shrinking
      }
      break
    }
    return lower..<upper
  }

  /// The byte count of the white-space code point that begins at `index`; 0 if there is none.
  private static func whiteSpaceWidth(_ text: [UInt8], at index: Int, before end: Int) -> Int {
    let first = text[index]
    if first < 0x80 { return first == 0x20 || (0x09...0x0d).contains(first) ? 1 : 0 }
    guard index + 1 < end else { return 0 }
    let second = text[index + 1]
    if first == 0xc2 { return second == 0x85 || second == 0xa0 ? 2 : 0 }  // U+0085, U+00A0
    guard index + 2 < end else { return 0 }
    let third = text[index + 2]
    switch (first, second) {
    case (0xe1, 0x9a): return third == 0x80 ? 3 : 0  // U+1680
    case (0xe2, 0x80): return (0x80...0x8a).contains(third) || third == 0xa8 || third == 0xa9 || third == 0xaf ? 3 : 0  // U+2000…
    case (0xe2, 0x81): return third == 0x9f ? 3 : 0  // U+205F
    case (0xe3, 0x80): return third == 0x80 ? 3 : 0  // U+3000
    default: return 0
    }
  }
}
