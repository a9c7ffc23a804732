// What the list queries share: limits and cursors.
//
// Invariants:
// - A cursor is the key of the next row, in hexadecimal, without the part that the path already names; clients keep it
//   and do not read it. A cursor made up by a client finds a place or is refused, and cannot leave its list.

import Bytes
import ProjectionEngine

enum Paging {
  static let limitDefault = 1_000
  static let limitMax = 10_000

  static func limit(of request: QueryRequest) throws(QueryFailure) -> Int {
    guard let text = request.first("limit") else { return limitDefault }
    guard let limit = Int(text), (1...limitMax).contains(limit) else {
      throw .invalid("limit must be a whole number from 1 to \(limitMax)")
    }
    return limit
  }

  /// The bytes of the request's cursor, or nil if it has none.
  static func cursor(of request: QueryRequest, byteCount: Int) throws(QueryFailure) -> [UInt8]? {
    guard let text = request.first("cursor") else { return nil }
    let digits = Array(text.utf8)
    guard digits.count == 2 * byteCount else { throw malformedCursor }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(byteCount)
    for index in stride(from: 0, to: digits.count, by: 2) {
      guard let high = digit(digits[index]), let low = digit(digits[index + 1]) else { throw malformedCursor }
      bytes.append(high << 4 | low)
    }
    return bytes
  }

  static func text(ofCursor bytes: [UInt8]) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    text.reserveCapacity(2 * bytes.count)
    for byte in bytes {
      text.append(digits[Int(byte >> 4)])
      text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
  }

  private static let malformedCursor = QueryFailure.invalid("cursor is not one that this list gave out; start again without it")

  private static func digit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 0x30...0x39: byte - 0x30
    case 0x61...0x66: byte - 0x61 + 10
    default: nil
    }
  }
}
