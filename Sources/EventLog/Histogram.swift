// How often a measure fell where: for metrics, since the process opened the log; not stored.

import Synchronization

/// Counts measures by upper bounds, as Prometheus' histograms do.
public final class Histogram: Sendable {
  /// What was counted.
  public struct Snapshot: Equatable, Sendable {
    /// The upper bounds, ascending.
    public var bounds: [Double]
    /// For each bound, how many measures were at most that; the last one counts all.
    public var cumulativeCounts: [UInt64]
    /// The sum of all measures.
    public var sum: Double
  }

  private struct State {
    var counts: [UInt64]
    var sum = 0.0
  }

  private let bounds: [Double]
  private let state: Mutex<State>

  /// - Parameter bounds: Ascending.
  init(bounds: [Double]) {
    self.bounds = bounds
    state = Mutex(State(counts: Array(repeating: 0, count: bounds.count + 1)))
  }

  /// - Complexity: O(bounds).
  func record(_ value: Double) {
    let index = bounds.firstIndex { value <= $0 } ?? bounds.count
    state.withLock { state in
      state.counts[index] += 1
      state.sum += value
    }
  }

  /// What was counted so far.
  public var snapshot: Snapshot {
    let (counts, sum) = state.withLock { ($0.counts, $0.sum) }
    var total: UInt64 = 0
    let cumulative = counts.map { count in
      total += count
      return total
    }
    return Snapshot(bounds: bounds, cumulativeCounts: cumulative, sum: sum)
  }
}
