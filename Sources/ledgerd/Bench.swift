// `ledgerd bench`: the project's own benchmark. Each figure stands beside a bare limit measured in the same run, since
// machines differ and are noisy.

import ArgumentParser
import Bytes
import EventLog
import Files
import Foundation
import JSON
import LMDB
import LedgerCore
import LedgerTesting
import ProjectionEngine
import Synchronization
import Threads

struct Bench: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measures this machine: append, replay, restart, rebuild, point reads.",
    discussion: """
      Events are seeded, distinct and varied, about 500 bytes each, and full of merges. Everything runs in process, in a \
      temporary directory that is removed afterwards. With --data, a log of yours is replayed and folded instead; its daemon must \
      be stopped, and nothing in it is changed. Quote ratios, not figures: run it twice.
      """)

  @Option(help: "A data directory whose log is measured instead of seeded events.")
  var data: String?

  @Option(help: "How many events, 1000 to 100000000.")
  var events = 1_000_000

  @Option(help: "Over how many customers.")
  var customers = 100_000

  @Option(help: "Events in one request.")
  var batch = 256

  @Option(help: "Requests under way at once.")
  var connections = 16

  @Option(help: "Where the temporary directory is made: measure the disk that will be used.")
  var directory = NSTemporaryDirectory()

  @Option(help: "The seed of the events.")
  var seed: UInt64 = 1

  func validate() throws {
    guard (1_000...100_000_000).contains(events) else { throw ValidationError("--events must be from 1000 to 100000000") }
    guard (1...10_000).contains(batch) else { throw ValidationError("--batch must be from 1 to 10000") }
    guard (1...1_024).contains(connections) else { throw ValidationError("--connections must be from 1 to 1024") }
    guard (1...100_000_000).contains(customers) else { throw ValidationError("--customers must be from 1 to 100000000") }
  }

  func run() async throws {
    let place = directory + "/ledger-bench-\(UInt64.random(in: 0 ... .max))"
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
    work.join()
    try done.withLock { $0 }?.get()
  }

  // MARK: The measurements

  private func measure(_ place: String) throws {
    if let data {
      let log = try EventLog(directory: data)
      print("\(log.head) events of \(data); in process")
      try measureReading(log)
      try measureFolds(log, place)
      return log.close()
    }
    print("\(events) events over \(customers) customers, seed \(seed); \(connections) × \(batch) in flight; in process")
    let generator = SeededEvents(seed: seed, customerCount: customers)
    let sampleCount = min(events, 200_000)
    let sample = time { (0..<UInt64(sampleCount)).map { generator.event($0) } }
    let byteCount = sample.result.reduce(0) { $0 + $1.count }
    report("generate", sampleCount, sample.seconds, "\(byteCount / sampleCount) bytes an event")
    let decode = try time { try decodeAll(sample.result) }
    report("bare: validate and index JSON", sampleCount, decode.seconds)
    let write = try time { try writeBare(sample.result, place + "/bare.log") }
    report("bare: write + fdatasync per group", sampleCount, write.seconds)
    let lmdb = try time { try putBare(sample.result, place + "/bare-lmdb") }
    report("bare: one LMDB value per group", sampleCount, lmdb.seconds)

    var log = try EventLog(directory: place + "/data")
    let append = try time { try appendAll(generator, log) }
    report("append (validated, durable)", events, append.seconds)
    let status = try log.status()
    print("  \(format(Double(status.byteCount) / Double(events))) bytes of log an event, JSON \(byteCount / sampleCount)")

    try measureReading(log)
    let close = time { log.close() }
    let open = try time { () -> EventLog in
      let log = try EventLog(directory: place + "/data")
      while log.appendObstacle != nil { usleep(200) }
      return log
    }
    log = open.result
    print("  close \(milliseconds(close.seconds)), open until appends are taken \(milliseconds(open.seconds))")
    log.close()
    try Files.removeTree(place + "/data/index")
    let reindex = try time { () -> EventLog in
      let log = try EventLog(directory: place + "/data")
      while log.appendObstacle != nil { usleep(200) }
      return log
    }
    log = reindex.result
    report("index made anew", events, reindex.seconds)

    try measureFolds(log, place)
    log.close()
  }

  private func measureReading(_ log: EventLog) throws {
    let replay = try time { try replayAll(log) }
    report("replay, raw", Int(log.head), replay.seconds)
    let decode = try time { try decodeAll(log) }
    report("replay, validated and indexed", Int(log.head), decode.seconds)
    let points = try time { try readPoints(log) }
    report("point reads", 20_000, points.seconds)
  }

  private func measureFolds(_ log: EventLog, _ place: String) throws {
    var lists: [[any Projection]] = allProjections().map { [$0] }
    lists.append(allProjections())
    for projections in lists {
      let name = projections.count == 1 ? projections[0].name : "all projections at once"
      let engine = ProjectionEngine(
        log: log, directory: place + "/fold-\(lists.count)-\(projections.count)-\(projections[0].name)", projections: projections,
        options: EngineOptions(now: { Timestamp(microseconds: WallClock.microseconds()) }))
      let fold = time {
        engine.start()
        while engine.statuses().contains(where: { $0.position < log.head }) { usleep(1_000) }
      }
      report(
        "rebuild: \(name)", Int(log.head), fold.seconds,
        "\(engine.statuses().map { "\($0.name) \($0.rowCount) rows" }.joined(separator: ", "))")
      engine.stop()
    }
    print("  peak memory \(ProcessUsage.peakByteCount >> 20) MB")
  }

  private func decodeAll(_ events: [[UInt8]]) throws {
    let event = LoggedEvent()
    let envelope = Envelope(recorded: .earliest, received: .earliest, revision: 0, door: .process, principal: "")
    for bytes in events { try event.read(bytes.rawSpan, position: 1, envelope: envelope) }
  }

  private func writeBare(_ events: [[UInt8]], _ path: String) throws {
    guard FileManager.default.createFile(atPath: path, contents: nil), let file = FileHandle(forWritingAtPath: path) else {
      throw ValidationError("\(path) cannot be written")
    }
    for start in stride(from: 0, to: events.count, by: batch * connections) {
      var group = Data()
      for event in events[start..<min(start + batch * connections, events.count)] { group.append(contentsOf: event) }
      try file.write(contentsOf: group)
      try file.synchronize()
    }
    try file.close()
  }

  private func putBare(_ events: [[UInt8]], _ path: String) throws {
    try Files.createDirectory(path)
    let environment = try Environment(path: path, options: .init(mapByteCount: 2 << 30))
    let values = try environment.database("values", UInt64.self, [UInt8].self)
    for start in stride(from: 0, to: events.count, by: batch * connections) {
      var group: [UInt8] = []
      for event in events[start..<min(start + batch * connections, events.count)] { group.append(contentsOf: event) }
      try environment.ensureRoom(for: group.count)
      try environment.write { (transaction) throws(LMDBError) in
        try transaction.put(values, UInt64(start), group, mode: .append)
      }
    }
  }

  /// Appends everything, `connections` requests under way at once, as many clients would.
  private func appendAll(_ generator: SeededEvents, _ log: EventLog) throws {
    while log.appendObstacle != nil { usleep(200) }
    let window = Monitor((underWay: 0, failure: AppendError?.none))
    var reader = JSONReader()
    for start in stride(from: 0, to: events, by: batch) {
      var request = log.makeBatch(door: .process, principal: "bench")
      for index in start..<min(start + batch, events) {
        let bytes = generator.event(UInt64(index))
        let root = try reader.parse(bytes.rawSpan)
        try request.add(root, of: reader)
      }
      let limit = connections
      let failure: AppendError?? = window.wait { state in
        if let failure = state.failure { return .some(failure) }
        guard state.underWay < limit else { return nil }
        state.underWay += 1
        return .some(nil)
      }
      if case .some(.some(let failure)) = failure { throw failure }
      log.append(request) { result in
        window.signal { state in
          state.underWay -= 1
          if case .failure(let error) = result { state.failure = error }
        }
      }
    }
    let failure: AppendError?? = window.wait { $0.underWay == 0 ? .some($0.failure) : nil }
    if case .some(.some(let failure)) = failure { throw failure }
  }

  private func replayAll(_ log: EventLog) throws {
    var sum = 0
    let count = try log.makeReader(after: 0).read(maxCount: .max, through: log.head) { _, _, bytes in
      sum &+= bytes.byteCount
      return true
    }
    precondition(UInt64(count) == log.head && sum > 0)
  }

  private func decodeAll(_ log: EventLog) throws {
    let event = LoggedEvent()
    var failure: EventError?
    _ = try log.makeReader(after: 0).read(maxCount: .max, through: log.head) { position, envelope, bytes in
      do throws(EventError) {
        try event.read(bytes, position: position, envelope: envelope)
        return true
      } catch {
        failure = error
        return false
      }
    }
    if let failure { throw failure }
  }

  private func readPoints(_ log: EventLog) throws {
    var random = SplitMix64(state: seed)
    for _ in 0..<20_000 { _ = try log.event(at: 1 + random.next() % log.head) }
  }

  // MARK: Telling

  private func time<R>(_ body: () throws -> R) rethrows -> (result: R, seconds: Double) {
    let start = MonotonicClock.nanoseconds()
    let result = try body()
    return (result, Double(MonotonicClock.nanoseconds() - start) / 1e9)
  }

  private func report(_ what: String, _ count: Int, _ seconds: Double, _ more: String = "") {
    let name = what.padding(toLength: 36, withPad: " ", startingAt: 0)
    let rate = String(format: "%12.0f /s", Double(count) / seconds)
    print("  \(name) \(rate)  \(String(format: "%8.3f µs", seconds / Double(count) * 1e6))  \(more)")
  }

  private func milliseconds(_ seconds: Double) -> String { String(format: "%.1f ms", seconds * 1e3) }
  private func format(_ value: Double) -> String { String(format: "%.1f", value) }
}

/// A small generator for positions to read.
private struct SplitMix64 {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    return z ^ z >> 31
  }
}
