// Why: times in exports have every shape; events have one, RFC 3339 in UTC.
//
// Invariants: no locale and no clock; digits of a fraction are kept as they are (at most 9); what is no date of the
// Gregorian calendar between the years 0000 and 9999 is refused, never rolled over.

import Foundation

/// Reads a time as a mapping's `format` and `zone` say.
struct TimeFormat {
  enum Part: Equatable {
    case literal(UInt8)
    case year, shortYear, month, monthName, day, hour, minute, second, fraction, zone
  }

  enum Shape: Equatable {
    /// `2026-11-21`, `2026-11-21 20:00`, `2026-11-21T20:00:00.123+02:00`, …
    case iso
    case parts([Part])
    /// An integer count since 1970 of units with that many decimal digits of a second.
    case epoch(decimals: Int)
  }

  enum Zone {
    case offset(seconds: Int)
    case named(TimeZone)
  }

  var shape = Shape.iso
  /// The zone of times that name none.
  var zone = Zone.offset(seconds: 0)

  /// Reads the format of a mapping: `iso`, `epoch`, `epoch-ms`, `epoch-us`, or `strptime` directives.
  ///
  /// - Returns: nil with the directive that is unknown.
  static func shape(_ format: String) -> Result<Shape, UnknownDirective> {
    switch format {
    case "iso": return .success(.iso)
    case "epoch": return .success(.epoch(decimals: 0))
    case "epoch-ms": return .success(.epoch(decimals: 3))
    case "epoch-us": return .success(.epoch(decimals: 6))
    default: break
    }
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
      case "b": parts.append(.monthName)
      case "d": parts.append(.day)
      case "H": parts.append(.hour)
      case "M": parts.append(.minute)
      case "S": parts.append(.second)
      case "f": parts.append(.fraction)
      case "z": parts.append(.zone)
      case "T": parts += [.hour, .literal(UInt8(ascii: ":")), .minute, .literal(UInt8(ascii: ":")), .second]
      case "F": parts += [.year, .literal(UInt8(ascii: "-")), .month, .literal(UInt8(ascii: "-")), .day]
      case "%": parts.append(.literal(byte))
      default: return .failure(UnknownDirective(text: directive.map { "%\($0)" } ?? "%"))
      }
    }
    guard parts.contains(.year) || parts.contains(.shortYear), parts.contains(.month) || parts.contains(.monthName), parts.contains(.day)
    else { return .failure(UnknownDirective(text: "")) }
    return .success(.parts(parts))
  }

  /// A directive that is not known; empty if year, month or day is missing from the format.
  struct UnknownDirective: Error { let text: String }

  /// Reads the zone of a mapping: `UTC`, `+02:00`, or a name of the time zone database.
  static func zone(_ name: String) -> Zone? {
    if name == "UTC" || name == "Z" { return .offset(seconds: 0) }
    var cursor = Cursor(bytes: Array(name.utf8)[...])
    if name.hasPrefix("+") || name.hasPrefix("-") {
      guard let seconds = cursor.zone(), cursor.isAtEnd else { return nil }
      return .offset(seconds: seconds)
    }
    return TimeZone(identifier: name).map { .named($0) }
  }

  /// Appends the time in RFC 3339, UTC, without quotes.
  ///
  /// - Returns: whether `text` is a time of this format.
  func write(_ text: ArraySlice<UInt8>, into output: inout [UInt8]) -> Bool {
    var cursor = Cursor(bytes: text)
    var time = Fields()
    switch shape {
    case .iso: guard cursor.iso(&time), cursor.isAtEnd else { return false }
    case .parts(let parts):
      for part in parts { guard cursor.take(part, &time) else { return false } }
      guard cursor.isAtEnd else { return false }
    case .epoch(let decimals): return Self.writeEpoch(text, decimals: decimals, into: &output)
    }
    guard time.isValid else { return false }
    let local = time.secondsSince1970
    let seconds = local - (time.offset ?? offset(atLocal: local))
    return Self.write(seconds, fraction: time.fraction, into: &output)
  }

  /// The zone's distance from UTC at a local time. A time that occurs twice is the first one's, one that is skipped is
  /// read with the distance before the gap.
  private func offset(atLocal local: Int) -> Int {
    switch zone {
    case .offset(let seconds): return seconds
    case .named(let zone):
      let early = zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(local - 86_400)))
      let late = zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(local + 86_400)))
      if early == late { return early }
      // A change is near: the earlier distance holds if the instant that it gives has it.
      let instant = Date(timeIntervalSince1970: Double(local - early))
      let there = zone.secondsFromGMT(for: instant)
      if there == early { return early }
      let other = zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(local - late)))
      return other == late ? late : early
    }
  }

  private static func writeEpoch(_ text: ArraySlice<UInt8>, decimals: Int, into output: inout [UInt8]) -> Bool {
    guard let count = Int(String(decoding: text, as: UTF8.self)) else { return false }
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

  /// The parts of a time as read.
  struct Fields {
    var year = 0
    var month = 1
    var day = 1
    var hour = 0
    var minute = 0
    var second = 0
    var fraction: ArraySlice<UInt8> = []
    /// Seconds east of UTC, if the text says so.
    var offset: Int?

    var isValid: Bool {
      let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
      let lengths = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
      guard (1...12).contains(month), (1...lengths[month - 1]).contains(day) else { return false }
      return hour < 24 && minute < 60 && second < 60
    }

    /// Days from civil, Howard Hinnant's algorithm.
    var secondsSince1970: Int {
      let shifted = month <= 2 ? year - 1 : year
      let era = (shifted >= 0 ? shifted : shifted - 399) / 400
      let yearOfEra = shifted - era * 400
      let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
      let days = era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
      return days * 86_400 + hour * 3_600 + minute * 60 + second
    }

    /// Civil from days; nil outside the years 0000–9999.
    static func civil(_ days: Int) -> (year: Int, month: Int, day: Int)? {
      let shifted = days + 719_468
      let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
      let dayOfEra = shifted - era * 146_097
      let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
      let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
      let shiftedMonth = (5 * dayOfYear + 2) / 153
      let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
      let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
      guard (0...9_999).contains(year) else { return nil }
      return (year, month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
    }
  }

  /// Takes parts from the front of a text.
  struct Cursor {
    var bytes: ArraySlice<UInt8>

    var isAtEnd: Bool { bytes.isEmpty }

    mutating func literal(_ byte: UInt8) -> Bool {
      guard bytes.first == byte else { return false }
      bytes.removeFirst()
      return true
    }

    mutating func number(_ widths: ClosedRange<Int>) -> Int? {
      var (value, count) = (0, 0)
      while count < widths.upperBound, let byte = bytes.first, byte >= 0x30, byte <= 0x39 {
        value = value * 10 + Int(byte - 0x30)
        bytes.removeFirst()
        count += 1
      }
      return widths.contains(count) ? value : nil
    }

    /// `Z`, `+02:00`, `+0200`, `+02`.
    mutating func zone() -> Int? {
      if literal(UInt8(ascii: "Z")) || literal(UInt8(ascii: "z")) { return 0 }
      let isWest = bytes.first == UInt8(ascii: "-")
      guard literal(UInt8(ascii: "+")) || literal(UInt8(ascii: "-")), let hours = number(2...2), hours < 24 else { return nil }
      let hasColon = literal(UInt8(ascii: ":"))
      let minutes = number(2...2)
      guard minutes != nil || !hasColon, (minutes ?? 0) < 60 else { return nil }
      let seconds = hours * 3_600 + (minutes ?? 0) * 60
      return isWest ? -seconds : seconds
    }

    mutating func fraction() -> ArraySlice<UInt8>? {
      let digits = bytes.prefix { $0 >= 0x30 && $0 <= 0x39 }
      guard (1...9).contains(digits.count) else { return nil }
      bytes.removeFirst(digits.count)
      return digits
    }

    private static let monthNames = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]

    mutating func take(_ part: Part, _ time: inout Fields) -> Bool {
      func set(_ field: WritableKeyPath<Fields, Int>, _ value: Int?) -> Bool {
        guard let value else { return false }
        time[keyPath: field] = value
        return true
      }
      switch part {
      case .literal(let byte): return literal(byte)
      case .year: return set(\.year, number(4...4))
      case .shortYear: return set(\.year, number(2...2).map { $0 < 69 ? 2_000 + $0 : 1_900 + $0 })
      case .month: return set(\.month, number(1...2))
      case .monthName:
        let name = String(decoding: bytes.prefix(3), as: UTF8.self).lowercased()
        guard let index = Self.monthNames.firstIndex(of: name) else { return false }
        bytes.removeFirst(3)
        time.month = index + 1
        return true
      case .day: return set(\.day, number(1...2))
      case .hour: return set(\.hour, number(1...2))
      case .minute: return set(\.minute, number(1...2))
      case .second: return set(\.second, number(1...2))
      case .fraction:
        guard let digits = fraction() else { return false }
        time.fraction = digits
        return true
      case .zone:
        guard let offset = zone() else { return false }
        time.offset = offset
        return true
      }
    }

    mutating func iso(_ time: inout Fields) -> Bool {
      let dash = Part.literal(UInt8(ascii: "-"))
      let colon = Part.literal(UInt8(ascii: ":"))
      guard take(.year, &time), take(dash, &time), take(.month, &time), take(dash, &time), take(.day, &time) else { return false }
      if isAtEnd { return true }
      guard literal(UInt8(ascii: "T")) || literal(UInt8(ascii: "t")) || literal(UInt8(ascii: " ")) else { return false }
      guard take(.hour, &time), take(colon, &time), take(.minute, &time) else { return false }
      if literal(UInt8(ascii: ":")) {
        guard take(.second, &time) else { return false }
        if literal(UInt8(ascii: ".")) { guard take(.fraction, &time) else { return false } }
      }
      return isAtEnd || take(.zone, &time)
    }
  }
}
