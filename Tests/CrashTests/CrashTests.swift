// A daemon that is killed keeps its promises. The short form is part of the suite; `LEDGER_CRASH_ROUNDS=100` runs the long
// one (`deploy/crash`), `LEDGER_CRASH_SEED` repeats a run, `LEDGER_CRASH_LEDGERD` names another build of the daemon.

import EventLog
import Foundation
import LedgerTesting
import Testing

@Suite(.serialized)
struct CrashTests {
  private func number(_ name: String) -> UInt64? { ProcessInfo.processInfo.environment[name].flatMap { UInt64($0) } }

  @Test func `a daemon killed at any moment has every acknowledged event once, without gaps, and folds them to the same views`()
    async throws
  {
    let directory = try DaemonProcess.temporaryDirectory()
    let longRounds = number("LEDGER_CRASH_ROUNDS").map { Int($0) }
    var options = CrashHarness.Options(
      executable: try ProcessInfo.processInfo.environment["LEDGER_CRASH_LEDGERD"] ?? DaemonProcess.executableOfThisBuild(),
      directory: directory, seed: number("LEDGER_CRASH_SEED") ?? UInt64.random(in: .min ... .max))
    if let longRounds {
      options.roundCount = longRounds
      options.comparisonInterval = 10
    }
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
