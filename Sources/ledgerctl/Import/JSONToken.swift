// Why: values go from a file into an event as bytes; this is how they become JSON without a detour through `String` or
// `Double`.

/// JSON tokens as bytes.
enum JSONToken {
  private static let digits = Array("0123456789abcdef".utf8)

  /// Appends `text`, which is UTF-8, as a JSON string with its quotes.
  static func string(_ text: ArraySlice<UInt8>, into output: inout [UInt8]) {
    output.append(UInt8(ascii: "\""))
    var start = text.startIndex
    var index = start
    while index < text.endIndex {
      let byte = text[index]
      if byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
        output.append(contentsOf: text[start..<index])
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
        start = index + 1
      }
      index += 1
    }
    output.append(contentsOf: text[start...])
    output.append(UInt8(ascii: "\""))
  }

  /// Whether `text` is a JSON number as RFC 8259 writes it.
  static func isNumber(_ text: ArraySlice<UInt8>) -> Bool {
    var rest = text
    func skipDigits() -> Bool {
      let count = rest.prefix { $0 >= 0x30 && $0 <= 0x39 }.count
      rest.removeFirst(count)
      return count > 0
    }
    if rest.first == UInt8(ascii: "-") { rest.removeFirst() }
    if rest.first == UInt8(ascii: "0") { rest.removeFirst() } else if !skipDigits() { return false }
    if rest.first == UInt8(ascii: ".") {
      rest.removeFirst()
      if !skipDigits() { return false }
    }
    if rest.first == UInt8(ascii: "e") || rest.first == UInt8(ascii: "E") {
      rest.removeFirst()
      if rest.first == UInt8(ascii: "+") || rest.first == UInt8(ascii: "-") { rest.removeFirst() }
      if !skipDigits() { return false }
    }
    return rest.isEmpty
  }
}
