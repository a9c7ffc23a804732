// Why: values go from a file into an event as bytes; this is how they become JSON without a detour through `String` or
// `Double`.

import Bytes

/// JSON tokens as bytes.
enum JSONToken {
  private static let digits = Array("0123456789abcdef".utf8)

  /// `text` as a JSON string with its quotes.
  static func string(_ text: String) -> [UInt8] {
    var bytes: [UInt8] = []
    string(Array(text.utf8).rawSpan, into: &bytes)
    return bytes
  }

  /// Appends `text`, which is UTF-8, as a JSON string with its quotes.
  static func string(_ text: RawSpan, into output: inout [UInt8]) {
    output.append(UInt8(ascii: "\""))
    var start = 0
    for index in 0..<text.byteCount {
      let byte = text.byte(at: index)
      guard byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") else { continue }
      output.append(text.extracting(start..<index))
      start = index + 1
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"):
        output.append(UInt8(ascii: "\\"))
        output.append(byte)
      case 0x0A: output.append(contentsOf: [UInt8(ascii: "\\"), UInt8(ascii: "n")])
      case 0x0D: output.append(contentsOf: [UInt8(ascii: "\\"), UInt8(ascii: "r")])
      case 0x09: output.append(contentsOf: [UInt8(ascii: "\\"), UInt8(ascii: "t")])
      default:
        output.append(contentsOf: "\\u00".utf8)
        output.append(digits[Int(byte >> 4)])
        output.append(digits[Int(byte & 15)])
      }
    }
    output.append(text.extracting(start..<text.byteCount))
    output.append(UInt8(ascii: "\""))
  }

  /// Whether `text` is a JSON number as RFC 8259 writes it.
  static func isNumber(_ text: RawSpan) -> Bool {
    var at = 0
    func next() -> UInt8? { at < text.byteCount ? text.byte(at: at) : nil }
    func skipDigits() -> Bool {
      let start = at
      while let byte = next(), byte >= 0x30 && byte <= 0x39 { at += 1 }
      return at > start
    }
    if next() == UInt8(ascii: "-") { at += 1 }
    if next() == UInt8(ascii: "0") { at += 1 } else if !skipDigits() { return false }
    if next() == UInt8(ascii: ".") {
      at += 1
      if !skipDigits() { return false }
    }
    if next() == UInt8(ascii: "e") || next() == UInt8(ascii: "E") {
      at += 1
      if next() == UInt8(ascii: "+") || next() == UInt8(ascii: "-") { at += 1 }
      if !skipDigits() { return false }
    }
    return at == text.byteCount
  }
}
