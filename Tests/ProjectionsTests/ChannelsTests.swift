// The counters: quarters, absent names, filters, pages, batches, and that they sum up to the events.

import Bytes
import LedgerCore
import ProjectionEngine
import Testing

@testable import Projections

private let quarterHour: Int64 = 900

private func sample() throws -> Bench<ChannelsProjection> {
  let bench = Bench(ChannelsProjection())
  let base: Int64 = 1_772_360_100  // 2026-03-01T10:15:00Z
  let web = [#""channel":"web","campaign":"autumn","businessunit":"shop""#]
  for offset in [0, 1, 899] { try bench.append(Sent(occurred: base + Int64(offset), attributes: web, type: "page.viewed")) }
  try bench.append(Sent(occurred: base - 1, attributes: web, type: "page.viewed"))
  try bench.append(Sent(occurred: base + 900, attributes: [#""channel":"email""#], type: "email.opened"))
  try bench.append(Sent(occurred: -1, type: "old"))
  return bench
}

private let tail = #""checkpoint":6,"next":null,"log":"L","version":1,"erasureEpoch":0}"#
private let old = #"{"quarter":"1969-12-31T23:45:00Z","type":"old","count":1}"#
private func web(_ quarter: String, _ count: Int) -> String {
  #"{"quarter":"\#(quarter)","channel":"web","campaign":"autumn","businessunit":"shop","type":"page.viewed","count":\#(count)}"#
}
private let email = #"{"quarter":"2026-03-01T10:30:00Z","channel":"email","type":"email.opened","count":1}"#

@Test func `events are counted in the quarter-hour of UTC in which they occurred`() throws {
  let all = [old, web("2026-03-01T10:00:00Z", 1), web("2026-03-01T10:15:00Z", 3), email].joined(separator: ",")
  #expect(try sample().ask("channels") == #"{"counters":[\#(all)],\#(tail)"#)
}

@Test(arguments: [
  (["channel=web", "from=2026-03-01T10:15:00Z"], [web("2026-03-01T10:15:00Z", 3)]),
  (["from=2026-03-01T10:00:00.000001Z", "to=2026-03-01T10:30:00Z"], [web("2026-03-01T10:15:00Z", 3)]),
  (["from=2026-03-01T11:15:00+01:00", "to=2026-03-01T11:15:01+01:00"], [web("2026-03-01T10:15:00Z", 3)]),
  (["to=2026-03-01T10:00:00Z"], [old]), (["channel="], [old]), (["type=email.opened"], [email]), (["channel=unknown"], []),
  (["campaign=autumn", "businessunit=shop", "to=2026-03-01T10:15:00Z"], [web("2026-03-01T10:00:00Z", 1)]),
  (["campaign=", "channel=email"], [email]),
])
func `counters are filtered by time and name`(_ parameters: [String], _ expected: [String]) throws {
  let pairs = parameters.map { text in
    let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    return (name: String(parts[0]), value: String(parts[1]))
  }
  #expect(try sample().ask("channels", pairs) == #"{"counters":[\#(expected.joined(separator: ","))],\#(tail)"#)
}

@Test func `pages of counters join to the whole`() throws {
  let bench = try sample()
  var counters: [String] = []
  var cursor: String?
  repeat {
    let page = try bench.ask("channels", [(name: "limit", value: "1")] + (cursor.map { [(name: "cursor", value: $0)] } ?? []))
    counters += page.split(separator: #""quarter":""#).dropFirst().map { String($0.prefix(20)) }
    cursor = page.split(separator: #""next":""#).dropFirst().first.map { String($0.prefix { $0 != "\"" }) }
  } while cursor != nil
  #expect(counters == ["1969-12-31T23:45:00Z", "2026-03-01T10:00:00Z", "2026-03-01T10:15:00Z", "2026-03-01T10:30:00Z"])
}

@Test(arguments: [["from=yesterday"], ["to=1"], ["limit=0"], ["cursor=zz"]])
func `malformed questions about channels are refused`(_ parameters: [String]) throws {
  let parts = parameters[0].split(separator: "=")
  let bench = try sample()
  let failure = #expect(throws: QueryFailure.self) {
    _ = try bench.ask("channels", [(name: String(parts[0]), value: String(parts[1]))])
  }
  guard case .invalid = failure else {
    Issue.record("not refused as invalid")
    return
  }
}

@Test func `counters sum up to the events and do not depend on batches`() throws {
  for seed in UInt64(0)..<20 {
    let log = randomLog(seed, count: 60)
    let (whole, cut) = (Bench(ChannelsProjection()), Bench(ChannelsProjection()))
    for sent in log {
      try whole.append(sent)
      try cut.append(sent)
      try cut.rows.flush()
      cut.rows.evictCleanRows()
    }
    var sum: UInt64 = 0
    try whole.snapshot().scan(ChannelKey.table, prefix: []) { (_, row) throws(QueryFailure) in
      sum += row.value
      return true
    }
    #expect(sum == 60, "seed \(seed)")
    #expect(whole.rows.digest == cut.rows.digest, "seed \(seed)")
  }
}
