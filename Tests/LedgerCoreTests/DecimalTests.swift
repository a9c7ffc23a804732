// Decimals: what is read, how it is written, what does not fit.

import Bytes
import LedgerCore
import Testing

private func decimal(_ text: String) -> Decimal? { Decimal.parse(Array(text.utf8).rawSpan) }

@Test(arguments: [
  ("0", "0"), ("-0", "0"), ("0.000", "0"), ("0e999999999999", "0"), ("1", "1"), ("-1.50", "-1.5"), ("1.50", "1.5"), ("15e-1", "1.5"),
  ("0.1", "0.1"), ("1e3", "1000"), ("1.2E+3", "1200"), ("100e-2", "1"), ("-0.05", "-0.05"), ("+7", "7"), ("007.50", "7.5"),
  ("12345678901234567890.123456789", "12345678901234567890.123456789"), ("1e-38", "0.00000000000000000000000000000000000001"),
  ("170141183460469231731687303715884105727", "170141183460469231731687303715884105727"),
  ("1.0000000000000000000000000000000000000000000000000000000000", "1"), ("10000000000e-10", "1"),
])
func `a number or decimal string is kept exactly and printed in one form`(_ text: String, _ expected: String) {
  #expect(decimal(text)?.text == expected)
  #expect(decimal(expected) == decimal(text))
}

@Test(arguments: [
  "", "-", ".5", "5.", "1e", "1,5", " 1", "1 ", "0x1", "NaN", "1.2.3", "1e39", "1e-39", "170141183460469231731687303715884105728", "--1",
  "1e5e5",
])
func `what is not a decimal or does not fit is nil`(_ text: String) {
  #expect(decimal(text) == nil)
}

@Test func `sums are exact, and nil where they do not fit`() throws {
  let tenth = try #require(decimal("0.1"))
  var sum = Decimal.zero
  for _ in 0..<10 { sum = try #require(sum.adding(tenth)) }
  #expect(sum.text == "1")
  #expect(try #require(decimal("1.05")).adding(try #require(decimal("-0.05")))?.text == "1")
  let large = try #require(decimal("170141183460469231731687303715884105727"))
  #expect(large.adding(try #require(decimal("1"))) == nil)
  #expect(large.adding(tenth) == nil)
}

@Test func `an amount has bounds, so that sums of amounts stay exact`() throws {
  #expect(Amount(value: try #require(decimal("999999999999999999.999999999999")), currency: Array("EUR".utf8)) != nil)
  #expect(Amount(value: try #require(decimal("1000000000000000000")), currency: Array("EUR".utf8)) == nil)
  #expect(Amount(value: try #require(decimal("0.0000000000001")), currency: Array("EUR".utf8)) == nil)
  #expect(Amount(value: .zero, currency: []) == nil)
  #expect(Amount(value: .zero, currency: Array(repeating: 0x41, count: 17)) == nil)
}
