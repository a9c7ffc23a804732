// Instants, as the ledger counts them: Int64 microseconds since 1970-01-01T00:00:00Z, without leap seconds.
//
// Invariants:
// - Years 0000 to 9999 are legal input; what an offset pushes out of that range is clamped and flagged.
// - Parsing and printing use integer arithmetic on the proleptic Gregorian calendar: no locale, no time zone, no clock.

import Bytes

/// A moment, in microseconds UTC.
public struct Timestamp: Hashable, Comparable, Sendable {
  /// Microseconds since 1970-01-01T00:00:00Z; negative before.
  public var microseconds: Int64

  /// Takes microseconds since 1970.
  @inlinable
  public init(microseconds: Int64) { self.microseconds = microseconds }

  /// 0000-01-01T00:00:00Z.
  public static let earliest = Timestamp(microseconds: -62_167_219_200_000_000)
  /// 9999-12-31T23:59:59.999999Z.
  public static let latest = Timestamp(microseconds: 253_402_300_799_999_999)

  /// Time order.
  @inlinable
  public static func < (left: Timestamp, right: Timestamp) -> Bool { left.microseconds < right.microseconds }

  /// What was read from an RFC 3339 text.
  public struct Parsed: Equatable, Sendable {
    /// The moment, within the legal years.
    public var timestamp: Timestamp
    /// True if the offset pushed the moment out of the years 0000 to 9999.
    public var isClamped: Bool
  }

  /// Reads RFC 3339 (`2026-11-21T20:00:00.123456+01:00`). Lower-case `t` and `z` and a blank for `T` are read too, as the
  /// RFC allows; a 60th second is the 59th; digits beyond microseconds are cut off.
  ///
  /// - Returns: nil if the text is anything else.
  public static func parse(_ text: RawSpan) -> Parsed? {
    let count = text.byteCount
    guard count >= 20 else { return nil }
    var offset = 0
    func digits(_ length: Int) -> Int64? {
      guard offset + length <= count else { return nil }
      var value: Int64 = 0
      for index in offset..<offset + length {
        let byte = text.byte(at: index)
        guard byte >= 0x30, byte <= 0x39 else { return nil }
        value = value * 10 + Int64(byte - 0x30)
      }
      offset += length
      return value
    }
    func sign(_ allowed: StaticString) -> UInt8? {
      guard offset < count else { return nil }
      let byte = text.byte(at: offset)
      guard allowed.description.utf8.contains(byte) else { return nil }
      offset += 1
      return byte
    }
    guard let year = digits(4), sign("-") != nil, let month = digits(2), sign("-") != nil, let day = digits(2),
      sign("Tt ") != nil, let hour = digits(2), sign(":") != nil, let minute = digits(2), sign(":") != nil,
      let second = digits(2)
    else { return nil }
    guard (1...12).contains(month), day >= 1, day <= daysIn(month: month, year: year), hour <= 23, minute <= 59, second <= 60 else {
      return nil
    }
    var fraction: Int64 = 0
    if offset < count, text.byte(at: offset) == 0x2e {
      offset += 1
      var scale: Int64 = 100_000
      let start = offset
      while offset < count {
        let byte = text.byte(at: offset)
        guard byte >= 0x30, byte <= 0x39 else { break }
        fraction += Int64(byte - 0x30) * scale
        scale /= 10
        offset += 1
      }
      guard offset > start else { return nil }
    }
    guard let zone = sign("Zz+-") else { return nil }
    var offsetMinutes: Int64 = 0
    if zone == 0x2b || zone == 0x2d {
      guard let zoneHour = digits(2), sign(":") != nil, let zoneMinute = digits(2), zoneHour <= 23, zoneMinute <= 59 else { return nil }
      offsetMinutes = (zoneHour * 60 + zoneMinute) * (zone == 0x2d ? -1 : 1)
    }
    guard offset == count else { return nil }
    let seconds = daysFromCivil(year: year, month: month, day: day) * 86_400 + hour * 3_600 + minute * 60 + min(second, 59)
    let moment = Timestamp(microseconds: (seconds - offsetMinutes * 60) * 1_000_000 + fraction)
    let clamped = min(max(moment, earliest), latest)
    return Parsed(timestamp: clamped, isClamped: clamped != moment)
  }

  /// Reads RFC 3339 from a string.
  public static func parse(_ text: String) -> Parsed? { parse(Array(text.utf8).rawSpan) }

  /// RFC 3339 with six decimals and `Z`: `2026-11-21T20:00:00.123456Z`, always 27 bytes. Moments outside of the legal
  /// years are printed as the nearest legal one.
  public var rfc3339: String { String(decoding: rfc3339Bytes, as: UTF8.self) }

  /// ``rfc3339`` as bytes.
  public var rfc3339Bytes: [UInt8] {
    let moment = min(max(self, .earliest), .latest).microseconds
    let (seconds, micros) = floorDivide(moment, 1_000_000)
    let (days, secondOfDay) = floorDivide(seconds, 86_400)
    let (year, month, day) = civilFromDays(days)
    var out: [UInt8] = []
    out.reserveCapacity(27)
    func put(_ value: Int64, _ width: Int) {
      var divisor: Int64 = 1
      for _ in 1..<width { divisor *= 10 }
      var rest = value
      for _ in 0..<width {
        out.append(UInt8(0x30 + rest / divisor))
        rest %= divisor
        divisor /= 10
      }
    }
    put(year, 4)
    out.append(0x2d)
    put(month, 2)
    out.append(0x2d)
    put(day, 2)
    out.append(0x54)
    put(secondOfDay / 3_600, 2)
    out.append(0x3a)
    put(secondOfDay / 60 % 60, 2)
    out.append(0x3a)
    put(secondOfDay % 60, 2)
    out.append(0x2e)
    put(micros, 6)
    out.append(0x5a)
    return out
  }
}

/// Quotient rounded down, and the remainder that is not negative.
func floorDivide(_ value: Int64, _ divisor: Int64) -> (Int64, Int64) {
  let remainder = value % divisor
  return remainder >= 0 ? (value / divisor, remainder) : (value / divisor - 1, remainder + divisor)
}

func daysIn(month: Int64, year: Int64) -> Int64 {
  switch month {
  case 2: (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 ? 29 : 28
  case 4, 6, 9, 11: 30
  default: 31
  }
}

/// Days since 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil).
func daysFromCivil(year: Int64, month: Int64, day: Int64) -> Int64 {
  let shifted = month <= 2 ? year - 1 : year
  let (era, yearOfEra) = floorDivide(shifted, 400)
  let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
  let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
  return era * 146_097 + dayOfEra - 719_468
}

/// The inverse (civil_from_days).
func civilFromDays(_ days: Int64) -> (year: Int64, month: Int64, day: Int64) {
  let (era, dayOfEra) = floorDivide(days + 719_468, 146_097)
  let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
  let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
  let shiftedMonth = (5 * dayOfYear + 2) / 153
  let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
  return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
}
