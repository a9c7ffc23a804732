// Builds images from a trace, opens each as the next start would, and looks whether every promise was kept.
//
// Invariants:
// - An image is a function of the trace, the seed and its number.
// - Whatever opening an image throws is a broken promise: there is no power cut after which a ledger does not start.
// - What is checked: every event that was acknowledged before the cut, byte for byte, at its position; positions without a
//   gap, units whole or absent, revisions, each block's checksum; the head is not below one that somebody was told; repeats
//   are duplicates, appending goes on, and what is appended is there after the next start. In every fourth image the index
//   is deleted, so that the chain over all events is computed anew. In a share of them the projections are opened, too:
//   they come to the digest of a fresh fold, and that is the digest of their rows.

import Bytes
import EventLog
import Files
import JSON
import LedgerCore
import LedgerHTTP
public import ProjectionEngine
import Threads

/// A promise that did not survive a power cut.
public struct PowerFailure: Error, CustomStringConvertible {
  /// The image's number.
  public let image: Int
  /// What was lost of what was not synced, and what is wrong.
  public let description: String
}

/// Checks images of one trace.
public struct PowerCheck: Sendable {
  /// How it checks.
  public struct Options: Sendable {
    /// The trace.
    public var tracePath: String
    /// With an image's number it says which image that is.
    public var seed: UInt64
    /// For the images; made, and emptied after each.
    public var directory: String
    /// The projections to heal.
    public var projections: [any Projection]
    /// One image in so many has its projections opened.
    public var projectionInterval = 16
    /// Told how it goes, a line at a time.
    public var report: @Sendable (String) -> Void = { print($0) }

    /// The defaults.
    public init(tracePath: String, seed: UInt64, directory: String, projections: [any Projection]) {
      self.tracePath = tracePath
      self.seed = seed
      self.directory = directory
      self.projections = projections
    }
  }

  /// What was checked. Everything in it kept its promises.
  public struct Summary: Equatable, Sendable {
    /// Images.
    public var images = 0
    /// Acknowledged events looked for, over all images.
    public var events = 0
    /// Images whose projections were healed and compared.
    public var projections = 0
  }

  private let options: Options
  private let trace: PowerTrace
  private let events: SeededEvents
  /// Records at which somebody was told something.
  private let answers: [Int]
  /// Ends of syncs.
  private let syncs: [Int]
  /// Records at which a daemon had just started.
  private let starts: [Int]

  /// Reads the trace.
  public init(_ options: Options) throws {
    self.options = options
    let trace = try PowerTrace(path: options.tracePath)
    self.trace = trace
    events = SeededEvents(seed: trace.eventSeed, customerCount: trace.customerCount)
    let run = trace.records.indices[trace.start...]
    answers = run.filter { [.acknowledged, .seen].contains(trace.records[$0].kind) }
    syncs = run.filter { trace.records[$0].kind == .end }
    starts = run.filter { trace.records[$0].kind == .started }
  }

  /// The moment of an image: what stands before that record has happened. Any moment, or just after an answer, just
  /// before a sync is done, or soon after a start, when what a killed daemon left unsynced may be told already.
  private func cut(_ random: inout Draw) -> Int {
    let run = trace.records.count - trace.start
    switch random.below(8) {
    case 0, 1: return answers.isEmpty ? trace.start + 1 : answers[random.below(answers.count)] + 1
    case 2, 3: return syncs.isEmpty ? trace.start + 1 : syncs[random.below(syncs.count)]
    case 4: return starts.isEmpty ? trace.start + 1 : min(starts[random.below(starts.count)] + 1 + random.below(3), trace.records.count)
    default: return trace.start + 1 + random.below(run)
    }
  }

  /// Checks images, in the order of their moments. Says `image <number>` before each.
  ///
  /// - Throws: ``PowerFailure`` for the first that is wrong; its files are kept.
  public func run(_ numbers: [Int]) async throws -> Summary {
    var summary = Summary()
    var disk = PowerDisk()
    var next = 0
    let plans = numbers.map { number in
      var random = Draw(options.seed, UInt64(number))
      let cut = cut(&random)
      return (number: number, cut: cut, random: random)
    }
    for var plan in plans.sorted(by: { ($0.cut, $0.number) < ($1.cut, $1.number) }) {
      while next < plan.cut {
        try disk.apply(next, of: trace)
        next += 1
      }
      options.report("image \(plan.number)")
      var image = PowerImage(of: disk, before: plan.cut, &plan.random)
      let path = options.directory + "/image"
      try Files.removeTree(path)
      try image.write(to: path)
      do {
        summary.events += try await check(path, plan.cut, &plan.random, healsProjections: plan.number % options.projectionInterval == 0)
      } catch {
        let what = "at record \(plan.cut) of \(trace.records.count), \(image.loss)\(image.hasJunk ? ", with junk" : ""): \(error)"
        throw PowerFailure(image: plan.number, description: what)
      }
      summary.images += 1
      if plan.number % options.projectionInterval == 0 { summary.projections += 1 }
      try Files.removeTree(path)
    }
    return summary
  }

  /// Writes an image, untouched, and says which of its units were never acknowledged and are there all the same
  /// (`found <unit> <position>`), and which had been sent by then (`units <count>`) and acknowledged (`acknowledged …`).
  public func build(_ number: Int, at path: String) throws {
    var random = Draw(options.seed, UInt64(number))
    let cut = cut(&random)
    var disk = PowerDisk()
    for index in 0..<cut { try disk.apply(index, of: trace) }
    var image = PowerImage(of: disk, before: cut, &random)
    try Files.removeTree(path)
    try image.write(to: path)
    let copy = options.directory + "/image"
    try Files.removeTree(copy)
    random = Draw(options.seed, UInt64(number))
    _ = self.cut(&random)
    var again = PowerImage(of: disk, before: cut, &random)
    try again.write(to: copy)
    var (journal, _) = trace.journal(before: cut)
    let log = try EventLog(directory: copy + "/data", options: Self.logOptions)
    _ = try journal.violations(of: log, events: events)
    log.close()
    try Files.removeTree(copy)
    for unit in journal.units {
      options.report("unit \(unit.first) \(unit.count) \(unit.acknowledged ?? 0) \(unit.found ?? 0)")
    }
  }

  // MARK: One image

  private static var logOptions: EventLogOptions {
    var options = EventLogOptions()
    options.segmentPositionCount = PowerRecorder.segmentPositionCount
    options.mapByteCount = 16 << 20
    options.indexTailCountMax = 1_024
    return options
  }

  /// - Returns: How many acknowledged events were looked for.
  private func check(_ path: String, _ cut: Int, _ random: inout Draw, healsProjections: Bool) async throws -> Int {
    var (journal, seen) = trace.journal(before: cut)
    let acknowledged = journal.acknowledgedEventCount
    let data = path + "/data"
    if random.below(4) == 0 { try Files.removeTree(data + "/index") }
    let log = try EventLog(directory: data, options: Self.logOptions)
    defer { log.close() }
    try check(log, &journal)
    guard log.head >= seen else { throw CrashViolation("head \(seen) was told, and now it is \(log.head)") }
    try await waitUntilOpen(log)
    if healsProjections { try await heal(path, log) }
    try await append(log, &journal, &random)
    guard random.below(2) == 0 else { return acknowledged }
    log.close()
    let again = try EventLog(directory: data, options: Self.logOptions)
    defer { again.close() }
    try check(again, &journal)
    return acknowledged
  }

  private func check(_ log: EventLog, _ journal: inout CrashJournal) throws {
    let violations = try journal.violations(of: log, events: events)
    guard violations.isEmpty else { throw CrashViolation(violations.map(\.description).joined(separator: "; ")) }
  }

  private func waitUntilOpen(_ log: EventLog) async throws {
    let end = ContinuousClock.now + .seconds(30)
    while let obstacle = log.appendObstacle {
      if let failure = log.failure { throw CrashViolation("appending does not start: \(failure)") }
      guard ContinuousClock.now < end else { throw CrashViolation("appending has not started within 30 s: \(obstacle)") }
      try await Task.sleep(for: .microseconds(200))
    }
  }

  /// Repeats what was acknowledged and what was not, and appends something new.
  private func append(_ log: EventLog, _ journal: inout CrashJournal, _ random: inout Draw) async throws {
    var units: [Int] = []
    for wantsAcknowledged in [true, false] {
      let those = journal.units.indices.filter { (journal.units[$0].acknowledged != nil) == wantsAcknowledged }
      if !those.isEmpty { units.append(those[random.below(those.count)]) }
    }
    units.append(journal.begin(count: 1 + random.below(5)))
    for unit in units {
      let repeated = journal.units[unit]
      var batch = log.makeBatch(door: .http, principal: "power")
      var reader = JSONReader()
      for index in repeated.first..<repeated.first + UInt64(repeated.count) {
        try batch.add(try reader.parse(events.event(index).rawSpan), of: reader)
      }
      let result = try await log.append(batch)
      let receipts = result.receipts.map {
        LedgerHTTP.Receipt(source: "", id: "", position: Int64($0.position), duplicate: $0.isDuplicate)
      }
      let answer = AppendAnswer(
        appended: result.appended, duplicates: result.duplicates, erased: 0, first: nil, last: nil, head: Int64(result.head),
        receipts: receipts)
      if repeated.acknowledged != nil || repeated.found != nil, result.appended > 0 {
        throw CrashViolation("\(result.appended) events of unit \(unit) are in the log, and were appended again")
      }
      try journal.note(answer, to: [unit])
    }
  }

  // MARK: Projections

  /// Follows with what the image has, and folds anew; both must come to the same.
  private func heal(_ path: String, _ log: EventLog) async throws {
    let healed = try await digests(log, path + "/data/projections")
    let fresh = try await digests(log, path + "/fresh")
    for (left, right) in zip(healed, fresh) where left != right {
      throw CrashViolation("projections do not heal: \(left), a fresh fold gives \(right)")
    }
  }

  private func digests(_ log: EventLog, _ directory: String) async throws -> [String] {
    var engineOptions = EngineOptions(now: { Timestamp(microseconds: WallClock.microseconds()) })
    engineOptions.mapByteCount = 16 << 20
    engineOptions.batchByteCountReserve = 1 << 20
    engineOptions.readerCount = 1
    engineOptions.isVolatile = true
    let engine = ProjectionEngine(log: log, directory: directory, projections: options.projections, options: engineOptions)
    engine.start()
    defer { engine.stop() }
    let end = ContinuousClock.now + .seconds(60)
    while !engine.statuses().allSatisfy({ $0.state == .live && $0.position == log.head && $0.rebuild == nil }) {
      guard ContinuousClock.now < end else { throw CrashViolation("projections do not catch up: \(engine.statuses())") }
      try await Task.sleep(for: .milliseconds(1))
    }
    var found: [String] = []
    for projection in options.projections {
      let (kept, computed) = (try engine.digest(projection.name), try await engine.recomputeDigest(projection.name))
      guard kept.digest == computed.digest else {
        throw CrashViolation("\(projection.name) keeps digest \(kept.hex), its rows have \(computed.hex)")
      }
      found.append("\(projection.name) \(kept.position) \(kept.rowCount) \(kept.hex)")
    }
    return found
  }
}
