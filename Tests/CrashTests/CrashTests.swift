// A daemon that is killed keeps its promises: the short form, 6 rounds. `deploy/crash` is the long one.

import EventLog
import Foundation
import LedgerTesting
import Testing

@Suite(.serialized)
struct CrashTests {
  @Test func `a daemon killed at any moment has every acknowledged event once, without gaps, and folds them to the same views`()
    async throws
  {
    let directory = try DaemonProcess.temporaryDirectory()
    let options = CrashHarness.Options(
      executable: try DaemonProcess.executableOfThisBuild(), directory: directory, seed: UInt64.random(in: .min ... .max))
    let summary: CrashHarness.Summary
    do {
      summary = try await CrashHarness(options).run()
    } catch {
      Issue.record("seed \(options.seed), files kept in \(directory): \(error)")
      return
    }
    print(summary)
    try FileManager.default.removeItem(atPath: directory)
    #expect(summary.rounds == options.roundCount)
    #expect(summary.killsUnderLoad + summary.killsWhileStarting == options.roundCount)
    #expect(summary.comparisons > 0)
    #expect(summary.eventsAcknowledged > 0)
    #expect(summary.head >= UInt64(summary.eventsAcknowledged))
  }
}
