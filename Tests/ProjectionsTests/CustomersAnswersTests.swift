// The bodies that cross the socket, byte for byte, and what is refused.

import Bytes
import LedgerCore
import ProjectionEngine
import Testing

@testable import Projections

private func story() throws -> Bench<CustomersProjection> {
  let bench = Bench(CustomersProjection())
  try bench.append(
    Sent(
      people: [[("cookie", "c1")]], occurred: 1_000, attributes: [#""channel":"web","direction":"inbound","campaign":"autumn""#],
      data: [#""traits":{"plan":"basic","city":"Le\u00f3n"}"#], source: "/web", type: "page.viewed"))
  try bench.append(
    Sent(
      people: [[("email", " Ana@Example.org")]], occurred: 500,
      attributes: [#""channel":"email","direction":"outbound","purpose":"commercial""#],
      data: [#""traits":{"plan":{"name":"gold"}},"cost":{"amount":0.02,"currency":"EUR"}"#], source: "/mail", type: "email.sent"))
  try bench.append(
    Sent(
      people: [[("email", "ana@example.org"), ("cookie", "c1")]], occurred: 2_000,
      attributes: [#""channel":"web","businessunit":"shop","stage":"purchase","role":"personal""#],
      data: [#""value":{"amount":"120.10","currency":"EUR"},"case":"A-7""#], source: "/web", type: "order.placed"))
  return bench
}

@Test func `a customer is shown with identifiers, traits, channels, totals and what was merged`() throws {
  let expected = """
    {"customers":[{"id":"1","identifiers":[{"kind":"cookie","value":"c1"},{"kind":"email","value":"ana@example.org"}],\
    "traits":{"city":{"value":"Le\\u00f3n","source":"/web","position":1,"time":"1970-01-01T00:16:40.000000Z"},\
    "plan":{"value":"basic","source":"/web","position":1,"time":"1970-01-01T00:16:40.000000Z"}},\
    "firstSeen":"1970-01-01T00:08:20.000000Z","lastSeen":"1970-01-01T00:33:20.000000Z","eventCount":3,\
    "channels":[{"channel":"email","count":1,"inbound":0,"outbound":1,"lastContact":"1970-01-01T00:08:20.000000Z"},{"channel":"web","count":2,"inbound":1,"outbound":0,\
    "lastContact":"1970-01-01T00:33:20.000000Z"}],\
    "totals":[{"currency":"EUR","value":"120.1","cost":"0.02"}],"mergedFrom":["2"]}],\
    "checkpoint":3,"log":"L","version":2,"erasureEpoch":0}
    """
  let bench = try story()
  #expect(try bench.ask("customers", [("identifier", "email:ANA@example.org")]) == expected)
  #expect(try bench.ask("customers", [("identifier", "cookie:c1"), ("identifier", "email:ana@example.org")]) == expected)
  #expect(try bench.ask("customers/{id}", id: "1") == expected)
  #expect(try bench.ask("customers/{id}", id: "2") == expected)
}

@Test func `nobody is an empty list, also behind a blocked value`() throws {
  let nobody = #"{"customers":[],"checkpoint":3,"log":"L","version":2,"erasureEpoch":0}"#
  #expect(try story().ask("customers", [("identifier", "email:none@example.org"), ("identifier", "cookie:null")]) == nobody)
}

@Test func `a journey is told oldest first, absent fields left out`() throws {
  let expected = """
    {"customer":"1","entries":[\
    {"position":2,"time":"1970-01-01T00:08:20.000000Z","type":"email.sent","source":"/mail","channel":"email","direction":"outbound",\
    "purpose":"commercial"},\
    {"position":1,"time":"1970-01-01T00:16:40.000000Z","type":"page.viewed","source":"/web","channel":"web","campaign":"autumn",\
    "direction":"inbound"},\
    {"position":3,"time":"1970-01-01T00:33:20.000000Z","type":"order.placed","source":"/web","channel":"web","role":"personal",\
    "businessunit":"shop","stage":"purchase","case":"A-7","value":{"amount":"120.1","currency":"EUR"}}],\
    "checkpoint":3,"next":null,"log":"L","version":2,"erasureEpoch":0}
    """
  #expect(try story().ask("customers/{id}/journey", id: "2") == expected)
}

@Test func `pages of a journey join to the whole of it`() throws {
  let bench = Bench(CustomersProjection())
  for index in 0..<25 { try bench.append(Sent(people: [[("cookie", "c")]], occurred: Int64(index / 3))) }
  var positions: [String] = []
  var cursor: String?
  var pageCount = 0
  repeat {
    let parameters = [(name: "limit", value: "4")] + (cursor.map { [(name: "cursor", value: $0)] } ?? [])
    let page = try bench.ask("customers/{id}/journey", id: "1", parameters)
    positions += page.split(separator: #"{"position":"#).dropFirst().map { String($0.prefix { $0 != "," }) }
    cursor = page.split(separator: #""next":""#).dropFirst().first.map { String($0.prefix { $0 != "\"" }) }
    pageCount += 1
  } while cursor != nil
  #expect(positions == (1...25).map(String.init))
  #expect(pageCount == 7)
}

@Test func `events without a person lie on the unowned timeline`() throws {
  let bench = Bench(CustomersProjection())
  try bench.append(Sent(people: [[]], type: "broadcast"))
  try bench.append(Sent(people: [[("cookie", "0")]], type: "blocked"))
  try bench.append(text: #"{"specversion":"1.0","id":"x","source":"/s","type":"plain"}"#)
  let journey = try bench.ask("customers/{id}/journey", id: "unowned")
  #expect(journey.hasPrefix(#"{"customer":"unowned","entries":[{"position":1,"#))
  #expect(journey.contains(#""type":"plain""#))
}

@Test func `several people of one event have customers of their own, its value counts once`() throws {
  let bench = Bench(CustomersProjection())
  try bench.append(
    Sent(
      people: [[("email", "payer@x.org")], [("email", "traveller@x.org")], []],
      data: [#""value":{"amount":10,"currency":"EUR"},"traits":{"tier":"gold"}"#]))
  let payer = try bench.ask("customers/{id}", id: "1")
  let traveller = try bench.ask("customers/{id}", id: "1-1")
  #expect(payer.contains(#""totals":[{"currency":"EUR","value":"10","cost":"0"}]"#))
  #expect(payer.contains(#""tier":{"value":"gold""#))
  #expect(traveller.contains(#""id":"1-1""#))
  #expect(traveller.contains(#""totals":[]"#))
  #expect(traveller.contains(#""traits":{}"#))
}

@Test func `the newest value of a trait is shown, one from the future is no newer than when it was received`() throws {
  let bench = Bench(CustomersProjection())
  let person: [Person] = [[("email", "e@x.org")]]
  try bench.append(Sent(people: person, occurred: 9_000, received: 100, data: [#""traits":{"a":"future"}"#]))
  try bench.append(Sent(people: person, occurred: 150, received: 200, data: [#""traits":{"a":"later"}"#]))
  try bench.append(Sent(people: person, occurred: 120, received: 300, data: [#""traits":{"a":"older"}"#]))
  #expect(try bench.ask("customers/{id}", id: "1").contains(#""a":{"value":"later""#))
  try bench.append(Sent(people: person, occurred: 150, received: 400, data: [#""traits":{"a":"tie"}"#]))
  #expect(try bench.ask("customers/{id}", id: "1").contains(#""a":{"value":"tie""#))
  var history = 0
  try bench.snapshot().scan(CustomerTables.traits, prefix: []) { (_, _) throws(QueryFailure) in
    history += 1
    return true
  }
  #expect(history == 4)
}

@Test(arguments: ["", "0", "01", "1-0", "1-64", "x", "1-", "-1", "1-1-1", " 1", "99999999999999999999", "288230376151711744", "Unowned"])
func `an id that is none is refused without being repeated`(_ id: String) throws {
  let bench = try story()
  for path in ["customers/{id}", "customers/{id}/journey", "customers/{id}/identity"] {
    let failure = #expect(throws: QueryFailure.self) { _ = try bench.ask(path, id: id) }
    guard case .invalid(let detail) = failure else {
      Issue.record("not refused as invalid")
      continue
    }
    #expect(id.isEmpty || id == "x" || !detail.contains(" \(id) "))
  }
}

@Test(arguments: ["7", "1-5", "288230376151711743-63"])
func `an id of nobody is not found`(_ id: String) throws {
  #expect(throws: QueryFailure.notFound("there is no customer with this id")) { _ = try story().ask("customers/{id}", id: id) }
}

@Test(arguments: [
  ("customers", nil, [String]()), ("customers", nil, ["identifier=secret"]), ("customers", nil, ["identifier=:secret"]),
  ("customers", nil, Array(repeating: "identifier=email:secret", count: 65)), ("customers/{id}/journey", "1", ["limit=0"]),
  ("customers/{id}/journey", "1", ["limit=10001"]), ("customers/{id}/journey", "1", ["limit=ten"]),
  ("customers/{id}/journey", "1", ["cursor=secret"]), ("customers/{id}/journey", "1", ["cursor=00"]),
])
func `malformed questions are refused without being repeated`(_ path: String, _ id: String?, _ parameters: [String]) throws {
  let pairs = parameters.map { text in
    let parts = text.split(separator: "=", maxSplits: 1)
    return (name: String(parts[0]), value: String(parts[1]))
  }
  let bench = try story()
  let failure = #expect(throws: QueryFailure.self) { _ = try bench.ask(path, id: id, pairs) }
  guard case .invalid(let detail) = failure else {
    Issue.record("not refused as invalid")
    return
  }
  #expect(!detail.contains("secret"))
}

@Test func `a total that cannot be exact is poison`() throws {
  // Amounts are bounded, so only a hundred million of them overflow: the row is asked directly.
  let full = try #require(Decimal(mantissa: .max, scale: 12))
  var row = CustomerRow()
  try row.add(value: full, cost: .zero, currency: 1)
  #expect(throws: FoldFailure.poison("a customer's total has more digits than can be kept exactly")) {
    try row.add(value: full, cost: .zero, currency: 1)
  }
}

@Test func `a position that fits no customer's id is poison`() throws {
  let bench = Bench(CustomersProjection())
  #expect(throws: FoldFailure.poison("the position does not fit a customer's id")) {
    try bench.append(Sent(people: [[("email", "e@x.org")]]), at: CustomerID.positionMax + 1)
  }
}
