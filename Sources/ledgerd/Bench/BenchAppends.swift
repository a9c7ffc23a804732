// Appends through the socket of a real daemon, round by round beside Redis.
//
// Invariant: each round begins with a new daemon in a new directory, so that no round folds what another one left.

import Files
import LedgerTesting
import Threads

struct BenchAppends {
  let generator: SeededEvents
  let eventCount: Int
  let rounds: Int
  let place: String
  let redis: BenchRedis?

  /// One shape: events a second, latencies, memory and bytes on disk.
  func measure(_ shape: BenchShape, _ report: inout BenchReport) throws {
    let count = shape.eventCount(of: eventCount)
    let requests = BenchRequests(generator: generator, first: 0, eventCount: count, batch: shape.batch)
    var (rates, medians, tails, redisRates): ([Double], [Double], [Double], [Double]) = ([], [], [], [])
    var (peak, own, stored) = (0, 0, 0)
    for _ in 0..<rounds {
      let daemon = try BenchDaemon(in: place + "/append")
      let result = try append(requests, shape, daemon.socket)
      rates.append(Double(count) / result.seconds)
      medians.append(result.latency(share: 0.5))
      tails.append(result.latency(share: 0.99))
      let memory = try daemon.memory()
      (peak, own) = (max(peak, memory.peak), max(own, memory.own))
      stored = try daemon.log().byteCount
      try daemon.kill()
      try Files.removeTree(daemon.directory)
      if let redis { redisRates.append(Double(count) / (try appendToRedis(requests, shape, redis).seconds)) }
    }
    report.add(
      "append \(shape)", "events/s", rates,
      "\(count) events; memory \(own >> 20) MiB, \(peak >> 20) MiB with file pages, \(stored / count) bytes of log an event")
    report.add("append \(shape), request p50", "µs", medians)
    report.add("append \(shape), request p99", "µs", tails)
    if redis != nil {
      report.add("Redis XADD \(shape)", "events/s", redisRates)
      report.ratio("append \(shape) / Redis", of: "append \(shape)", to: "Redis XADD \(shape)")
    }
  }

  /// Single appends, one after another, while the projections are busy with what came before.
  func measureLatencyWhileFolding(_ report: inout BenchReport) throws {
    let backlog = BenchRequests(generator: generator, first: 0, eventCount: max(1, eventCount / 4_096) * 4_096, batch: 256)
    let daemon = try BenchDaemon(in: place + "/append")
    _ = try append(backlog, BenchShape.usual[0], daemon.socket)
    var (medians, tails): ([Double], [Double]) = ([], [])
    var first = UInt64(backlog.eventCount)
    for _ in 0..<rounds {
      let singles = BenchRequests(generator: generator, first: first, eventCount: 2_000, batch: 1)
      first += 2_000
      let result = try Load<LedgerFraming>(socket: daemon.socket, connectionCount: 1, depth: 1).run(singles.ledger())
      medians.append(result.latency(share: 0.5))
      tails.append(result.latency(share: 0.99))
    }
    let folded = try daemon.foldedPosition()
    let note = folded < backlog.eventCount ? "still folding at the end" : "FOLDING HAD ENDED: take more --events"
    report.add("single append while folding, p50", "µs", medians, note)
    report.add("single append while folding, p99", "µs", tails, note)
    try daemon.kill()
    try Files.removeTree(daemon.directory)
  }

  /// One long run, and the restart after a kill behind it.
  func measureSustained(eventCount: Int, _ report: inout BenchReport) throws {
    let shape = BenchShape.usual[0]
    let chunk = 2_000_000
    let daemon = try BenchDaemon(in: place + "/append")
    var (seconds, redisSeconds) = (0.0, 0.0)
    var done = 0
    // Made in parts, as events by the million do not fit into memory; the clock stands still meanwhile, and so does folding.
    while done < eventCount {
      let requests = BenchRequests(
        generator: generator, first: UInt64(done), eventCount: min(chunk, max(1, (eventCount - done) / 4_096) * 4_096), batch: 256)
      seconds += try append(requests, shape, daemon.socket).seconds
      if let redis {
        redisSeconds += try Load<RedisFraming<BulkReply>>(
          socket: redis.socket, connectionCount: 16, depth: 1, answersPerRequest: 256
        ).run(requests.redis(stream: "sustained")).seconds
      }
      done += requests.eventCount
    }
    let (log, memory) = (try daemon.log(), try daemon.memory())
    let folded = try daemon.foldedPosition()
    report.add(
      "append \(shape), sustained", "events/s", [Double(done) / seconds],
      "\(done) events; memory \(memory.own >> 20) MiB, \(memory.peak >> 20) MiB with file pages, \(log.byteCount / done) bytes of log an event, \(folded) folded meanwhile"
    )
    if let redis {
      report.add("Redis XADD \(shape), sustained", "events/s", [Double(done) / redisSeconds])
      report.ratio("append \(shape), sustained / Redis", of: "append \(shape), sustained", to: "Redis XADD \(shape), sustained")
      try redis.forget(stream: "sustained")
    }
    try daemon.kill()
    let again = try timed { try BenchDaemon(in: daemon.directory) }
    report.add("restart after kill -9", "ms", [again.seconds * 1e3], "\(done) events, until appends are taken")
    try again.result.kill()
    try Files.removeTree(daemon.directory)
  }

  private func append(_ requests: BenchRequests, _ shape: BenchShape, _ socket: String) throws -> LoadResult {
    try Load<LedgerFraming>(socket: socket, connectionCount: shape.connectionCount, depth: shape.depth).run(requests.ledger())
  }

  private func appendToRedis(_ requests: BenchRequests, _ shape: BenchShape, _ redis: BenchRedis) throws -> LoadResult {
    let result = try Load<RedisFraming<BulkReply>>(
      socket: redis.socket, connectionCount: shape.connectionCount, depth: shape.depth, answersPerRequest: shape.batch
    ).run(requests.redis(stream: "bench"))
    try redis.forget(stream: "bench")
    return result
  }
}
