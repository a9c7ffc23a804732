// Small projections and a small log for the engine's tests.

import Bytes
import Dispatch
import EventLog
import Files
import Foundation
import JSON
import LedgerCore
import ProjectionEngine
import Synchronization

/// Count and sum.
struct Tally: StoredRow, Equatable {
  var count: Int64 = 0
  var sum: Int64 = 0

  init(count: Int64 = 0, sum: Int64 = 0) {
    self.count = count
    self.sum = sum
  }
  init(from reader: inout ByteReader) throws(ByteError) {
    count = try reader.zigzag()
    sum = try reader.zigzag()
  }
  func write(to writer: inout ByteWriter) {
    writer.zigzag(count)
    writer.zigzag(sum)
  }
}

/// A row of filler, to make maps grow.
struct Filler: StoredRow {
  var byteCount: Int
  init(byteCount: Int) { self.byteCount = byteCount }
  init(from reader: inout ByteReader) throws(ByteError) { byteCount = try reader.lengthPrefixedArray().count }
  func write(to writer: inout ByteWriter) { writer.lengthPrefixed([UInt8](repeating: 0x41, count: byteCount)) }
}

let unitTable = TableName<UInt64, Tally>("units")
let typeTable = TableName<ByteString, Tally>("types")
let entryTable = TableName<UInt64, Filler>("entries")

/// Counts per unit and per type; one entry per event. `merge` moves a unit's tally; `poison` cannot be folded.
struct UnitTally: Projection {
  var name = "units"
  var version: UInt32 = 1
  var failurePolicy = FailurePolicy.park
  var entryByteCount = 8
  var poisonType = "poison"
  var readableVersions: [UInt32] = []
  /// Closed: questions wait.
  var gate: TestGate?

  func canRead(version: UInt32) -> Bool { version == self.version || readableVersions.contains(version) }

  var queries: [ProjectionQuery] {
    [
      ProjectionQuery(path: "units/{unit}", parameters: []) { [gate] (request, snapshot) throws(QueryFailure) in
        gate?.pass()
        guard let unit = request.path["unit"].flatMap({ UInt64($0) }) else { throw .invalid("unit") }
        guard let row = try snapshot.row(unitTable, unit) else { throw .notFound("unit") }
        return Array("\(row.count) \(row.sum)".utf8)
      },
      ProjectionQuery(path: "total", parameters: []) { (_, snapshot) throws(QueryFailure) in
        var count: Int64 = 0
        try snapshot.scan(unitTable, prefix: []) { (_, row) throws(QueryFailure) in
          count += row.count
          return true
        }
        return Array("\(count) \(snapshot.checkpoint)".utf8)
      },
    ]
  }

  func scanUnits(in snapshot: Snapshot, from first: UInt64, _ body: (UInt64) throws(QueryFailure) -> Bool) throws(QueryFailure) {
    var start = ByteWriter()
    start.uint64(first)
    try snapshot.scan(unitTable, prefix: [], from: start.bytes) { (unit, _) throws(QueryFailure) in try body(unit) }
  }

  func makeFold(rows: RowStore) -> Fold { Fold(rows: rows, projection: self) }

  final class Fold: ProjectionFold {
    let rows: RowStore
    let units: Table<UInt64, Tally>
    let types: Table<ByteString, Tally>
    let entries: Table<UInt64, Filler>
    let projection: UnitTally

    init(rows: RowStore, projection: UnitTally) {
      self.rows = rows
      self.projection = projection
      units = rows.table(unitTable)
      types = rows.table(typeTable)
      entries = rows.table(entryTable)
    }

    func apply(_ event: LoggedEvent) throws(FoldFailure) {
      guard let data = event.attributes.data, let unitNode = event.json.member("unit", of: data),
        let unit = event.json.int64(of: unitNode)
      else { throw .poison("no unit") }
      let type = event.json.withString(of: event.attributes.type) { ByteString($0) }
      let value = event.json.member("value", of: data).flatMap { event.json.int64(of: $0) } ?? 0
      // Touched before the poison shows: giving the batch up must undo it.
      try types.update(type) { (row: inout Tally?) throws(FoldFailure) in
        row = Tally(count: (row?.count ?? 0) + 1, sum: (row?.sum ?? 0) + value)
      }
      if type == ByteString(projection.poisonType) { throw .poison("it is poisoned") }
      entries.insert(event.position, Filler(byteCount: projection.entryByteCount))
      if type == ByteString("merge"), let intoNode = event.json.member("into", of: data), let into = event.json.int64(of: intoNode) {
        try merge(UInt64(unit), UInt64(into))
        return
      }
      try units.update(UInt64(unit)) { (row: inout Tally?) throws(FoldFailure) in
        row = Tally(count: (row?.count ?? 0) + 1, sum: (row?.sum ?? 0) + value)
      }
      rows.markChanged(unit: UInt64(unit))
    }

    private func merge(_ unit: UInt64, _ into: UInt64) throws(FoldFailure) {
      guard unit != into, let moved = try units.row(unit) else { return }
      try units.set(unit, nil)
      try units.update(into) { (row: inout Tally?) throws(FoldFailure) in
        row = Tally(count: (row?.count ?? 0) + moved.count, sum: (row?.sum ?? 0) + moved.sum)
      }
      rows.markChanged(unit: unit)
      rows.markChanged(unit: into)
    }
  }
}

let contributionTable = TableName<UInt64, Tally>("contributions")
let histogramTable = TableName<UInt64, Tally>("histogram")

/// How many units have how many events: fed from `units`.
struct Histogram: Projection {
  var name = "histogram"
  var version: UInt32 = 1
  var dependsOn: String? { "units" }
  var poisonUnit: UInt64 = .max

  var queries: [ProjectionQuery] { [] }

  func makeFold(rows: RowStore) -> Fold { Fold(rows: rows, poisonUnit: poisonUnit) }

  final class Fold: DependentFold {
    let contributions: Table<UInt64, Tally>
    let histogram: Table<UInt64, Tally>
    let poisonUnit: UInt64

    init(rows: RowStore, poisonUnit: UInt64) {
      contributions = rows.table(contributionTable)
      histogram = rows.table(histogramTable)
      self.poisonUnit = poisonUnit
    }

    func apply(changed unit: UInt64, upstream: Snapshot) throws(FoldFailure) {
      if unit == poisonUnit { throw .poison("it is poisoned") }
      let now: Tally?
      do throws(QueryFailure) {
        now = try upstream.row(unitTable, unit)
      } catch {
        throw FoldFailure(reading: error)
      }
      if let before = try contributions.row(unit) { try add(before, times: -1) }
      if let now { try add(now, times: 1) }
      try contributions.set(unit, now)
    }

    private func add(_ tally: Tally, times sign: Int64) throws(FoldFailure) {
      try histogram.update(UInt64(tally.count)) { (row: inout Tally?) throws(FoldFailure) in
        let count = (row?.count ?? 0) + sign
        let sum = (row?.sum ?? 0) + sign * tally.sum
        row = count == 0 ? nil : Tally(count: count, sum: sum)
      }
    }
  }
}

/// Holds a reader until the test opens it.
final class TestGate: Sendable {
  private let state = Mutex((isOpen: false, isEntered: false))
  var isEntered: Bool { state.withLock { $0.isEntered } }
  func open() { state.withLock { $0.isOpen = true } }
  func pass() {
    state.withLock { $0.isEntered = true }
    while !state.withLock({ $0.isOpen }) { sleepBriefly() }
  }
}

func sleepBriefly() {
  let end = ContinuousClock.now + .milliseconds(1)
  while ContinuousClock.now < end {}
}

func event(_ type: String, _ unit: Int, _ value: Int = 1, into: Int? = nil, id: Int = 0) -> [UInt8] {
  let target = into.map { ",\"into\":\($0)" } ?? ""
  return Array(
    "{\"specversion\":\"1.0\",\"id\":\"\(id)\",\"source\":\"s\",\"type\":\"\(type)\",\"data\":{\"unit\":\(unit),\"value\":\(value)\(target)}}"
      .utf8)
}

/// `count` events over `unitCount` units, one in forty a merge; the same for the same seed.
func events(_ count: Int, unitCount: Int = 50, seed: UInt64 = 1) -> [[UInt8]] {
  var state = seed &* 0x9e37_79b9_7f4a_7c15
  func next(_ bound: Int) -> Int {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Int((state >> 33) % UInt64(bound))
  }
  return (0..<count).map { index in
    let unit = next(unitCount)
    if next(40) == 0 { return event("merge", unit, 0, into: next(unitCount), id: index) }
    return event("type\(next(5))", unit, next(100), id: index)
  }
}

/// Everything these tests write, removed when the process ends.
private let testRoot: String = {
  let path = "/tmp/engine-tests-\(UInt64.random(in: 0 ... .max))"
  atexit { removeTestRoot() }
  return path
}()

private func removeTestRoot() {
  do throws(FileError) {
    try Files.removeTree(testRoot)
  } catch {
    print("could not remove \(testRoot): \(error)")
  }
}

/// A directory of its own for one test.
func temporaryDirectory() -> String { testRoot + "/\(UInt64.random(in: 0 ... .max))" }

/// A real log in a directory of its own.
func makeLog(_ events: [[UInt8]] = []) -> EventLog {
  var options = EventLogOptions()
  options.mapByteCount = 4 << 20
  options.clock = { Timestamp(microseconds: 1_000_000) }
  do throws(LogError) {
    let log = try EventLog(directory: temporaryDirectory(), options: options)
    while case .catchingUp = log.appendObstacle { sleepBriefly() }
    log.append(events)
    return log
  } catch {
    fatalError("no log could be made: \(error)")
  }
}

private let lastID = Atomic<UInt64>(0)

extension EventLog {
  /// Appends and waits until it is done. Every event gets an id of its own: the generators' repeat.
  func append(_ events: [[UInt8]]) {
    var reader = JSONReader()
    for start in stride(from: 0, to: events.count, by: 5_000) {
      var batch = makeBatch(door: .process, principal: "test", received: Timestamp(microseconds: 1_000_000))
      for event in events[start..<min(start + 5_000, events.count)] {
        let text = String(decoding: event, as: UTF8.self)
        let id = lastID.wrappingAdd(1, ordering: .relaxed).newValue
        let bytes = Array(
          text.replacingOccurrences(of: ",\"source\"", with: "-\(id)\",\"source\"").replacingOccurrences(of: "\"-", with: "-").utf8)
        do {
          let root = try reader.parse(bytes.rawSpan)
          try batch.add(root, of: reader)
        } catch {
          fatalError("a test's event is refused: \(error)")
        }
      }
      let done = DispatchSemaphore(value: 0)
      append(batch) { result in
        if case .failure(let error) = result { fatalError("a test's events are refused: \(error)") }
        done.signal()
      }
      done.wait()
    }
  }
}

func testOptions(batch: Int = 1_000) -> EngineOptions {
  var options = EngineOptions(now: { Timestamp(microseconds: 5_000_000) })
  options.liveBatchEventCountMax = batch
  options.rebuildBatchEventCountMax = batch
  options.dependentBatchUnitCountMax = 10
  options.mapByteCount = 1 << 20
  options.batchByteCountReserve = 0
  options.retryDelayMin = .milliseconds(5)
  options.isVolatile = true
  return options
}

/// Collects what the engine reports.
final class EventSink: Sendable {
  private let events = Mutex<[EngineEvent]>([])
  func add(_ event: EngineEvent) { events.withLock { $0.append(event) } }
  func all(_ kind: EngineEvent.Kind) -> [EngineEvent] { events.withLock { $0.filter { $0.kind == kind } } }
}

/// Starts an engine, lets `body` use it, stops it.
func withEngine<R>(
  _ log: EventLog, _ directory: String, _ projections: [any Projection] = [UnitTally()], _ options: EngineOptions = testOptions(),
  sink: EventSink = EventSink(), _ body: (ProjectionEngine) async throws -> R
) async throws -> R {
  let engine = ProjectionEngine(
    log: log, directory: directory, projections: projections, options: options, events: { sink.add($0) })
  engine.start()
  do {
    let result = try await body(engine)
    engine.stop()
    return result
  } catch {
    engine.stop()
    throw error
  }
}

/// Polls a status until it is as wanted; false after a minute.
func eventually(_ isDone: () throws -> Bool) async throws -> Bool {
  let end = ContinuousClock.now + .seconds(60)
  while try !isDone() {
    guard ContinuousClock.now < end else { return false }
    try await Task.sleep(for: .milliseconds(2))
  }
  return true
}

extension ProjectionEngine {
  func status(_ name: String = "units") -> ProjectionStatus? { statuses().first { $0.name == name } }
  func catchUp(_ position: Position, _ name: String = "units") async throws -> Bool {
    try await waitFor(projection: name, position: position, timeout: .seconds(60))
  }
}
