// Tells the service manager that the daemon is alive, and only if it is: each part must have moved, or have nothing to do.
// A daemon that hangs is then killed and started again.
//
// Invariants:
// - A ping is sent only after the appender, every worker and every event loop have shown that they go on.
// - Waiting for a slow disk is progress as long as something is finished now and then; an interval without is not.

import EventLog
import Logging
import NIOCore
import NIOPosix
import ProjectionEngine
import ServiceLifecycle
import Synchronization
import Unix

/// Sends pings to the service manager while everything goes on.
struct Watchdog: Service {
  let log: EventLog
  let engine: ProjectionEngine
  /// Within this, the service manager wants to hear something.
  let interval: Duration
  let environment: [String: String]
  let logger: Logger

  func run() async throws {
    var observer = ProgressObserver()
    while true {
      let doLoopsAnswer: Bool
      do {
        // Twice in an interval, as sd_watchdog_enabled(3) advises.
        doLoopsAnswer = try await cancelWhenGracefulShutdown {
          try await Task.sleep(for: interval / 2)
          return try await Self.eventLoopsAnswer(within: interval / 4)
        }
      } catch {
        return
      }
      let appender = log.progress
      var stalls = observer.stalls(
        [PartProgress(name: "the appender", doneCount: appender.doneCount, isBusy: appender.isBusy)]
          + engine.statuses().map(PartProgress.init))
      if appender.hasFailed { stalls.append("the appender has failed") }
      if !doLoopsAnswer { stalls.append("an event loop") }
      guard stalls.isEmpty else {
        logger.critical("the watchdog is not told that all is well", metadata: ["stalled": "\(stalls.joined(separator: ", "))"])
        continue
      }
      do throws(UnixError) {
        try Systemd.notify("WATCHDOG=1", environment)
      } catch {
        logger.warning("the watchdog cannot be told anything", metadata: ["error": "\(error)"])
      }
    }
  }

  /// True if each event loop does a small thing in time.
  private static func eventLoopsAnswer(within timeout: Duration) async throws -> Bool {
    let silent = SilentLoops()
    for loop in MultiThreadedEventLoopGroup.singleton.makeIterator() {
      silent.count.wrappingAdd(1, ordering: .relaxed)
      loop.execute { silent.count.wrappingSubtract(1, ordering: .relaxed) }
    }
    let end = ContinuousClock.now + timeout
    while silent.count.load(ordering: .relaxed) > 0 {
      guard ContinuousClock.now < end else { return false }
      try await Task.sleep(for: .milliseconds(5))
    }
    return true
  }

  /// Event loops that have not answered yet.
  private final class SilentLoops: Sendable { let count = Atomic<Int>(0) }
}

/// What one part of the daemon has done, and whether it has something to do.
struct PartProgress: Equatable, Sendable {
  var name: String
  /// Compared with an earlier one: any change is progress.
  var doneCount: UInt64
  var isBusy: Bool

  init(name: String, doneCount: UInt64, isBusy: Bool) {
    self.name = name
    self.doneCount = doneCount
    self.isBusy = isBusy
  }

  init(_ status: ProjectionStatus) {
    self.init(
      name: "projection \(status.name)", doneCount: status.position &+ status.foldedCount,
      isBusy: Self.isBusy(status.state, lagEventCount: status.lagEventCount))
  }

  /// Whether a worker should be moving.
  static func isBusy(_ state: ProjectionState, lagEventCount: UInt64) -> Bool {
    switch state {
    case .starting: true
    case .catchingUp, .live: lagEventCount > 0
    // It waits on purpose, or says itself that it does not go on; a restart would not mend that.
    case .paused, .rebuilding, .stopped, .failed: false
    }
  }
}

/// Compares what was done with what had been done.
struct ProgressObserver {
  private var last: [String: PartProgress] = [:]

  /// What had something to do at the last look and has, and has done nothing in between.
  mutating func stalls(_ parts: [PartProgress]) -> [String] {
    let stalled = parts.filter { part in part.isBusy && last[part.name] == part }
    last = Dictionary(parts.map { ($0.name, $0) }, uniquingKeysWith: { $1 })
    return stalled.map(\.name)
  }
}
