// A daemon that is killed while events are set aside: whatever was acknowledged is in the log or in quarantine, once.

import Foundation
import LedgerClient
import LedgerHTTP
import LedgerTesting
import Testing

@Suite(.serialized, .timeLimit(.minutes(3))) struct QuarantineCrashTests {
  /// An event; every third one breaks the schema, every seventh has an id that is taken by other content.
  private static func event(_ number: Int) -> String {
    let id = number % 7 == 0 && number > 0 ? "taken" : "e\(number)"
    let score = number % 3 == 0 ? 70 : 7
    return #"{"specversion":"1.0","id":"\#(id)","source":"urn:t","type":"t","data":{"number":\#(number),"score":\#(score)}}"#
  }

  /// Sends batches until the daemon is gone.
  ///
  /// - Returns: The numbers of the events that were acknowledged.
  private func load(_ daemon: DaemonProcess, from first: Int) async throws -> (acknowledged: [Int], next: Int) {
    let client = LedgerClient(.unixSocket(path: daemon.socket), retry: .never)
    var acknowledged: [Int] = []
    var next = first
    while true {
      let numbers = Array(next..<next + 10)
      let body = "[" + numbers.map(Self.event).joined(separator: ",") + "]"
      next += 10
      do throws(ClientError) {
        let response = try await client.request(
          "POST", "/v1/events?onInvalid=quarantine", headers: [(name: "content-type", value: MediaType.cloudEventBatch)],
          body: Array(body.utf8))
        #expect(response.status == 200, "\(String(decoding: response.body, as: UTF8.self))")
        let answer = try AppendAnswer(try response.json())
        #expect(answer.appended + answer.duplicates + (answer.quarantined ?? 0) == 10)
        acknowledged += numbers
      } catch {
        return (acknowledged, next)
      }
    }
  }

  /// The numbers of all events in the log and in quarantine; each place holds an event once.
  private func numbers(_ daemon: DaemonProcess) async throws -> (log: Set<Int>, quarantine: Set<Int>) {
    var (log, quarantine): (Set<Int>, Set<Int>) = ([], [])
    for line in try await daemon.body("/v1/events").split(separator: UInt8(ascii: "\n")) {
      guard let number = try JSONValue(parsing: Array(line))["event"]?["data"]?["number"]?.integer else { continue }
      let isNew = log.insert(Int(number)).inserted
      #expect(isNew, "event \(number) is in the log twice")
    }
    var after: Int64 = 0
    while true {
      let page = try JSONValue(parsing: try await daemon.body("/v1/quarantine?limit=1000&after=\(after)"))
      for row in page["quarantined"]?.array ?? [] {
        let entry = try JSONValue(parsing: try await daemon.body("/v1/quarantine/\(row["number"]?.integer ?? 0)"))
        let number = Int(try #require(entry["event"]?["data"]?["number"]?.integer))
        let isNew = quarantine.insert(number).inserted
        #expect(isNew, "event \(number) is in quarantine twice")
      }
      guard let next = page["next"]?.integer else { return (log, quarantine) }
      after = next
    }
  }

  @Test func `whatever was acknowledged is in the log or in quarantine after every kill`() async throws {
    let directory = try DaemonProcess.temporaryDirectory()
    let schemas = directory + "/schemas"
    try FileManager.default.createDirectory(atPath: schemas, withIntermediateDirectories: true)
    try Data(#"{"properties":{"score":{"maximum":10}}}"#.utf8).write(to: URL(filePath: schemas + "/t.json"))
    var acknowledged: [Int] = []
    var next = 1
    for _ in 0..<6 {
      let daemon = try DaemonProcess(
        executable: DaemonProcess.executableOfThisBuild(), directory: directory, arguments: ["--schemas", schemas])
      try await daemon.waitUntilReady()
      if next == 1 {
        let taken = #"{"specversion":"1.0","id":"taken","source":"urn:t","type":"t","data":{"score":1}}"#
        // A second time if the kill came before the first acknowledgement.
        let answer = try await daemon.client.append([Array(taken.utf8)])
        #expect(answer.appended + answer.duplicates == 1)
      }
      let first = next
      async let loading = load(daemon, from: first)
      try await Task.sleep(for: .milliseconds(Int.random(in: 30...250)))
      #expect(await daemon.kill())
      let done = try await loading
      acknowledged += done.acknowledged
      // What was not acknowledged is sent again, as an adapter would.
      next = (done.acknowledged.last ?? next - 1) + 1
    }
    let daemon = try DaemonProcess(
      executable: DaemonProcess.executableOfThisBuild(), directory: directory, arguments: ["--schemas", schemas])
    try await daemon.waitUntilReady()
    let found = try await numbers(daemon)
    #expect(acknowledged.count > 50)
    for number in acknowledged {
      let isBad = number % 3 == 0 || number % 7 == 0
      #expect(found.quarantine.contains(number) == isBad, "event \(number) is \(isBad ? "not " : "")in quarantine")
      #expect(found.log.contains(number) == !isBad, "event \(number) is \(isBad ? "" : "not ")in the log")
    }
    try await daemon.stop()
    try FileManager.default.removeItem(atPath: directory)
  }
}
