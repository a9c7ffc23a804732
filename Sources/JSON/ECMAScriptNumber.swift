// Why this file exists: RFC 8785 §3.2.2.3 writes numbers as ECMAScript's Number::toString does. Swift's description gives
// the same shortest digits, but lays them out differently.

/// The bytes ECMAScript writes for a finite double (ECMA-262 §6.1.6.1.20).
///
/// - Precondition: `value` is finite; JSON has no other numbers.
func ecmaScriptBytes(of value: Double) -> [UInt8] {
  precondition(value.isFinite, "JSON has no number for this double")
  if value == 0 { return [UInt8(ascii: "0")] }
  let (digits, point) = shortestDigits(of: value.magnitude)
  let zero = UInt8(ascii: "0")
  let count = digits.count
  var bytes: [UInt8] = value < 0 ? [UInt8(ascii: "-")] : []
  switch point {
  case count...21 where count <= 21:
    bytes += digits
    bytes += [UInt8](repeating: zero, count: point - count)
  case 1...21:
    bytes += digits[..<point]
    bytes.append(UInt8(ascii: "."))
    bytes += digits[point...]
  case -5...0:
    bytes += [zero, UInt8(ascii: ".")]
    bytes += [UInt8](repeating: zero, count: -point)
    bytes += digits
  default:
    bytes.append(digits[0])
    if count > 1 {
      bytes.append(UInt8(ascii: "."))
      bytes += digits[1...]
    }
    bytes += (point > 0 ? "e+" : "e-").utf8
    bytes += String((point - 1).magnitude).utf8
  }
  return bytes
}

/// The shortest decimal digits d₁…dₖ, d₁ ≠ 0 ≠ dₖ, and `point` such that the value is 0.d₁…dₖ × 10^point.
private func shortestDigits(of value: Double) -> (digits: [UInt8], point: Int) {
  var digits: [UInt8] = []
  var point = 0
  var exponent = 0
  var isBehindPoint = false
  var rest = value.description.utf8[...]
  while let character = rest.popFirst() {
    switch character {
    case UInt8(ascii: "."):
      isBehindPoint = true
    case UInt8(ascii: "e"):
      exponent = Int(Substring(rest)) ?? 0
      rest = rest.suffix(0)
    default:
      digits.append(character)
      if !isBehindPoint { point += 1 }
    }
  }
  let leading = digits.prefix { $0 == UInt8(ascii: "0") }.count
  digits.removeFirst(leading)
  while digits.last == UInt8(ascii: "0") { digits.removeLast() }
  return (digits, point - leading + exponent)
}
