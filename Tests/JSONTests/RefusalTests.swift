// Why this file exists: everything RFC 8259 does not allow is refused, at the right byte, and nothing of the text leaks.

import Bytes
import Testing

@testable import JSON

struct Refusal: Sendable, CustomTestStringConvertible {
  let bytes: [UInt8]
  let reason: JSONError.Reason
  let offset: Int

  init(_ text: String, _ reason: JSONError.Reason, _ offset: Int) {
    self.init(Array(text.utf8), reason, offset)
  }

  init(_ bytes: [UInt8], _ reason: JSONError.Reason, _ offset: Int) {
    (self.bytes, self.reason, self.offset) = (bytes, reason, offset)
  }

  var testDescription: String { String(decoding: bytes, as: UTF8.self).debugDescription }
}

@Suite struct `What is no JSON is refused` {
  static let refusals: [Refusal] = [
    Refusal("", .expectedValue, 0),
    Refusal("  \n", .expectedValue, 3),
    Refusal("NaN", .expectedValue, 0),
    Refusal("[Infinity]", .expectedValue, 1),
    Refusal("[-Infinity]", .expectedDigit, 2),
    Refusal("nul", .expectedValue, 0),
    Refusal("[trux]", .expectedValue, 1),
    Refusal("truex", .expectedEnd, 4),
    Refusal("{} x", .expectedEnd, 3),
    Refusal("{}{}", .expectedEnd, 2),
    Refusal("{}\n{}", .expectedEnd, 3),
    Refusal("1 2", .expectedEnd, 2),
    Refusal("[1]]", .expectedEnd, 3),
    Refusal("{}\u{0}", .expectedEnd, 2),
    Refusal("\u{FEFF}{}", .expectedValue, 0),
    Refusal("\u{A0}{}", .expectedValue, 0),
    Refusal("[1,]", .expectedValue, 3),
    Refusal("[1 2]", .expectedCommaOrBracket, 3),
    Refusal("[1", .expectedCommaOrBracket, 2),
    Refusal("[1}", .expectedCommaOrBracket, 2),
    Refusal("[", .expectedValue, 1),
    Refusal("]", .expectedValue, 0),
    Refusal("{", .expectedKey, 1),
    Refusal("{a:1}", .expectedKey, 1),
    Refusal("{'a':1}", .expectedKey, 1),
    Refusal("{1:1}", .expectedKey, 1),
    Refusal("{\"a\":1,}", .expectedKey, 7),
    Refusal("{\"a\" 1}", .expectedColon, 5),
    Refusal("{\"a\"}", .expectedColon, 4),
    Refusal("{\"a\":}", .expectedValue, 5),
    Refusal("{\"a\":1 \"b\":2}", .expectedCommaOrBrace, 7),
    Refusal("{\"a\":1", .expectedCommaOrBrace, 6),
    Refusal("[1,// no\n2]", .expectedValue, 3),
    Refusal("[1/* no */]", .expectedCommaOrBracket, 2),
    Refusal("01", .expectedEnd, 1),
    Refusal("[-01]", .expectedCommaOrBracket, 3),
    Refusal("+1", .expectedValue, 0),
    Refusal(".5", .expectedValue, 0),
    Refusal("[1.]", .expectedDigit, 3),
    Refusal("[1.e5]", .expectedDigit, 3),
    Refusal("[1e]", .expectedDigit, 3),
    Refusal("[1e+]", .expectedDigit, 4),
    Refusal("-", .expectedDigit, 1),
    Refusal("[0x10]", .expectedCommaOrBracket, 2),
    Refusal("[1\"a\"]", .expectedCommaOrBracket, 2),
    // Beside a number that simdjson alone would refuse, so that the copy without numbers is judged too.
    Refusal("[1e400,01]", .expectedCommaOrBracket, 8),
    Refusal("[123456789012345678901234567890 1]", .expectedCommaOrBracket, 32),
    Refusal("[1e400,1.]", .expectedDigit, 9),
    Refusal("[1e400x]", .expectedCommaOrBracket, 6),
    Refusal("{1e400:1}", .expectedKey, 1),
    Refusal("\"a", .expectedClosingQuote, 2),
    Refusal("[\"a]", .expectedClosingQuote, 4),
    Refusal("\"a\\\"", .expectedClosingQuote, 4),
    Refusal("\"a\\", .expectedEscape, 3),
    Refusal("\"\\x41\"", .expectedEscape, 2),
    Refusal("\"\\u12\"", .expectedEscape, 1),
    Refusal("\"\\u12G4\"", .expectedEscape, 1),
    Refusal("\"\\'\"", .expectedEscape, 2),
    Refusal("\"a\nb\"", .controlCharacter, 2),
    Refusal("\"a\tb\"", .controlCharacter, 2),
    Refusal("\"a\u{0}b\"", .controlCharacter, 2),
    Refusal("{\"a\u{1F}\":1}", .controlCharacter, 3),
    Refusal("\"\\ud800\"", .loneSurrogate, 1),
    Refusal("\"\\udc00\"", .loneSurrogate, 1),
    Refusal("\"a\\uDFFFb\"", .loneSurrogate, 2),
    Refusal("\"\\ud800x\"", .loneSurrogate, 1),
    Refusal("\"\\ud800\\n\"", .loneSurrogate, 1),
    Refusal("\"\\ud800\\u0041\"", .loneSurrogate, 1),
    Refusal("\"\\ud800\\ud800\"", .loneSurrogate, 1),
    Refusal("\"\\ud83d\\ude00\\ude00\"", .loneSurrogate, 13),
    Refusal("{\"\\ud800\":1}", .loneSurrogate, 2),
    Refusal("{\"\\udc00\":1}", .loneSurrogate, 2),
    Refusal("{\"a\\n\":1,\"\\ud800\\u0041\":\"\\n\"}", .loneSurrogate, 10),
    Refusal([0x22, 0xFF, 0x22], .invalidUTF8, 1),
    Refusal([0x22, 0xC3, 0x22], .invalidUTF8, 1),
    Refusal([0x22, 0x80, 0x22], .invalidUTF8, 1),
    Refusal([0x22, 0xC0, 0xAF, 0x22], .invalidUTF8, 1),
    Refusal([0x22, 0x61, 0xED, 0xA0, 0x80, 0x22], .invalidUTF8, 2),
    Refusal([0x22, 0xF4, 0x90, 0x80, 0x80, 0x22], .invalidUTF8, 1),
    Refusal([0x22, 0xE0, 0x80, 0x80, 0x22], .invalidUTF8, 1),
    Refusal([0xFF], .expectedValue, 0),
    Refusal([0xFF, 0xFE, 0x7B, 0x00, 0x7D, 0x00], .expectedValue, 0),
  ]

  @Test(arguments: refusals)
  func `each breach is refused at its byte`(_ row: Refusal) {
    #expect(refusal(of: row.bytes) == JSONError(reason: row.reason, offset: row.offset))
  }

  @Test(arguments: refusals)
  func `each breach is refused far inside a text too`(_ row: Refusal) {
    let start = Array("{\"padding\":\"\(String(repeating: "á", count: 500))\",\"x\":[null,".utf8)
    let error = refusal(of: start + row.bytes)
    #expect(error != nil && error?.reason != .refused && (error?.offset ?? -1) >= start.count)
  }

  @Test func `512 arrays inside each other are read and 513 are too deep`() {
    func nested(_ depth: Int, _ inner: String) -> [UInt8] {
      Array((String(repeating: "[", count: depth) + inner + String(repeating: "]", count: depth)).utf8)
    }
    #expect(refusal(of: nested(512, "")) == nil)
    #expect(refusal(of: nested(511, "{}")) == nil)
    #expect(refusal(of: nested(513, "")) == JSONError(reason: .tooDeep, offset: 512))
    #expect(refusal(of: nested(512, "{}")) == JSONError(reason: .tooDeep, offset: 512))
    #expect(refusal(of: nested(100_000, ""))?.kind == .tooDeep)
    let objects = String(repeating: "{\"a\":", count: 513) + "1" + String(repeating: "}", count: 513)
    #expect(refusal(of: Array(objects.utf8)) == JSONError(reason: .tooDeep, offset: 512 * 5))
  }

  @Test func `more bytes than the limit are refused unread`() {
    let text = [UInt8](repeating: 0x20, count: JSONReader.byteCountMax + 1)
    #expect(refusal(of: text) == JSONError(reason: .tooLarge, offset: nil))
    #expect(refusal(of: text)?.kind == .tooLarge)
  }

  @Test func `the message says where and what, and nothing of the text`() {
    let text = Array("{\"secreto\":\"ana\",Ñandú}".utf8)
    #expect(refusal(of: text)?.description == "invalid JSON at byte 17: expected a member name in quotes")
    for reason in JSONError.Reason.allCases {
      #expect(JSONError(reason: reason, offset: 3).description.hasPrefix("invalid JSON at byte 3: "))
    }
  }

  @Test func `a refused text leaves the reader usable`() throws {
    var reader = JSONReader()
    #expect(throws: JSONError.self) { try reader.parse(Array("[1,".utf8).rawSpan) }
    let root = try reader.parse(Array("[1,2]".utf8).rawSpan)
    #expect(reader.childCount(of: root) == 2)
  }

  @Test(arguments: [1, 2, 3] as [UInt64])
  func `simdjson and the byte by byte grammar agree on damaged texts`(seed: UInt64) throws {
    var random = SeededGenerator(state: seed)
    var reader = JSONReader()
    var accepted = 0
    let pieces: [[UInt8]] = [
      "\\u", "\\ud800", "\\udc00", "\\", "\"", "1e400", "0", "-", ".", "e9", "[", "]", "{", "}", ",", ":", "\u{FEFF}", "\t", "\u{C}",
      "\u{1A}", "\u{0}", "true", "null", "é", "/", " ",
    ].map { Array($0.utf8) }
    for round in 0..<3000 {
      var bytes = RandomJSON(depthMax: 4).text(&random)
      for _ in 0..<Int.random(in: 1...2, using: &random) {
        let at = Int.random(in: 0...bytes.count, using: &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: bytes.insert(UInt8.random(in: 0...255, using: &random), at: at)
        case 1: if at < bytes.count { bytes.remove(at: at) }
        case 2: if at < bytes.count { bytes[at] = UInt8.random(in: 0...255, using: &random) }
        default: bytes.insert(contentsOf: pieces[Int.random(in: 0..<pieces.count, using: &random)], at: at)
        }
      }
      var error: JSONError?
      do throws(JSONError) {
        _ = try reader.parse(bytes.rawSpan)
        accepted += 1
      } catch let refusal {
        error = refusal
      }
      #expect(error == locateError(in: bytes.rawSpan), "seed \(seed), round \(round): \(bytes)")
    }
    #expect(accepted > 100 && accepted < 2900)
  }
}
