// What the wrapper promises about composition and lower case, as data.

import Bytes
import Testing
import UTF8Proc

private func composed(_ text: String) -> [UInt8] { UTF8Proc.normalised(Array(text.utf8).rawSpan) }
private func lower(_ text: String) -> [UInt8] { UTF8Proc.lowercased(Array(text.utf8).rawSpan) }

@Test(arguments: [
  ("", ""), ("plain ASCII 42", "plain ASCII 42"), ("e\u{301}", "\u{e9}"), ("\u{e9}", "\u{e9}"), ("n\u{303}o", "\u{f1}o"),
  ("\u{212b}", "\u{c5}"), ("\u{1100}\u{1161}", "\u{ac00}"), ("a\u{0}e\u{301}", "a\u{0}\u{e9}"), ("\u{fb01}", "\u{fb01}"),
])
func `a text is composed canonically and no further`(_ text: String, _ expected: String) {
  #expect(composed(text) == Array(expected.utf8))
}

@Test func `malformed UTF-8 comes back as it is`() {
  let bytes: [UInt8] = [0x61, 0xff, 0xc3]
  #expect(UTF8Proc.normalised(bytes.rawSpan) == bytes)
  #expect(UTF8Proc.lowercased(bytes.rawSpan) == bytes)
}

@Test(arguments: [("ANA@Example.ORG", "ana@example.org"), ("MU\u{d1}OZ", "mu\u{f1}oz"), ("E\u{301}", "\u{e9}"), ("\u{1e9e}", "\u{df}")])
func `lower case goes code point by code point`(_ text: String, _ expected: String) {
  #expect(lower(text) == Array(expected.utf8))
}

@Test func `the Unicode version is the one that the folds were versioned with`() {
  #expect(UTF8Proc.unicodeVersion == "15.0.0", "the tables changed: raise the version of the folds that store normalised values")
}
