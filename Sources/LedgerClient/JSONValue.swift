// Why: answers are read as they came: members in their order, numbers as their text, so that nothing is lost on the way
// to a table or a file (an amount never passes through `Double`).
//
// Invariants:
// - Parsing takes exactly the texts of RFC 8259, nesting at most `JSONValue.depthMax`; everything else is an error.
// - A number is kept as its token; an object keeps order and repeated names (looking up finds the first).

/// Why a text is no JSON.
public struct JSONSyntaxError: Error, Sendable, Equatable, CustomStringConvertible {
  /// What was wrong.
  public let reason: String
  /// Where, in bytes from 0.
  public let offset: Int
  /// For people.
  public var description: String { "\(reason) at byte \(offset)" }
}

/// A JSON text as a tree. For answers and import rows; not for hot paths of the daemon.
public indirect enum JSONValue: Sendable, Equatable {
  /// `null`.
  case null
  /// `true` or `false`.
  case bool(Bool)
  /// A number, as its token.
  case number(String)
  /// A string, unescaped.
  case string(String)
  /// An array.
  case array([JSONValue])
  /// An object, members in their order.
  case object([(name: String, value: JSONValue)])

  /// The deepest nesting that is read.
  public static let depthMax = 256

  /// Parses a whole text.
  public init(parsing bytes: [UInt8]) throws(JSONSyntaxError) {
    var parser = JSONParser(bytes: bytes)
    self = try parser.document()
  }

  /// The member `name` of an object, if there is one.
  public subscript(_ name: String) -> JSONValue? {
    guard case .object(let members) = self else { return nil }
    return members.first { $0.name.utf8.elementsEqual(name.utf8) }?.value
  }

  /// The elements of an array, if it is one.
  public var array: [JSONValue]? { if case .array(let elements) = self { elements } else { nil } }
  /// The text of a string, if it is one.
  public var string: String? { if case .string(let text) = self { text } else { nil } }
  /// The value of an integer that fits, if it is one.
  public var integer: Int64? { if case .number(let token) = self { Int64(token) } else { nil } }
  /// The value of a boolean, if it is one.
  public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }

  /// The compact text. Strings are escaped as little as RFC 8259 allows.
  public func encoded() -> [UInt8] {
    var bytes: [UInt8] = []
    encode(into: &bytes)
    return bytes
  }

  /// Two values are equal if their texts are, name by name and token by token.
  public static func == (left: JSONValue, right: JSONValue) -> Bool { left.encoded() == right.encoded() }

  private func encode(into bytes: inout [UInt8]) {
    switch self {
    case .null: bytes.append(contentsOf: "null".utf8)
    case .bool(let value): bytes.append(contentsOf: (value ? "true" : "false").utf8)
    case .number(let token): bytes.append(contentsOf: token.utf8)
    case .string(let text): Self.encode(text, into: &bytes)
    case .array(let elements):
      bytes.append(UInt8(ascii: "["))
      for (index, element) in elements.enumerated() {
        if index > 0 { bytes.append(UInt8(ascii: ",")) }
        element.encode(into: &bytes)
      }
      bytes.append(UInt8(ascii: "]"))
    case .object(let members):
      bytes.append(UInt8(ascii: "{"))
      for (index, member) in members.enumerated() {
        if index > 0 { bytes.append(UInt8(ascii: ",")) }
        Self.encode(member.name, into: &bytes)
        bytes.append(UInt8(ascii: ":"))
        member.value.encode(into: &bytes)
      }
      bytes.append(UInt8(ascii: "}"))
    }
  }

  private static func encode(_ text: String, into bytes: inout [UInt8]) {
    let digits = Array("0123456789abcdef".utf8)
    bytes.append(UInt8(ascii: "\""))
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes.append(contentsOf: [UInt8(ascii: "\\"), byte])
      case 0..<0x20: bytes.append(contentsOf: "\\u00".utf8 + [digits[Int(byte >> 4)], digits[Int(byte & 15)]])
      default: bytes.append(byte)
      }
    }
    bytes.append(UInt8(ascii: "\""))
  }
}

/// A recursive-descent reader over bytes.
private struct JSONParser {
  let bytes: [UInt8]
  var offset = 0

  mutating func document() throws(JSONSyntaxError) -> JSONValue {
    let value = try value(depth: 0)
    skipBlanks()
    guard offset == bytes.count else { throw failure("text after the value") }
    return value
  }

  private func failure(_ reason: String) -> JSONSyntaxError { JSONSyntaxError(reason: reason, offset: offset) }

  private var next: UInt8? { offset < bytes.count ? bytes[offset] : nil }

  private mutating func skipBlanks() {
    while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { offset += 1 }
  }

  private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
    guard next == UInt8(ascii: scalar) else { return false }
    offset += 1
    return true
  }

  private mutating func value(depth: Int) throws(JSONSyntaxError) -> JSONValue {
    guard depth <= JSONValue.depthMax else { throw failure("nested too deep") }
    skipBlanks()
    guard let byte = next else { throw failure("the text ends too early") }
    switch byte {
    case UInt8(ascii: "{"): return try object(depth: depth)
    case UInt8(ascii: "["): return try array(depth: depth)
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try word("true", .bool(true))
    case UInt8(ascii: "f"): return try word("false", .bool(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    default: return .number(try number())
    }
  }

  private mutating func word(_ word: StaticString, _ value: JSONValue) throws(JSONSyntaxError) -> JSONValue {
    let text = word.description.utf8
    guard bytes[offset...].starts(with: text) else { throw failure("unexpected character") }
    offset += text.count
    return value
  }

  private mutating func object(depth: Int) throws(JSONSyntaxError) -> JSONValue {
    offset += 1
    var members: [(name: String, value: JSONValue)] = []
    skipBlanks()
    if take("}") { return .object(members) }
    while true {
      skipBlanks()
      guard next == UInt8(ascii: "\"") else { throw failure("a name was expected") }
      let name = try string()
      skipBlanks()
      guard take(":") else { throw failure("a colon was expected") }
      members.append((name: name, value: try value(depth: depth + 1)))
      skipBlanks()
      if take("}") { return .object(members) }
      guard take(",") else { throw failure("a comma or } was expected") }
    }
  }

  private mutating func array(depth: Int) throws(JSONSyntaxError) -> JSONValue {
    offset += 1
    var elements: [JSONValue] = []
    skipBlanks()
    if take("]") { return .array(elements) }
    while true {
      elements.append(try value(depth: depth + 1))
      skipBlanks()
      if take("]") { return .array(elements) }
      guard take(",") else { throw failure("a comma or ] was expected") }
    }
  }

  private mutating func digits() throws(JSONSyntaxError) {
    let start = offset
    while let byte = next, byte >= 0x30 && byte <= 0x39 { offset += 1 }
    guard offset > start else { throw failure("unexpected character") }
  }

  private mutating func number() throws(JSONSyntaxError) -> String {
    let start = offset
    _ = take("-")
    if !take("0") { try digits() }
    if take(".") { try digits() }
    if take("e") || take("E") {
      if !take("+") { _ = take("-") }
      try digits()
    }
    return String(decoding: bytes[start..<offset], as: UTF8.self)
  }

  private mutating func string() throws(JSONSyntaxError) -> String {
    offset += 1
    var text: [UInt8] = []
    while true {
      let start = offset
      while let byte = next, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 { offset += 1 }
      text.append(contentsOf: bytes[start..<offset])
      guard let byte = next else { throw failure("a string without end") }
      if byte < 0x20 { throw failure("a raw control character in a string") }
      offset += 1
      if byte == UInt8(ascii: "\"") { break }
      try escape(into: &text)
    }
    guard let string = String(validating: text, as: UTF8.self) else { throw failure("a string that is not UTF-8") }
    return string
  }

  private mutating func escape(into text: inout [UInt8]) throws(JSONSyntaxError) {
    guard let byte = next else { throw failure("a string without end") }
    offset += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
    case UInt8(ascii: "b"): text.append(0x08)
    case UInt8(ascii: "f"): text.append(0x0C)
    case UInt8(ascii: "n"): text.append(0x0A)
    case UInt8(ascii: "r"): text.append(0x0D)
    case UInt8(ascii: "t"): text.append(0x09)
    case UInt8(ascii: "u"):
      var code = try hexadecimal()
      if code >= 0xD800 && code < 0xDC00, take("\\"), take("u") {
        let low = try hexadecimal()
        guard low >= 0xDC00 && low < 0xE000 else { throw failure("a lone surrogate") }
        code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
      }
      guard let scalar = Unicode.Scalar(code) else { throw failure("a lone surrogate") }
      text.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
    default: throw failure("an unknown escape")
    }
  }

  private mutating func hexadecimal() throws(JSONSyntaxError) -> UInt32 {
    var code: UInt32 = 0
    for _ in 0..<4 {
      guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 0x80 else {
        throw failure("four hexadecimal digits were expected")
      }
      code = code << 4 | UInt32(digit)
      offset += 1
    }
    return code
  }
}
