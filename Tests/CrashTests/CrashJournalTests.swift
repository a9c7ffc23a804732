// The checks that the crash tests rest on must be able to fail: each promise is broken once, on purpose.

import Bytes
import EventLog
import Foundation
import JSON
import LedgerCore
import LedgerHTTP
import LedgerTesting
import Testing

private let events = SeededEvents(seed: 7, customerCount: 20)

/// An event of a log that is checked.
private struct Entry {
  var position: Position
  var index: UInt64
  var revision: UInt64
  var bytes: [UInt8]
}

/// Two units, of four and three events, the first acknowledged at position 1; and the log that keeps the promises.
private func sound() throws -> (journal: CrashJournal, log: [Entry]) {
  var journal = CrashJournal()
  let units = [journal.begin(count: 4), journal.begin(count: 3)]
  try journal.note(answer(positions: 1...4), to: [units[0]])
  var revisions: [[UInt8]: UInt64] = [:]
  let log = try (0..<UInt64(7)).map { index in
    let bytes = events.event(index)
    let stream = try streamName(bytes)
    defer { revisions[stream, default: 0] += 1 }
    return Entry(position: index + 1, index: index, revision: revisions[stream] ?? 0, bytes: bytes)
  }
  return (journal, log)
}

private func streamName(_ bytes: [UInt8]) throws -> [UInt8] {
  let event = LoggedEvent()
  try event.read(bytes.rawSpan, position: 1, envelope: envelope(revision: 0))
  if let name = event.attributes.stream { return event.json.bytes(of: name) }
  return event.json.bytes(of: event.attributes.source) + [0] + (event.attributes.subject.map { event.json.bytes(of: $0) } ?? [])
}

private func envelope(revision: UInt64) -> Envelope {
  let time = Timestamp(microseconds: 0)
  return Envelope(recorded: time, received: time, revision: revision, door: .http, principal: "uid:1")
}

private func answer(positions: ClosedRange<Int64>, duplicates: Int = 0) -> AppendAnswer {
  let receipts = positions.enumerated().map { number, position in
    LedgerHTTP.Receipt(source: "s", id: "i\(number)", position: position, duplicate: number < duplicates)
  }
  return AppendAnswer(
    appended: positions.count - duplicates, duplicates: duplicates, erased: 0, first: positions.lowerBound, last: positions.upperBound,
    head: positions.upperBound, receipts: receipts)
}

/// What the check says of a log.
private func violations(_ journal: CrashJournal, _ log: [Entry], head: Position? = nil) -> [String] {
  var check = journal.makeCheck(of: events)
  for entry in log { check.take(entry.position, envelope(revision: entry.revision), entry.bytes.rawSpan) }
  return check.finish(head: head ?? log.last?.position ?? 0).map(\.description)
}

/// Expects one of the violations to contain a text.
private func expect(_ found: [String], toName text: String, _ location: SourceLocation = #_sourceLocation) {
  #expect(found.contains { $0.contains(text) }, "\(found)", sourceLocation: location)
}

struct CrashJournalTests {
  @Test func `a log that keeps every promise passes`() throws {
    let (journal, log) = try sound()
    #expect(violations(journal, log) == [])
    #expect(violations(journal, Array(log[..<4])) == [], "an unacknowledged unit may be absent")
  }

  @Test func `an acknowledged event that is missing is found`() throws {
    let (journal, log) = try sound()
    expect(violations(journal, []), toName: "was acknowledged at 1, but is not in the log")
    expect(violations(journal, Array(log[..<3])), toName: "neither whole nor absent")
  }

  @Test func `an acknowledgement that the ledger never gave is found`() throws {
    var (journal, log) = try sound()
    let unit = journal.begin(count: 2)
    try journal.note(answer(positions: 8...9), to: [unit])
    expect(violations(journal, log), toName: "unit 2 of 2 events was acknowledged at 8, but is not in the log")
    log.swapAt(0, 1)
    log[0].position = 1
    log[1].position = 2
    expect(violations(journal, log), toName: "unit 0 of 4 events was acknowledged at 1, but is at 2")
  }

  @Test func `a unit that is there in part is found`() throws {
    let (journal, log) = try sound()
    expect(violations(journal, Array(log[..<6])), toName: "unit 1 of 3 events is neither whole nor absent")
  }

  @Test func `a gap and a wrong head are found`() throws {
    var (journal, log) = try sound()
    expect(violations(journal, log, head: 9), toName: "the head is 9, but the last event is at 7")
    log[6].position = 8
    expect(violations(journal, log), toName: "after position 6 comes 8")
  }

  @Test func `an event that is there twice, altered, or was never sent is found`() throws {
    let (journal, log) = try sound()
    var twice = log
    twice.append(Entry(position: 8, index: 3, revision: log[3].revision + 1, bytes: log[3].bytes))
    expect(violations(journal, twice), toName: "the event at 8 is at 4 already")
    var altered = log
    altered[2].bytes[altered[2].bytes.count - 8] ^= 1
    expect(violations(journal, altered), toName: "the event at 3 is not as it was sent")
    var foreign = log
    foreign.append(Entry(position: 8, index: 99, revision: 0, bytes: events.event(99)))
    expect(violations(journal, foreign), toName: "the event at 8 was never sent")
  }

  @Test func `a wrong revision is found`() throws {
    var (journal, log) = try sound()
    log[5].revision += 1
    expect(violations(journal, log), toName: "the event at 6 has revision")
  }

  @Test func `an answer that contradicts itself or an earlier one is refused`() throws {
    var (journal, _) = try sound()
    #expect(throws: CrashViolation.self) { try journal.note(answer(positions: 2...5), to: [0]) }
    #expect(throws: CrashViolation.self) { try journal.note(answer(positions: 5...6), to: [1]) }
    var miscounted = answer(positions: 5...7)
    miscounted.appended = 2
    miscounted.duplicates = 1
    #expect(throws: CrashViolation.self) { try journal.note(miscounted, to: [1]) }
    var beyond = answer(positions: 5...7)
    beyond.head = 6
    #expect(throws: CrashViolation.self) { try journal.note(beyond, to: [1]) }
    #expect(throws: Never.self) { try journal.note(answer(positions: 5...7, duplicates: 2), to: [1]) }
    #expect(journal.acknowledgedEventCount == 7)
  }

  @Test func `a real log that lost its last event is found`() async throws {
    let directory = try DaemonProcess.temporaryDirectory()
    defer { #expect(throws: Never.self) { try FileManager.default.removeItem(atPath: directory) } }
    let log = try EventLog(directory: directory)
    defer { log.close() }
    while log.appendObstacle != nil { try await Task.sleep(for: .milliseconds(1)) }
    var journal = CrashJournal()
    let unit = journal.begin(count: 50)
    var batch = log.makeBatch(door: .process, principal: "test")
    var reader = JSONReader()
    for index in 0..<UInt64(49) { try batch.add(try reader.parse(events.event(index).rawSpan), of: reader) }
    _ = try await log.append(batch)
    expect(try journal.violations(of: log, events: events).map(\.description), toName: "unit 0 of 50 events is neither whole nor absent")
    try journal.note(answer(positions: 1...50), to: [unit])
    var last = log.makeBatch(door: .process, principal: "test")
    try last.add(try reader.parse(events.event(49).rawSpan), of: reader)
    _ = try await log.append(last)
    #expect(try journal.violations(of: log, events: events) == [])
  }

  @Test func `a directory whose first start was cut off is used`() throws {
    let directory = try DaemonProcess.temporaryDirectory()
    defer { #expect(throws: Never.self) { try FileManager.default.removeItem(atPath: directory) } }
    for name in ["LOCK", "FORMAT.new"] {
      #expect(FileManager.default.createFile(atPath: directory + "/" + name, contents: Data("inter".utf8)))
    }
    let log = try EventLog(directory: directory)
    #expect(log.head == 0)
    log.close()
  }
}
