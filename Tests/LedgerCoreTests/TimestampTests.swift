// RFC 3339 in, microseconds out and back, against a day count of the tests' own.

import Bytes
@testable import LedgerCore
import Testing

/// Days since 1970, by counting years and months one by one: slow and obvious.
private func countedDays(_ year: Int, _ month: Int, _ day: Int) -> Int {
  func isLeap(_ year: Int) -> Bool { year % 400 == 0 || (year % 4 == 0 && year % 100 != 0) }
  let lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
  var days = 0
  if year >= 1970 {
    for past in 1970..<year { days += isLeap(past) ? 366 : 365 }
  } else {
    for coming in year..<1970 { days -= isLeap(coming) ? 366 : 365 }
  }
  for past in 1..<month { days += lengths[past - 1] + (past == 2 && isLeap(year) ? 1 : 0) }
  return days + day - 1
}

private func padded(_ value: Int, _ width: Int) -> String {
  let digits = String(value)
  return String(repeating: "0", count: max(0, width - digits.count)) + digits
}

@Suite struct TimestampTests {
  @Test(
    arguments: [
      ("1970-01-01T00:00:00Z", 0),
      ("1970-01-01T00:00:00.000001Z", 1),
      ("1969-12-31T23:59:59.999999Z", -1),
      ("2026-11-21T20:00:00.123456Z", 1_795_291_200_123_456),
      ("2026-11-21T20:00:00.123456+00:00", 1_795_291_200_123_456),
      ("2026-11-21T20:00:00.123456-00:00", 1_795_291_200_123_456),
      ("2026-11-21T21:00:00.123456+01:00", 1_795_291_200_123_456),
      ("2026-11-22T01:30:00.123456+05:30", 1_795_291_200_123_456),
      ("2026-11-21T10:30:00.123456-09:30", 1_795_291_200_123_456),
      ("2026-11-22T19:59:00.123456+23:59", 1_795_291_200_123_456),
      ("2026-11-21t20:00:00.123456z", 1_795_291_200_123_456),
      ("2026-11-21 20:00:00.123456Z", 1_795_291_200_123_456),
      // Fractions of any length; what is finer than a microsecond is cut off, not rounded.
      ("1970-01-01T00:00:01.5Z", 1_500_000),
      ("1970-01-01T00:00:01.05Z", 1_050_000),
      ("1970-01-01T00:00:00.0000019Z", 1),
      ("1970-01-01T00:00:00.999999999999999999999999999999Z", 999_999),
      ("1969-12-31T23:59:59.9999999Z", -1),
      // RFC 3339's leap seconds, as their 59th second.
      ("1990-12-31T23:59:60Z", 662_687_999_000_000),
      ("1990-12-31T15:59:60-08:00", 662_687_999_000_000),
      // Leap days.
      ("2000-02-29T00:00:00Z", 951_782_400_000_000),
      ("2024-02-29T00:00:00Z", 1_709_164_800_000_000),
      ("0000-02-29T00:00:00Z", -62_162_121_600_000_000),
      // The ends.
      ("0000-01-01T00:00:00Z", -62_167_219_200_000_000),
      ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
    ] as [(String, Int64)])
  func `RFC 3339 is read`(text: String, microseconds: Int64) {
    #expect(Timestamp.parse(text) == .init(timestamp: Timestamp(microseconds: microseconds), isClamped: false))
  }

  @Test(arguments: [
    ("0000-01-01T00:00:00+00:01", Timestamp.earliest),
    ("0000-01-01T23:58:59.999999+23:59", Timestamp.earliest),
    ("9999-12-31T23:59:59-00:01", Timestamp.latest),
    ("9999-12-31T00:01:00-23:59", Timestamp.latest),
  ])
  func `what an offset pushes out of the legal years is clamped and flagged`(text: String, end: Timestamp) {
    #expect(Timestamp.parse(text) == .init(timestamp: end, isClamped: true))
  }

  @Test func `an offset that stays within is not flagged`() {
    #expect(Timestamp.parse("0000-01-01T23:59:00+23:59") == .init(timestamp: .earliest, isClamped: false))
    #expect(Timestamp.parse("9999-12-31T00:00:59.999999-23:59") == .init(timestamp: .latest, isClamped: false))
  }

  @Test(arguments: [
    "", "Z", "2026", "2026-11-21", "2026-11-21T20:00:00", "2026-11-21T20:00Z", "20:00:00Z", "2026-11-21T20:00:00.Z",
    "2026-11-21T20:00:00,5Z", "2026-11-21T20:00:00Zx", "2026-11-21T20:00:00Z ", " 2026-11-21T20:00:00Z", "2026-11-21T20:00:00+0100",
    "2026-11-21T20:00:00+01", "2026-11-21T20:00:00+24:00", "2026-11-21T20:00:00+01:60", "2026-11-21T20:00:00+1:00",
    "2026-00-21T20:00:00Z", "2026-13-21T20:00:00Z", "2026-11-00T20:00:00Z", "2026-11-31T20:00:00Z", "2026-02-29T20:00:00Z",
    "1900-02-29T20:00:00Z", "2100-02-29T20:00:00Z", "2026-11-21T24:00:00Z", "2026-11-21T20:60:00Z", "2026-11-21T20:00:61Z",
    "-026-11-21T20:00:00Z", "+2026-11-21T20:00:00Z", "12026-11-21T20:00:00Z", "2026/11/21T20:00:00Z", "2026-11-21_20:00:00Z",
    "2026-11-21T20.00.00Z", "２026-11-21T20:00:00Z", "2026-11-21T20:00:00\u{0}Z", "2026-11-21T20:00:00.1 Z", "2026-11-21T20:00:00.-1Z",
    "Sat, 21 Nov 2026 20:00:00 GMT", "1795291200000000000000", "2026-W47-6T20:00:00Z", "2026-11-21T20:00:00Z+01:00",
  ])
  func `anything else is refused`(text: String) {
    #expect(Timestamp.parse(text) == nil)
  }

  @Test func `every cut of a time is refused`() {
    let text = "2026-11-21T20:00:00.123456+01:00"
    for length in 0..<text.utf8.count { #expect(Timestamp.parse(String(text.prefix(length))) == nil, "length \(length)") }
    #expect(Timestamp.parse(text) != nil)
  }

  @Test(arguments: 1...20 as ClosedRange<UInt64>)
  func `random times agree with a day count of another kind, and come back as printed`(seed: UInt64) {
    var state = seed &* 0x9e37_79b9_7f4a_7c15
    func random(_ range: ClosedRange<Int>) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return range.lowerBound + Int((state >> 33) % UInt64(range.count))
    }
    for _ in 0..<100 {
      let (year, month, day) = (random(0...9_999), random(1...12), random(1...28))
      let (hour, minute, second, micro) = (random(0...23), random(0...59), random(0...59), random(0...999_999))
      let date = "\(padded(year, 4))-\(padded(month, 2))-\(padded(day, 2))"
      let text = "\(date)T\(padded(hour, 2)):\(padded(minute, 2)):\(padded(second, 2)).\(padded(micro, 6))Z"
      let expected = ((countedDays(year, month, day) * 24 + hour) * 60 + minute) * 60 + second
      let parsed = Timestamp.parse(text)
      #expect(parsed?.timestamp.microseconds == Int64(expected) * 1_000_000 + Int64(micro), "seed \(seed): \(text)")
      #expect(parsed?.timestamp.rfc3339 == text, "seed \(seed)")
    }
  }

  @Test func `every day of four centuries and of both ends comes back`() {
    for start in [countedDays(0, 1, 1), countedDays(1_800, 1, 1), countedDays(9_998, 1, 1)] {
      for day in start..<start + (start == countedDays(1_800, 1, 1) ? 146_097 : 730) where day % 3 == 0 {
        let moment = Timestamp(microseconds: Int64(day) * 86_400_000_000)
        if Timestamp.parse(moment.rfc3339Bytes.rawSpan)?.timestamp != moment { Issue.record("day \(day): \(moment.rfc3339)") }
      }
    }
  }

  @Test func `the last days of months are printed`() {
    #expect(Timestamp(microseconds: 951_782_400_000_000 - 1).rfc3339 == "2000-02-28T23:59:59.999999Z")
    #expect(Timestamp(microseconds: 951_782_400_000_000).rfc3339 == "2000-02-29T00:00:00.000000Z")
    #expect(Timestamp(microseconds: -1).rfc3339 == "1969-12-31T23:59:59.999999Z")
  }

  @Test func `moments outside of the legal years are printed as the nearest legal one`() {
    #expect(Timestamp(microseconds: .min).rfc3339 == "0000-01-01T00:00:00.000000Z")
    #expect(Timestamp(microseconds: .max).rfc3339 == "9999-12-31T23:59:59.999999Z")
    #expect(Timestamp.earliest.rfc3339 == "0000-01-01T00:00:00.000000Z")
    #expect(Timestamp.latest.rfc3339 == "9999-12-31T23:59:59.999999Z")
  }

  @Test func `times sort as moments, and as they are printed`() {
    let moments = [Int64.min, -62_167_219_200_000_000, -1, 0, 1, 253_402_300_799_999_999].map { Timestamp(microseconds: $0) }
    #expect(moments.shuffled().sorted() == moments)
    #expect(moments.dropFirst().map(\.rfc3339).sorted() == moments.dropFirst().map(\.rfc3339))
  }
}
