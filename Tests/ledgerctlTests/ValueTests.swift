// Why: a mark or a zone that is misread changes an amount or a day without a word; each convention has its rows here.
import Testing

@testable import ledgerctl

private func decimal(_ text: String, mark: String, groups: [String]) -> String? {
  var marks = NumberMarks()
  marks.decimal = Array(mark.utf8)[0]
  marks.groups = groups.map { Array($0.utf8) }
  marks.isGiven = true
  return marks.decimal(Array(text.utf8)[...]).map { String(decoding: $0, as: UTF8.self) }
}

/// A time in UTC, or nil if it is none of the format.
private func time(_ text: String, _ format: String, _ zone: String = "UTC") throws -> String? {
  var time = TimeFormat()
  time.shape = try TimeFormat.shape(format).get()
  time.zone = try #require(TimeFormat.zone(zone))
  var output: [UInt8] = []
  return time.write(Array(text.utf8)[...], into: &output) ? String(decoding: output, as: UTF8.self) : nil
}

@Suite struct ValueTests {
  @Test(
    arguments: [
      ("1.234,56", ",", ["."], "1234.56"), ("-1.234.567,8", ",", ["."], "-1234567.8"), ("1234,56", ",", ["."], "1234.56"),
      ("1.234", ",", ["."], "1234"), ("1234.56", ",", ["."], nil), ("1.23", ",", ["."], nil), ("1.2345", ",", ["."], nil),
      ("1,234.56", ".", [","], "1234.56"), ("12,34,567.89", ".", [","], "1234567.89"), ("1,2345", ".", [","], nil),
      ("1.234,56", ".", [","], nil), (",123", ".", [","], nil), ("1234,567", ".", [","], nil), ("1 234,5", ",", [" ", "\u{A0}"], "1234.5"),
      ("1\u{A0}234,5", ",", [" ", "\u{A0}"], "1234.5"), ("1'234.5", ".", ["'"], "1234.5"), ("0,5", ",", [], "0.5"), (",5", ",", [], "0.5"),
      ("5,", ",", [], "5"), ("1,2,3", ",", [], nil), ("", ",", [], nil), ("-", ",", [], nil), ("1e5", ".", [], nil), ("€5", ".", [], nil),
      ("+5", ".", [], "5"), ("--5", ".", [], nil), ("1.234.", ",", ["."], nil), ("1.234,567.8", ",", ["."], nil),
    ] as [(String, String, [String], String?)])
  func `decimals are read with their marks, and never with others`(text: String, mark: String, groups: [String], expected: String?) {
    #expect(decimal(text, mark: mark, groups: groups) == expected)
  }

  @Test func `a number with marks is written as JSON wants it, and without marks as it stands`() {
    var marks = NumberMarks()
    #expect(marks.number(Array("1.50".utf8)[...]) == Array("1.50".utf8))
    #expect(marks.number(Array("007".utf8)[...]) == nil)
    marks.isGiven = true
    #expect(marks.number(Array("-007.50".utf8)[...]) == Array("-7.50".utf8))
    #expect(marks.number(Array("000".utf8)[...]) == Array("0".utf8))
  }

  @Test(
    arguments: [
      ("2024-03-31 01:59:59", "Europe/Madrid", "2024-03-31T00:59:59Z"),
      ("2024-03-31 02:30:00", "Europe/Madrid", "2024-03-31T01:30:00Z"),  // skipped: read as if clocks had not changed
      ("2024-03-31 03:00:00", "Europe/Madrid", "2024-03-31T01:00:00Z"),
      ("2024-10-27 01:59:59", "Europe/Madrid", "2024-10-26T23:59:59Z"),
      ("2024-10-27 02:30:00", "Europe/Madrid", "2024-10-27T00:30:00Z"),  // twice: the first
      ("2024-10-27 03:00:00", "Europe/Madrid", "2024-10-27T02:00:00Z"),
      ("2024-11-03 01:30:00", "America/New_York", "2024-11-03T05:30:00Z"),
      ("2024-03-10 02:30:00", "America/New_York", "2024-03-10T07:30:00Z"),
      ("2024-04-07 01:45:00", "Australia/Lord_Howe", "2024-04-06T14:45:00Z"),  // half an hour is set back
      ("2011-12-30 12:00:00", "Pacific/Apia", "2011-12-30T22:00:00Z"),  // a day that was skipped
      ("1969-07-20 22:56:15", "America/New_York", "1969-07-21T02:56:15Z"),
      ("2024-07-01 12:00:00", "Asia/Kolkata", "2024-07-01T06:30:00Z"),
      ("0001-01-01 00:00:00", "UTC", "0001-01-01T00:00:00Z"),
      ("0001-01-01 00:00:00", "-01:00", "0001-01-01T01:00:00Z"),
      ("9999-12-31 23:59:59", "UTC", "9999-12-31T23:59:59Z"),
      ("9999-12-31 23:59:59", "-01:00", nil),
    ] as [(String, String, String?)])
  func `local times become UTC, in gaps and overlaps as documented`(text: String, zone: String, expected: String?) throws {
    // Twice, since a zone remembers days.
    for _ in 1...2 { #expect(try time(text, "%F %T", zone) == expected) }
  }

  @Test(
    arguments: [
      ("epoch", "1710325274.25", "2024-03-13T10:21:14.25Z"), ("epoch", "-0.25", "1969-12-31T23:59:59.75Z"),
      ("epoch", "-62135596800", "0001-01-01T00:00:00Z"), ("epoch", "9223372036854775807", nil), ("epoch", "-9223372036854775808", nil),
      ("epoch", "1.", nil), ("epoch", ".5", nil), ("epoch", "1e3", nil), ("epoch-ms", "1.5", nil),
      ("epoch-ms", "-62135596800001", "0000-12-31T23:59:59.999Z"), ("epoch-us", "1", "1970-01-01T00:00:00.000001Z"),
      ("yyyymmdd", "19081209", "1908-12-09T00:00:00Z"), ("yyyymmdd", "19081309", nil), ("yyyymmdd", "0", nil),
      ("rfc3339", "2024-02-29T23:59:59.5+02:00", "2024-02-29T21:59:59.5Z"), ("rfc3339", "2024-02-29 23:59:59z", "2024-02-29T23:59:59Z"),
      ("rfc3339", "2024-02-29T23:59:59", nil), ("rfc3339", "2024-02-29T23:59Z", nil), ("rfc3339", "2024-02-29", nil),
      ("%m/%d/%Y %I:%M %p", "3/7/2024 12:05 AM", "2024-03-07T00:05:00Z"),
      ("%m/%d/%Y %I:%M %p", "3/7/2024 12:05 pm", "2024-03-07T12:05:00Z"),
      ("%m/%d/%Y %I:%M %p", "3/7/2024 13:05 PM", nil), ("%d %B %Y", "7 march 2024", "2024-03-07T00:00:00Z"),
      ("%d %b %Y", "7 Mar 2024", "2024-03-07T00:00:00Z"), ("%d/%b/%Y:%T %z", "10/Oct/2000:13:55:36 -0700", "2000-10-10T20:55:36Z"),
      ("%d.%m.%y", "01.02.69", "1969-02-01T00:00:00Z"), ("%d.%m.%y", "01.02.68", "2068-02-01T00:00:00Z"),
    ] as [(String, String, String?)])
  func `times of every format are read, and what is none is refused`(format: String, text: String, expected: String?) throws {
    #expect(try time(text, format) == expected)
  }

  @Test(arguments: ["EST5", "Mars/Phobos", "CEST", "", "+25:00", "europe"])
  func `a zone that is none, or that means several, is refused`(name: String) {
    #expect(TimeFormat.zone(name) == nil)
  }
}
