// What the appender counts, for metrics. Since the process opened the log; not stored.

import Synchronization

/// Counters of one open log.
public final class LogCounters: Sendable {
  private let appendedCount = Atomic<UInt64>(0)
  private let duplicateCount = Atomic<UInt64>(0)
  private let conflictCount = Atomic<UInt64>(0)
  private let refusedCount = Atomic<UInt64>(0)
  private let groupCount = Atomic<UInt64>(0)
  private let largestGroup = Atomic<UInt64>(0)
  private let begunGroupCount = Atomic<UInt64>(0)
  private let endedGroupCount = Atomic<UInt64>(0)
  /// Events of each group that was handled.
  public let groupEvents = Histogram(bounds: [1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536])
  /// Seconds that each commit took: blocks are written, and flushed to the disk.
  public let flushSeconds = Histogram(bounds: [0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5])

  init() {}

  func admitted(appended: Int, duplicates: Int) {
    appendedCount.wrappingAdd(UInt64(appended), ordering: .relaxed)
    duplicateCount.wrappingAdd(UInt64(duplicates), ordering: .relaxed)
  }

  func refused(conflicts: Int) {
    refusedCount.wrappingAdd(1, ordering: .relaxed)
    conflictCount.wrappingAdd(UInt64(conflicts), ordering: .relaxed)
  }

  func groupBegun() { begunGroupCount.wrappingAdd(1, ordering: .relaxed) }

  func groupEnded() { endedGroupCount.wrappingAdd(1, ordering: .relaxed) }

  func flushed(_ duration: Duration) { flushSeconds.record(duration / .seconds(1)) }

  func groupDone(eventCount: Int) {
    groupEvents.record(Double(eventCount))
    groupCount.wrappingAdd(1, ordering: .relaxed)
    largestGroup.max(UInt64(eventCount), ordering: .relaxed)
  }

  /// Events appended.
  public var appended: UInt64 { appendedCount.load(ordering: .relaxed) }
  /// Events that were there already.
  public var duplicates: UInt64 { duplicateCount.load(ordering: .relaxed) }
  /// Events refused for a conflict of ids.
  public var conflicts: UInt64 { conflictCount.load(ordering: .relaxed) }
  /// Requests refused.
  public var refusals: UInt64 { refusedCount.load(ordering: .relaxed) }
  /// Groups that the appender has taken, and those of them that it is through with, well or not.
  var work: (begun: UInt64, ended: UInt64) {
    // In this order: what ended after the first load must not make the appender look idle before it began.
    let ended = endedGroupCount.load(ordering: .acquiring)
    return (begunGroupCount.load(ordering: .acquiring), ended)
  }
  /// Groups handled.
  public var groups: UInt64 { groupCount.load(ordering: .relaxed) }
  /// Events in the largest group.
  public var largestGroupEventCount: UInt64 { largestGroup.load(ordering: .relaxed) }
}
