// What every projection must pass: the same rows and digest, however the log was cut into batches, stopped, started again
// or folded anew. Works through the engine's public interface, on a log that somebody else filled.

public import Bytes
public import EventLog
import Files
public import LedgerCore
public import ProjectionEngine

/// Runs projections over one log in many ways and compares what they store.
public struct ConformanceKit: Sendable {
  /// What a projection stored after a run.
  public struct Fingerprint: Equatable, Sendable {
    /// The last position folded.
    public var position: Position
    /// How many rows there are.
    public var rowCount: Int64
    /// The digest as kept with each commit.
    public var digest: Hash128
    /// The digest computed from the rows.
    public var recomputed: Hash128
    /// A hash over every row in order: equal only if the rows are.
    public var rows: Hash128
    /// What was set aside.
    public var parked: [ParkedEvent]

    /// One line, to compare processes by.
    public var line: String {
      "\(position) \(rowCount) \(digest.hex) \(recomputed.hex) \(rows.hex) \(parked.map { String($0.position) }.joined(separator: ","))"
    }
  }

  /// A check that a projection did not pass.
  public struct Failure: Error, Equatable, Sendable, CustomStringConvertible {
    /// The projection.
    public var projection: String
    /// The check, as a sentence.
    public var check: String
    /// What was expected.
    public var expected: String
    /// What was found.
    public var found: String

    /// All of it.
    public var description: String { "\(projection): \(check): expected \(expected), found \(found)" }
  }

  private let log: EventLog
  private let projections: [any Projection]
  private let directory: String
  private let timeout: Duration

  /// - Parameters:
  ///   - log: At rest: nobody appends while the kit runs.
  ///   - projections: As for an engine; all of them are checked.
  ///   - directory: For the kit alone; made, and removed after each run.
  ///   - timeout: For each wait.
  public init(log: EventLog, projections: [any Projection], directory: String, timeout: Duration = .seconds(120)) {
    self.log = log
    self.projections = projections
    self.directory = directory
    self.timeout = timeout
  }

  /// Runs every check.
  ///
  /// - Parameters:
  ///   - batchEventCounts: Sizes of batches that must not matter.
  ///   - restarts: Positions at which the engine is stopped and started again; nil: five, spread over the log.
  /// - Returns: What was not passed; empty if all is well.
  public func failures(
    batchEventCounts: [Int] = [1, 7, 1_000], restarts: [Position]? = nil
  ) async throws -> [Failure] {
    var failures: [Failure] = []
    let expected = try await run(options(batchEventCount: 5_000))
    compare(expected, expected, "the kept digest equals the digest of the rows", &failures)
    compare(try await run(options(batchEventCount: 5_000)), expected, "folding twice gives the same bytes", &failures)
    for count in batchEventCounts {
      compare(try await run(options(batchEventCount: count)), expected, "batches of \(count) give the same rows", &failures)
    }
    var tight = options(batchEventCount: 1_000)
    tight.cachedRowCountMax = 3
    compare(try await run(tight), expected, "a cache smaller than the batch gives the same rows", &failures)
    let stops = restarts ?? (1...5).map { log.head * $0 / 6 }
    compare(
      try await run(options(batchEventCount: 50), restarts: stops), expected, "stopping at \(stops) and starting again changes nothing",
      &failures)
    compare(
      try await run(options(batchEventCount: 50), restarts: stops, rebuilds: true), expected, "a rebuild equals what was followed live",
      &failures)
    return failures
  }

  /// One line per projection for a plain run: print it in another process and compare.
  public func lines() async throws -> [String] {
    let found = try await run(options(batchEventCount: 1_000))
    return projections.map { "\($0.name) \(found[$0.name]?.line ?? "nothing")" }
  }

  private func options(batchEventCount: Int) -> EngineOptions {
    var options = EngineOptions(now: { Timestamp(microseconds: 0) })
    options.liveBatchEventCountMax = batchEventCount
    options.rebuildBatchEventCountMax = batchEventCount
    options.dependentBatchUnitCountMax = batchEventCount
    options.mapByteCount = 1 << 20
    options.batchByteCountReserve = 0
    options.readerCount = 1
    options.isVolatile = true
    return options
  }

  private func compare(
    _ found: [String: Fingerprint], _ expected: [String: Fingerprint], _ check: String, _ failures: inout [Failure]
  ) {
    for projection in projections {
      let name = projection.name
      guard let left = found[name], let right = expected[name] else {
        failures.append(Failure(projection: name, check: check, expected: "a result", found: "none"))
        continue
      }
      if left != right { failures.append(Failure(projection: name, check: check, expected: right.line, found: left.line)) }
      if left.digest != left.recomputed {
        failures.append(Failure(projection: name, check: check, expected: left.recomputed.hex, found: left.digest.hex))
      }
    }
  }

  private func run(
    _ options: EngineOptions, restarts: [Position] = [], rebuilds: Bool = false
  ) async throws -> [String: Fingerprint] {
    try Files.removeTree(directory)
    for stop in restarts + [log.head] {
      var bounded = options
      bounded.positionMax = stop
      let engine = ProjectionEngine(log: log, directory: directory, projections: projections, options: bounded)
      engine.start()
      do {
        for projection in projections { try await wait(for: stop, projection.name, engine) }
        guard stop == log.head else {
          engine.stop()
          continue
        }
        if rebuilds { try await rebuildAll(engine) }
        let found = try await fingerprints(engine)
        engine.stop()
        try Files.removeTree(directory)
        return found
      } catch {
        engine.stop()
        throw error
      }
    }
    return [:]
  }

  private func wait(for position: Position, _ name: String, _ engine: ProjectionEngine) async throws {
    guard try await engine.waitFor(projection: name, position: position, timeout: timeout) else {
      let status = engine.statuses().first { $0.name == name }
      throw Failure(
        projection: name, check: "it catches up", expected: "position \(position)",
        found: "position \(status?.position ?? 0), \(status.map { "\($0.state)" } ?? "unknown")")
    }
  }

  /// Rebuilds each projection in turn. What depends on it is rebuilt by the engine.
  private func rebuildAll(_ engine: ProjectionEngine) async throws {
    for projection in projections where projection.dependsOn == nil {
      let before = engine.statuses()
      try engine.rebuild(projection.name)
      let follows = projections.filter { $0.name == projection.name || $0.dependsOn == projection.name }.map { $0.name }
      try await poll(projection.name, "its rebuild ends", engine) { statuses in
        zip(statuses, before).allSatisfy { now, then in
          !follows.contains(now.name) || (now.rebuild == nil && (now.generation ?? 0) > (then.generation ?? 0))
        }
      }
    }
    for projection in projections { try await wait(for: log.head, projection.name, engine) }
  }

  private func poll(
    _ name: String, _ check: String, _ engine: ProjectionEngine, until isDone: ([ProjectionStatus]) -> Bool
  ) async throws {
    let end = ContinuousClock.now + timeout
    while !isDone(engine.statuses()) {
      guard ContinuousClock.now < end else {
        throw Failure(projection: name, check: check, expected: "in \(timeout)", found: "\(engine.statuses())")
      }
      try await Task.sleep(for: .milliseconds(2))
    }
  }

  private func fingerprints(_ engine: ProjectionEngine) async throws -> [String: Fingerprint] {
    var found: [String: Fingerprint] = [:]
    for projection in projections {
      let recomputed = try await engine.recomputeDigest(projection.name)
      let rows = RowHash()
      let kept = try await engine.forEachRow(of: projection.name) { table, key, value in rows.add(table, key, value) }
      found[projection.name] = Fingerprint(
        position: kept.position, rowCount: kept.rowCount, digest: kept.digest, recomputed: recomputed.digest, rows: rows.value,
        parked: try engine.parked(projection.name))
    }
    return found
  }
}
