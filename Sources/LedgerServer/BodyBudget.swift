// How much memory the bodies take that are being received: a client that sends slowly holds what it has sent so far.

import Synchronization

/// The bytes of all bodies on their way in.
final class BodyBudget: Sendable {
  private let byteCount = Atomic<Int>(0)

  /// What each body may have without being counted, so that small requests pass whatever others do.
  static let freeByteCount = 64 << 10

  /// One body's part; it is given back when the share is let go of.
  final class Share {
    private let budget: BodyBudget
    private var byteCount = 0

    fileprivate init(_ budget: BodyBudget) { self.budget = budget }

    /// Counts a body that has grown; false if all together have more than `byteCountMax` then.
    func grow(to count: Int, of byteCountMax: Int) -> Bool {
      let counted = max(0, count - BodyBudget.freeByteCount)
      let total = budget.byteCount.add(counted - byteCount, ordering: .relaxed).newValue
      byteCount = counted
      return counted == 0 || total <= byteCountMax
    }

    deinit { budget.byteCount.subtract(byteCount, ordering: .relaxed) }
  }

  func share() -> Share { Share(self) }
}
