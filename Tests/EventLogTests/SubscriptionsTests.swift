// Subscriptions through their public face: what is settled never comes again, what is not comes again, order in each stream.

import EventLog
import Foundation
import LMDB
import LedgerCore
import Testing

/// A log with a subscription, and consumers as few words.
private struct SubscriptionUnderTest {
  let subject: LogUnderTest
  let name: SubscriptionName
  var log: EventLog { subject.log }

  init(
    _ directory: TemporaryDirectory, _ name: String = "s", start: SubscriptionStart = .after(0),
    _ adjust: (inout SubscriptionSettings) -> Void = { _ in }
  ) async throws {
    subject = try LogUnderTest(directory)
    self.name = try #require(SubscriptionName(name))
    var settings = SubscriptionSettings()
    settings.redeliverAfter = .zero
    adjust(&settings)
    _ = try await log.subscriptions.put(self.name, settings, start: start)
  }

  func consumer(_ name: String) throws -> SubscriptionName { try #require(SubscriptionName(name)) }

  func fetch(_ consumer: String = "c", _ countMax: Int = 100, wait: Duration = .zero) async throws -> [Delivery] {
    try await log.subscriptions.fetch(name, consumer: self.consumer(consumer), countMax: countMax, wait: wait)
  }

  @discardableResult
  func settle(_ events: SettledEvents, _ settlement: Settlement = .acknowledge, by consumer: String = "c") async throws -> SettlementResult
  {
    try await log.subscriptions.settle(name, consumer: self.consumer(consumer), events, settlement)
  }

  var checkpoint: Position { get async throws { try await log.subscriptions.status(of: name).checkpoint } }
}

struct SubscriptionsTests {
  @Test func `what is acknowledged never comes again, one by one or up to a position, also after a restart`() async throws {
    let directory = TemporaryDirectory()
    do {
      let test = try await SubscriptionUnderTest(directory)
      try await test.subject.append((1...10).map { event("\($0)", stream: "s\($0)") })
      #expect(try await test.fetch().map(\.position) == Array(1...10))
      #expect(try await test.settle(.through(3)) == SettlementResult(count: 3, parkedCount: 0, checkpoint: 3))
      #expect(try await test.settle(.positions([5, 7, 7, 99])) == SettlementResult(count: 2, parkedCount: 0, checkpoint: 3))
      // A second time it is nothing new.
      #expect(try await test.settle(.positions([5])).count == 0)
      test.log.close()
    }
    do {
      let test = try await SubscriptionUnderTest(directory)
      #expect(try await test.fetch().map(\.position) == [4, 6, 8, 9, 10])
      #expect(try await test.settle(.positions([4])).checkpoint == 5)
      #expect(try await test.settle(.positions([6, 8, 9, 10])).checkpoint == 10)
      test.log.close()
    }
    let test = try await SubscriptionUnderTest(directory)
    #expect(try await test.checkpoint == 10)
    #expect(try await test.fetch().isEmpty)
    test.log.close()
  }

  @Test func `a filter takes what it names, and the checkpoint passes what it does not`() async throws {
    let directory = TemporaryDirectory()
    let test = try await SubscriptionUnderTest(directory) {
      $0.filter.conditions = [.init(.type, [Array("a".utf8), Array("b".utf8)])]
    }
    try await test.subject.append((1...5_000).map { event("\($0)", type: $0 % 1_000 == 0 ? "a" : "c") })
    // Whoever waits gets what is found first.
    var found: [Position] = []
    while case let more = try await test.fetch().map(\.position), !more.isEmpty { found += more }
    #expect(found == [1_000, 2_000, 3_000, 4_000, 5_000])
    #expect(try await test.checkpoint == 999)
    try await test.settle(.through(.max))
    #expect(try await test.checkpoint == 5_000)
    // Nothing matches: it is looked at all the same, and kept.
    try await test.subject.append((1...300).map { event("x\($0)", type: "c") })
    #expect(try await test.fetch().isEmpty)
    #expect(try await test.checkpoint == 5_300)
    test.log.close()
    let again = try await SubscriptionUnderTest(directory) {
      $0.filter.conditions = [.init(.type, [Array("a".utf8), Array("b".utf8)])]
    }
    #expect(try await again.checkpoint == 5_300)
    again.log.close()
  }

  @Test func `whoever waits gets what is appended`() async throws {
    let directory = TemporaryDirectory()
    let test = try await SubscriptionUnderTest(directory, start: .head)
    async let waiting = test.fetch(wait: .seconds(30))
    try await Task.sleep(for: .milliseconds(100))
    try await test.subject.append([event("a")])
    #expect(try await waiting == [Delivery(position: 1, number: 1)])
    let start = ContinuousClock.now
    #expect(try await test.fetch(wait: .milliseconds(200)).isEmpty)
    #expect(ContinuousClock.now - start >= .milliseconds(200))
    async let stopped = test.fetch(wait: .seconds(30))
    try await Task.sleep(for: .milliseconds(100))
    test.log.subscriptions.stopWaiting()
    #expect(try await stopped.isEmpty)
    test.log.close()
  }

  @Test func `a consumer has no more in hand than it may`() async throws {
    let directory = TemporaryDirectory()
    let test = try await SubscriptionUnderTest(directory) { $0.inFlightCountMax = 3 }
    try await test.subject.append((1...10).map { event("\($0)", stream: "s\($0)") })
    #expect(try await test.fetch("a").map(\.position) == [1, 2, 3])
    #expect(try await test.fetch("a").isEmpty)
    #expect(try await test.fetch("b").map(\.position) == [4, 5, 6])
    try await test.settle(.positions([2]), by: "a")
    #expect(try await test.fetch("a").map(\.position) == [7])
    let status = try await test.log.subscriptions.status(of: test.name)
    #expect(status.inFlightCount == 6)
    #expect(status.consumers.map { "\($0.name):\($0.inFlightCount)" } == ["a:3", "b:3"])
    test.log.close()
  }

  @Test func `events of a stream are in hand at one consumer at a time, in their order`() async throws {
    let directory = TemporaryDirectory()
    let test = try await SubscriptionUnderTest(directory)
    // Streams by attribute and by (source, subject): 1 and 3 and 5, 2 and 4, 6.
    try await test.subject.append([
      event("1", stream: "x"), event("2", subject: "y"), event("3", stream: "x"), event("4", subject: "y"), event("5", stream: "x"),
      event("6", subject: "x"),
    ])
    #expect(try await test.fetch("a", 1).map(\.position) == [1])
    #expect(try await test.fetch("b", 10).map(\.position) == [2, 4, 6])
    #expect(try await test.fetch("c", 10).isEmpty)
    #expect(try await test.fetch("a", 1).map(\.position) == [3])
    try await test.settle(.positions([1]), by: "a")
    #expect(try await test.fetch("c", 10).isEmpty)
    try await test.settle(.positions([3]), by: "a")
    #expect(try await test.fetch("c", 10).map(\.position) == [5])
    test.log.close()
  }

  @Test func `what fails comes again with a count, and takes those behind it in its stream along`() async throws {
    let directory = TemporaryDirectory()
    let test = try await SubscriptionUnderTest(directory)
    try await test.subject.append((1...4).map { event("\($0)", stream: $0 == 3 ? "other" : "x") })
    #expect(try await test.fetch("a").map(\.position) == [1, 2, 3, 4])
    #expect(try await test.settle(.positions([1]), .fail(reason: "no"), by: "a").count == 1)
    #expect(
      try await test.fetch("b") == [Delivery(position: 1, number: 2), Delivery(position: 2, number: 1), Delivery(position: 4, number: 1)])
    // Who had it first may still say that it is done.
    #expect(try await test.settle(.positions([2]), by: "a").count == 1)
    try await test.settle(.through(.max), by: "b")
    try await test.settle(.through(.max), by: "a")
    #expect(try await test.checkpoint == 4)
    test.log.close()
  }

  @Test func `what is given back is no failure, and what a consumer leaves behind is one`() async throws {
    let directory = TemporaryDirectory()
    let test = try await SubscriptionUnderTest(directory)
    try await test.subject.append((1...3).map { event("\($0)", stream: $0 == 3 ? "other" : "x") })
    #expect(try await test.fetch("a").count == 3)
    try await test.settle(.through(.max), .release, by: "a")
    #expect(try await test.fetch("b").map(\.number) == [1, 1, 1])
    try await test.log.subscriptions.leave(test.name, consumer: test.consumer("b"))
    // Of each stream the first has failed; nobody knows of those behind it.
    #expect(try await test.fetch("c").map(\.number) == [2, 1, 2])
    test.log.close()
  }

  @Test func `what is not acknowledged in time comes again, also after a restart, and failures count on`() async throws {
    let directory = TemporaryDirectory()
    do {
      let test = try await SubscriptionUnderTest(directory) { $0.acknowledgeWithin = .milliseconds(300) }
      try await test.subject.append([event("1"), event("2")])
      #expect(try await test.fetch("a").map(\.number) == [1, 1])
      #expect(try await test.fetch("b", wait: .milliseconds(50)).isEmpty)
      #expect(try await test.fetch("b", wait: .seconds(20)) == [Delivery(position: 1, number: 2), Delivery(position: 2, number: 1)])
      test.log.close()
    }
    let test = try await SubscriptionUnderTest(directory)
    #expect(try await test.fetch("a") == [Delivery(position: 1, number: 2), Delivery(position: 2, number: 1)])
    test.log.close()
  }

  @Test func `a failed event waits before it comes again, and those of its stream with it`() async throws {
    let directory = TemporaryDirectory()
    let test = try await SubscriptionUnderTest(directory) { $0.redeliverAfter = .milliseconds(400) }
    try await test.subject.append([event("1", stream: "x"), event("2", stream: "x"), event("3", stream: "y")])
    #expect(try await test.fetch("a", 1).map(\.position) == [1])
    try await test.settle(.positions([1]), .fail(reason: "no"), by: "a")
    let start = ContinuousClock.now
    #expect(try await test.fetch("a").map(\.position) == [3])
    #expect(try await test.fetch("a", wait: .seconds(20)).map(\.position) == [1, 2])
    #expect(ContinuousClock.now - start >= .milliseconds(350))
    test.log.close()
  }

  @Test func `an event that failed too often is parked, and comes again only when asked for`() async throws {
    let directory = TemporaryDirectory()
    do {
      let test = try await SubscriptionUnderTest(directory) { $0.failureCountMax = 2 }
      try await test.subject.append((1...4).map { event("\($0)", stream: "s\($0)") })
      for number in 1...2 {
        #expect(try await test.fetch("a").map(\.number) == (number == 1 ? [1, 1, 1, 1] : [2, 2, 2]))
        if number == 1 { try await test.settle(.positions([4]), by: "a") }
        let result = try await test.settle(.positions([1, 2, 3]), .fail(reason: "try \(number)"), by: "a")
        #expect(result.parkedCount == (number == 1 ? 0 : 3))
      }
      #expect(try await test.checkpoint == 4)
      #expect(try await test.fetch("a").isEmpty)
      let parked = try await test.log.subscriptions.parked(test.name, after: 0, limit: 10)
      #expect(parked.map(\.position) == [1, 2, 3])
      #expect(parked.allSatisfy { $0.failureCount == 2 && $0.reason == "try 2" && !$0.isRetried })
      #expect(try await test.log.subscriptions.parked(test.name, after: 1, limit: 1).map(\.position) == [2])
      await #expect(throws: SubscriptionError.notParked(4)) { try await test.log.subscriptions.retryParked(test.name, [1, 4]) }
      #expect(try await test.log.subscriptions.skipParked(test.name, [2]) == 1)
      #expect(try await test.log.subscriptions.retryParked(test.name, nil) == 2)
      #expect(try await test.log.subscriptions.retryParked(test.name, nil) == 0)
      #expect(try await test.fetch("a", 1) == [Delivery(position: 1, number: 1)])
      try await test.settle(.positions([1]), by: "a")
      test.log.close()
    }
    // 1 is done, 2 was given up, 3 was asked for again and is not done.
    let test = try await SubscriptionUnderTest(directory) { $0.failureCountMax = 2 }
    #expect(try await test.log.subscriptions.parked(test.name, after: 0, limit: 10).map(\.position) == [3])
    #expect(try await test.fetch("b") == [Delivery(position: 3, number: 1)])
    #expect(try await test.settle(.positions([3]), .fail(reason: "again"), by: "b").parkedCount == 0)
    #expect(try await test.fetch("b") == [Delivery(position: 3, number: 2)])
    #expect(try await test.settle(.positions([3]), .fail(reason: "again"), by: "b").parkedCount == 1)
    #expect(try await test.log.subscriptions.skipParked(test.name, nil) == 1)
    #expect(try await test.log.subscriptions.status(of: test.name).parkedCount == 0)
    #expect(try await test.fetch("b").isEmpty)
    test.log.close()
  }

  @Test func `an event parked above the checkpoint is neither delivered again nor forgotten after a restart`() async throws {
    let directory = TemporaryDirectory()
    do {
      let test = try await SubscriptionUnderTest(directory) { $0.failureCountMax = 1 }
      try await test.subject.append((1...4).map { event("\($0)", stream: "s\($0)") })
      _ = try await test.fetch("a")
      try await test.settle(.positions([2, 3]), .fail(reason: "no"), by: "a")
      #expect(try await test.log.subscriptions.skipParked(test.name, [3]) == 1)
      #expect(try await test.checkpoint == 0)
      test.log.close()
    }
    let test = try await SubscriptionUnderTest(directory) { $0.failureCountMax = 1 }
    #expect(try await test.fetch("a").map(\.position) == [1, 4])
    #expect(try await test.log.subscriptions.parked(test.name, after: 0, limit: 10).map(\.position) == [2])
    try await test.settle(.positions([1, 4]), by: "a")
    #expect(try await test.checkpoint == 4)
    test.log.close()
  }

  @Test func `subscriptions are made once, changed but for their filter, and deleted with all they have`() async throws {
    let directory = TemporaryDirectory()
    let test = try await SubscriptionUnderTest(directory)
    try await test.subject.append([event("1"), event("2")])
    _ = try await test.fetch()
    try await test.settle(.positions([2]))
    var settings = SubscriptionSettings()
    settings.inFlightCountMax = 1
    let changed = try await test.log.subscriptions.put(test.name, settings, start: .head)
    #expect(!changed.isNew)
    #expect(changed.status.settings.inFlightCountMax == 1)
    #expect(changed.status.start == 0)
    settings.filter.conditions = [.init(.type, [Array("a".utf8)])]
    await #expect(throws: SubscriptionError.differs(test.name)) { try await test.log.subscriptions.put(test.name, settings, start: .head) }
    let other = try #require(SubscriptionName("other"))
    await #expect(throws: SubscriptionError.startBeyondHead(3, head: 2)) {
      try await test.log.subscriptions.put(other, settings, start: .after(3))
    }
    #expect(try await test.log.subscriptions.put(other, settings, start: .head).status.checkpoint == 2)
    #expect(try await test.log.subscriptions.list().map(\.name) == [other, test.name])
    try await test.log.subscriptions.delete(test.name)
    await #expect(throws: SubscriptionError.unknown(test.name)) { try await test.log.subscriptions.delete(test.name) }
    await #expect(throws: SubscriptionError.unknown(test.name)) { try await test.fetch() }
    // The same name begins anew: nothing of the old one is left.
    #expect(try await test.log.subscriptions.put(test.name, SubscriptionSettings(), start: .after(0)).isNew)
    #expect(try await test.fetch() == [Delivery(position: 1, number: 1), Delivery(position: 2, number: 1)])
    test.log.close()
  }

  @Test func `a directory of another format is refused`() async throws {
    let directory = TemporaryDirectory()
    try await SubscriptionUnderTest(directory).log.close()
    do {
      let environment = try Environment(path: directory.path + "/log/subscriptions")
      let meta = try environment.database("meta", String.self, [UInt8].self)
      try environment.write { (transaction) throws(LMDBError) in try transaction.put(meta, "format", [9]) }
    }
    #expect(throws: LogError.subscriptions(.foreignFormat(directory.path + "/log/subscriptions"))) { try LogUnderTest(directory) }
  }

  @Test func `names are of a few characters`() {
    for name in ["a", "A-b_c.9", String(repeating: "x", count: 128)] { #expect(SubscriptionName(name) != nil) }
    for name in ["", "a b", "é", "a/b", String(repeating: "x", count: 129)] { #expect(SubscriptionName(name) == nil) }
  }

  // MARK: At random

  /// What must hold whatever consumers, clock and restarts do: an acknowledged event never comes again, every event is
  /// acknowledged or parked in the end, and of each stream only one consumer has events, in order.
  @Test(arguments: 0..<12) func `random consumers, failures and restarts lose nothing and repeat nothing that is done`(_ seed: Int)
    async throws
  {
    var random = SeededGenerator(seed: UInt64(seed) &* 7_919 &+ 11)
    let directory = TemporaryDirectory()
    func open() async throws -> SubscriptionUnderTest {
      try await SubscriptionUnderTest(directory) {
        $0.inFlightCountMax = 7
        $0.failureCountMax = 4
      }
    }
    var test = try await open()
    var streams: [Position: Int] = [:]
    var head = Position(0)
    var done: Set<Position> = []
    /// In hand, as the consumers see it.
    var inHand: [Position: String] = [:]
    let consumers = ["a", "b", "c"]
    var isDraining = false
    for step in 0..<600 {
      if step == 450 { isDraining = true }
      let consumer = consumers[Int.random(in: 0..<3, using: &random)]
      switch isDraining ? Int.random(in: 3..<8, using: &random) : Int.random(in: 0..<11, using: &random) {
      case 0, 1:
        let count = Int.random(in: 1...6, using: &random)
        var events: [String] = []
        for _ in 0..<count {
          head += 1
          streams[head] = Int.random(in: 0..<5, using: &random)
          events.append(event("\(head)", stream: "s\(streams[head] ?? 0)"))
        }
        try await test.subject.append(events)
      case 2, 3, 4, 5:
        var last: [Int: Position] = [:]
        for delivery in try await test.fetch(consumer, Int.random(in: 1...9, using: &random)) {
          #expect(!done.contains(delivery.position), "seed \(seed), step \(step): \(delivery.position) came again")
          #expect(inHand[delivery.position] == nil, "seed \(seed), step \(step): \(delivery.position) is in hand twice")
          let stream = streams[delivery.position] ?? -1
          #expect(
            !inHand.contains { streams[$0.key] == stream && $0.value != consumer }, "seed \(seed), step \(step): stream \(stream) is shared"
          )
          #expect(last[stream] ?? 0 < delivery.position, "seed \(seed), step \(step)")
          last[stream] = delivery.position
          inHand[delivery.position] = consumer
        }
      case 6:
        let own = inHand.filter { $0.value == consumer }.keys.sorted()
        guard let through = own.randomElement(using: &random) else { continue }
        let result = try await test.settle(.through(through), by: consumer)
        #expect(result.count == own.count { $0 <= through }, "seed \(seed), step \(step)")
        for position in own where position <= through {
          done.insert(position)
          inHand[position] = nil
        }
      case 7:
        guard let position = inHand.filter({ $0.value == consumer }).keys.sorted().randomElement(using: &random) else { continue }
        #expect(try await test.settle(.positions([position]), by: consumer).count == 1, "seed \(seed), step \(step)")
        done.insert(position)
        inHand[position] = nil
      case 8:
        guard let position = inHand.filter({ $0.value == consumer }).keys.sorted().randomElement(using: &random) else { continue }
        let isRelease = Bool.random(using: &random)
        let result = try await test.settle(.positions([position]), isRelease ? .release : .fail(reason: "x"), by: consumer)
        #expect(result.count == 1)
        inHand[position] = nil
        if result.parkedCount == 0 {
          for other in inHand.keys where other > position && streams[other] == streams[position] { inHand[other] = nil }
        }
      case 9:
        try await test.log.subscriptions.leave(test.name, consumer: test.consumer(consumer))
        inHand = inHand.filter { $0.value != consumer }
        if Int.random(in: 0..<3, using: &random) == 0 { _ = try await test.log.subscriptions.retryParked(test.name, nil) }
      default:
        guard step % 3 == 0 else { continue }
        test.log.close()
        test = try await open()
        inHand = [:]
      }
    }
    // What is left is done by one consumer.
    for consumer in consumers { try await test.settle(.through(.max), by: consumer) }
    done.formUnion(inHand.keys)
    while true {
      let deliveries = try await test.fetch("last")
      guard !deliveries.isEmpty else { break }
      for delivery in deliveries {
        #expect(!done.contains(delivery.position), "seed \(seed): \(delivery.position) came again at the end")
        done.insert(delivery.position)
      }
      try await test.settle(.through(.max), by: "last")
    }
    #expect(try await test.checkpoint == head)
    let parked = try await test.log.subscriptions.parked(test.name, after: 0, limit: 10_000)
    #expect(Set(parked.map(\.position)).union(done) == Set(1...head), "seed \(seed): lost")
    #expect(parked.allSatisfy { !done.contains($0.position) }, "seed \(seed)")
    test.log.close()
  }
}

/// SplitMix64.
private struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64
  init(seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
