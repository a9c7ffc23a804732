// Clients as they must not be: slow, silent, boastful, deaf. Others are served meanwhile, and memory stays bounded.

import Files
import Foundation
import LedgerClient
import LedgerTesting
import Testing

@Suite(.serialized)
struct ClientWeatherTests {
  private func head(_ method: String, _ target: String, _ headers: [String] = []) -> String {
    (["\(method) \(target) HTTP/1.1", "host: x"] + headers).joined(separator: "\r\n") + "\r\n\r\n"
  }

  /// Appends events one by one and answers how long the slowest took.
  private func slowestAppend(_ daemon: WetDaemon, _ prefix: String, _ count: Int) async throws -> Duration {
    var slowest = Duration.zero
    for number in 0..<count {
      let start = ContinuousClock.now
      #expect(try await daemon.append(["\(prefix)-\(number)"]).status == 200)
      slowest = max(slowest, ContinuousClock.now - start)
    }
    return slowest
  }

  @Test func `clients that send a byte a second hold up nobody and cost little`() async throws {
    let daemon = try await WetDaemon(try Place())
    _ = try await slowestAppend(daemon, "warm", 50)
    let before = try daemon.process.memory("VmRSS")
    let body = WetDaemon.event("dripped")
    let whole = head("POST", "/v1/events", ["content-type: application/cloudevents+json", "content-length: \(body.utf8.count)"])
    // Half of them within the head, half within the body.
    let clients = try (0..<200).map { number in
      let client = try SilentClient(daemon.process.socket)
      client.send(number % 2 == 0 ? String(whole.prefix(40)) : whole)
      return client
    }
    var slowest = Duration.zero
    for second in 0..<4 {
      let bytes = Array(body.utf8)
      for (number, client) in clients.enumerated() { client.send(number % 2 == 0 ? "x" : String(UnicodeScalar(bytes[second]))) }
      slowest = max(slowest, try await slowestAppend(daemon, "fast-\(second)", 50))
      try await Task.sleep(for: .milliseconds(500))
    }
    #expect(slowest < .seconds(2), "\(slowest)")
    let grown = try daemon.process.memory("VmRSS") - before
    #expect(grown < 32 << 20, "\(grown) bytes for 200 clients")
    // One that gets to its end is served like any other.
    let last = clients[1]
    last.send(String(body.dropFirst(4)))
    #expect(last.receive { $0.contains("\"head\"") }.hasPrefix("HTTP/1.1 200"))
    #expect(try await daemon.ids().count == 50 + 200 + 1)
    try await daemon.process.stop()
  }

  @Test func `a megabyte of headers is refused, and not kept`() async throws {
    let daemon = try await WetDaemon(try Place())
    #expect(try await daemon.append(["one"]).status == 200)
    let before = try daemon.process.memory("VmHWM")
    let rows = [
      "x-a: " + String(repeating: "a", count: 1 << 20),
      (0..<16_384).map { "x-\($0): \(String(repeating: "b", count: 56))" }.joined(separator: "\r\n"),
    ]
    for _ in 0..<20 {
      for row in rows {
        let client = try SilentClient(daemon.process.socket)
        client.send(head("GET", "/healthz", [row]))
        let answer = client.receive()
        // The server may hang up before it has read everything: then the answer may be lost on the way.
        #expect(answer.isEmpty || answer.hasPrefix("HTTP/1.1 400"), "\(answer.prefix(200))")
      }
    }
    let grown = try daemon.process.memory("VmHWM") - before
    #expect(grown < 16 << 20, "\(grown) bytes")
    #expect(try await daemon.append(["two"]).status == 200)
    try await daemon.process.stop()
  }

  @Test func `1,000 idle connections are kept, the 1,025th waits for a place, and nothing is lost`() async throws {
    Descriptors.raiseLimit()
    let daemon = try await WetDaemon(try Place())
    #expect(try await daemon.append(["one"]).status == 200)
    let before = try daemon.process.memory("VmRSS")
    // The test's own client holds one place.
    var crowd = try (0..<1_000).map { _ in try SilentClient(daemon.process.socket) }
    #expect(try await slowestAppend(daemon, "busy", 20) < .seconds(2))
    let perConnection = (try daemon.process.memory("VmRSS") - before) / 1_000
    print("memory of an idle connection:", perConnection, "bytes")
    #expect(perConnection < 64 << 10)
    crowd += try (0..<23).map { _ in try SilentClient(daemon.process.socket) }
    #expect(crowd[1_022].send(head("GET", "/healthz")) > 0)
    #expect(crowd[1_022].hears(withinMilliseconds: 5_000))

    let late = try (0..<32).map { _ in try SilentClient(daemon.process.socket) }
    for client in late { client.send(head("GET", "/healthz")) }
    let last = try #require(late.last)
    #expect(!last.hears(withinMilliseconds: 500))
    #expect(try await daemon.append(["three"]).status == 200)
    for client in crowd.prefix(64) { client.close() }
    for client in late { #expect(client.receive { $0.contains("ok") }.hasPrefix("HTTP/1.1 200")) }
    try await daemon.process.stop()
  }

  @Test(arguments: [false, true]) func `a client that never reads costs a bounded memory`(_ isFollowing: Bool) async throws {
    let daemon = try await WetDaemon(try Place())
    for batch in 0..<5 { #expect(try await daemon.append((0..<100).map { "old-\(batch)-\($0)" }, byteCount: 16_000).status == 200) }
    _ = try await daemon.process.waitUntilFolded(500)
    let before = try daemon.process.memory("VmRSS")
    let clients = try (0..<16).map { _ in
      let client = try SilentClient(daemon.process.socket)
      client.send(head("GET", isFollowing ? "/v1/events?follow=true&after=0" : "/v1/events"))
      return client
    }
    for client in clients { #expect(client.hears(withinMilliseconds: 5_000)) }
    for batch in 0..<5 { #expect(try await daemon.append((0..<100).map { "new-\(batch)-\($0)" }, byteCount: 16_000).status == 200) }
    _ = try await daemon.process.waitUntilFolded(1_000)
    try await Task.sleep(for: .seconds(1))
    // 256 MB lie ready for them. Reading the log maps its pages, which count as memory of the daemon (RssFile) and are the kernel's.
    let anonymous = try daemon.process.memory("RssAnon")
    let grown = try daemon.process.memory("VmRSS") - before
    print("16 that never read, following: \(isFollowing): \(grown) bytes more, \(anonymous) of its own")
    #expect(anonymous < 128 << 20, "\(anonymous) bytes")
    for client in clients { client.close() }
    #expect(try await daemon.append(["after"]).status == 200)
    try await daemon.process.stop()
  }

  @Test func `a client that pipelines and never reads costs a bounded memory`() async throws {
    let daemon = try await WetDaemon(try Place())
    #expect(try await daemon.append((0..<100).map { "old-\($0)" }, byteCount: 16_000).status == 200)
    let before = try daemon.process.memory("RssAnon")
    // 2,000 requests for 1.6 MB each.
    let request = head("GET", "/v1/events")
    let client = try SilentClient(daemon.process.socket)
    let sent = Task.detached { client.send(String(repeating: request, count: 2_000)) }
    try await Task.sleep(for: .seconds(2))
    let grown = try daemon.process.memory("RssAnon") - before
    #expect(grown < 64 << 20, "\(grown) bytes")
    #expect(try await daemon.append(["after"]).status == 200)
    client.close()
    _ = await sent.value
    try await daemon.process.stop()
  }

  @Test func `bodies that unpack to hundreds of megabytes are refused before they do`() async throws {
    let daemon = try await WetDaemon(try Place())
    #expect(try await daemon.append(["one"]).status == 200)
    let before = try daemon.process.memory("VmHWM")
    // 256 MiB of spaces, made by the tools that everybody has.
    for (tool, encoding) in [("gzip", "gzip"), ("zstd", "zstd")] where Missing.program(tool) {
      let path = daemon.place.path + "/bomb." + encoding
      try run("sh", "-c", "head -c 268435456 /dev/zero | tr '\\0' ' ' | \(tool) -1 > \(path)")
      let bomb = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
      for type in ["application/cloudevents-batch+json", "application/cloudevents+json", "application/x-ndjson"] {
        let response = try await daemon.client.request(
          "POST", "/v1/events", headers: [(name: "content-type", value: type), (name: "content-encoding", value: encoding)], body: bomb)
        #expect(response.status == 400)
        let code = try JSONValue(parsing: response.body)["code"]?.string
        #expect(
          code == (type == "application/x-ndjson" && encoding == "gzip" ? "event-too-large" : "batch-too-large"), "\(type) \(encoding)")
      }
    }
    let grown = try daemon.process.memory("VmHWM") - before
    #expect(grown < 96 << 20, "\(grown) bytes")
    #expect(try await daemon.append(["two"]).head == 2)
    try await daemon.process.stop()
  }
}
