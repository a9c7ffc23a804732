// `ledgerd bench`: the project's own benchmark. Each figure stands beside a bare limit measured in the same run, since
// machines differ and are noisy; with Redis at hand, appends stand beside Redis Streams as well.

import ArgumentParser
import EventLog
import Files
import Foundation
import LedgerTesting
import Synchronization
import Threads

struct Bench: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measures this machine: append, replay, restart, rebuild, point reads.",
    discussion: """
      Events are seeded, distinct and varied, about 500 bytes each, and full of merges; they are made before the clock runs. \
      Appends go through the socket of a real daemon, a child of this process, with everything on: index, compression, folding. \
      All happens in a temporary directory that is removed afterwards. With --data, a log of yours is replayed and folded \
      instead; its daemon must be stopped, and nothing in it is changed. Quote ratios, not figures.

      Examples: ledgerd bench --beside-redis
                ledgerd bench --part append --shape 64x1 --events 2000000 --rounds 5 --json
      """)

  @Option(help: "A data directory whose log is measured instead of seeded events.")
  var data: String?

  @Option(help: "Events of the largest run, 10000 to 100000000; shapes with small groups take a share of it.")
  var events = 1_000_000

  @Option(help: "Events of one long run with everything on, and of the restart behind it; 0: none.")
  var sustained = 0

  @Option(help: "Over how many customers.")
  var customers = 100_000

  @Option(help: "How often each append, replay and point read is measured; the median counts.")
  var rounds = 3

  @Option(help: "Connections × events a request, × requests under way on each: 16x256, 64x1x8. May be given several times.")
  var shape: [BenchShape] = BenchShape.usual

  @Option(help: "What is measured: limits, append, read, fold. May be given several times; without it, all.")
  var part: [BenchPart] = BenchPart.allCases

  @Option(help: "Where the temporary directory is made: measure the disk that will be used. Short: sockets are made below it.")
  var directory = "/tmp"

  @Option(help: "The Unix socket of a running Redis to measure beside; it should have appendonly yes, appendfsync always.")
  var redis: String?

  @Flag(help: "Start a redis-server of its own, appendonly yes, appendfsync always, and measure beside it.")
  var besideRedis = false

  @Flag(help: "Print one JSON object at the end instead of lines.")
  var json = false

  @Option(help: "The seed of the events.")
  var seed: UInt64 = 1

  func validate() throws {
    guard (10_000...100_000_000).contains(events) else { throw ValidationError("--events must be from 10000 to 100000000") }
    guard (0...100_000_000).contains(sustained) else { throw ValidationError("--sustained must be from 0 to 100000000") }
    guard (1...100_000_000).contains(customers) else { throw ValidationError("--customers must be from 1 to 100000000") }
    guard (1...99).contains(rounds) else { throw ValidationError("--rounds must be from 1 to 99") }
    guard directory.utf8.count <= 60 else { throw ValidationError("--directory must be short, since sockets are made below it") }
    guard redis == nil || !besideRedis else { throw ValidationError("--redis and --beside-redis exclude each other") }
  }

  func run() async throws {
    let place = directory + "/ledger-bench-" + String(UInt64.random(in: 0 ... .max), radix: 36)
    try Files.createDirectory(place)
    defer {
      do throws(FileError) {
        try Files.removeTree(place)
      } catch {
        print("could not remove \(place): \(error)")
      }
    }
    let done = Mutex<Result<Void, any Error>?>(nil)
    let work = NamedThread(name: "bench") {
      let result = Result { try measure(place) }
      done.withLock { $0 = result }
    }
    await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
      _ = NamedThread(name: "bench-wait") {
        work.join()
        continuation.resume()
      }
    }
    try done.withLock { $0 }?.get()
  }

  private func measure(_ place: String) throws {
    var report = BenchReport(isJSON: json)
    let generator = SeededEvents(seed: seed, customerCount: customers)
    if let data {
      let log = try EventLog(directory: data)
      report.heading("\(log.head) events of \(data); in process")
      try BenchReading(rounds: rounds, seed: seed).measure(log, &report)
      try BenchFolds(place: place).measure(log, &report)
      log.close()
    } else {
      report.heading("\(events) events over \(customers) customers, seed \(seed); medians of \(rounds)")
      if part.contains(.limits) {
        try BenchLimits(generator: generator, eventCount: min(events, 200_000), shapes: shape, place: place).measure(&report)
      }
      if part.contains(.append) { try measureAppends(generator, place, &report) }
      if part.contains(.read) || part.contains(.fold) {
        try BenchStored(
          generator: generator, eventCount: max(10_000, events / 4), rounds: rounds, place: place, isFolding: part.contains(.fold)
        )
        .measure(&report)
      }
    }
    if json { print(try report.json()) }
  }

  private func measureAppends(_ generator: SeededEvents, _ place: String, _ report: inout BenchReport) throws {
    let beside = besideRedis ? try BenchRedis(startedIn: place + "/redis") : redis.map(BenchRedis.init(socket:))
    defer { beside?.stop() }
    let appends = BenchAppends(generator: generator, eventCount: events, rounds: rounds, place: place, redis: beside)
    for shape in shape { try appends.measure(shape, &report) }
    try appends.measureLatencyWhileFolding(&report)
    if sustained > 0 { try appends.measureSustained(eventCount: sustained, &report) }
  }
}

/// A part of the benchmark.
enum BenchPart: String, CaseIterable, ExpressibleByArgument { case limits, append, read, fold }

/// How a load is cut: connections × events a request, and how many requests are under way on each.
struct BenchShape: ExpressibleByArgument, CustomStringConvertible {
  var connectionCount: Int
  var batch: Int
  var depth: Int

  static let usual = ["16x256", "16x16", "64x1", "64x1x8", "1x1"].compactMap(BenchShape.init(argument:))

  init?(argument: String) {
    let parts = argument.split(separator: "x", omittingEmptySubsequences: false).compactMap { Int($0) }
    guard parts.count == argument.split(separator: "x", omittingEmptySubsequences: false).count, (2...3).contains(parts.count),
      (1...1_000).contains(parts[0]), (1...10_000).contains(parts[1])
    else { return nil }
    let depth = parts.count == 3 ? parts[2] : 1
    guard (1...1_000).contains(depth) else { return nil }
    (connectionCount, batch, self.depth) = (parts[0], parts[1], depth)
  }

  var description: String { "\(connectionCount)×\(batch)" + (depth > 1 ? ", \(depth) under way" : "") }

  /// Events under way at once: the largest group that a commit can take.
  var groupEventCount: Int { connectionCount * batch * depth }

  /// The share of `eventCount` that takes about as long as all of it in large groups, in whole requests on every connection.
  func eventCount(of eventCount: Int) -> Int {
    let divisor = groupEventCount >= 4_096 ? 1 : groupEventCount >= 256 ? 4 : groupEventCount >= 16 ? 20 : 100
    let unit = connectionCount * batch
    return max(1, eventCount / divisor / unit) * unit
  }
}

/// Runs something and tells how long it took.
func timed<R>(_ body: () throws -> R) rethrows -> (result: R, seconds: Double) {
  let start = MonotonicClock.nanoseconds()
  let result = try body()
  return (result, Double(MonotonicClock.nanoseconds() - start) / 1e9)
}
