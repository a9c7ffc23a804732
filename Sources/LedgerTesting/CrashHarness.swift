// Kills a real daemon again and again, at moments that nobody chose, and looks whether its promises were kept.
//
// A round: start, append, put under load, kill with SIGKILL, check a copy of the log. Some rounds kill while the daemon
// starts, with its index deleted, so that it has to catch up. Every few rounds the projections are compared: followed
// live, rebuilt, and made anew from nothing but the log.
//
// Invariants:
// - The log is checked as the kill left it: a copy of `log/` and `keys/` is opened, never the daemon's own files, since
//   opening them would do the recovery that the daemon has to do.
// - What is decided (moments, sizes, choices) comes from the seed. What the machine adds is when things happen.

import Foundation
import EventLog
import LedgerClient
public import LedgerCore
import LedgerHTTP
import Synchronization

/// Runs rounds of load and SIGKILL on one data directory.
public final class CrashHarness: Sendable {
  /// How it runs.
  public struct Options: Sendable {
    /// The path of `ledgerd`.
    public var executable: String
    /// For the harness alone, with a short path; kept, so that a failure can be looked at.
    public var directory: String
    /// Moments, sizes and events come from it.
    public var seed: UInt64
    /// How often the daemon is killed.
    public var roundCount = 6
    /// Concurrent writers.
    public var writerCount = 4
    /// Customers in the events.
    public var customerCount = 400
    /// Projections are compared after so many rounds, and at the end.
    public var comparisonInterval = 3
    /// The latest kill, in milliseconds after the load begins; the earliest is 5.
    public var killMillisecondsMax = 400
    /// Told how it goes, a line at a time.
    public var report: @Sendable (String) -> Void = { print($0) }

    /// The defaults: 6 rounds, 4 writers.
    public init(executable: String, directory: String, seed: UInt64) {
      self.executable = executable
      self.directory = directory
      self.seed = seed
    }
  }

  /// What was done. Everything in it kept its promises, or the run would have thrown.
  public struct Summary: Equatable, Sendable, CustomStringConvertible {
    /// Rounds, each with one kill.
    public var rounds = 0
    /// Kills while writers wrote.
    public var killsUnderLoad = 0
    /// Kills before the daemon was ready.
    public var killsWhileStarting = 0
    /// Kills under load after a rebuild was asked for: half of them within 20 ms, half at any moment of it.
    public var killsWhileRebuilding = 0
    /// Requests whose answer a kill took away.
    public var requestsCutOff = 0
    /// Units never acknowledged at the last check that were in the log whole.
    public var unacknowledgedUnitsFound = 0
    /// Units never acknowledged at the last check that were not in the log.
    public var unacknowledgedUnitsAbsent = 0
    /// Events acknowledged.
    public var eventsAcknowledged = 0
    /// Events answered as duplicates.
    public var duplicatesAnswered = 0
    /// Questions that readers got answers to.
    public var questionsAnswered = 0
    /// Comparisons of projections: live, rebuilt, made anew.
    public var comparisons = 0
    /// The log's head.
    public var head: Position = 0

    /// One line.
    public var description: String {
      "\(rounds) rounds: killed \(killsUnderLoad) times under load (\(killsWhileRebuilding) of them after a rebuild began) and "
        + "\(killsWhileStarting) times while starting; \(eventsAcknowledged) events acknowledged, \(duplicatesAnswered) duplicates, "
        + "\(requestsCutOff) requests cut off, \(unacknowledgedUnitsFound) unacknowledged batches whole and "
        + "\(unacknowledgedUnitsAbsent) absent; \(questionsAnswered) questions answered; \(comparisons) comparisons; head \(head)"
    }
  }

  private struct State {
    var journal = CrashJournal()
    var summary = Summary()
    var violation: (any Error)?
  }

  private let options: Options
  private let events: SeededEvents
  private let state = Mutex(State())

  /// - Parameter options: `directory` is emptied first.
  public init(_ options: Options) {
    self.options = options
    events = SeededEvents(seed: options.seed, customerCount: options.customerCount)
  }

  private var data: String { options.directory + "/data" }

  /// Runs all rounds.
  ///
  /// - Returns: What was done.
  /// - Throws: ``CrashViolation`` for the first promise that was broken; ``DaemonProcess/Failure`` if a daemon does not start,
  ///   does not stop, or answers what it must not.
  public func run() async throws -> Summary {
    options.report("seed \(options.seed), \(options.roundCount) rounds, \(options.writerCount) writers, in \(options.directory)")
    if FileManager.default.fileExists(atPath: options.directory) { try FileManager.default.removeItem(atPath: options.directory) }
    var startDuration = Duration.milliseconds(100)
    for round in 1...options.roundCount {
      var random = Draw(options.seed, UInt64(round))
      if random.below(4) == 0 {
        try await killWhileStarting(&random, startDuration)
      } else {
        startDuration = try await killUnderLoad(round, &random)
      }
      state.withLock { $0.summary.rounds += 1 }
      try checkLog(round)
      if round % options.comparisonInterval == 0 || round == options.roundCount { try await compareProjections(round) }
    }
    return state.withLock { state in
      state.summary.eventsAcknowledged = state.journal.acknowledgedEventCount
      state.summary.duplicatesAnswered = state.journal.duplicateEventCount
      return state.summary
    }
  }

  // MARK: Kills

  private func killWhileStarting(_ random: inout Draw, _ startDuration: Duration) async throws {
    // Every second time there is more to do at the start.
    if random.below(2) == 0 { try remove("index") }
    let daemon = try DaemonProcess(executable: options.executable, directory: options.directory)
    try await Task.sleep(for: startDuration * random.below(1_200) / 1_000)
    guard await daemon.kill() else { throw daemon.failure("the daemon ended by itself while starting") }
    state.withLock { $0.summary.killsWhileStarting += 1 }
  }

  /// - Returns: How long the daemon took to start.
  private func killUnderLoad(_ round: Int, _ random: inout Draw) async throws -> Duration {
    let start = ContinuousClock.now
    let daemon = try DaemonProcess(executable: options.executable, directory: options.directory)
    do {
      try await daemon.waitUntilReady()
      let duration = ContinuousClock.now - start
      try await appendOne(daemon)
      let rebuilt = random.below(2) == 0 ? (random.below(2) == 0 ? "customers" : "channels") : nil
      let delay = Duration.microseconds(5_000 + Int(random.next() % UInt64(options.killMillisecondsMax * 1_000 - 5_000)))
      let lead = random.below(2) == 0 ? min(delay, .milliseconds(20)) : delay
      let wasKilled = try await load(
        daemon, round: round, killAfter: delay, rebuilding: rebuilt, for: rebuilt == nil ? .zero : lead * random.below(100) / 100)
      try throwViolation()
      guard wasKilled else { throw daemon.failure("the daemon ended by itself under load") }
      state.withLock { state in
        state.summary.killsUnderLoad += 1
        if rebuilt != nil { state.summary.killsWhileRebuilding += 1 }
      }
      return duration
    } catch {
      await daemon.kill()
      throw error
    }
  }

  /// Appends and asks until the kill, which comes `lead` after a rebuild began.
  private func load(
    _ daemon: DaemonProcess, round: Int, killAfter delay: Duration, rebuilding name: String?, for lead: Duration
  ) async throws -> Bool {
    await withTaskGroup(of: Bool?.self) { group in
      for writer in 0..<options.writerCount {
        group.addTask(name: "crash writer") {
          await self.write(daemon, Draw(self.options.seed &+ UInt64(writer) &+ 1, UInt64(round)))
          return nil
        }
      }
      group.addTask(name: "crash reader") {
        await self.read(daemon, Draw(self.options.seed ^ 0x4ead, UInt64(round)))
        return nil
      }
      group.addTask(name: "crash killer") {
        do {
          try await Task.sleep(for: delay - lead)
          if let name { try await self.beginRebuild(of: name, daemon) }
          try await Task.sleep(for: lead)
        } catch {
          self.note(daemon.failure("a rebuild was not taken: \(error)"))
        }
        return await daemon.kill()
      }
      var wasKilled = false
      for await ended in group { wasKilled = ended ?? wasKilled }
      return wasKilled
    }
  }

  private func beginRebuild(of name: String, _ daemon: DaemonProcess) async throws {
    do throws(ClientError) {
      _ = try await daemon.client.rebuild(name)
    } catch .problem(let problem) where problem.knownCode == .rebuilding {
      // One that an earlier kill cut off goes on.
    }
  }

  private func throwViolation() throws {
    if let violation = state.withLock({ $0.violation }) { throw violation }
  }

  private func note(_ error: any Error) { state.withLock { $0.violation = $0.violation ?? error } }

  // MARK: Writers and readers

  /// Appends until the daemon is gone.
  private func write(_ daemon: DaemonProcess, _ seeded: Draw) async {
    var random = seeded
    let client = LedgerClient(.unixSocket(path: daemon.socket), retry: .never, answerTimeout: .seconds(60))
    while await send(choose(&random), client, daemon) {}
    await client.close()
  }

  /// The units of the next request: mostly a new one, else a repeat, acknowledged or not, or several together.
  private func choose(_ random: inout Draw) -> [Int] {
    state.withLock { state in
      let count = 1 + random.below(200)
      let choice = random.below(10)
      let known = state.journal.units.count
      guard choice >= 6, known > 0 else { return [state.journal.begin(count: count)] }
      // Recent ones more often: they are the ones that are in flight, or were cut off.
      let recent = known - 1 - random.below(min(known, 12))
      let wantsAcknowledged = random.below(2) == 0
      let start = random.below(2) == 0 ? recent : random.below(known)
      let old = (0...start).reversed().first { (state.journal.units[$0].acknowledged != nil) == wantsAcknowledged } ?? start
      if choice < 9 { return [old] }
      let new = state.journal.begin(count: count)
      let units = old == recent ? [old, new] : [recent, new, old]
      return units
    }
  }

  /// - Returns: False if the daemon is gone, or a promise was broken.
  private func send(_ units: [Int], _ client: LedgerClient, _ daemon: DaemonProcess) async -> Bool {
    var body: [UInt8] = [UInt8(ascii: "[")]
    for unit in state.withLock({ state in units.map { state.journal.units[$0] } }) {
      for index in unit.first..<unit.first + UInt64(unit.count) {
        if body.count > 1 { body.append(UInt8(ascii: ",")) }
        events.append(index: index, to: &body)
      }
    }
    body.append(UInt8(ascii: "]"))
    do {
      let answer = try await client.append(batch: body, receipts: true)
      try state.withLock { try $0.journal.note(answer, to: units) }
      return true
    } catch ClientError.unreachable {
      return false
    } catch ClientError.connectionLost {
      state.withLock { $0.summary.requestsCutOff += 1 }
      return false
    } catch ClientError.problem(let problem) where problem.knownCode == .busy {
      return true
    } catch {
      note(error is CrashViolation ? error : daemon.failure("an append was refused: \(error)"))
      return false
    }
  }

  /// Asks for customers and journeys until the daemon is gone.
  private func read(_ daemon: DaemonProcess, _ seeded: Draw) async {
    var random = seeded
    let client = LedgerClient(.unixSocket(path: daemon.socket), retry: .never, answerTimeout: .seconds(60))
    do {
      while true {
        let identifier = events.identifier(ofCustomer: random.below(options.customerCount))
        for customer in try await client.customers(identifier: identifier) { _ = try await client.journey(id: customer.id) }
        state.withLock { $0.summary.questionsAnswered += 1 }
      }
    } catch ClientError.unreachable, ClientError.connectionLost {
      // That is what the harness is for.
    } catch {
      note(daemon.failure("a question was not answered: \(error)"))
    }
    await client.close()
  }

  /// Appends a small unit, which must be acknowledged: the daemon takes appends again.
  private func appendOne(_ daemon: DaemonProcess) async throws {
    let unit = state.withLock { $0.journal.begin(count: 3) }
    guard await send([unit], daemon.client, daemon) else {
      try throwViolation()
      throw daemon.failure("the daemon did not take an append after its start")
    }
    guard state.withLock({ $0.journal.units[unit].acknowledged != nil }) else {
      throw daemon.failure("the daemon was too busy for its first append")
    }
  }

  // MARK: Checks

  /// Checks the log as it is, from a copy.
  private func checkLog(_ round: Int) throws {
    let copy = options.directory + "/copy"
    defer {
      do {
        try FileManager.default.removeItem(atPath: copy)
      } catch {
        options.report("\(copy) was not removed: \(error)")
      }
    }
    try FileManager.default.createDirectory(atPath: copy, withIntermediateDirectories: true)
    for name in ["FORMAT", "keys", "log"] where FileManager.default.fileExists(atPath: data + "/" + name) {
      try FileManager.default.copyItem(atPath: data + "/" + name, toPath: copy + "/" + name)
    }
    let log = try EventLog(directory: copy)
    defer { log.close() }
    let (violations, head) = try state.withLock { state in
      let violations = try state.journal.violations(of: log, events: events)
      let unacknowledged = state.journal.units.filter { $0.acknowledged == nil }
      state.summary.unacknowledgedUnitsFound = unacknowledged.count { $0.found != nil }
      state.summary.unacknowledgedUnitsAbsent = unacknowledged.count { $0.found == nil }
      state.summary.head = log.head
      return (violations, log.head)
    }
    guard violations.isEmpty else {
      throw CrashViolation("round \(round), head \(head): " + violations.map(\.description).joined(separator: "; "))
    }
    options.report("round \(round): head \(head), the log is as promised")
  }

  /// What the ledger answers: digests, customers and journeys, as bytes.
  private struct Answers: Equatable {
    var digests: [ProjectionDigest] = []
    var bodies: [String: [UInt8]] = [:]

    /// What differs, by name.
    func differences(from other: Answers) -> [String] {
      var found = bodies.keys.filter { bodies[$0] != other.bodies[$0] }.sorted()
      if bodies.count != other.bodies.count { found.append("\(bodies.count) and \(other.bodies.count) answers") }
      for (left, right) in zip(digests, other.digests) where left != right { found.append("digests \(left) and \(right)") }
      if digests.count != other.digests.count { found.append("\(digests.count) and \(other.digests.count) digests") }
      return found
    }
  }

  /// Compares live with rebuilt, and both with what is made from the log alone.
  private func compareProjections(_ round: Int) async throws {
    let daemon = try DaemonProcess(executable: options.executable, directory: options.directory)
    let live: Answers
    do {
      try await daemon.waitUntilReady()
      let headBefore = try await head(of: daemon)
      guard headBefore == state.withLock({ $0.summary.head }) else {
        throw CrashViolation(
          "round \(round): the daemon started with head \(headBefore), its log had \(state.withLock { $0.summary.head })")
      }
      try await appendOne(daemon)
      live = try await answers(of: daemon)
      for digest in live.digests { try await daemon.rebuild(digest.name) }
      try expect(try await answers(of: daemon), toBe: live, "round \(round): after a rebuild")
      try await daemon.stop()
    } catch {
      await daemon.kill()
      throw error
    }
    try remove("index")
    try remove("projections")
    try await compareAnew(round, live)
    try checkLog(round)
    state.withLock { $0.summary.comparisons += 1 }
    options.report("round \(round): live, rebuilt and made anew are equal")
  }

  /// Nothing but the log is left: the same answers, and repeats are still duplicates.
  private func compareAnew(_ round: Int, _ live: Answers) async throws {
    let daemon = try DaemonProcess(executable: options.executable, directory: options.directory)
    do {
      try await daemon.waitUntilReady()
      try expect(try await answers(of: daemon), toBe: live, "round \(round): after index/ and projections/ were deleted")
      let head = try await head(of: daemon)
      var random = Draw(options.seed ^ 0xd0b1e, UInt64(round))
      for _ in 0..<10 {
        let unit = state.withLock { state in
          let acknowledged = state.journal.units.indices.filter { state.journal.units[$0].acknowledged != nil }
          return acknowledged[random.below(acknowledged.count)]
        }
        // `note` compares the positions with those of the first acknowledgement.
        guard await send([unit], daemon.client, daemon) else {
          try throwViolation()
          throw daemon.failure("a repeat was not answered")
        }
      }
      let after = try await self.head(of: daemon)
      guard after == head else { throw CrashViolation("round \(round): repeats moved the head from \(head) to \(after)") }
      try await daemon.stop()
    } catch {
      await daemon.kill()
      throw error
    }
  }

  private func head(of daemon: DaemonProcess) async throws -> Position {
    Position(try await daemon.client.log()["head"]?.integer ?? -1)
  }

  private func answers(of daemon: DaemonProcess) async throws -> Answers {
    let head = Int64(try await head(of: daemon))
    var answers = Answers()
    for projection in try await daemon.waitUntilFolded(head) {
      answers.digests.append(try await daemon.client.digest(projection.name))
    }
    for number in 0..<min(12, options.customerCount) {
      let target = LedgerClient.customersTarget(identifier: events.identifier(ofCustomer: number))
      answers.bodies[target] = try await daemon.body(target)
      for customer in try await daemon.client.customers(identifier: events.identifier(ofCustomer: number)) {
        for target in [
          LedgerClient.customerTarget(id: customer.id), LedgerClient.journeyTarget(id: customer.id),
          LedgerClient.customerTarget(id: customer.id) + "/identity",
        ] { answers.bodies[target] = try await daemon.body(target) }
      }
    }
    for target in [LedgerClient.journeyTarget(id: "unowned", limit: 200), "/v1/channels?limit=500"] {
      answers.bodies[target] = try await daemon.body(target)
    }
    return answers
  }

  private func expect(_ found: Answers, toBe expected: Answers, _ when: String) throws {
    let differences = found.differences(from: expected)
    guard differences.isEmpty else {
      throw CrashViolation("\(when) these differ: " + differences.prefix(10).joined(separator: ", "))
    }
  }

  private func remove(_ name: String) throws {
    let path = data + "/" + name
    if FileManager.default.fileExists(atPath: path) { try FileManager.default.removeItem(atPath: path) }
  }
}
