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

  init() {}

  func admitted(appended: Int, duplicates: Int) {
    appendedCount.wrappingAdd(UInt64(appended), ordering: .relaxed)
    duplicateCount.wrappingAdd(UInt64(duplicates), ordering: .relaxed)
  }

  func refused(conflicts: Int) {
    refusedCount.wrappingAdd(1, ordering: .relaxed)
    conflictCount.wrappingAdd(UInt64(conflicts), ordering: .relaxed)
  }

  func groupDone(eventCount: Int) {
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
  /// Groups handled.
  public var groups: UInt64 { groupCount.load(ordering: .relaxed) }
  /// Events in the largest group.
  public var largestGroupEventCount: UInt64 { largestGroup.load(ordering: .relaxed) }
}
