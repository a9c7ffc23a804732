// Why this file exists: the canonical form of RFC 8785 (JCS), by which two texts are compared: is a repeated event the
// same event, whatever its white space, order of members, escapes and spelling of numbers? Departures from the RFC, all
// on the side of calling different texts different:
// - integer tokens (no point, no exponent) keep their digits, so two long order numbers never become equal; within ±2^53
//   this is what the RFC writes;
// - a number that no finite double is near (1e400), which the RFC forbids, keeps its text;
// - members with the same name, which the RFC forbids, are kept in the order of the text.

import Bytes

extension JSONReader {
  /// The value in the canonical form of RFC 8785: no white space, names sorted by UTF-16 code units, the fewest escapes,
  /// numbers as ECMAScript writes them.
  ///
  /// Integers without point and exponent keep all their digits, also beyond ±2^53. Numbers beyond any double keep their
  /// text. Duplicate names are kept, in the order of the text.
  public func canonicalBytes(of node: JSONNode) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(textRange(of: node).count)
    appendCanonical(node, to: &bytes)
    return bytes
  }

  private func appendCanonical(_ node: JSONNode, to bytes: inout [UInt8]) {
    let value = indexed(node)
    switch kind(of: node) {
    case .null, .bool: bytes += self.bytes(of: node)
    case .number: appendCanonicalNumber(self.bytes(of: node), to: &bytes)
    case .string: appendCanonicalString(self.bytes(of: node), to: &bytes)
    case .array:
      bytes.append(UInt8(ascii: "["))
      var index = node.index + 1
      while index < value.next {
        if index > node.index + 1 { bytes.append(UInt8(ascii: ",")) }
        appendCanonical(JSONNode(index), to: &bytes)
        index = indexed(JSONNode(index)).next
      }
      bytes.append(UInt8(ascii: "]"))
    case .object:
      bytes.append(UInt8(ascii: "{"))
      for (position, member) in sortedMembers(node, end: value.next).enumerated() {
        if position > 0 { bytes.append(UInt8(ascii: ",")) }
        appendCanonicalString(member.name, to: &bytes)
        bytes.append(UInt8(ascii: ":"))
        appendCanonical(JSONNode(member.value), to: &bytes)
      }
      bytes.append(UInt8(ascii: "}"))
    }
  }

  private func sortedMembers(_ object: JSONNode, end: UInt32) -> [(name: [UInt8], value: UInt32)] {
    var members: [(name: [UInt8], value: UInt32)] = []
    var index = object.index + 1
    while index < end {
      members.append((bytes(of: JSONNode(index)), index + 1))
      index = indexed(JSONNode(index + 1)).next
    }
    members.sort { left, right in
      switch compareAsUTF16(left.name, right.name) {
      case 0: left.value < right.value
      case let order: order < 0
      }
    }
    return members
  }
}

private func appendCanonicalString(_ utf8: [UInt8], to bytes: inout [UInt8]) {
  appendQuoted(utf8.rawSpan, to: &bytes)
}

private func appendCanonicalNumber(_ token: [UInt8], to bytes: inout [UInt8]) {
  let isInteger = token.allSatisfy { $0 == UInt8(ascii: "-") || ($0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9")) }
  if isInteger {
    bytes += token == Array("-0".utf8) ? [UInt8(ascii: "0")] : token
  } else if let value = Double(String(decoding: token, as: UTF8.self)), value.isFinite {
    bytes += ecmaScriptBytes(of: value)
  } else {
    bytes += token
  }
}

/// Compares two well-formed UTF-8 texts in the order of their UTF-16 code units: negative, 0, positive.
///
/// It is the order of bytes but for U+E000–U+FFFF (lead bytes EE, EF), which UTF-16 puts behind all surrogate pairs (F0–F4).
private func compareAsUTF16(_ left: [UInt8], _ right: [UInt8]) -> Int {
  func rank(_ byte: UInt8) -> Int { byte == 0xEE || byte == 0xEF ? Int(byte) + 0x10 : Int(byte) }
  for (a, b) in zip(left, right) where a != b { return rank(a) - rank(b) }
  return left.count - right.count
}
