// Why this file exists: why a text was refused, and where. Invariant: nothing of the text itself is in an error, since
// texts hold personal data; a reason and a byte offset are all a caller gets.

/// Why a text is not accepted as JSON.
public struct JSONError: Error, Equatable, Sendable, CustomStringConvertible {
  /// What a caller can decide by.
  public enum Kind: Equatable, Sendable {
    /// The text breaks the grammar of RFC 8259.
    case syntax
    /// More than ``JSONReader/depthMax`` arrays and objects inside each other.
    case tooDeep
    /// More than ``JSONReader/byteCountMax`` bytes.
    case tooLarge
    /// No memory for the copy or the index of the text.
    case outOfMemory
  }

  /// What the grammar wanted at the offset. Raw values are those of `csimdjson_reason`.
  public enum Reason: UInt8, Equatable, Sendable, CaseIterable {
    /// A value, but something else or nothing is there (also a byte order mark, `NaN`, a comment, an empty text).
    case expectedValue = 1
    /// The opening quote of a member's name.
    case expectedKey = 2
    /// The colon behind a member's name.
    case expectedColon = 3
    /// A comma or the end of the array.
    case expectedCommaOrBracket = 4
    /// A comma or the end of the object.
    case expectedCommaOrBrace = 5
    /// The end of the text (also `01`, a second document).
    case expectedEnd = 6
    /// A digit of a number.
    case expectedDigit = 7
    /// The closing quote of a string.
    case expectedClosingQuote = 8
    /// One of the escape sequences of RFC 8259 §7.
    case expectedEscape = 9
    /// A `\u` escape is half of a surrogate pair.
    case loneSurrogate = 10
    /// A control character (below U+0020) stands unescaped in a string.
    case controlCharacter = 11
    /// A string is not well-formed UTF-8.
    case invalidUTF8 = 12
    /// See ``Kind/tooDeep``.
    case tooDeep = 13
    /// See ``Kind/outOfMemory``.
    case outOfMemory = 14
    /// Refused without a place; a defect in this module.
    case refused = 15
    /// See ``Kind/tooLarge``.
    case tooLarge = 16
  }

  /// What was expected.
  public let reason: Reason
  /// The byte, from 0, where the text first breaks; `nil` when no single byte is to blame.
  public let offset: Int?

  init(reason: Reason, offset: Int?) {
    self.reason = reason
    self.offset = offset
  }

  /// The decision that ``reason`` leads to.
  public var kind: Kind {
    switch reason {
    case .tooDeep: .tooDeep
    case .tooLarge: .tooLarge
    case .outOfMemory: .outOfMemory
    default: .syntax
    }
  }

  /// For example `invalid JSON at byte 17: expected a value`. Holds nothing of the text.
  public var description: String {
    guard let offset else { return "invalid JSON: \(explanation)" }
    return "invalid JSON at byte \(offset): \(explanation)"
  }

  private var explanation: String {
    switch reason {
    case .expectedValue: "expected a value"
    case .expectedKey: "expected a member name in quotes"
    case .expectedColon: "expected a colon"
    case .expectedCommaOrBracket: "expected a comma or a closing bracket"
    case .expectedCommaOrBrace: "expected a comma or a closing brace"
    case .expectedEnd: "expected the end of the text"
    case .expectedDigit: "expected a digit"
    case .expectedClosingQuote: "expected a closing quote"
    case .expectedEscape: "expected a valid escape sequence"
    case .loneSurrogate: "a \\u escape is half of a surrogate pair; escape both halves"
    case .controlCharacter: "a control character in a string must be escaped"
    case .invalidUTF8: "a string must be well-formed UTF-8"
    case .tooDeep: "more than \(JSONReader.depthMax) arrays and objects inside each other"
    case .outOfMemory: "no memory to read it"
    case .refused: "the text was refused"
    case .tooLarge: "more than \(JSONReader.byteCountMax) bytes"
    }
  }
}
