// What is done with a stored log: replayed over the socket and in process, restarted, indexed anew, read point by point,
// folded.

import EventLog
import Files
import Foundation
import Glibc
import LedgerCore
import LedgerTesting
import NIOCore
import ProjectionEngine
import Threads

/// A log filled through the socket, then measured from outside and from inside.
struct BenchStored {
  let generator: SeededEvents
  let eventCount: Int
  let rounds: Int
  let place: String
  let isFolding: Bool

  func measure(_ report: inout BenchReport) throws {
    let daemon = try BenchDaemon(in: place + "/stored")
    let requests = BenchRequests(generator: generator, first: 0, eventCount: eventCount, batch: 256)
    _ = try Load<LedgerFraming>(socket: daemon.socket, connectionCount: 16, depth: 1).run(requests.ledger())
    let fold = try timed { while try daemon.foldedPosition() < eventCount { usleep(20_000) } }
    report.heading("\(eventCount) events, folded \(String(format: "%.1f", fold.seconds)) s after the last append")
    try measureSocket(daemon, &report)
    try daemon.kill()
    var restarts: [Double] = []
    for _ in 0..<rounds {
      let again = try timed { try BenchDaemon(in: daemon.directory) }
      restarts.append(again.seconds * 1e3)
      try again.result.kill()
    }
    report.add("restart after kill -9", "ms", restarts, "\(eventCount) events, until appends are taken")
    let log = try EventLog(directory: daemon.data)
    try waitUntilOpen(log)
    try BenchReading(rounds: rounds, seed: generator.seed).measure(log, &report)
    log.close()
    try Files.removeTree(daemon.data + "/index")
    let reindex = try timed { () -> EventLog in
      let log = try EventLog(directory: daemon.data)
      try waitUntilOpen(log)
      return log
    }
    report.add("index made anew", "events/s", [Double(eventCount) / reindex.seconds])
    if isFolding { try BenchFolds(place: place).measure(reindex.result, &report) }
    reindex.result.close()
    try Files.removeTree(daemon.directory)
  }

  private func measureSocket(_ daemon: BenchDaemon, _ report: inout BenchReport) throws {
    var rates: [Double] = []
    for _ in 0..<rounds {
      let request = ByteBuffer(string: "GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
      let result = try Load<ChunkedFraming>(socket: daemon.socket, connectionCount: 1, depth: 1).run([request])
      rates.append(Double(eventCount) / result.seconds)
    }
    report.add("replay over the socket", "events/s", rates)
    var random = SplitMix64(state: generator.seed)
    var points: [Double] = []
    for _ in 0..<rounds {
      let requests = (0..<5_000).map { _ in
        ByteBuffer(string: "GET /v1/events/\(1 + random.next() % UInt64(eventCount)) HTTP/1.1\r\nHost: localhost\r\n\r\n")
      }
      let result = try Load<LedgerFraming>(socket: daemon.socket, connectionCount: 4, depth: 1).run(requests)
      points.append(5_000 / result.seconds)
    }
    report.add("point reads over the socket, 4 connections", "events/s", points)
    let sizes = try daemon.log()
    report.add("bytes of log an event", "bytes", [Double(sizes.byteCount) / Double(sizes.head)])
    for directory in ["index", "projections"] {
      report.add(
        "bytes of \(directory) an event", "bytes", [Double(try byteCount(below: daemon.data + "/" + directory)) / Double(sizes.head)])
    }
    let events = BenchRequests(generator: generator, first: 0, eventCount: 10_000, batch: 1).events()
    report.add("bytes of JSON an event", "bytes", [Double(events.reduce(0) { $0 + $1.count }) / 10_000])
  }

  /// Bytes that the files below a directory take on the disk.
  private func byteCount(below path: String) throws -> Int {
    try FileManager.default.subpathsOfDirectory(atPath: path).reduce(0) { sum, name in
      let values = try URL(fileURLWithPath: path + "/" + name).resourceValues(forKeys: [.isRegularFileKey, .totalFileAllocatedSizeKey])
      return sum + (values.isRegularFile == true ? values.totalFileAllocatedSize ?? 0 : 0)
    }
  }
}

private func waitUntilOpen(_ log: EventLog) throws {
  while let obstacle = log.appendObstacle {
    guard case .catchingUp = obstacle else { throw obstacle }
    usleep(200)
  }
}

/// An answer in chunks: whole when the last, empty chunk is there. Lines of JSON hold no line that is "0" alone.
struct ChunkedFraming: AnswerFraming {
  mutating func take(from buffer: inout ByteBuffer) throws(LoadError) -> Int {
    let view = buffer.readableBytesView
    if view.starts(with: "HTTP/1.1 ".utf8), !view.starts(with: "HTTP/1.1 200".utf8) {
      throw LoadError(description: "the ledger refused: " + String(decoding: view.prefix(300), as: UTF8.self))
    }
    let isEnd = view.suffix(7).elementsEqual("\r\n0\r\n\r\n".utf8)
    // Seven bytes stay, so that an end that is cut in two is seen.
    buffer.moveReaderIndex(forwardBy: isEnd ? view.count : max(0, view.count - 7))
    // Else the buffer would keep, and copy as it grows, all that has been read.
    buffer.discardReadBytes()
    return isEnd ? 1 : 0
  }
}

/// A log read in this process.
struct BenchReading {
  let rounds: Int
  let seed: UInt64

  func measure(_ log: EventLog, _ report: inout BenchReport) throws {
    let count = Double(log.head)
    report.add("replay in process, raw", "events/s", try (0..<rounds).map { _ in count / (try timed { try replay(log) }).seconds })
    report.add(
      "replay in process, validated and indexed", "events/s", try (0..<rounds).map { _ in count / (try timed { try decode(log) }).seconds })
    report.add(
      "point reads in process", "events/s", try (0..<rounds).map { _ in 20_000 / (try timed { try readPoints(log) }).seconds })
  }

  private func replay(_ log: EventLog) throws {
    var sum = 0
    let count = try log.makeReader(after: 0).read(maxCount: .max, through: log.head) { _, _, bytes in
      sum &+= bytes.byteCount
      return true
    }
    precondition(UInt64(count) == log.head && sum > 0)
  }

  private func decode(_ log: EventLog) throws {
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
}

/// Every projection by itself, then all at once, from nothing.
struct BenchFolds {
  let place: String

  func measure(_ log: EventLog, _ report: inout BenchReport) throws {
    var lists: [[any Projection]] = allProjections().map { [$0] }
    lists.append(allProjections())
    for (number, projections) in lists.enumerated() {
      let name = projections.count == 1 ? projections[0].name : "all projections at once"
      let directory = place + "/fold-\(number)"
      let engine = ProjectionEngine(
        log: log, directory: directory, projections: projections,
        options: EngineOptions(now: { Timestamp(microseconds: WallClock.microseconds()) }))
      let fold = timed {
        engine.start()
        while engine.statuses().contains(where: { $0.position < log.head }) { usleep(1_000) }
      }
      report.add(
        "rebuild: \(name)", "events/s", [Double(log.head) / fold.seconds],
        engine.statuses().map { "\($0.name) \($0.rowCount) rows" }.joined(separator: ", "))
      engine.stop()
      try Files.removeTree(directory)
    }
    report.add("peak memory of this process", "MiB", [Double(ProcessUsage.peakByteCount >> 20)])
  }
}

/// A small generator for positions to read.
struct SplitMix64 {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    return z ^ z >> 31
  }
}
