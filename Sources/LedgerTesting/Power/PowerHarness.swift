// The power cut: records a daemon, builds images of what its disk may hold, and has each opened and checked.
//
// Invariants:
// - Images are checked by processes of their own: one that crashes at what it opens is a broken promise with a number, and
//   not the end of the run.
// - A run begins with an empty disk, and goes on with one of its own images: the recovery from a power cut meets the next.
// - What a failure needs to be repeated is kept: the trace, the seed and the image's number.

import Files
import Foundation
import Synchronization

/// Runs recordings and their images.
public final class PowerHarness: Sendable {
  /// How it runs.
  public struct Options: Sendable {
    /// The path of `ledgerd`.
    public var executable: String
    /// The program that checks: called with `check`, it does ``PowerCheck``.
    public var checker: String
    /// For the recordings, with a short path; kept if something fails.
    public var directory: String
    /// For the images: best on a disk in memory.
    public var imageDirectory: String
    /// Moments, losses and events come from it.
    public var seed: UInt64
    /// How many images are checked.
    public var imageCount = 200
    /// Images of one recording.
    public var imageCountPerRecording = 250
    /// Recordings that go on from each other before a run begins anew.
    public var recordingsPerDisk = 4
    /// Processes that check at the same time.
    public var processCount = 2
    /// Which syncs the daemon is made to leave out, as `Shim/powercut.c` understands it; the harness is to find that.
    public var skip: String?
    /// Told how it goes, a line at a time.
    public var report: @Sendable (String) -> Void = { print($0) }

    /// The defaults: 200 images.
    public init(executable: String, checker: String, directory: String, imageDirectory: String, seed: UInt64) {
      self.executable = executable
      self.checker = checker
      self.directory = directory
      self.imageDirectory = imageDirectory
      self.seed = seed
    }
  }

  /// What was done. Everything in it kept its promises, or the run would have thrown.
  public struct Summary: Equatable, Sendable, CustomStringConvertible {
    /// Runs of the daemon.
    public var recordings = 0
    /// Runs whose trace was of no use, since a kill came between something that was done and its record.
    public var discarded = 0
    /// Images.
    public var images = 0
    /// Acknowledged events looked for, over all images.
    public var events = 0
    /// Images whose projections were healed and compared.
    public var projections = 0

    /// One line.
    public var description: String {
      "\(images) images of \(recordings) recordings (\(discarded) discarded): \(events) acknowledged events looked for, "
        + "\(projections) times projections compared"
    }
  }

  private let options: Options

  /// - Parameter options: `directory` is emptied first.
  public init(_ options: Options) { self.options = options }

  /// Runs everything.
  ///
  /// - Throws: ``PowerFailure`` for the first promise that was broken.
  public func run() async throws -> Summary {
    try Files.removeTree(options.directory)
    try Files.createDirectory(options.directory)
    let shim = try PowerRecorder.compileShim(into: options.directory)
    var summary = Summary()
    var journal = CrashJournal()
    var number = -1
    var isDiskUsable = true
    while summary.images < options.imageCount {
      number += 1
      let disk = options.directory + "/disk"
      if number % options.recordingsPerDisk == 0 || !isDiskUsable {
        try Files.removeTree(disk)
        try Files.createDirectory(disk)
        journal = CrashJournal()
      }
      let trace = options.directory + "/trace-\(number)"
      var recorder = PowerRecorder.Options(
        executable: options.executable, shim: shim, directory: options.directory,
        eventSeed: options.seed &+ UInt64(number / options.recordingsPerDisk))
      recorder.skip = options.skip
      isDiskUsable = try await PowerRecorder(recorder, journal: journal, tracePath: trace).record()
      guard isDiskUsable else {
        summary.discarded += 1
        guard summary.discarded <= 3 + summary.recordings else { throw PowerTraceError(description: "kills make every trace useless") }
        try Files.removeTree(trace)
        continue
      }
      let first = summary.images
      let count = min(options.imageCountPerRecording, options.imageCount - first)
      try await check(trace, first..<first + count, &summary)
      summary.images += count
      summary.recordings += 1
      options.report("\(summary)")
      if summary.images < options.imageCount { journal = try await next(from: trace, first, disk) }
      try Files.removeTree(trace)
    }
    return summary
  }

  // MARK: Processes that check

  private func check(_ trace: String, _ images: Range<Int>, _ summary: inout Summary) async throws {
    let parts = min(options.processCount, images.count)
    let size = (images.count + parts - 1) / parts
    let lines = try await withThrowingTaskGroup(of: [Substring].self) { group in
      for part in 0..<parts {
        let (start, end) = (images.lowerBound + part * size, min(images.lowerBound + (part + 1) * size, images.upperBound))
        guard start < end else { continue }
        group.addTask(name: "power check") {
          try await self.call(
            ["--trace", trace, "--first", String(start), "--count", String(end - start)], self.options.imageDirectory + "/part-\(part)")
        }
      }
      return try await group.reduce(into: [Substring]()) { $0 += $1 }
    }
    for line in lines where line.hasPrefix("checked ") {
      let numbers = line.split(separator: " ").compactMap { Int($0) }
      guard numbers.count == 3 else { throw PowerTraceError(description: "the checker says \(line)") }
      summary.events += numbers[1]
      summary.projections += numbers[2]
    }
  }

  /// Puts one of the images in the place of the disk.
  private func next(from trace: String, _ image: Int, _ disk: String) async throws -> CrashJournal {
    let lines = try await call(
      ["--trace", trace, "--first", String(image), "--build", disk], options.imageDirectory + "/part-0")
    let units = lines.filter { $0.hasPrefix("unit ") }.map { line in
      let numbers = line.split(separator: " ").compactMap { UInt64($0) }
      return CrashJournal.Unit(
        first: numbers[0], count: Int(numbers[1]), acknowledged: numbers[2] == 0 ? nil : numbers[2],
        found: numbers[3] == 0 ? nil : numbers[3])
    }
    return CrashJournal(units: units)
  }

  /// Runs the checker to its end.
  ///
  /// - Returns: Its lines.
  /// - Throws: ``PowerFailure`` if it found something, or ended otherwise than it should.
  private func call(_ arguments: [String], _ directory: String) async throws -> [Substring] {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: options.checker)
    process.arguments = ["check", "--seed", String(options.seed), "--directory", directory] + arguments
    let output = Pipe()
    process.standardOutput = output
    process.standardError = output
    process.standardInput = FileHandle.nullDevice
    try process.run()
    // Reading waits, so it has a thread of its own.
    let data = await withCheckedContinuation { (continuation: CheckedContinuation<Data, Never>) in
      Thread.detachNewThread {
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        continuation.resume(returning: data)
      }
    }
    let lines = String(decoding: data, as: UTF8.self).split(separator: "\n")
    guard process.terminationReason == .exit, process.terminationStatus == 0 else {
      let image = lines.last { $0.hasPrefix("image ") }.flatMap { Int($0.dropFirst(6)) } ?? -1
      let how =
        process.terminationReason == .exit ? "" : "the process that opened it ended with signal \(process.terminationStatus): "
      throw PowerFailure(image: image, description: how + lines.filter { !$0.hasPrefix("image ") }.suffix(5).joined(separator: "; "))
    }
    return lines
  }
}
