// `ledgerpower`: the power cut. Records a daemon, builds images of what its disk may hold when the power goes, and checks
// each. `deploy/powercut` builds and runs it.

import ArgumentParser
import Foundation
import LedgerTesting
import ProjectionEngine
import Projections

@main
struct LedgerPower: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ledgerpower",
    abstract: "Cuts the power of a daemon, in thousands of simulated ways, and checks what is left.",
    discussion: """
      Ends with 0 if every promise was kept. Else it prints the seed and the image's number, and keeps the trace: \
      `ledgerpower check --trace TRACE --seed SEED --first NUMBER --directory DIR` opens that image again.
      """,
    subcommands: [Run.self, Check.self], defaultSubcommand: Run.self)
}

/// The projections of the product, as `ledgerd` runs them.
private let projections: [any Projection] = [CustomersProjection(), ChannelsProjection()]

struct Run: AsyncParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Records, and checks images of what was recorded.")

  @Option(help: "How many images are checked, 1 to 1000000.")
  var images = 200

  @Option(help: "How many of them come from one recording, 1 to 10000.")
  var imagesPerRecording = 250

  @Option(help: "The seed of moments, losses and events. Default: drawn.")
  var seed: UInt64?

  @Option(help: "The ledgerd to record. Default: the one beside this program.")
  var ledgerd: String?

  @Option(help: "Where recordings lie while they are used. Default: a new directory for temporary files.")
  var directory: String?

  @Option(help: "Where images are built. Default: a disk in memory if there is one.")
  var imageDirectory: String?

  @Option(help: "Processes that check at the same time, 1 to 64.")
  var processes = max(1, min(64, ProcessInfo.processInfo.activeProcessorCount))

  @Option(
    help: "Leaves syncs out, so that the harness has something to find: data, meta or names, a colon, and a part of a path.")
  var skip: String?

  func validate() throws {
    guard (1...1_000_000).contains(images) else { throw ValidationError("--images must be from 1 to 1000000") }
    guard (1...10_000).contains(imagesPerRecording) else { throw ValidationError("--images-per-recording must be from 1 to 10000") }
    guard (1...64).contains(processes) else { throw ValidationError("--processes must be from 1 to 64") }
  }

  func run() async throws {
    let directory = try directory ?? DaemonProcess.temporaryDirectory()
    let memory = "/dev/shm"
    let imageDirectory =
      imageDirectory ?? (FileManager.default.isWritableFile(atPath: memory) ? memory + "/ledgerpower-\(getpid())" : directory + "/images")
    var options = PowerHarness.Options(
      executable: try ledgerd ?? DaemonProcess.executableOfThisBuild(),
      checker: try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"), directory: directory,
      imageDirectory: imageDirectory, seed: seed ?? UInt64.random(in: .min ... .max))
    options.imageCount = images
    options.imageCountPerRecording = imagesPerRecording
    options.processCount = processes
    options.skip = skip
    print("seed \(options.seed), \(images) images, in \(directory)")
    let start = ContinuousClock.now
    do {
      print(try await PowerHarness(options).run())
    } catch {
      if let failure = error as? PowerFailure {
        print("image \(failure.image) of seed \(options.seed), trace kept in \(directory): \(failure)")
      } else {
        print("seed \(options.seed), files kept in \(directory): \(error)")
      }
      // The trace makes them again.
      try remove(imageDirectory)
      throw ExitCode(1)
    }
    try remove(imageDirectory)
    try remove(directory)
    print("\(images) images in \((ContinuousClock.now - start).components.seconds) s, every promise kept")
  }
}

private func remove(_ path: String) throws {
  if FileManager.default.fileExists(atPath: path) { try FileManager.default.removeItem(atPath: path) }
}

struct Check: AsyncParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Checks images of a trace, or builds one.")

  @Option(help: "The trace.")
  var trace: String

  @Option(help: "The seed.")
  var seed: UInt64

  @Option(help: "The first image's number.")
  var first: Int

  @Option(help: "How many images.")
  var count = 1

  @Option(help: "Where images are built.")
  var directory: String

  @Option(help: "Builds the image there, untouched, and prints what is known of its events.")
  var build: String?

  func run() async throws {
    var options = PowerCheck.Options(tracePath: trace, seed: seed, directory: directory, projections: projections)
    // Not buffered: after a crash the last line says which image it was.
    options.report = { FileHandle.standardOutput.write(Data(($0 + "\n").utf8)) }
    let check = try PowerCheck(options)
    if let build { return try check.build(first, at: build) }
    do {
      let summary = try await check.run(Array(first..<first + count))
      print("checked \(summary.images) \(summary.events) \(summary.projections)")
    } catch {
      print(error)
      throw ExitCode(1)
    }
  }
}
