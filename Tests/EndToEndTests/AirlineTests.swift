// The shipped sample through the real daemon, against answers that were computed by a program that shares nothing with it;
// then everything but the log is deleted, and the answers are the same to the byte.

import Foundation
import LedgerClient
import LedgerHTTP
import LedgerTesting
import Testing

/// The sample beside this package's sources, and what has to come of it.
private struct Sample {
  let lines: [[UInt8]]
  let events: [JSONValue]
  let expected: JSONValue

  init() throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    let folder = root.appendingPathComponent("deploy/sample")
    lines = try Data(contentsOf: folder.appendingPathComponent("airline.ndjson")).split(separator: UInt8(ascii: "\n")).map { Array($0) }
    events = try lines.map { try JSONValue(parsing: $0) }
    expected = try JSONValue(parsing: Array(try Data(contentsOf: folder.appendingPathComponent("expected.json"))))
  }

  /// The id of the event at a position: in an empty log, line n becomes position n.
  func id(at position: Int64) -> String? { events[Int(position) - 1]["id"]?.string }

  /// Every identifier that an event names, as `kind:value`.
  var identifiers: Set<String> {
    var found: Set<String> = []
    for event in events {
      let people = [event["data"]] + (event["data"]?["participants"]?.array ?? [])
      for person in people {
        guard case .object(let members)? = person?["identifiers"] else { continue }
        for member in members {
          for value in member.value.array ?? [member.value] {
            switch value {
            case .string(let text), .number(let text): found.insert(member.name + ":" + text)
            default: Issue.record("an identifier that is no text: \(member.name)")
            }
          }
        }
      }
    }
    return found
  }
}

extension JSONValue {
  /// An object's members as whole numbers.
  fileprivate var counts: [String: Int64] {
    guard case .object(let members) = self else { return [:] }
    return Dictionary(uniqueKeysWithValues: members.compactMap { member in member.value.integer.map { (member.name, $0) } })
  }
}

/// What a daemon answers to every question about the sample, as bytes.
private func bodies(_ daemon: DaemonProcess, _ sample: Sample) async throws -> [String: [UInt8]] {
  var targets = sample.identifiers.map { LedgerClient.customersTarget(identifier: $0) }
  targets += ["/v1/channels?limit=10000", LedgerClient.journeyTarget(id: "unowned"), "/v1/events"]
  for person in sample.expected["people"]?.array ?? [] {
    let id = person["id"]?.string ?? ""
    let customer = LedgerClient.customerTarget(id: id)
    targets += [customer, customer + "/identity", LedgerClient.journeyTarget(id: id)]
  }
  var found: [String: [UInt8]] = [:]
  for target in targets { found[target] = try await daemon.body(target) }
  return found
}

private func digests(_ daemon: DaemonProcess) async throws -> [ProjectionDigest] {
  var found: [ProjectionDigest] = []
  for state in try await daemon.client.projections() { found.append(try await daemon.client.digest(state.name)) }
  return found
}

private func append(_ sample: Sample, to daemon: DaemonProcess) async throws -> AppendAnswer {
  let body = Array(sample.lines.joined(separator: [UInt8(ascii: "\n")]))
  let response = try await daemon.client.request(
    "POST", "/v1/events", headers: [(name: "content-type", value: MediaType.ndjson)], body: body)
  return try LedgerClient.streamedAppendAnswer(response)
}

struct AirlineTests {
  @Test func `the sample gives the expected customers, journeys and counters, again after all but the log is deleted`() async throws {
    let sample = try Sample()
    let directory = try DaemonProcess.temporaryDirectory()
    defer { #expect(throws: Never.self) { try FileManager.default.removeItem(atPath: directory) } }
    let executable = try DaemonProcess.executableOfThisBuild()
    var daemon = try DaemonProcess(executable: executable, directory: directory)
    try await daemon.waitUntilReady()
    let count = Int64(sample.lines.count)
    let answer = try await append(sample, to: daemon)
    #expect(answer.appended == sample.lines.count)
    #expect(answer.duplicates == 0)
    #expect(answer.head == count)
    #expect(sample.expected["events"]?.integer == count)
    _ = try await daemon.waitUntilFolded(count)

    try await checkEvents(daemon, sample)
    try await checkCounters(daemon, sample)
    try await checkPeople(daemon, sample)
    try await checkJourneys(daemon, sample)

    let before = (bodies: try await bodies(daemon, sample), digests: try await digests(daemon))
    #expect(before.digests.count == 2)
    try await daemon.stop()
    for name in ["index", "projections"] { try FileManager.default.removeItem(atPath: directory + "/data/" + name) }

    daemon = try DaemonProcess(executable: executable, directory: directory)
    try await daemon.waitUntilReady()
    _ = try await daemon.waitUntilFolded(count)
    let after = (bodies: try await bodies(daemon, sample), digests: try await digests(daemon))
    #expect(before.bodies.keys.filter { before.bodies[$0] != after.bodies[$0] }.sorted() == [])
    #expect(after.digests == before.digests)

    let again = try await append(sample, to: daemon)
    #expect(again.appended == 0)
    #expect(again.duplicates == sample.lines.count)
    #expect(again.first == nil)
    #expect(again.head == count)
    try await daemon.stop()
  }

  /// Events are stored as they were sent, in the order of the lines, with the expected counts per type.
  private func checkEvents(_ daemon: DaemonProcess, _ sample: Sample) async throws {
    var next: Int64 = 1
    var types: [String: Int64] = [:]
    for try await line in try await daemon.client.events() {
      let json = try JSONValue(parsing: line)
      #expect(json["position"]?.integer == next)
      #expect(line.suffix(sample.lines[Int(next) - 1].count + 1).dropLast().elementsEqual(sample.lines[Int(next) - 1]))
      types[json["event"]?["type"]?.string ?? "", default: 0] += 1
      next += 1
    }
    #expect(next == Int64(sample.lines.count) + 1)
    #expect(types == sample.expected["perType"]?.counts)
  }

  private func checkCounters(_ daemon: DaemonProcess, _ sample: Sample) async throws {
    let answer = try JSONValue(parsing: try await daemon.body("/v1/channels?limit=10000"))
    #expect(answer["next"] == .null)
    var channels: [String: Int64] = [:]
    var types: [String: Int64] = [:]
    for counter in answer["counters"]?.array ?? [] {
      channels[counter["channel"]?.string ?? "none", default: 0] += counter["count"]?.integer ?? 0
      types[counter["type"]?.string ?? "none", default: 0] += counter["count"]?.integer ?? 0
    }
    #expect(channels == sample.expected["perChannel"]?.counts)
    #expect(types == sample.expected["perType"]?.counts)
  }

  private func checkPeople(_ daemon: DaemonProcess, _ sample: Sample) async throws {
    var ids: Set<String> = []
    for identifier in sample.identifiers {
      for customer in try await daemon.client.customers(identifier: identifier) { ids.insert(customer.id) }
    }
    let people = sample.expected["people"]?.array ?? []
    #expect(ids == Set(people.compactMap { $0["id"]?.string }))
    #expect(Int64(ids.count) == sample.expected["customers"]?.integer)
    for person in people {
      let id = try #require(person["id"]?.string)
      let found = try #require(try await daemon.client.customer(id: id).first)
      #expect(found.id == id)
      #expect(found.json["identifiers"] == person["identifiers"], "identifiers of customer \(id)")
      #expect(found.json["eventCount"] == person["eventCount"], "events of customer \(id)")
      #expect(found.json["mergedFrom"] == person["mergedFrom"], "merges of customer \(id)")
      checkTotals(found.json, person, id)
      guard case .object(let traits)? = person["traits"], case .object(let foundTraits)? = found.json["traits"] else {
        Issue.record("customer \(id) has no traits")
        continue
      }
      #expect(foundTraits.map(\.name) == traits.map(\.name))
      for trait in traits { #expect(found.json["traits"]?[trait.name]?["value"] == trait.value, "\(trait.name) of customer \(id)") }
    }
    #expect(sample.expected["ana"]?["identifiers"] == people.first?["identifiers"])
  }

  /// Totals as numbers: `551.30` is `551.3`.
  private func checkTotals(_ found: JSONValue, _ person: JSONValue, _ id: String) {
    guard case .object(let currencies)? = person["totals"] else {
      Issue.record("no totals are expected of customer \(id)")
      return
    }
    let totals = found["totals"]?.array ?? []
    #expect(totals.compactMap { $0["currency"]?.string } == currencies.map(\.name))
    for (total, expected) in zip(totals, currencies) {
      for name in ["value", "cost"] {
        let (left, right) = (total[name]?.string ?? "", expected.value[name]?.string ?? "")
        #expect(Foundation.Decimal(string: left) != nil)
        #expect(Foundation.Decimal(string: left) == Foundation.Decimal(string: right), "\(name) of customer \(id)")
      }
    }
  }

  private func checkJourneys(_ daemon: DaemonProcess, _ sample: Sample) async throws {
    let ana = try #require(sample.expected["ana"])
    let id = try #require(ana["id"]?.string)
    let journey = try await daemon.client.journey(id: id)
    #expect(journey.next == nil)
    #expect(Int64(journey.entries.count) == ana["journeyLength"]?.integer)
    let found = journey.entries.map { $0["position"]?.integer.flatMap { sample.id(at: $0) } ?? "none" }
    #expect(found == ana["journey"]?.array?.compactMap(\.string))
    var channels: [String: Int64] = [:]
    for entry in journey.entries { channels[entry["channel"]?.string ?? "none", default: 0] += 1 }
    #expect(channels == ana["perChannel"]?.counts)

    let unowned = try await daemon.client.journey(id: "unowned")
    #expect(Int64(unowned.entries.count) == sample.expected["unowned"]?.integer)
    #expect(
      unowned.entries.compactMap { $0["position"]?.integer }.sorted()
        == sample.expected["unownedPositions"]?.array?.compactMap(\.integer))
    var rowCount = unowned.entries.count
    for person in sample.expected["people"]?.array ?? [] {
      let journey = try await daemon.client.journey(id: person["id"]?.string ?? "")
      #expect(Int64(journey.entries.count) == person["eventCount"]?.integer)
      rowCount += journey.entries.count
    }
    #expect(Int64(rowCount) == sample.expected["timelineRows"]?.integer)
    // The one that was merged away answers with the survivor.
    for merge in sample.expected["merges"]?.array ?? [] {
      let loser = try #require(merge["loser"]?.string)
      #expect(try await daemon.client.customer(id: loser).map(\.id) == [merge["survivor"]?.string])
    }
  }
}
