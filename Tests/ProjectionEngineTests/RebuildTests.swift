// Generations: rebuilds, switches, versions, projections that depend on others.

import Bytes
import EventLog
import Files
import LedgerCore
import ProjectionEngine
import Synchronization
import Testing
import Threads

@Suite struct RebuildTests {
  @Test func `a rebuild takes over with the same rows while appends and questions go on`() async throws {
    let log = makeLog(events(2_000))
    let directory = temporaryDirectory()
    let sink = EventSink()
    try await withEngine(log, directory, [UnitTally()], testOptions(batch: 100), sink: sink) { (engine: ProjectionEngine) async throws in
      #expect(try await engine.catchUp(2_000))
      #expect(try engine.rebuild("units") == 2)
      #expect(throws: EngineError.rebuildInProgress("units")) { try engine.rebuild("units") }
      var checkpoint: Position = 0
      var round: UInt64 = 0
      while engine.status()?.rebuild != nil || round < 20 {
        round += 1
        if round < 2_000 { log.append(events(20, seed: round)) }
        let answer = try await engine.answer(projection: "units", query: "total", request: QueryRequest())
        #expect(answer.checkpoint >= checkpoint)
        checkpoint = answer.checkpoint
        try #require(round < 100_000)
      }
      #expect(try await engine.catchUp(log.head))
      #expect(engine.status()?.generation == 2)
      #expect(try await engine.recomputeDigest("units") == engine.digest("units"))
      #expect(try await eventually { try Files.list(directory + "/units") == ["2", "live"] })
    }
    #expect(sink.all(.switched).map { $0.generation } == [2])
    let expected = try await withEngine(log, temporaryDirectory()) { (engine: ProjectionEngine) async throws in
      #expect(try await engine.catchUp(log.head))
      return try engine.digest("units").digest
    }
    try await withEngine(log, directory) { (engine: ProjectionEngine) async throws in
      #expect(try engine.digest("units").digest == expected)
      #expect(engine.status()?.generation == 2)
    }
  }

  @Test func `a rebuild goes on after a restart`() async throws {
    let log = makeLog(events(3_000))
    let directory = temporaryDirectory()
    try await withEngine(log, directory) { (engine: ProjectionEngine) async throws in #expect(try await engine.catchUp(3_000)) }
    var slow = testOptions(batch: 10)
    slow.positionMax = 1_000
    try await withEngine(log, directory, [UnitTally()], slow) { (engine: ProjectionEngine) async throws in
      // The live generation is further than this engine may look, so the rebuild cannot take over.
      _ = try engine.rebuild("units")
      #expect(try await eventually { engine.status()?.rebuild?.position == 1_000 })
      #expect(engine.status()?.generation == 1)
    }
    try await withEngine(log, directory) { (engine: ProjectionEngine) async throws in
      #expect(try await eventually { engine.status()?.generation == 2 && engine.status()?.rebuild == nil })
      #expect(engine.status()?.foldedCount == 2_000)
      #expect(try await engine.recomputeDigest("units") == engine.digest("units"))
    }
  }

  @Test func `a rebuild that is cancelled leaves nothing behind`() async throws {
    let log = makeLog(events(3_000))
    let directory = temporaryDirectory()
    try await withEngine(log, directory, [UnitTally()], testOptions(batch: 5)) { (engine: ProjectionEngine) async throws in
      #expect(throws: EngineError.noRebuild("units")) { try engine.cancelRebuild("units") }
      #expect(try await engine.catchUp(3_000))
      try engine.pause("units")
      _ = try engine.rebuild("units")
      try engine.cancelRebuild("units")
      try engine.resume("units")
      #expect(try Files.list(directory + "/units") == ["1", "live"])
      log.append(events(10))
      #expect(try await engine.catchUp(3_010))
      #expect(engine.status()?.generation == 1)
    }
  }

  @Test func `a slow reader keeps the old generation until it is done`() async throws {
    let log = makeLog(events(200))
    let directory = temporaryDirectory()
    let gate = TestGate()
    try await withEngine(log, directory, [UnitTally(gate: gate)]) { (engine: ProjectionEngine) async throws in
      #expect(try await engine.catchUp(200))
      async let slow = engine.answer(projection: "units", query: "units/{unit}", request: QueryRequest(path: ["unit": "7"]))
      #expect(try await eventually { gate.isEntered })
      try engine.rebuild("units")
      #expect(try await eventually { engine.status()?.generation == 2 })
      log.append(events(10))
      #expect(try await engine.catchUp(210))
      #expect(Files.isDirectory(directory + "/units/1"))
      gate.open()
      #expect(try await slow.generation == 1)
      #expect(try await eventually { !Files.isDirectory(directory + "/units/1") })
    }
  }

  @Test func `another fold version is folded beside the live one, which answers if it can be read`() async throws {
    let log = makeLog(events(500))
    let directory = temporaryDirectory()
    try await withEngine(log, directory) { (engine: ProjectionEngine) async throws in #expect(try await engine.catchUp(500)) }
    var held = testOptions()
    held.positionMax = 100
    try await withEngine(log, directory, [UnitTally(version: 2, readableVersions: [1])], held) { (engine: ProjectionEngine) async throws in
      let answer = try await engine.answer(projection: "units", query: "total", request: QueryRequest())
      #expect(answer.checkpoint == 500 || answer.generation == 2)
      #expect(try await eventually { engine.status()?.generation == 2 })
    }
    try await withEngine(log, directory, [UnitTally(version: 3)]) { (engine: ProjectionEngine) async throws in
      #expect(try await engine.catchUp(500))
      #expect(engine.status()?.generation == 3)
      #expect(engine.status()?.liveVersion == 3)
      #expect(try await eventually { try Files.list(directory + "/units") == ["3", "live"] })
    }
  }

  @Test func `rows of a version that cannot be read answer rebuilding, and the rebuild cannot be cancelled`() async throws {
    let directory = temporaryDirectory()
    let log = makeLog(events(50))
    try await withEngine(log, directory) { (engine: ProjectionEngine) async throws in #expect(try await engine.catchUp(50)) }
    log.append([event("poison", 1)])
    // The new version stops before it has caught up.
    try await withEngine(log, directory, [UnitTally(version: 2, failurePolicy: .stop)]) { (engine: ProjectionEngine) async throws in
      #expect(try await eventually { engine.status()?.rebuild?.state == .stopped("position 51: it is poisoned") })
      #expect(engine.status()?.state == .rebuilding)
      await #expect(throws: EngineError.rebuilding("units")) {
        try await engine.answer(projection: "units", query: "total", request: QueryRequest())
      }
      #expect(throws: EngineError.rebuildRequired("units")) { try engine.cancelRebuild("units") }
    }
  }

  @Test func `what depends on a projection follows its units`() async throws {
    let log = makeLog(events(500))
    let directory = temporaryDirectory()
    let projections: [any Projection] = [UnitTally(), Histogram()]
    let followed = try await withEngine(log, directory, projections) { (engine: ProjectionEngine) async throws in
      for round in 1...10 {
        log.append(events(37, seed: UInt64(round)))
        #expect(try await engine.catchUp(log.head, "histogram"))
      }
      #expect(engine.status("histogram")?.generation == 1)
      #expect(try await engine.recomputeDigest("histogram") == engine.digest("histogram"))
      return try engine.digest("histogram").digest
    }
    let atOnce = try await withEngine(log, temporaryDirectory(), projections) { (engine: ProjectionEngine) async throws in
      #expect(try await engine.catchUp(log.head, "histogram"))
      return try engine.digest("histogram").digest
    }
    #expect(followed == atOnce)
    // Its own rebuild.
    try await withEngine(log, directory, projections) { (engine: ProjectionEngine) async throws in
      try engine.rebuild("histogram")
      #expect(try await eventually { engine.status("histogram")?.generation == 2 && engine.status("histogram")?.rebuild == nil })
      #expect(try engine.digest("histogram").digest == followed)
      // Its upstream's rebuild: it starts again beside itself.
      try engine.rebuild("units")
      #expect(try await eventually { engine.status("histogram")?.generation == 3 && engine.status("histogram")?.rebuild == nil })
      #expect(try engine.digest("histogram").digest == followed)
      log.append(events(100, seed: 77))
      #expect(try await engine.catchUp(log.head, "histogram"))
      #expect(try await engine.recomputeDigest("histogram") == engine.digest("histogram"))
    }
  }

  @Test func `a dependent whose changes were dropped starts again`() async throws {
    let log = makeLog(events(200))
    let directory = temporaryDirectory()
    try await withEngine(log, directory, [UnitTally(), Histogram()]) { (engine: ProjectionEngine) async throws in
      #expect(try await engine.catchUp(200, "histogram"))
    }
    // Nobody depends on it now, so the changes are not kept.
    log.append(events(100, seed: 4))
    try await withEngine(log, directory, [UnitTally()]) { (engine: ProjectionEngine) async throws in #expect(try await engine.catchUp(300))
    }
    try await withEngine(log, directory, [UnitTally(), Histogram()]) { (engine: ProjectionEngine) async throws in
      #expect(try await engine.catchUp(300, "histogram"))
      #expect(engine.status("histogram")?.generation == 2)
      let found = try engine.digest("histogram").digest
      let fresh = try await withEngine(log, temporaryDirectory(), [UnitTally(), Histogram()]) { (engine: ProjectionEngine) async throws in
        #expect(try await engine.catchUp(300, "histogram"))
        return try engine.digest("histogram").digest
      }
      #expect(found == fresh)
    }
  }

  @Test func `a unit that cannot be folded is parked until it changes`() async throws {
    let log = makeLog([event("a", 1), event("a", 2), event("a", 3)])
    let directory = temporaryDirectory()
    try await withEngine(log, directory, [UnitTally(), Histogram(poisonUnit: 2)]) { (engine: ProjectionEngine) async throws in
      #expect(try await engine.catchUp(3, "histogram"))
      #expect(try engine.parked("histogram").map { $0.position } == [2])
    }
    log.append([event("a", 2)])
    try await withEngine(log, directory, [UnitTally(), Histogram()]) { (engine: ProjectionEngine) async throws in
      #expect(try await engine.catchUp(4, "histogram"))
      #expect(try engine.parked("histogram").isEmpty)
      #expect(engine.status("histogram")?.parkedCount == 0)
    }
  }
}

/// Appends an event every fifth of a millisecond, which no batch is quicker than, on a thread of its own.
private final class Appender: Sendable {
  private let isStopping = Atomic(false)
  private let thread = Mutex<NamedThread?>(nil)

  init(_ log: EventLog) {
    thread.withLock {
      $0 = NamedThread(name: "appender") { [self] in
        while !isStopping.load(ordering: .acquiring) {
          let next = ContinuousClock.now + .microseconds(200)
          log.append([event("a", 1)])
          while ContinuousClock.now < next {}
        }
      }
    }
  }

  func stop() {
    isStopping.store(true, ordering: .releasing)
    thread.withLock { $0.take() }?.join()
  }
}

@Suite struct BusyLogTests {
  @Test func `a rebuild takes over although the log never rests`() async throws {
    let log = makeLog(events(200))
    try await withEngine(log, temporaryDirectory()) { (engine: ProjectionEngine) async throws in
      #expect(try await engine.catchUp(200))
      try engine.rebuild("units")
      let appender = Appender(log)
      let isTakenOver = try await eventually { engine.status()?.generation == 2 }
      appender.stop()
      #expect(isTakenOver)
      #expect(try await engine.catchUp(log.head))
      #expect(try await engine.recomputeDigest("units") == engine.digest("units"))
    }
  }
}
