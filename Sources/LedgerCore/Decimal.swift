// Amounts, exactly: a 128-bit whole number and how many of its digits are decimals. Never a binary fraction.
//
// Invariants:
// - A value has one form: no trailing zero among the decimals, zero has none. So equal values are equal structs, write
//   equal bytes and print equal texts: `1.50`, `1.5` and `15e-1` are all `1.5`.
// - What does not fit (38 digits, 38 decimals) is nil, never rounded.

import Bytes

/// An exact decimal number.
public struct Decimal: Hashable, Sendable {
  /// The digits as a whole number.
  public let mantissa: Int128
  /// How many of the digits are decimals, 0 to 38.
  public let scale: Int

  /// 0.
  public static let zero = Decimal()
  /// The most decimals.
  public static let scaleMax = 38

  private init() {
    mantissa = 0
    scale = 0
  }

  /// `mantissa` × 10^−`scale`.
  ///
  /// - Returns: nil if, without trailing zeros, more than 38 decimals are left, or a negative scale asks for more digits
  ///   than fit.
  public init?(mantissa: Int128, scale: Int) {
    var mantissa = mantissa
    var scale = mantissa == 0 ? 0 : scale
    while scale > 0 {
      let (quotient, remainder) = mantissa.quotientAndRemainder(dividingBy: 10)
      guard remainder == 0 else { break }
      mantissa = quotient
      scale -= 1
    }
    guard scale <= Decimal.scaleMax else { return nil }
    while scale < 0 {
      let (product, overflow) = mantissa.multipliedReportingOverflow(by: 10)
      guard !overflow else { return nil }
      mantissa = product
      scale += 1
    }
    self.mantissa = mantissa
    self.scale = scale
  }

  /// Reads a JSON number's text or a decimal string: digits, at most one point between digits, an exponent. A sign in
  /// front and leading zeros are allowed; blanks and thousands separators are not.
  ///
  /// - Returns: nil if the text is anything else, or does not fit exactly.
  public static func parse(_ text: RawSpan) -> Decimal? {
    var scanner = Scanner()
    let isNegative = scanner.sign(text)
    guard scanner.digits(text) > 0 else { return nil }
    if scanner.take(UInt8(ascii: "."), text) {
      let decimals = scanner.digits(text)
      guard decimals > 0 else { return nil }
      scanner.scale += decimals
    }
    if scanner.take(UInt8(ascii: "e"), text) || scanner.take(UInt8(ascii: "E"), text) {
      guard let exponent = scanner.exponent(text) else { return nil }
      scanner.scale -= exponent
    }
    guard scanner.offset == text.byteCount, !scanner.overflowed else { return nil }
    let mantissa = scanner.mantissa
    // Zeros that stood behind the last other digit count as a negative scale.
    return Decimal(mantissa: isNegative ? -mantissa : mantissa, scale: mantissa == 0 ? 0 : scanner.scale - scanner.pendingZeros)
  }

  /// The sum; nil if it does not fit.
  public func adding(_ other: Decimal) -> Decimal? {
    let scale = max(self.scale, other.scale)
    guard let left = scaled(to: scale), let right = other.scaled(to: scale) else { return nil }
    let (sum, overflow) = left.addingReportingOverflow(right)
    return overflow ? nil : Decimal(mantissa: sum, scale: scale)
  }

  /// Digits without exponent, leading or trailing zeros: `-0.05`, `1200`. A JSON number and a decimal string.
  public var text: String {
    guard scale > 0 else { return String(mantissa) }
    var digits = String(mantissa.magnitude)
    if digits.utf8.count <= scale { digits = String(repeating: "0", count: scale + 1 - digits.utf8.count) + digits }
    let point = digits.index(digits.endIndex, offsetBy: -scale)
    return (mantissa < 0 ? "-" : "") + digits[..<point] + "." + digits[point...]
  }

  /// True if at most `integerDigits` digits stand before the point and at most `decimals` behind it.
  public func fits(integerDigits: Int, decimals: Int) -> Bool {
    guard scale <= decimals else { return false }
    var whole = mantissa.magnitude
    for _ in 0..<scale { whole /= 10 }
    var count = 0
    while whole > 0 {
      whole /= 10
      count += 1
    }
    return count <= integerDigits
  }

  private func scaled(to scale: Int) -> Int128? {
    var result = mantissa
    for _ in self.scale..<scale {
      let (product, overflow) = result.multipliedReportingOverflow(by: 10)
      guard !overflow else { return nil }
      result = product
    }
    return result
  }

  /// Zeros are counted before they are multiplied in, so `1000…` with any number of zeros behind the point is `1000`.
  private struct Scanner {
    var offset = 0
    var mantissa: Int128 = 0
    var pendingZeros = 0
    var scale = 0
    var overflowed = false

    mutating func take(_ byte: UInt8, _ text: RawSpan) -> Bool {
      guard offset < text.byteCount, text.byte(at: offset) == byte else { return false }
      offset += 1
      return true
    }

    mutating func sign(_ text: RawSpan) -> Bool {
      if take(UInt8(ascii: "-"), text) { return true }
      _ = take(UInt8(ascii: "+"), text)
      return false
    }

    /// Takes digits into the mantissa and says how many there were.
    mutating func digits(_ text: RawSpan) -> Int {
      let start = offset
      while offset < text.byteCount {
        let byte = text.byte(at: offset)
        guard byte >= 0x30, byte <= 0x39 else { break }
        offset += 1
        if byte == 0x30 {
          if mantissa != 0 { pendingZeros += 1 }
          continue
        }
        for _ in 0...pendingZeros { multiply() }
        pendingZeros = 0
        add(Int128(byte - 0x30))
      }
      return offset - start
    }

    mutating func exponent(_ text: RawSpan) -> Int? {
      let isNegative = sign(text)
      let start = offset
      var value = 0
      while offset < text.byteCount {
        let byte = text.byte(at: offset)
        guard byte >= 0x30, byte <= 0x39 else { break }
        offset += 1
        value = min(value * 10 + Int(byte - 0x30), 1_000_000)
      }
      guard offset > start else { return nil }
      return isNegative ? -value : value
    }

    private mutating func multiply() {
      let (product, overflow) = mantissa.multipliedReportingOverflow(by: 10)
      if overflow { overflowed = true } else { mantissa = product }
    }

    private mutating func add(_ digit: Int128) {
      let (sum, overflow) = mantissa.addingReportingOverflow(digit)
      if overflow { overflowed = true } else { mantissa = sum }
    }
  }
}
