import Bytes
import EventLog
import Foundation
import LedgerCore
import Testing

/// Appending: positions, duplicates, conflicts, streams and expected revisions.
struct AppendTests {
  @Test func `positions are gapless from 1 and what was sent is read back`() async throws {
    let directory = TemporaryDirectory()
    let subject = try LogUnderTest(directory)
    #expect(subject.log.head == 0)
    let first = try await subject.append([event("a"), event("b")])
    let second = try await subject.append([event("c")])
    #expect((first.first, first.last, first.head, first.appended) == (1, 2, 2, 2))
    #expect((second.first, second.last, second.head) == (3, 3, 3))
    let all = try subject.read()
    #expect(all.map(\.position) == [1, 2, 3])
    #expect(all.map(\.text) == [event("a"), event("b"), event("c")])
    #expect(try subject.log.event(at: 2).bytes == Array(event("b").utf8))
    #expect(throws: LogError.noSuchPosition(4, head: 3)) { try subject.log.event(at: 4) }
    subject.log.close()
  }

  @Test func `line breaks and tabs between tokens become spaces and nothing else changes`() async throws {
    let directory = TemporaryDirectory()
    let subject = try LogUnderTest(directory)
    try await subject.append(["{\n\t\"specversion\":\"1.0\",\r\n\"id\":\"a\\n\", \"source\":\"s\",\"type\":\"t\",\"data\":{\"n\": 1.50}}"])
    #expect(
      try subject.read()[0].text == "{  \"specversion\":\"1.0\",  \"id\":\"a\\n\", \"source\":\"s\",\"type\":\"t\",\"data\":{\"n\": 1.50}}")
    subject.log.close()
  }

  struct Repeat: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let first: String
    let second: String
    let isDuplicate: Bool
  }

  static let repeats = [
    Repeat(testDescription: "equal bytes", first: event("a", data: "1"), second: event("a", data: "1"), isDuplicate: true),
    Repeat(
      testDescription: "another order of members, white space and escapes",
      first: #"{"specversion":"1.0","id":"a","source":"s","type":"t","data":{"x":1,"y":"é"}}"#,
      second: #"{"type":"t", "data":{"y":"\u00e9","x":1.0},"source":"s","id":"a","specversion":"1.0"}"#, isDuplicate: true),
    Repeat(testDescription: "other data", first: event("a", data: "1"), second: event("a", data: "2"), isDuplicate: false),
    Repeat(testDescription: "data added", first: event("a"), second: event("a", data: "2"), isDuplicate: false),
    Repeat(
      testDescription: "long order numbers that are one Double", first: event("a", data: "9007199254740993"),
      second: event("a", data: "9007199254740992"), isDuplicate: false),
  ]

  @Test(arguments: repeats) func `a repeat is a duplicate, anything else under the same id a conflict`(_ row: Repeat) async throws {
    let directory = TemporaryDirectory()
    let subject = try LogUnderTest(directory)
    try await subject.append([event("other"), row.first])
    if row.isDuplicate {
      let again = try await subject.append([row.second])
      #expect((again.appended, again.duplicates, again.first, again.last, again.head) == (0, 1, nil, nil, 2))
      #expect(again.receipts == [Receipt(position: 2, isDuplicate: true)])
    } else {
      await #expect(throws: AppendError.self) { try await subject.append([row.second]) }
    }
    #expect(subject.log.head == 2)
    subject.log.close()
  }

  @Test func `a conflict refuses the whole batch and names every event`() async throws {
    let directory = TemporaryDirectory()
    let subject = try LogUnderTest(directory)
    try await subject.append([event("a"), event("b")])
    do {
      try await subject.append([event("new"), event("a", data: "1"), event("b", data: "1")])
      Issue.record("the batch was taken")
    } catch AppendError.events(let conflicts) {
      #expect(conflicts == [EventRefusal(index: 1, reason: .conflict(1)), EventRefusal(index: 2, reason: .conflict(2))])
    }
    #expect(subject.log.head == 2)
    let result = try await subject.append([event("new")])
    #expect(result.first == 3)
    subject.log.close()
  }

  @Test func `within one batch the second of two equal events is a duplicate and of two unequal ones a conflict`() async throws {
    let directory = TemporaryDirectory()
    let subject = try LogUnderTest(directory)
    let result = try await subject.append([event("a"), event("a"), event("b")])
    #expect((result.appended, result.duplicates, result.last) == (2, 1, 2))
    #expect(result.receipts.map(\.position) == [1, 1, 2])
    await #expect(throws: AppendError.self) { try await subject.append([event("c"), event("c", data: "1")]) }
    #expect(subject.log.head == 2)
    subject.log.close()
  }

  @Test func `é in its two Unicode forms makes two ids`() async throws {
    let directory = TemporaryDirectory()
    let subject = try LogUnderTest(directory)
    let result = try await subject.append([
      event("caf\u{e9}"), event("cafe\u{301}"), event("x", source: "urn:\u{e9}"), event("x", source: "urn:e\u{301}"),
    ])
    #expect(result.appended == 4)
    #expect(try await subject.append([event("cafe\u{301}")]).receipts == [Receipt(position: 2, isDuplicate: true)])
    subject.log.close()
  }

  @Test func `source and id are not run together`() async throws {
    let directory = TemporaryDirectory()
    let subject = try LogUnderTest(directory)
    let result = try await subject.append([event("bc", source: "a"), event("c", source: "ab")])
    #expect(result.appended == 2)
    subject.log.close()
  }

  @Test func `revisions count each stream from 0, by stream attribute, else by source and subject`() async throws {
    let directory = TemporaryDirectory()
    let subject = try LogUnderTest(directory)
    try await subject.append([
      event("1", subject: "x"), event("2", subject: "y"), event("3", subject: "x"), event("4", stream: "x"), event("5"), event("6"),
      event("7", source: "urn:other", subject: "x", stream: "x"),
    ])
    try await subject.append([event("8", subject: "x")])
    #expect(try subject.read().map(\.envelope.revision) == [0, 0, 1, 0, 0, 1, 1, 2])
    subject.log.close()
  }

  @Test func `an expected revision is checked against the stream, but not for repeats alone`() async throws {
    let directory = TemporaryDirectory()
    let subject = try LogUnderTest(directory)
    try await subject.append([event("1", stream: "s")], expected: .noStream)
    await #expect(throws: AppendError.wrongRevision(expected: .noStream, actual: 0)) {
      try await subject.append([event("2", stream: "s")], expected: .noStream)
    }
    await #expect(throws: AppendError.wrongRevision(expected: .exactly(4), actual: nil)) {
      try await subject.append([event("2", stream: "t")], expected: .exactly(4))
    }
    try await subject.append([event("2", stream: "s"), event("3", stream: "s")], expected: .exactly(0))
    let again = try await subject.append([event("1", stream: "s")], expected: .noStream)
    #expect(again.duplicates == 1)
    await #expect(throws: AppendError.severalStreams) {
      try await subject.append([event("4", stream: "s"), event("5", stream: "t")], expected: .exactly(2))
    }
    #expect(subject.log.head == 3)
    subject.log.close()
  }

  @Test func `recorded times never fall, wherever the clock jumps`() async throws {
    let directory = TemporaryDirectory()
    let times = TestClock([5_000_000, 9_000_000, 2_000_000, 9_500_000])
    let subject = try LogUnderTest(directory) { $0.clock = { times.next() } }
    for id in ["a", "b", "c", "d"] {
      var batch = subject.log.makeBatch(door: .process, principal: "p", received: Timestamp(microseconds: 1))
      try batch.addText(event(id))
      while subject.log.appendObstacle != nil { try await Task.sleep(for: .milliseconds(1)) }
      _ = try await subject.log.append(batch)
    }
    #expect(try subject.read().map(\.envelope.recorded.microseconds) == [5_000_000, 9_000_000, 9_000_000, 9_500_000])
    subject.log.close()
  }

  @Test func `many at once get consecutive positions within each batch`() async throws {
    let directory = TemporaryDirectory()
    let subject = try LogUnderTest(directory)
    try await subject.append([event("first")])
    let results = try await withThrowingTaskGroup(of: AppendResult.self) { group in
      for task in 0..<16 {
        group.addTask {
          var last: AppendResult?
          for round in 0..<8 { last = try await subject.append((0..<20).map { event("\(task)-\(round)-\($0)", subject: "s\(task)") }) }
          return try #require(last)
        }
      }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    #expect(subject.log.head == 1 + 16 * 8 * 20)
    for result in results {
      let first = try #require(result.first)
      #expect(result.receipts.map(\.position) == Array(first..<first + 20))
    }
    let all = try subject.read()
    #expect(all.map(\.position) == Array(1...subject.log.head))
    #expect(Set(all.map(\.text)).count == all.count)
    subject.log.close()
  }
}

/// A clock that says what the test wants.
final class TestClock: @unchecked Sendable {
  // Asked by one thread at a time: the appender.
  private var times: [Int64]

  init(_ times: [Int64]) { self.times = times }

  func next() -> Timestamp { Timestamp(microseconds: times.count > 1 ? times.removeFirst() : times[0]) }
}
