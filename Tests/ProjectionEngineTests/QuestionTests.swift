// Questions: what is refused, what is cancelled, what is bounded. And files that must not be touched.

import Bytes
import EventLog
import Files
import LMDB
import LedgerCore
import ProjectionEngine
import Testing

@Suite struct QuestionTests {
  func ask(_ engine: ProjectionEngine, unit: String) async throws -> String {
    let answer = try await engine.answer(
      projection: "units", query: "units/{unit}", request: QueryRequest(path: ["unit": unit]))
    return String(decoding: answer.body, as: UTF8.self)
  }

  @Test func `a question is answered from the rows, with its checkpoint`() async throws {
    let log = makeLog([event("a", 7, 5), event("a", 7, 6)])
    try await withEngine(log, temporaryDirectory()) { (engine: ProjectionEngine) async throws in
      #expect(try await engine.catchUp(2))
      let answer = try await engine.answer(
        projection: "units", query: "units/{unit}", request: QueryRequest(path: ["unit": "7"]))
      #expect(answer == Answer(body: Array("2 11".utf8), generation: 1, checkpoint: 2))
      #expect(engine.queries.map { "\($0.projection) \($0.query.path)" } == ["units units/{unit}", "units total"])
    }
  }

  @Test func `what is not there is said plainly`() async throws {
    let log = makeLog([event("a", 7, 5)])
    let directory = temporaryDirectory()
    let engine = ProjectionEngine(log: log, directory: directory, projections: [UnitTally()], options: testOptions())
    await #expect(throws: EngineError.stopped) { try await ask(engine, unit: "7") }
    engine.start()
    await #expect(throws: EngineError.unknownProjection("none")) {
      try await engine.answer(projection: "none", query: "total", request: QueryRequest())
    }
    await #expect(throws: EngineError.unknownQuery("none")) {
      try await engine.answer(projection: "units", query: "none", request: QueryRequest())
    }
    await #expect(throws: QueryFailure.notFound("unit")) { try await ask(engine, unit: "8") }
    await #expect(throws: QueryFailure.invalid("unit")) { try await ask(engine, unit: "x") }
    #expect(throws: EngineError.unknownProjection("none")) { try engine.digest("none") }
    #expect(throws: EngineError.unknownProjection("none")) { try engine.rebuild("none") }
    engine.stop()
    await #expect(throws: EngineError.stopped) { try await ask(engine, unit: "7") }
    await #expect(throws: EngineError.stopped) { try await engine.recomputeDigest("units") }
    #expect(throws: EngineError.stopped) { try engine.rebuild("units") }
  }

  @Test func `a full queue answers busy, and a cancelled question is never asked`() async throws {
    let log = makeLog([event("a", 7, 5)])
    var options = testOptions()
    options.readerCount = 1
    options.readerQueueCountMax = 1
    let gate = TestGate()
    try await withEngine(log, temporaryDirectory(), [UnitTally(gate: gate)], options) { (engine: ProjectionEngine) async throws in
      #expect(try await engine.catchUp(1))
      async let first = ask(engine, unit: "7")
      #expect(try await eventually { gate.isEntered })
      let second = Task(name: "second question") { try await ask(engine, unit: "7") }
      // The second waits in the queue, so a third does not fit.
      var isBusy = false
      for _ in 0..<1_000 where !isBusy {
        let third = Task(name: "third question") { try await ask(engine, unit: "7") }
        try await Task.sleep(for: .milliseconds(5))
        third.cancel()
        do {
          _ = try await third.value
        } catch EngineError.busy {
          isBusy = true
        } catch is CancellationError {
          // It took the second one's place in the queue; cancelled, it holds it until the reader comes by.
          isBusy = false
        }
      }
      #expect(isBusy)
      second.cancel()
      await #expect(throws: (any Error).self) { try await second.value }
      gate.open()
      #expect(try await first == "1 5")
    }
  }

  @Test func `a task that is cancelled before it asks gets no answer`() async throws {
    try await withEngine(makeLog([event("a", 7, 5)]), temporaryDirectory()) { (engine: ProjectionEngine) async throws in
      let task = Task(name: "cancelled question") {
        while !Task.isCancelled { await Task.yield() }
        return try await ask(engine, unit: "7")
      }
      task.cancel()
      await #expect(throws: CancellationError.self) { try await task.value }
    }
  }

  @Test func `a snapshot that is kept too long reads nothing`() async throws {
    let kept = SnapshotKeeper()
    try await withEngine(makeLog([event("a", 7, 5)]), temporaryDirectory(), [kept]) { (engine: ProjectionEngine) async throws in
      #expect(try await engine.catchUp(1, "keeper"))
      _ = try await engine.answer(projection: "keeper", query: "keep", request: QueryRequest())
      let again = try await engine.answer(projection: "keeper", query: "again", request: QueryRequest())
      #expect(String(decoding: again.body, as: UTF8.self) == "closed")
    }
  }

  /// Rewrites the meta row of generation 1 as `change` says; its checksum is made right again.
  func rewriteMeta(_ directory: String, mendingChecksum: Bool, _ change: (inout [UInt8]) -> Void) throws {
    let environment = try Environment(path: directory + "/units/1", options: Environment.Options(mapByteCount: 1 << 20))
    let meta = try environment.database("engine.meta", [UInt8].self, [UInt8].self)
    let key = Array("state".utf8)
    try environment.write { (transaction) throws(LMDBError) in
      guard var row = try transaction.get(meta, key) else { return }
      change(&row)
      if mendingChecksum {
        let body = Array(row.dropLast(8))
        var writer = ByteWriter()
        writer.raw(body)
        writer.uint64(XXH3.hash64(body.rawSpan))
        row = writer.bytes
      }
      try transaction.put(meta, key, row)
    }
  }

  @Test func `a generation of a newer format is left alone, and says so`() async throws {
    let directory = temporaryDirectory()
    let log = makeLog(events(20))
    try await withEngine(log, directory) { (engine: ProjectionEngine) async throws in _ = try await engine.catchUp(20) }
    try rewriteMeta(directory, mendingChecksum: true) { $0[1] = 9 }
    try await withEngine(log, directory) { (engine: ProjectionEngine) async throws in
      let state = try #require(engine.status()?.state)
      guard case .stopped(let reason) = state else {
        Issue.record("\(state)")
        return
      }
      #expect(reason.contains("format 9"))
      await #expect(throws: EngineError.rebuilding("units")) { try await ask(engine, unit: "7") }
    }
    #expect(Files.isDirectory(directory + "/units/1"))
    try rewriteMeta(directory, mendingChecksum: true) { $0[1] = 1 }
    try await withEngine(log, directory) { (engine: ProjectionEngine) async throws in
      #expect(try await engine.catchUp(20))
      #expect(engine.status()?.foldedCount == 0)
    }
  }

  @Test func `a meta row that is damaged means folding again`() async throws {
    let directory = temporaryDirectory()
    let log = makeLog(events(20))
    let before = try await withEngine(log, directory) { (engine: ProjectionEngine) async throws in
      _ = try await engine.catchUp(20)
      return try engine.digest("units").digest
    }
    try rewriteMeta(directory, mendingChecksum: false) { $0[40] ^= 1 }
    try await withEngine(log, directory) { (engine: ProjectionEngine) async throws in
      #expect(try await engine.catchUp(20))
      #expect(engine.status()?.foldedCount == 20)
      #expect(try engine.digest("units").digest == before)
    }
  }

  @Test func `a row that is changed behind the engine's back shows in the digest`() async throws {
    let directory = temporaryDirectory()
    let log = makeLog(events(20))
    try await withEngine(log, directory) { (engine: ProjectionEngine) async throws in _ = try await engine.catchUp(20) }
    do {
      let environment = try Environment(path: directory + "/units/1", options: Environment.Options(mapByteCount: 1 << 20))
      let units = try environment.database("units", UInt64.self, [UInt8].self)
      try environment.write { (transaction) throws(LMDBError) in try transaction.put(units, 1_000, [2, 2]) }
    }
    try await withEngine(log, directory) { (engine: ProjectionEngine) async throws in
      let kept = try engine.digest("units")
      let found = try await engine.recomputeDigest("units")
      #expect(kept.digest != found.digest)
      #expect(found.rowCount == kept.rowCount + 1)
    }
  }
}
