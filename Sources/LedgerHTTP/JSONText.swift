// Why: answers are written as bytes, in a fixed order of members, without a tree in between.
//
// Invariant: whatever is written through it is valid JSON as long as the calls nest; strings are escaped as RFC 8259
// asks and nothing more, so that the same answer has the same bytes everywhere.

/// Writes JSON, member after member. Commas are its business.
struct JSONText {
  private(set) var bytes: [UInt8] = []
  private var needsComma = false

  mutating func object(_ body: (inout JSONText) -> Void) { nested("{", "}", body) }
  mutating func array(_ body: (inout JSONText) -> Void) { nested("[", "]", body) }

  mutating func member(_ name: StaticString, _ value: String) { member(name) { $0.string(value) } }
  mutating func member(_ name: String, _ value: Int64) { key(name) { $0.integer(value) } }
  mutating func member(_ name: StaticString, _ value: Int64) { member(name) { $0.integer(value) } }
  mutating func member(_ name: StaticString, _ value: Bool) { member(name) { $0.value(value ? "true" : "false") } }
  mutating func member(_ name: StaticString, _ value: Int64?) {
    member(name) { text in if let value { text.integer(value) } else { text.value("null") } }
  }
  mutating func member(_ name: StaticString, _ body: (inout JSONText) -> Void) { key(name.description, body) }

  mutating func element(_ body: (inout JSONText) -> Void) {
    separate()
    body(&self)
    needsComma = true
  }

  private mutating func key(_ name: String, _ body: (inout JSONText) -> Void) {
    separate()
    string(name)
    bytes.append(UInt8(ascii: ":"))
    body(&self)
    needsComma = true
  }

  private mutating func nested(_ open: Unicode.Scalar, _ close: Unicode.Scalar, _ body: (inout JSONText) -> Void) {
    bytes.append(UInt8(ascii: open))
    needsComma = false
    body(&self)
    bytes.append(UInt8(ascii: close))
    needsComma = true
  }

  private mutating func separate() {
    if needsComma { bytes.append(UInt8(ascii: ",")) }
    needsComma = false
  }

  private mutating func value(_ token: String) { bytes.append(contentsOf: token.utf8) }
  private mutating func integer(_ value: Int64) { self.value(String(value)) }

  private mutating func string(_ text: String) {
    let digits = Array("0123456789abcdef".utf8)
    bytes.append(UInt8(ascii: "\""))
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""): value("\\\"")
      case UInt8(ascii: "\\"): value("\\\\")
      case 0x08: value("\\b")
      case 0x09: value("\\t")
      case 0x0A: value("\\n")
      case 0x0C: value("\\f")
      case 0x0D: value("\\r")
      case 0..<0x20:
        value("\\u00")
        bytes.append(digits[Int(byte >> 4)])
        bytes.append(digits[Int(byte & 15)])
      default: bytes.append(byte)
      }
    }
    bytes.append(UInt8(ascii: "\""))
  }
}
