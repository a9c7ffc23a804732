// Catching up, restarts, parked events, growing maps, discarded generations, questions, waiting.

import Bytes
import EventLog
import Files
import LedgerCore
import ProjectionEngine
import Testing

@Suite struct EngineTests {
  @Test func `a worker catches up, follows, and goes on after a restart`() async throws {
    let log = makeLog(events(500))
    let directory = temporaryDirectory()
    let before = try await withEngine(log, directory) { (engine: ProjectionEngine) async throws in
      #expect(try await engine.catchUp(500))
      log.append(events(100, seed: 2))
      #expect(try await engine.catchUp(600))
      let isLive = try await eventually { engine.status()?.state == .live }
      #expect(isLive)
      let status = try #require(engine.status())
      #expect(status.position == 600 && status.head == 600 && status.lagEventCount == 0 && status.lagSeconds == 0)
      #expect(status.foldedCount == 600 && status.generation == 1 && status.liveVersion == 1)
      return try engine.digest("units")
    }
    log.append(events(50, seed: 3))
    try await withEngine(log, directory) { (engine: ProjectionEngine) async throws in
      #expect(try await engine.catchUp(650))
      #expect(engine.status()?.foldedCount == 50)
      #expect(try engine.digest("units") != before)
    }
  }

  @Test func `lag is counted in events and in seconds`() async throws {
    let log = makeLog(events(10))
    var options = testOptions()
    options.positionMax = 4
    try await withEngine(log, temporaryDirectory(), [UnitTally()], options) { (engine: ProjectionEngine) async throws in
      #expect(try await engine.catchUp(4))
      #expect(engine.status()?.head == 4)
      try engine.pause("units")
      #expect(try await eventually { engine.status()?.state == .paused })
    }
    try await withEngine(log, temporaryDirectory()) { (engine: ProjectionEngine) async throws in
      #expect(try await engine.catchUp(10))
      try engine.pause("units")
      #expect(try await eventually { engine.status()?.state == .paused })
      log.append(events(3))
      let status = try #require(engine.status())
      #expect(status.lagEventCount == 3)
      #expect(status.lagSeconds == 4)
      try engine.resume("units")
      #expect(try await engine.catchUp(13))
    }
  }

  @Test func `an event that cannot be folded is parked and leaves no trace in the rows`() async throws {
    var all = events(300)
    let clean = makeLog(all)
    all.insert(event("poison", 1), at: 0)
    all.insert(event("poison", 1), at: 150)
    all.insert(event("poison", 1), at: 151)
    all.append(event("poison", 1))
    let sink = EventSink()
    let expected = try await withEngine(clean, temporaryDirectory()) { (engine: ProjectionEngine) async throws in
      _ = try await engine.catchUp(300)
      return try #require(try await total(engine))
    }
    try await withEngine(makeLog(all), temporaryDirectory(), sink: sink) { (engine: ProjectionEngine) async throws in
      #expect(try await engine.catchUp(304))
      #expect(try engine.parked("units").map { $0.position } == [1, 151, 152, 304])
      #expect(try engine.parked("units", after: 151, countMax: 1) == [ParkedEvent(position: 152, reason: "it is poisoned")])
      #expect(engine.status()?.parkedCount == 4)
      #expect(try await total(engine) == expected)
      #expect(try await engine.recomputeDigest("units") == engine.digest("units"))
    }
    #expect(sink.all(.parked).map { $0.position } == [1, 151, 152, 304])
  }

  @Test func `a run of poisoned events is parked to the last one`() async throws {
    let all = (0..<300).map { event($0 % 2 == 0 ? "poison" : "good", 1) }
    try await withEngine(makeLog(all), temporaryDirectory()) { (engine: ProjectionEngine) async throws in
      #expect(try await engine.catchUp(300))
      #expect(engine.status()?.parkedCount == 150)
      #expect(try await total(engine) == "150")
    }
  }

  @Test func `under the policy stop the worker stands before the event and says why`() async throws {
    var all = events(20)
    all.insert(event("poison", 1), at: 10)
    let log = makeLog(all)
    let directory = temporaryDirectory()
    let projection = UnitTally(failurePolicy: .stop)
    try await withEngine(log, directory, [projection]) { (engine: ProjectionEngine) async throws in
      #expect(try await eventually { engine.status()?.state == .stopped("position 11: it is poisoned") })
      #expect(engine.status()?.position == 10)
      #expect(try engine.parked("units").isEmpty)
      #expect(try await engine.recomputeDigest("units").position == 10)
      #expect(engine.status()?.state == .stopped("position 11: it is poisoned"))
    }
    // The fold was mended: what stopped it is folded now.
    try await withEngine(log, directory, [UnitTally(failurePolicy: .stop, poisonType: "none")]) { (engine: ProjectionEngine) async throws in
      #expect(try await engine.catchUp(21))
    }
  }

  @Test func `a map that is full grows and the batch is folded again`() async throws {
    var options = testOptions(batch: 2_000)
    options.mapByteCount = 256 << 10
    let sink = EventSink()
    let log = makeLog(events(4_000))
    try await withEngine(log, temporaryDirectory(), [UnitTally(entryByteCount: 1_000)], options, sink: sink) {
      (engine: ProjectionEngine) async throws in
      #expect(try await engine.catchUp(4_000))
      #expect(engine.status()?.rowCount ?? 0 > 4_000)
      #expect(try await engine.recomputeDigest("units") == engine.digest("units"))
    }
    #expect(!sink.all(.mapGrown).isEmpty)
  }

  @Test func `a log that was replaced by another is folded anew`() async throws {
    let directory = temporaryDirectory()
    let sink = EventSink()
    try await withEngine(makeLog(events(100)), directory) { (engine: ProjectionEngine) async throws in _ = try await engine.catchUp(100) }
    // Another id; then the same id with another history; then a history that is shorter.
    for (log, head) in [
      (makeLog(events(90)), 90), (makeLog(events(95, seed: 5)), 95), (makeLog(events(40, seed: 5)), 40),
    ] {
      let found = try await withEngine(log, directory, sink: sink) { (engine: ProjectionEngine) async throws in
        #expect(try await engine.catchUp(Position(head)))
        return try engine.digest("units").digest
      }
      let fresh = try await withEngine(log, temporaryDirectory()) { (engine: ProjectionEngine) async throws in
        #expect(try await engine.catchUp(Position(head)))
        return try engine.digest("units").digest
      }
      #expect(found == fresh)
    }
    #expect(sink.all(.generationDiscarded).count == 3)
    #expect(try Files.list(directory + "/units").count == 2)
  }

  @Test(arguments: [[], Array("1 00".utf8), Array("7 0000000000000000\n".utf8)] as [[UInt8]])
  func `a pointer file that is torn loses nothing`(_ contents: [UInt8]) async throws {
    let directory = temporaryDirectory()
    let log = makeLog(events(100))
    try await withEngine(log, directory) { (engine: ProjectionEngine) async throws in _ = try await engine.catchUp(100) }
    try Files.writeAtomically(contents, to: directory + "/units/live")
    if contents.isEmpty { try Files.removeTree(directory + "/units/live") }
    try await withEngine(log, directory) { (engine: ProjectionEngine) async throws in
      #expect(try await engine.catchUp(100))
      #expect(engine.status()?.foldedCount == 0)
      #expect(engine.status()?.generation == 1)
    }
  }

  @Test func `a file that is no database is replaced by a new generation`() async throws {
    let directory = temporaryDirectory()
    let log = makeLog(events(100))
    try await withEngine(log, directory) { (engine: ProjectionEngine) async throws in _ = try await engine.catchUp(100) }
    try Files.writeAtomically([UInt8](repeating: 0x55, count: 8_192), to: directory + "/units/1/data.mdb")
    let sink = EventSink()
    try await withEngine(log, directory, sink: sink) { (engine: ProjectionEngine) async throws in
      #expect(try await engine.catchUp(100))
      #expect(engine.status()?.foldedCount == 100)
    }
    #expect(sink.all(.generationDiscarded).count == 1)
  }

  @Test func `directories that are neither live nor being built are removed`() async throws {
    let directory = temporaryDirectory()
    let log = makeLog(events(10))
    try await withEngine(log, directory) { (engine: ProjectionEngine) async throws in _ = try await engine.catchUp(10) }
    try Files.createDirectory(directory + "/units/9")
    try await withEngine(log, directory) { (engine: ProjectionEngine) async throws in _ = try await engine.catchUp(10) }
    #expect(!Files.isDirectory(directory + "/units/9"))
  }

  @Test func `waiting for a position ends with it, with the time, with the task and with the engine`() async throws {
    let log = makeLog(events(5))
    let directory = temporaryDirectory()
    let engine = ProjectionEngine(log: log, directory: directory, projections: [UnitTally()], options: testOptions())
    engine.start()
    #expect(try await engine.waitFor(projection: "units", position: 5, timeout: .seconds(20)))
    #expect(try await !engine.waitFor(projection: "units", position: 6, timeout: .milliseconds(30)))
    async let later = engine.waitFor(projection: "units", position: 6, timeout: .seconds(20))
    log.append(events(1))
    #expect(try await later)
    let cancelled = Task(name: "cancelled wait") { try await engine.waitFor(projection: "units", position: 99, timeout: .seconds(60)) }
    cancelled.cancel()
    #expect(try await !cancelled.value)
    async let stopped = engine.waitFor(projection: "units", position: 99, timeout: .seconds(60))
    try await Task.sleep(for: .milliseconds(20))
    engine.stop()
    #expect(try await !stopped)
    #expect(try await !engine.waitFor(projection: "units", position: 1, timeout: .seconds(60)))
  }

  @Test func `stopping in the middle of a catch-up commits what was folded`() async throws {
    let log = makeLog(events(30_000))
    let directory = temporaryDirectory()
    let engine = ProjectionEngine(log: log, directory: directory, projections: [UnitTally()], options: testOptions(batch: 100_000))
    engine.start()
    engine.stop()
    let stoppedAt = try await withEngine(log, directory) { (engine: ProjectionEngine) async throws in
      #expect(try await engine.catchUp(30_000))
      #expect(try await engine.recomputeDigest("units") == engine.digest("units"))
      return 30_000 - Int(engine.status()?.foldedCount ?? 0)
    }
    #expect(stoppedAt < 30_000)
  }

  func total(_ engine: ProjectionEngine) async throws -> String? {
    let answer = try await engine.answer(projection: "units", query: "total", request: QueryRequest())
    return String(decoding: answer.body, as: UTF8.self).split(separator: " ").first.map { String($0) }
  }
}
