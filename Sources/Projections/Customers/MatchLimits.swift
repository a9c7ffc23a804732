// How many identifiers a customer may gather, and which value gives way first (SEMANTICS §2.4).
//
// Invariants:
// - A window ends at the incoming event's occurred time t and reaches back to, and leaves out, t − window.

import Bytes

/// The limits of matching. One fold version has one set of them.
public struct MatchLimits: Sendable {
  /// A count of values of one kind that one customer may get within a window.
  public struct KindLimit: Sendable, Equatable {
    /// How many.
    public var count: Int
    /// The window in microseconds of occurred time; nil: for ever.
    public var windowMicroseconds: Int64?

    /// Joins the parts.
    public init(count: Int, windowMicroseconds: Int64?) {
      self.count = count
      self.windowMicroseconds = windowMicroseconds
    }
  }

  /// `user_id` and national ids: 1 for ever.
  public var person = KindLimit(count: 1, windowMicroseconds: nil)
  /// `email` and `phone`: 5 in 365 days.
  public var contact = KindLimit(count: 5, windowMicroseconds: 365 * MatchLimits.day)
  /// All others: 5 in 7 days.
  public var other = KindLimit(count: 5, windowMicroseconds: 7 * MatchLimits.day)
  /// Customers merged into one.
  public var mergeCountMax = 100
  /// Identifiers of one customer.
  public var identifierCountMax = 1_000

  private static let day: Int64 = 86_400_000_000

  /// SEMANTICS' defaults.
  public init() {}

  /// Who is kept before whom; within a rank, kinds in byte order.
  enum Rank: Int, Comparable {
    case userID, national, email, phone, other
    static func < (left: Rank, right: Rank) -> Bool { left.rawValue < right.rawValue }
  }

  static func rank(of kind: RawSpan) -> Rank {
    if kind.isEqual(to: "user_id") { return .userID }
    if kind.isEqual(to: "email") { return .email }
    if kind.isEqual(to: "phone") { return .phone }
    for family: StaticString in ["dni", "nie", "cuit"] {
      let count = family.utf8CodeUnitCount
      guard kind.byteCount >= count, kind.slice(0..<count).isEqual(to: family) else { continue }
      if kind.byteCount == count || kind.byte(at: count) == UInt8(ascii: ":") { return .national }
    }
    return .other
  }

  func limit(of rank: Rank) -> KindLimit {
    switch rank {
    case .userID, .national: person
    case .email, .phone: contact
    case .other: other
    }
  }
}

extension MatchLimits.KindLimit {
  /// True if what was attached at `attachedAt` counts at `moment`.
  func counts(attachedAt: Int64, at moment: Int64) -> Bool {
    guard let windowMicroseconds else { return true }
    return attachedAt <= moment && attachedAt > moment - windowMicroseconds
  }
}
