// Which senders somebody may speak for. An adapter that is let loose on the whole log can forge what another channel
// said; one that owns a prefix cannot.

import Bytes

/// The sources whose events somebody may append: all, or those that begin with one of some prefixes.
///
/// Compared as UTF-8 bytes, so a prefix ends where it says: `urn:web` covers `urn:webshop` too, `urn:web:` does not.
public struct SourceScope: Sendable, Equatable {
  /// nil: every source.
  private let prefixes: [[UInt8]]?

  private init(bytes: [[UInt8]]?) { prefixes = bytes }

  /// Every source.
  public static let all = SourceScope(bytes: nil)

  /// The sources that begin with one of these; none of these, none.
  public init(prefixes: [String]) { self.init(bytes: prefixes.map { Array($0.utf8) }) }

  /// True if an event of this source may be appended.
  ///
  /// - Complexity: O(prefixes × their length).
  public func covers(_ source: RawSpan) -> Bool {
    guard let prefixes else { return true }
    for prefix in prefixes where prefix.count <= source.byteCount && source.slice(0..<prefix.count).isEqual(to: prefix.rawSpan) {
      return true
    }
    return false
  }
}
