// Why: answers and import rows go through this reader; what it accepts and keeps is held here as data.
import LedgerClient
import Testing

@Suite struct JSONValueTests {
  @Test(arguments: [
    (#" {"b":1.50,"a":[true,false,null],"b":2} "#, #"{"b":1.50,"a":[true,false,null],"b":2}"#),
    (#""\u00e9\ud83d\ude00\/\n\u0000""#, #""é😀/\u000a\u0000""#),
    ("12345678901234567890.000e-5", "12345678901234567890.000e-5"), ("-0", "-0"), ("[]", "[]"), ("{}", "{}"),
  ])
  func `a value keeps order, names and tokens`(text: String, expected: String) throws {
    #expect(String(decoding: try JSONValue(parsing: Array(text.utf8)).encoded(), as: UTF8.self) == expected)
  }

  @Test(arguments: [
    "", " ", "{", "[1,]", "{\"a\":1,}", "{a:1}", "01", "1.", ".5", "+1", "NaN", "tru", "\"", "\"\\x\"", "\"\\ud800\"", "\"\\ud800\\u0041\"",
    "\"\n\"", "1 2", "\"\\u12g4\"", "[1 2]", "{\"a\" 1}", "-", "1e",
  ])
  func `what is no JSON is refused`(text: String) {
    #expect(throws: JSONSyntaxError.self) { try JSONValue(parsing: Array(text.utf8)) }
  }

  @Test func `bytes that are not UTF-8 and nesting without end are refused`() {
    #expect(throws: JSONSyntaxError.self) { try JSONValue(parsing: [0x22, 0xFF, 0x22]) }
    #expect(throws: JSONSyntaxError.self) { try JSONValue(parsing: [UInt8](repeating: UInt8(ascii: "["), count: 100_000)) }
  }
}
