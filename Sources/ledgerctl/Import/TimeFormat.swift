// Why: times in exports have every shape; events have one, RFC 3339 in UTC.
//
// Invariants:
// - No locale and no clock; digits of a fraction are kept as they are (at most 9); what is no date of the Gregorian
//   calendar between the years 0000 and 9999 is refused, never rolled over.
// - A local time that occurs twice (clocks set back) is the first one; one that is skipped (clocks set forward) is read
//   with the distance from UTC that held before the gap, and so comes out that much later on the clock.

import Foundation

/// Reads a time as a mapping's `format` and `zone` say.
struct TimeFormat {
  enum Part: Equatable {
    case literal(UInt8)
    case year, shortYear, month, monthName, day, hour, halfDayHour, halfDay, minute, second, fraction, zone
  }

  enum Shape: Equatable {
    /// `2026-11-21`, `2026-11-21 20:00`, `2026-11-21T20:00:00.123+02:00`, …
    case iso
    /// As RFC 3339 says: seconds and zone are needed.
    case rfc3339
    case parts([Part])
    /// A count since 1970 of units with that many decimal digits of a second; of seconds, it may have a fraction.
    case epoch(decimals: Int)
  }

  enum Zone {
    case offset(seconds: Int)
    case named(ZoneOffsets)
  }

  /// The formats that have names.
  static let names = ["iso", "rfc3339", "yyyymmdd", "epoch", "epoch-ms", "epoch-us"]
  /// What stands for parts of a time in a pattern, as in `strptime`.
  static let directives = ["%Y", "%y", "%m", "%b", "%B", "%d", "%H", "%I", "%p", "%M", "%S", "%f", "%z", "%F", "%T", "%%"]

  var shape = Shape.iso
  /// The shape as the mapping writes it, for messages.
  var name = "iso"
  /// The zone of times that name none.
  var zone = Zone.offset(seconds: 0)

  /// Why a format is none.
  struct FormatProblem: Error { let description: String }

  /// Reads the format of a mapping: one of `names`, or a pattern of `directives` and other characters.
  static func shape(_ format: String) -> Result<Shape, FormatProblem> {
    switch format {
    case "iso": return .success(.iso)
    case "rfc3339": return .success(.rfc3339)
    case "yyyymmdd": return shape("%Y%m%d")
    case "epoch": return .success(.epoch(decimals: 0))
    case "epoch-ms": return .success(.epoch(decimals: 3))
    case "epoch-us": return .success(.epoch(decimals: 6))
    default: break
    }
    let colon = Part.literal(UInt8(ascii: ":"))
    let dash = Part.literal(UInt8(ascii: "-"))
    var parts: [Part] = []
    var bytes = format.utf8.makeIterator()
    while let byte = bytes.next() {
      guard byte == UInt8(ascii: "%") else {
        parts.append(.literal(byte))
        continue
      }
      let directive = bytes.next().map { Character(Unicode.Scalar($0)) }
      switch directive {
      case "Y": parts.append(.year)
      case "y": parts.append(.shortYear)
      case "m": parts.append(.month)
      case "b", "B": parts.append(.monthName)
      case "d": parts.append(.day)
      case "H": parts.append(.hour)
      case "I": parts.append(.halfDayHour)
      case "p": parts.append(.halfDay)
      case "M": parts.append(.minute)
      case "S": parts.append(.second)
      case "f": parts.append(.fraction)
      case "z": parts.append(.zone)
      case "T": parts += [.hour, colon, .minute, colon, .second]
      case "F": parts += [.year, dash, .month, dash, .day]
      case "%": parts.append(.literal(byte))
      default: return .failure(FormatProblem(description: "“%\(directive.map(String.init) ?? "")” is no directive that is known"))
      }
    }
    guard parts.contains(.year) || parts.contains(.shortYear), parts.contains(.month) || parts.contains(.monthName), parts.contains(.day)
    else {
      let isPattern = format.contains("%")
      return .failure(FormatProblem(description: isPattern ? "“\(format)” needs year, month and day" : "“\(format)” is no format"))
    }
    guard parts.contains(.halfDayHour) == parts.contains(.halfDay), !(parts.contains(.halfDayHour) && parts.contains(.hour)) else {
      return .failure(FormatProblem(description: "%I and %p go together, without %H"))
    }
    return .success(.parts(parts))
  }

  /// Reads the zone of a mapping: `UTC`, `+02:00`, or a name of the time zone database.
  static func zone(_ name: String) -> Zone? {
    if name == "UTC" || name == "Z" { return .offset(seconds: 0) }
    var cursor = Cursor(bytes: Array(name.utf8)[...])
    if name.hasPrefix("+") || name.hasPrefix("-") {
      guard let seconds = cursor.zone(), cursor.isAtEnd else { return nil }
      return .offset(seconds: seconds)
    }
    // Abbreviations (EST, CST) are ambiguous; the names of the database have a slash, but for a few.
    guard name.contains("/") || TimeZone.knownTimeZoneIdentifiers.contains(name), let zone = TimeZone(identifier: name) else { return nil }
    return .named(ZoneOffsets(zone))
  }

  /// Appends the time in RFC 3339, UTC, without quotes.
  ///
  /// - Returns: whether `text` is a time of this format.
  func write(_ text: ArraySlice<UInt8>, into output: inout [UInt8]) -> Bool {
    var cursor = Cursor(bytes: text)
    var time = Fields()
    switch shape {
    case .iso: guard cursor.iso(&time), cursor.isAtEnd else { return false }
    case .rfc3339: guard cursor.iso(&time), cursor.isAtEnd, time.offset != nil, time.hasSecond else { return false }
    case .parts(let parts):
      for part in parts { guard cursor.take(part, &time) else { return false } }
      guard cursor.isAtEnd else { return false }
    case .epoch(let decimals): return Self.writeEpoch(text, decimals: decimals, into: &output)
    }
    guard time.settleHalfDay(), time.isValid else { return false }
    let local = time.secondsSince1970
    let seconds = local - (time.offset ?? offset(atLocal: local))
    return Self.write(seconds, fraction: time.fraction, into: &output)
  }

  private func offset(atLocal local: Int) -> Int {
    switch zone {
    case .offset(let seconds): seconds
    case .named(let zone): zone.offset(atLocal: local)
    }
  }

  private static func writeEpoch(_ text: ArraySlice<UInt8>, decimals: Int, into output: inout [UInt8]) -> Bool {
    var (whole, part) = (text, text[text.endIndex...])
    if decimals == 0, let mark = text.firstIndex(of: UInt8(ascii: ".")) {
      (whole, part) = (text[..<mark], text[(mark + 1)...])
      guard (1...9).contains(part.count), part.allSatisfy({ (0x30...0x39).contains($0) }) else { return false }
    }
    // Far more than the years 0000–9999 need, and small enough that nothing below overflows.
    guard let count = Int(String(decoding: whole, as: UTF8.self)), abs(count >> 1) < 1 << 61 else { return false }
    if part.contains(where: { $0 != 0x30 }) && text.first == UInt8(ascii: "-") {
      // Before 1970 a fraction counts backwards: -0.25 is a quarter of a second before 0.
      let (value, unit) = part.reduce((0, 1)) { ($0.0 * 10 + Int($1 - 0x30), $0.1 * 10) }
      let digits = Array(String(unit - value).utf8)
      let padding = [UInt8](repeating: UInt8(ascii: "0"), count: part.count - digits.count)
      return write(count - 1, fraction: (padding + digits)[...], into: &output)
    }
    if !part.isEmpty { return write(count, fraction: part, into: &output) }
    let unit = decimals == 0 ? 1 : decimals == 3 ? 1_000 : 1_000_000
    let seconds = count >= 0 ? count / unit : -((-count + unit - 1) / unit)
    let rest = count - seconds * unit
    var fraction: [UInt8] = []
    if rest != 0 {
      let digits = Array(String(rest).utf8)
      fraction = [UInt8](repeating: UInt8(ascii: "0"), count: decimals - digits.count) + digits
    }
    return write(seconds, fraction: fraction[...], into: &output)
  }

  private static func write(_ seconds: Int, fraction: ArraySlice<UInt8>, into output: inout [UInt8]) -> Bool {
    let dayNumber = seconds >= 0 ? seconds / 86_400 : -((-seconds + 86_399) / 86_400)
    let second = seconds - dayNumber * 86_400
    guard let (year, month, day) = Fields.civil(dayNumber) else { return false }
    func put(_ value: Int, _ width: Int) {
      var divisor = width == 4 ? 1_000 : 10
      while divisor > 0 {
        output.append(UInt8(ascii: "0") + UInt8(value / divisor % 10))
        divisor /= 10
      }
    }
    put(year, 4)
    output.append(UInt8(ascii: "-"))
    put(month, 2)
    output.append(UInt8(ascii: "-"))
    put(day, 2)
    output.append(UInt8(ascii: "T"))
    put(second / 3_600, 2)
    output.append(UInt8(ascii: ":"))
    put(second / 60 % 60, 2)
    output.append(UInt8(ascii: ":"))
    put(second % 60, 2)
    if !fraction.isEmpty {
      output.append(UInt8(ascii: "."))
      output.append(contentsOf: fraction)
    }
    output.append(UInt8(ascii: "Z"))
    return true
  }
}
