// Identifiers: normalising (SEMANTICS §2.2), blocking (§2.3), the written form.

import Bytes
import LedgerCore
import Testing

private func identifier(_ kind: String, _ raw: String) -> Identifier? {
  Identifier(kind: Array(kind.utf8), raw: Array(raw.utf8).rawSpan)
}

private func value(_ kind: String, _ raw: String) -> [UInt8]? { identifier(kind, raw)?.value }

@Test(arguments: [
  ("MyEmail@example.com", "myemail@example.com"), ("JANE.SAOIRSE@gmail.com", "janesaoirse@gmail.com"),
  ("JaneSaoirse+Work@gmail.com", "janesaoirse@gmail.com"), ("JaneSaoirse+Work@example.com", "janesaoirse+work@example.com"),
  ("  ana@example.org\u{a0}", "ana@example.org"), ("MU\u{d1}OZ@example.es", "mu\u{f1}oz@example.es"),
  ("a.b@googlemail.com", "a.b@googlemail.com"), ("+x@gmail.com", "+x@gmail.com"), ("...@GMAIL.com", "...@gmail.com"),
  ("a@b@GMAIL.COM", "a@b@gmail.com"), ("no-at-sign", "no-at-sign"),
])
func `emails follow UID2's rule`(_ raw: String, _ expected: String) {
  #expect(value("email", raw) == Array(expected.utf8))
}

@Test(arguments: [
  ("cookie", "AbC", "AbC"), ("device", "\u{2003}k1\u{3000}\n", "k1"), ("crm", "Mun\u{303}oz", "Mu\u{f1}oz"), ("crm", "a b", "a b"),
  ("device", "\u{200b}x", "\u{200b}x"), ("device", "\u{85}x\u{202f}\u{205f}\u{1680}", "x"),
])
func `other values are composed and trimmed, nothing else`(_ kind: String, _ raw: String, _ expected: String) {
  #expect(value(kind, raw) == Array(expected.utf8))
}

@Test(arguments: [
  "", " ", "\u{3000}", "0", "000", "-", "0-0-0", "-1", "null", "NULL", "None", "NaN", "undefined", "true", "False", "anonymous", "GUEST",
  "id", "distinct_id", "not_authenticated", "[Object object]", "[object Object]", " null ",
])
func `blocked values point at nobody`(_ raw: String) {
  #expect(value("cookie", raw) == nil)
  #expect(value("email", raw) == nil)
}

@Test(arguments: ["00a", "-2", "nul", "nulls", "anonymous1", "[object Object"])
func `values that only resemble blocked ones count`(_ raw: String) {
  #expect(value("cookie", raw) != nil)
}

@Test(arguments: ["name", "full_name", "first_name", "last_name", "given_name", "family_name", "", "a\u{0}b", "a\u{1f}"])
func `a name, and what is no kind, is no identifier`(_ kind: String) {
  #expect(value(kind, "Ana") == nil)
}

@Test func `a kind has at most 64 bytes`() {
  #expect(value(String(repeating: "k", count: 64), "v") != nil)
  #expect(value(String(repeating: "k", count: 65), "v") == nil)
}

@Test(arguments: [
  ("email:Ana@example.org", "email", "ana@example.org"), ("dni:ES:12345678Z", "dni:ES", "12345678Z"), ("nie:ES:X1", "nie:ES", "X1"),
  ("cuit:AR:20-1", "cuit:AR", "20-1"), ("cif:ES:A1", "cif:ES", "A1"), ("social:instagram:ana:b", "social:instagram", "ana:b"),
  ("dni:12345678Z", "dni", "12345678Z"), ("device:a:b", "device", "a:b"), ("cookie: c ", "cookie", "c"),
])
func `kind and value are read from their text`(_ text: String, _ kind: String, _ value: String) {
  guard case .identifier(let identifier) = Identifier.parse(text) else {
    Issue.record("not read")
    return
  }
  #expect(identifier.kind == Array(kind.utf8))
  #expect(identifier.value == Array(value.utf8))
  #expect(Identifier.parse(identifier.text) == .identifier(identifier))
}

@Test func `texts without a kind are malformed, blocked values are told apart`() {
  for text in ["", "email", ":x", "name:Ana"] { #expect(Identifier.parse(text) == .malformed) }
  for text in ["email:", "cookie:null", "dni:ES:0000"] { #expect(Identifier.parse(text) == .blocked) }
}

@Test func `the raw value is kept and does not count`() throws {
  let left = try #require(identifier("email", "ANA@x.org"))
  let right = try #require(identifier("email", "ana@x.org"))
  #expect(left == right)
  #expect(left.hashValue == right.hashValue)
  #expect(left.raw == Array("ANA@x.org".utf8))
}
