// Why: a time as it is read, part by part, and the days of the Gregorian calendar.
//
// Invariants: what is no date is refused, never rolled over; no locale, so month names are English.

extension TimeFormat {
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
    /// Whether seconds stood in the text.
    var hasSecond = false
    /// Whether it says PM; nil if the hour is one of 24.
    var isAfternoon: Bool?

    /// Makes an hour of 12 one of 24.
    ///
    /// - Returns: false if it is none.
    mutating func settleHalfDay() -> Bool {
      guard let isAfternoon else { return true }
      guard (1...12).contains(hour) else { return false }
      hour = hour % 12 + (isAfternoon ? 12 : 0)
      return true
    }

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

    private static let monthNames = [
      "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december",
    ]

    /// A month's name, whole or its first three letters.
    private mutating func month() -> Int? {
      let word = String(decoding: bytes.prefix(9), as: UTF8.self).lowercased()
      guard let index = Self.monthNames.firstIndex(where: { word.hasPrefix($0.prefix(3)) }) else { return nil }
      bytes.removeFirst(word.hasPrefix(Self.monthNames[index]) ? Self.monthNames[index].utf8.count : 3)
      return index + 1
    }

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
      case .monthName: return set(\.month, month())
      case .day: return set(\.day, number(1...2))
      case .hour, .halfDayHour: return set(\.hour, number(1...2))
      case .halfDay:
        let word = String(decoding: bytes.prefix(2), as: UTF8.self).lowercased()
        guard word == "am" || word == "pm" else { return false }
        bytes.removeFirst(2)
        time.isAfternoon = word == "pm"
        return true
      case .minute: return set(\.minute, number(1...2))
      case .second:
        time.hasSecond = true
        return set(\.second, number(1...2))
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
