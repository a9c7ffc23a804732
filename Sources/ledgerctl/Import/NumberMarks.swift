// Why: numbers in exports are written as people of the place write them (`1.234,56`, `1 234,56`, `1'234.56`), and a mark
// that is misread changes an amount by a factor of a thousand without a word.
//
// Invariants:
// - Digits are copied, never computed; nothing passes through `Double`.
// - Group marks stand only where groups end: between groups of three digits (or two, as in 12,34,567), the last of three.

import Bytes

/// The signs of a decimal number.
struct NumberMarks: Equatable {
  /// The decimal mark.
  var decimal = UInt8(ascii: ".")
  /// What may stand between groups of digits: alternatives of one character each; none by default.
  var groups: [[UInt8]] = []
  /// Whether the mapping says something about marks.
  var isGiven = false

  /// `text` as a plain decimal (`-1234.50`); nil if it is none.
  func decimal(_ text: ArraySlice<UInt8>) -> [UInt8]? {
    var result: [UInt8] = []
    var (at, digitCount, groupLengths, hasDecimal) = (text.startIndex, 0, [0], false)
    if let sign = text.first, sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") {
      if sign == UInt8(ascii: "-") { result.append(sign) }
      at += 1
    }
    while at < text.endIndex {
      let byte = text[at]
      if byte >= 0x30 && byte <= 0x39 {
        result.append(byte)
        digitCount += 1
        if !hasDecimal { groupLengths[groupLengths.count - 1] += 1 }
        at += 1
      } else if byte == decimal && !hasDecimal {
        if digitCount == 0 { result.append(UInt8(ascii: "0")) }
        result.append(UInt8(ascii: "."))
        hasDecimal = true
        at += 1
      } else if !hasDecimal, let mark = groups.first(where: { text[at...].starts(with: $0) }) {
        groupLengths.append(0)
        at += mark.count
      } else {
        return nil
      }
    }
    if groupLengths.count > 1 {
      guard groupLengths.last == 3, (1...3).contains(groupLengths[0]), groupLengths.dropFirst().allSatisfy({ $0 == 3 || $0 == 2 }) else {
        return nil
      }
    }
    if result.last == UInt8(ascii: ".") { result.removeLast() }
    return digitCount > 0 ? result : nil
  }

  /// `text` as a JSON number: as it is if the mapping says nothing about marks, else without leading zeros; nil if it is none.
  func number(_ text: ArraySlice<UInt8>) -> [UInt8]? {
    guard isGiven else {
      let bytes = Array(text)
      return JSONToken.isNumber(bytes.rawSpan) ? bytes : nil
    }
    guard var decimal = decimal(text) else { return nil }
    let sign = decimal.first == UInt8(ascii: "-") ? 1 : 0
    while decimal.count > sign + 1, decimal[sign] == UInt8(ascii: "0"), decimal[sign + 1] != UInt8(ascii: ".") { decimal.remove(at: sign) }
    return decimal
  }
}
