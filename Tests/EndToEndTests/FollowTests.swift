// Followers and consumers of a real daemon: what they see when it is killed, when they are slow, and what they cost it.

import Foundation
import LedgerClient
import LedgerHTTP
import LedgerTesting
import NIOCore
import NIOPosix
import Synchronization
import Testing

private func event(_ number: Int, _ padding: Int = 0) -> [UInt8] {
  let data = padding > 0 ? #","data":{"padding":"\#(String(repeating: "x", count: padding))"}"# : ""
  let text = #"{"specversion":"1.0","id":"e\#(number)","source":"urn:t","type":"t\#(number % 3)","subject":"s\#(number % 7)"\#(data)}"#
  return Array(text.utf8)
}

/// Numbers that tasks collect.
private final class Collected: Sendable {
  private let numbers = Mutex<[Int64]>([])
  var all: [Int64] { numbers.withLock { $0 } }
  func add(_ number: Int64) { numbers.withLock { $0.append(number) } }
}

/// Tells tasks to end.
private final class Stop: Sendable {
  private let flag = Atomic<Bool>(false)
  var isSet: Bool { flag.load(ordering: .relaxed) }
  func set() { flag.store(true, ordering: .relaxed) }
}

/// A daemon that is started again and again on one directory.
private struct Restarted {
  let directory: String

  init() throws { directory = try DaemonProcess.temporaryDirectory() }

  func start() async throws -> DaemonProcess {
    let daemon = try DaemonProcess(executable: DaemonProcess.executableOfThisBuild(), directory: directory)
    try await daemon.waitUntilReady()
    return daemon
  }

  func remove() throws { try FileManager.default.removeItem(atPath: directory) }
}

@Suite(.serialized, .timeLimit(.minutes(5))) struct FollowTests {
  /// Appends until the daemon is gone; the next number.
  private func load(_ daemon: DaemonProcess, from first: Int) async throws -> Int {
    let client = LedgerClient(.unixSocket(path: daemon.socket), retry: .never)
    var next = first
    while true {
      do throws(ClientError) {
        _ = try await client.append((next..<next + 20).map { event($0) })
      } catch {
        // Sent again after the restart: what had arrived is a duplicate.
        return next
      }
      next += 20
    }
  }

  @Test func `a follower sees every event once, in order, over kills of the daemon`() async throws {
    let place = try Restarted()
    var daemon = try await place.start()
    let socket = daemon.socket
    let (everything, filtered, cuts) = (Collected(), Collected(), Collected())
    let following = [("", everything), ("t1", filtered)].map { type, collected in
      Task {
        let client = LedgerClient(.unixSocket(path: socket))
        let query = EventQuery(filters: type.isEmpty ? [] : [(name: "type", value: type)])
        let retry = RetryPolicy(attemptCountMax: 1_000, delayFirst: .milliseconds(5), delayMax: .milliseconds(50))
        for try await line in client.follow(query, retry: retry, onCut: { _ in cuts.add(1) }) {
          if case .event(let position, _, _) = try EventLine(parsing: line) { collected.add(position) }
        }
      }
    }
    var next = 0
    for _ in 0..<6 {
      let (running, first) = (daemon, next)
      async let loading = load(running, from: first)
      try await Task.sleep(for: .milliseconds(Int.random(in: 100...400)))
      #expect(await daemon.kill())
      next = try await loading
      daemon = try await place.start()
    }
    let head = try await daemon.client.append((next..<next + 20).map { event($0) }).head
    let wanted = try await daemon.body("/v1/events?type=t1").split(separator: UInt8(ascii: "\n")).map { line in
      try JSONValue(parsing: Array(line))["position"]?.integer ?? 0
    }
    for _ in 0..<1_000 where everything.all.last != head || filtered.all.last != wanted.last {
      try await Task.sleep(for: .milliseconds(10))
    }
    #expect(everything.all == Array(1...head))
    #expect(filtered.all == wanted)
    #expect(cuts.all.count >= 12)
    #expect(head > 500)
    for task in following { task.cancel() }
    try await daemon.stop()
    try place.remove()
  }

  /// Sends a request and reads nothing more than the first bytes of its answer.
  private func hold(_ socket: String, _ target: String) async throws -> any Channel {
    let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .channelOption(.autoRead, value: false)
      .connect(unixDomainSocketPath: socket).get()
    try await channel.writeAndFlush(ByteBuffer(string: "GET \(target) HTTP/1.1\r\nhost: localhost\r\n\r\n"))
    return channel
  }

  @Test func `readers that do not read cost bounded memory, no LMDB reader, and nobody else's time`() async throws {
    let place = try Restarted()
    let daemon = try await place.start()
    // 32 MB of events.
    for batch in 0..<80 { _ = try await daemon.client.append((batch * 100..<batch * 100 + 100).map { event($0, 4_000) }) }
    _ = try await daemon.waitUntilFolded(8_000)
    let before = try daemon.memory("VmRSS")
    var held: [any Channel] = []
    for index in 0..<100 { held.append(try await hold(daemon.socket, index % 2 == 0 ? "/v1/events" : "/v1/events?follow=true")) }
    // Until they have what they will get.
    try await Task.sleep(for: .seconds(2))
    let start = ContinuousClock.now
    for number in 8_000..<8_050 { _ = try await daemon.client.append([event(number, 4_000)]) }
    #expect(ContinuousClock.now - start < .seconds(5))
    let log = try JSONValue(parsing: try await daemon.body("/v1/log"))
    // LMDB keeps the slots of threads that have read at the same time, ours and the folds': none for each of the hundred.
    #expect(log["readers"]?.integer ?? 99 <= 16)
    let metrics = String(decoding: try await daemon.body("/metrics"), as: UTF8.self)
    #expect(metrics.contains("ledger_log_oldest_reader_transactions 0\n"))
    let grown = try daemon.memory("VmRSS") - before
    print("  100 readers that do not read: \(grown / 100 / 1_024) KiB each")
    // Two chunks of 64 KiB each (an event more), and what a connection is.
    #expect(grown < 100 * 512 << 10, "\(grown) bytes")
    for channel in held { try await channel.close() }
    try await daemon.stop()
    try place.remove()
  }

  @Test func `a thousand idle followers cost little memory, no thread and next to no time`() async throws {
    let place = try Restarted()
    let daemon = try await place.start()
    _ = try await daemon.client.append((0..<100).map { event($0) })
    func threadCount() throws -> Int { try FileManager.default.contentsOfDirectory(atPath: "/proc/\(daemon.processIdentifier)/task").count }
    let (memory, threads) = (try daemon.memory("VmRSS"), try threadCount())
    let received = Collected()
    var held: [any Channel] = []
    for _ in 0..<1_000 {
      let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        .channelInitializer { channel in
          channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(LineCounter(received)) }
        }
        .connect(unixDomainSocketPath: daemon.socket).get()
      try await channel.writeAndFlush(ByteBuffer(string: "GET /v1/events?follow=true&after=99 HTTP/1.1\r\nhost: localhost\r\n\r\n"))
      held.append(channel)
    }
    // Each has one event and one mark.
    for _ in 0..<2_000 where received.all.count < 2_000 { try await Task.sleep(for: .milliseconds(10)) }
    #expect(received.all.count == 2_000)
    let processor = try daemon.processorSeconds()
    try await Task.sleep(for: .seconds(3))
    let used = try daemon.processorSeconds() - processor
    let grown = try daemon.memory("VmRSS") - memory
    print(
      "  1,000 idle followers: \(grown / 1_000 / 1_024) KiB each, \(try threadCount() - threads) threads, \(used / 3) s of processor a second"
    )
    #expect(grown < 1_000 * 128 << 10, "\(grown) bytes")
    #expect(try threadCount() - threads <= 8)
    #expect(used < 0.6)
    let start = ContinuousClock.now
    _ = try await daemon.client.append([event(1_000)])
    for _ in 0..<2_000 where received.all.count < 3_000 { try await Task.sleep(for: .milliseconds(5)) }
    print("  an event at 1,000 followers: \(ContinuousClock.now - start)")
    #expect(received.all.count == 3_000)
    for channel in held { try await channel.close() }
    try await daemon.stop()
    try place.remove()
  }

  @Test func `how fast and how soon events reach a follower`() async throws {
    let place = try Restarted()
    let daemon = try await place.start()
    let socket = daemon.socket
    let seen = Mutex<[Int64: ContinuousClock.Instant]>([:])
    let following = Task {
      let client = LedgerClient(.unixSocket(path: socket))
      for try await line in client.follow(EventQuery()) {
        if case .event(let position, _, _) = try EventLine(parsing: line) { seen.withLock { $0[position] = .now } }
      }
    }
    var sent: [(position: Int64, time: ContinuousClock.Instant)] = []
    for number in 0..<500 {
      let time = ContinuousClock.now
      sent.append((try await daemon.client.append([event(number, 300)]).head, time))
      try await Task.sleep(for: .milliseconds(2))
    }
    for _ in 0..<1_000 where seen.withLock({ $0.count }) < 500 { try await Task.sleep(for: .milliseconds(5)) }
    let times = seen.withLock { $0 }
    let delays = sent.compactMap { sent in times[sent.position].map { ($0 - sent.time) / .milliseconds(1) } }.sorted()
    #expect(delays.count == 500)
    print("  from before an append to its follower: p50 \(delays[250]) ms, p99 \(delays[495]) ms")
    following.cancel()
    try await daemon.stop()
    try place.remove()
  }

  // MARK: Subscriptions

  /// Works until the client gives up: fetches, and acknowledges one by one or all at once.
  private func work(_ socket: String, _ consumer: String, acknowledged: Collected, isOver: @escaping @Sendable () -> Bool) async throws {
    let client = LedgerClient(.unixSocket(path: socket), retry: .never)
    while !isOver() {
      do throws(ClientError) {
        let events = try await client.fetch("s", consumer: consumer, limit: 30, waitSeconds: 1)
        guard let last = events.last?.position else { continue }
        if Bool.random() {
          // After a restart it has nothing in hand, and acknowledges nothing.
          let count = try await client.settle("s", consumer: consumer, .through(last)).count
          if count == events.count { for event in events { acknowledged.add(event.position) } }
        } else {
          for event in events {
            let count = try await client.settle("s", consumer: consumer, .positions([event.position])).count
            if count == 1 { acknowledged.add(event.position) }
          }
        }
      } catch {
        do { try await Task.sleep(for: .milliseconds(10)) } catch { return }
      }
    }
  }

  @Test func `nothing that was acknowledged comes again, and nothing is lost, over kills of the daemon`() async throws {
    let place = try Restarted()
    var daemon = try await place.start()
    let socket = daemon.socket
    var options = SubscriptionOptions()
    options.acknowledgeWithinSeconds = 2
    options.redeliverAfterSeconds = 0
    options.maxFailures = 1_000
    _ = try await daemon.client.putSubscription("s", options)
    let acknowledged = Collected()
    let isOver = Stop()
    var head: Int64 = 0
    try await withThrowingTaskGroup(of: Void.self) { group in
      for consumer in ["a", "b", "c"] {
        group.addTask { [isOver] in
          try await work(socket, consumer, acknowledged: acknowledged) { isOver.isSet }
        }
      }
      var next = 0
      for _ in 0..<8 {
        let (running, first) = (daemon, next)
        async let loading = load(running, from: first)
        try await Task.sleep(for: .milliseconds(Int.random(in: 100...400)))
        #expect(await daemon.kill())
        next = try await loading
        daemon = try await place.start()
      }
      head = try await daemon.client.append((next..<next + 20).map { event($0) }).head
      for _ in 0..<3_000 {
        let status = try JSONValue(parsing: try await daemon.body("/v1/subscriptions/s"))
        if status["checkpoint"]?.integer == head { break }
        try await Task.sleep(for: .milliseconds(10))
      }
      isOver.set()
      try await group.waitForAll()
    }
    let status = try JSONValue(parsing: try await daemon.body("/v1/subscriptions/s"))
    #expect(status["checkpoint"]?.integer == head)
    #expect(status["parked"]?.integer == 0)
    // An acknowledgement whose answer was lost is not counted here, whether it was written or not.
    let counts = Dictionary(acknowledged.all.map { ($0, 1) }) { $0 + $1 }
    #expect(counts.values.allSatisfy { $0 == 1 }, "acknowledged twice: \(counts.filter { $0.value > 1 }.keys.sorted())")
    #expect(Int64(counts.count) <= head && Int64(counts.count) > head / 2, "\(counts.count) of \(head)")
    print("  \(head) events, 8 kills, \(counts.count) acknowledgements heard of, none twice")
    try await daemon.stop()
    try place.remove()
  }
}

/// Counts the lines of events and marks that come.
private final class LineCounter: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  private let counted: Collected

  init(_ counted: Collected) { self.counted = counted }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    // As bytes: a String takes the ends of chunks and of lines for one character.
    for line in unwrapInboundIn(data).readableBytesView.split(separator: UInt8(ascii: "\n")) {
      if line.starts(with: #"{"position":"#.utf8) || line.starts(with: #"{"mark":"#.utf8) { counted.add(1) }
    }
  }
}
