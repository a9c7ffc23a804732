// Why: a zone's distance from UTC is asked for in every row, and the library needs microseconds for each answer.
//
// Invariants:
// - The answers do not depend on what was asked before: a day is remembered only if no change of clocks is near it.
// - An object belongs to one import, which is one task; the lock is there for the compiler and never waited for.

import Foundation
import Synchronization

/// A named zone, with the days that were asked for.
final class ZoneOffsets: Sendable {
  private let zone: TimeZone
  private let days = Mutex<[Int: Int]>([:])
  private static let dayCountMax = 50_000

  init(_ zone: TimeZone) { self.zone = zone }

  /// The distance from UTC, in seconds east of it, at a local time (seconds since 1970 on the local clock).
  ///
  /// A local time that occurs twice is the first one's; one that is skipped is read with the distance before the gap.
  func offset(atLocal local: Int) -> Int {
    let day = local >= 0 ? local / 86_400 : -((-local + 86_399) / 86_400)
    if let known = days.withLock({ $0[day] }) { return known }
    // Local clocks are at most 26 hours from each other, so these instants lie around the whole local day.
    let early = offset(at: (day - 2) * 86_400)
    let late = offset(at: (day + 3) * 86_400)
    if early == late && offset(at: day * 86_400) == early {
      days.withLock { days in
        if days.count >= Self.dayCountMax { days.removeAll(keepingCapacity: true) }
        days[day] = early
      }
      return early
    }
    return offset(nearChangeAt: local)
  }

  private func offset(nearChangeAt local: Int) -> Int {
    let early = offset(at: local - 86_400)
    let late = offset(at: local + 86_400)
    if early == late { return early }
    if offset(at: local - early) == early { return early }
    return offset(at: local - late) == late ? late : early
  }

  private func offset(at instant: Int) -> Int { zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(instant))) }
}
