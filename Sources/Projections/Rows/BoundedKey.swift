// Texts as keys of tables. LMDB's keys are short, the texts of senders need not be.
//
// Invariants:
// - A text of up to 400 bytes is its own key; a longer one is its first 400 bytes and the 32 hexadecimal digits of its
//   XXH3-128, so 432 bytes: the two never meet.
// - XXH3 is not collision-proof, so whoever finds a row under the key of a long text compares the whole text, which the
//   rows keep elsewhere.

import Bytes

enum BoundedKey {
  static let byteCountMax = 400

  static func isLong(_ text: RawSpan) -> Bool { text.byteCount > byteCountMax }

  static func of(_ text: RawSpan) -> ByteString {
    guard isLong(text) else { return ByteString(text) }
    return ByteString([UInt8](text.slice(0..<byteCountMax)) + Array(XXH3.hash128(text).hex.utf8))
  }
}
