// `ledgercrash`: the long form of the crash tests, as a program of its own so that its checks of the whole log, one a round,
// are compiled for speed. `deploy/crash` builds and runs it.

import ArgumentParser
import Foundation
import LedgerTesting

@main
struct LedgerCrash: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ledgercrash",
    abstract: "Kills a daemon again and again under load, and checks what is left.",
    discussion: """
      Each round starts a ledgerd, appends with several writers, kills it with SIGKILL at a random moment, and compares the whole \
      log with what was acknowledged. Every tenth round the live projections are compared with a rebuild and with what comes back \
      after the index and all projections are deleted. Ends with 0 if every promise was kept; else the files are kept.
      """)

  @Option(help: "How often the daemon is killed, 1 to 100000.")
  var rounds = 100

  @Option(help: "The seed of moments, sizes and events; repeats a run as far as the machine lets it. Default: drawn.")
  var seed: UInt64?

  @Option(help: "The ledgerd to kill. Default: the one beside this program.")
  var ledgerd: String?

  func validate() throws {
    guard (1...100_000).contains(rounds) else { throw ValidationError("--rounds must be from 1 to 100000") }
  }

  func run() async throws {
    let directory = try DaemonProcess.temporaryDirectory()
    var options = CrashHarness.Options(
      executable: try ledgerd ?? DaemonProcess.executableOfThisBuild(), directory: directory,
      seed: seed ?? UInt64.random(in: .min ... .max))
    options.roundCount = rounds
    options.comparisonInterval = 10
    let start = ContinuousClock.now
    do {
      print(try await CrashHarness(options).run())
    } catch {
      print("seed \(options.seed), files kept in \(directory): \(error)")
      throw ExitCode(1)
    }
    try FileManager.default.removeItem(atPath: directory)
    print("\(rounds) rounds in \((ContinuousClock.now - start).components.seconds) s, every promise kept")
  }
}
