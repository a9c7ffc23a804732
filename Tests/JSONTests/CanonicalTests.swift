// Why this file exists: the canonical form against the samples of RFC 8785, and where it departs on purpose.

import Bytes
import Testing

@testable import JSON

@Suite struct `The canonical form` {
  func canonical(_ text: String) throws -> String {
    try reading(text) { reader, root in String(decoding: reader.canonicalBytes(of: root), as: UTF8.self) }
  }

  /// RFC 8785 Appendix B: bits of the double and the text it must have.
  static let numberSamples: [(UInt64, String)] = [
    (0x0000_0000_0000_0000, "0"), (0x8000_0000_0000_0000, "0"), (0x0000_0000_0000_0001, "5e-324"),
    (0x8000_0000_0000_0001, "-5e-324"), (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
    (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"), (0x4340_0000_0000_0000, "9007199254740992"),
    (0xc340_0000_0000_0000, "-9007199254740992"), (0x4430_0000_0000_0000, "295147905179352830000"),
    (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"), (0x44b5_2d02_c7e1_4af6, "1e+23"),
    (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"), (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
    (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"), (0x444b_1ae4_d6e2_ef50, "1e+21"),
    (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"), (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
    (0x41b3_de43_5555_5553, "333333333.3333332"), (0x41b3_de43_5555_5554, "333333333.33333325"),
    (0x41b3_de43_5555_5555, "333333333.3333333"), (0x41b3_de43_5555_5556, "333333333.3333334"),
    (0x41b3_de43_5555_5557, "333333333.33333343"), (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
    (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
  ]

  @Test func `writes the numbers of RFC 8785 Appendix B`() {
    for (bits, text) in Self.numberSamples {
      #expect(String(decoding: ecmaScriptBytes(of: Double(bitPattern: bits)), as: UTF8.self) == text)
    }
  }

  @Test func `writes numbers that read back as the same double`() throws {
    var random = SeededGenerator(state: 5)
    for _ in 0..<5000 {
      let value = Double(bitPattern: random.next())
      guard value.isFinite else { continue }
      let text = String(decoding: ecmaScriptBytes(of: value), as: UTF8.self)
      #expect(Double(text) == value)
      #expect(try canonical("[\(value.description)]") == "[\(text)]")
    }
  }

  @Test func `sorts names by UTF-16 code units`() throws {
    // RFC 8785 §3.2.3; U+FB33 comes behind the surrogates of U+1F600.
    let text =
      #"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","#
      + #""\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}"#
    let expected =
      "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\"ö\":\"Latin Small Letter O With Diaeresis\","
      + "\"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\"\u{FB33}\":\"Hebrew Letter Dalet With Dagesh\"}"
    #expect(Array(try canonical(text).utf8) == Array(expected.utf8))
  }

  @Test func `orders names as Swift's UTF-16 views do`() throws {
    var random = SeededGenerator(state: 8)
    let scalars: [Unicode.Scalar] = [
      "a", "\u{7F}", "\u{80}", "\u{7FF}", "\u{800}", "\u{D7FF}", "\u{E000}", "\u{FFFF}", "\u{10000}", "\u{10FFFF}",
    ]
    for _ in 0..<200 {
      var names = Set<String>()
      for _ in 0..<6 {
        names.insert((0..<Int.random(in: 0...3, using: &random)).map { _ in String(scalars.randomElement(using: &random) ?? "a") }.joined())
      }
      let expected = names.sorted { $0.utf16.lexicographicallyPrecedes($1.utf16) }
      let text = "{" + names.map { "\"\($0)\":0" }.joined(separator: ",") + "}"
      #expect(try canonical(text) == "{" + expected.map { "\"\($0)\":0" }.joined(separator: ",") + "}")
    }
  }

  @Test func `writes the example of RFC 8785`() throws {
    let text = #"""
      {
        "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
        "literals": [null, true, false]
      }
      """#
    let expected =
      #"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"#
      + #""string":"€$\u000f\nA'B\"\\\\\"/"}"#
    #expect(try canonical(text) == expected)
  }

  @Test func `ignores white space, order, escapes and spelling, and nothing else`() throws {
    let same = [#"{"b":[1,2.50],"a":"é\/"}"#, #" { "a" : "\u00E9/" , "b" : [ 1 , 25e-1 ] } "#]
    #expect(try canonical(same[0]) == canonical(same[1]))
    let other = [#"{"b":[2.5,1],"a":"é/"}"#, "{\"b\":[1,2.5],\"a\":\"e\u{301}/\"}", #"{"b":["1",2.5],"a":"é/"}"#]
    for text in other { #expect(try Array(canonical(text).utf8) != Array(canonical(same[0]).utf8)) }
  }

  @Test func `keeps what the RFC would merge or forbid apart`() throws {
    let rows = [
      ("9007199254740993", "9007199254740993"), ("-123456789012345678901234567890", "-123456789012345678901234567890"),
      ("9007199254740992.0", "9007199254740992"), ("1.0", "1"), ("-0", "0"), ("-0.0", "0"), ("0e5", "0"), ("100e-2", "1"),
      ("1e400", "1e400"), ("-1E400", "-1E400"), ("1e-400", "0"), (#"{"a":2,"b":0,"a":1}"#, #"{"a":2,"a":1,"b":0}"#), ("[ ]", "[]"),
      ("{ }", "{}"), (#""\u007f\u0001\t""#, "\"\u{7F}\\u0001\\t\""),
    ]
    for (text, expected) in rows { #expect(try canonical(text) == expected) }
  }
}
