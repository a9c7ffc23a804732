// The daemon as a process: its socket, its lock, its end. What it acknowledged is there afterwards.

import Foundation
import LedgerClient
import LedgerHTTP
import Synchronization
import Testing

@Suite(.serialized) struct LifeTests {
  private func mode(_ path: String) throws -> Int? {
    try (FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? NSNumber)?.intValue
  }

  @Test func `the socket is for the owner and the group, the data for the owner`() async throws {
    let daemon = try Daemon(in: try TemporaryDirectory())
    try await daemon.waitUntilReady()
    #expect(try mode(daemon.socket) == 0o660)
    #expect(try mode(daemon.data) == 0o700)
    daemon.send(SIGTERM)
    #expect(await daemon.exitStatus() == 0)
    #expect(!FileManager.default.fileExists(atPath: daemon.socket))
  }

  @Test func `a killed daemon's socket is replaced, and its events are there`() async throws {
    let directory = try TemporaryDirectory()
    let killed = try Daemon(in: directory)
    try await killed.waitUntilReady()
    let client = killed.client()
    let answer = try await client.append(batch: Array("[\(event("a")),\(event("b"))]".utf8))
    #expect(answer.head == 2)
    killed.send(SIGKILL)
    #expect(await killed.exitStatus() == -SIGKILL)
    #expect(FileManager.default.fileExists(atPath: killed.socket))
    let next = try Daemon(in: directory)
    try await next.waitUntilReady()
    let again = try await next.client().append(batch: Array("[\(event("b")),\(event("c"))]".utf8))
    #expect(again.duplicates == 1)
    #expect(again.head == 3)
    next.send(SIGTERM)
    #expect(await next.exitStatus() == 0)
  }

  @Test func `a second daemon is refused, and the first one goes on`() async throws {
    let directory = try TemporaryDirectory()
    let first = try Daemon(in: directory)
    try await first.waitUntilReady()
    let rows: [(data: String?, socket: String?, text: String)] = [
      (directory.path + "/other", nil, "another process answers on"), (nil, directory.path + "/other-s", "another ledgerd has"),
    ]
    for row in rows {
      let second = try Daemon(in: directory, data: row.data, socket: row.socket)
      #expect(await second.exitStatus() == 1)
      let said = try second.errorText()
      #expect(said.contains(row.text), "\(said)")
      #expect(try await first.client().request("GET", "/healthz").status == 200)
    }
    #expect(FileManager.default.fileExists(atPath: first.socket))
    first.send(SIGTERM)
    #expect(await first.exitStatus() == 0)
  }

  @Test func `what is no socket is left alone, and a path too long is refused`() async throws {
    let directory = try TemporaryDirectory()
    let file = directory.path + "/file"
    try Data("kept".utf8).write(to: URL(fileURLWithPath: file))
    let onFile = try Daemon(in: directory, socket: file)
    #expect(await onFile.exitStatus() == 1)
    #expect(try onFile.errorText().contains("is no socket"))
    #expect(try Data(contentsOf: URL(fileURLWithPath: file)) == Data("kept".utf8))
    let long = directory.path + "/" + String(repeating: "l", count: 100)
    let onLong = try Daemon(in: directory, data: directory.path + "/data2", socket: long)
    #expect(await onLong.exitStatus() == 1)
    #expect(try onLong.errorText().contains("107 bytes"))
  }

  /// What the clients of the next test were told.
  private final class Acknowledged: Sendable {
    let ids = Mutex<[String]>([])
  }

  @Test(.timeLimit(.minutes(1))) func `SIGTERM under load: every acknowledged event is there afterwards, and nobody holds it up`()
    async throws
  {
    let directory = try TemporaryDirectory()
    let daemon = try Daemon(in: directory)
    try await daemon.waitUntilReady()
    // A reader that does not read: 8 MiB do not fit into a socket and a client's buffers.
    let large = (0..<200).map { event("large-\($0)", ["data": "\"\(String(repeating: "d", count: 40_000))\""]) }
    for start in stride(from: 0, to: 200, by: 50) {
      _ = try await daemon.client().append(batch: Array("[\(large[start..<start + 50].joined(separator: ","))]".utf8))
    }
    let unread = try await daemon.client().lines("/v1/events")
    var unreadLines = unread.makeAsyncIterator()
    #expect(try await unreadLines.next() != nil)
    let acknowledged = Acknowledged()
    let writers = (0..<8).map { number in
      Task {
        let client = daemon.client()
        for round in 0... {
          let ids = (0..<10).map { "\(number)-\(round)-\($0)" }
          do throws(ClientError) {
            let response = try await client.request(
              "POST", "/v1/events", headers: [(name: "content-type", value: batched)],
              body: Array("[\(ids.map { event($0) }.joined(separator: ","))]".utf8))
            guard response.status == 200 else {
              // Closing is said, not guessed.
              #expect(response.status == 503, "\(response.text)")
              return
            }
            acknowledged.ids.withLock { $0 += ids }
          } catch {
            return
          }
        }
      }
    }
    let follower = Task {
      var count = 0
      for try await line in try await daemon.client().lines("/v1/events?follow=true") where line.starts(with: #"{"position""#.utf8) {
        count += 1
      }
      return count
    }
    let idle = daemon.client()
    #expect(try await idle.request("GET", "/healthz").status == 200)
    // An upload that stalls in the middle of a line, and one in the middle of a body.
    let (pieces, source) = AsyncStream<[UInt8]>.makeStream()
    let stalled = Task {
      try await daemon.client().upload("/v1/events", headers: [(name: "content-type", value: streamed)], pieces: pieces)
    }
    source.yield(Array((event("stalled") + "\n{").utf8))
    let waiting = Task { try await daemon.client().request("GET", "/v1/customers?identifier=email:a@example.org&atLeast=4000000000") }
    for _ in 0..<500 where acknowledged.ids.withLock({ $0.count }) < 1_000 { try await Task.sleep(for: .milliseconds(10)) }
    let start = ContinuousClock.now
    daemon.send(SIGTERM)
    let status = await daemon.exitStatus()
    let took = ContinuousClock.now - start
    #expect(status == 0)
    #expect(took < .seconds(5), "\(took)")
    for writer in writers { await writer.value }
    _ = await follower.result
    source.finish()
    _ = await stalled.result
    _ = await waiting.result
    await idle.close()

    let next = try Daemon(in: directory)
    try await next.waitUntilReady()
    let lines = try await next.client().request("GET", "/v1/events").lines
    var found: Set<String> = []
    for (index, line) in lines.enumerated() {
      #expect(line.hasPrefix("{\"position\":\(index + 1),"))
      let id = try #require(line.firstMatch(of: #/"id":"([^"]+)"/#)).1
      #expect(found.insert(String(id)).inserted)
    }
    let told = acknowledged.ids.withLock { $0 }
    #expect(told.count >= 1_000)
    #expect(told.allSatisfy { found.contains($0) })
    next.send(SIGTERM)
    #expect(await next.exitStatus() == 0)
  }
}
