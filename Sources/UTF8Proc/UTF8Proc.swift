// The little of Unicode that identifiers need, from Debian's utf8proc: canonical composition and simple lower case.
//
// Invariants:
// - ASCII never reaches the library: it is its own NFC.
// - Malformed UTF-8 comes back as it is: telling the sender is the parser's work, done before.
// - The same bytes give the same bytes under one ``UTF8Proc/unicodeVersion``; folds that store the result pin it.

import Bytes
import CUTF8Proc

/// Unicode as utf8proc's tables have it.
public enum UTF8Proc {
  /// The version of the tables, such as `15.0.0`. The corresponding C function is `utf8proc_unicode_version`.
  public static var unicodeVersion: String { unsafe String(cString: utf8proc_unicode_version()) }

  /// The text in normalisation form C (UAX #15): `utf8proc_map` with `UTF8PROC_STABLE | UTF8PROC_COMPOSE`.
  ///
  /// - Complexity: O(bytes); ASCII is one copy.
  public static func normalised(_ text: RawSpan) -> [UInt8] {
    if isASCII(text) { return [UInt8](text) }
    return unsafe text.withUnsafeBytes { bytes in
      guard let base = bytes.baseAddress else { return [] }
      var result: UnsafeMutablePointer<UInt8>?
      let count = unsafe utf8proc_map(
        base.assumingMemoryBound(to: UInt8.self), bytes.count, &result,
        utf8proc_option_t(UTF8PROC_STABLE.rawValue | UTF8PROC_COMPOSE.rawValue))
      guard count >= 0, let result = unsafe result else { return unsafe [UInt8](bytes) }
      defer { unsafe cutf8proc_free(result) }
      return unsafe [UInt8](UnsafeBufferPointer(start: result, count: count))
    }
  }

  /// The text with every code point in its simple lower case (`utf8proc_tolower`), normalised again.
  public static func lowercased(_ text: RawSpan) -> [UInt8] {
    if isASCII(text) { return asciiLowercased(text) }
    return unsafe text.withUnsafeBytes { bytes in
      guard let base = unsafe bytes.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return [] }
      var lower: [UInt8] = []
      lower.reserveCapacity(bytes.count)
      var offset = 0
      var encoded: (UInt8, UInt8, UInt8, UInt8) = (0, 0, 0, 0)
      while offset < bytes.count {
        var codePoint: utf8proc_int32_t = 0
        let read = unsafe utf8proc_iterate(base + offset, bytes.count - offset, &codePoint)
        guard read > 0 else { return unsafe [UInt8](bytes) }
        offset += read
        let count = unsafe withUnsafeMutableBytes(of: &encoded) { out in
          guard let address = out.baseAddress else { return 0 }
          return unsafe utf8proc_encode_char(utf8proc_tolower(codePoint), address.assumingMemoryBound(to: UInt8.self))
        }
        unsafe withUnsafeBytes(of: encoded) { unsafe lower.append(contentsOf: $0.prefix(count)) }
      }
      return normalised(lower.rawSpan)
    }
  }

  private static func isASCII(_ text: RawSpan) -> Bool {
    unsafe text.withUnsafeBytes { bytes in unsafe bytes.allSatisfy { $0 < 0x80 } }
  }

  private static func asciiLowercased(_ text: RawSpan) -> [UInt8] {
    var lower = [UInt8](text)
    for index in lower.indices where (0x41...0x5a).contains(lower[index]) { lower[index] |= 0x20 }
    return lower
  }
}
