// Who is who: the cases of SEMANTICS §2, the fold against a plain second implementation, order and batches.

import Bytes
import LedgerCore
import ProjectionEngine
import Testing

@testable import Projections

/// The customers of a fold: id → identifiers as `kind value`, sorted.
private func partition(_ bench: Bench<CustomersProjection>) throws -> [String: [String]] {
  let snapshot = try bench.snapshot()
  var result: [String: [String]] = [:]
  try snapshot.scan(IdentityTables.identifiers, prefix: []) { (key, row) throws(QueryFailure) in
    guard row.owner != .unowned else { return true }
    let name = String(decoding: key.bytes.map { $0 == 0 ? 0x20 : $0 }, as: UTF8.self)
    result[row.owner.text, default: []].append(name)
    return true
  }
  return result.mapValues { $0.sorted() }
}

private func timelines(_ bench: Bench<CustomersProjection>) throws -> [String: [[Int64]]] {
  let snapshot = try bench.snapshot()
  var result: [String: [[Int64]]] = [:]
  try snapshot.scan(CustomerTables.timelines, prefix: []) { (key, _) throws(QueryFailure) in
    let unit = key.unit == .unowned ? "unowned" : key.unit.text
    result[unit, default: []].append([key.occurred / 1_000_000, Int64(key.position), Int64(key.participant)])
    return true
  }
  return result
}

private func setAside(_ bench: Bench<CustomersProjection>) throws -> [String] {
  let snapshot = try bench.snapshot()
  var facts: [(LimitFactKey, String)] = []
  try snapshot.scan(IdentityTables.limitFacts, prefix: []) { (key, row) throws(QueryFailure) in
    guard let value = try snapshot.row(IdentityTables.values, row.setAside) else { return false }
    let (kind, text) = (String(decoding: value.kind, as: UTF8.self), String(decoding: value.value, as: UTF8.self))
    facts.append((key, "\(key.position) \(key.participant) \(kind) \(text)"))
    return true
  }
  return facts.sorted { ($0.0.position, $0.0.participant, $0.0.ordinal) < ($1.0.position, $1.0.participant, $1.0.ordinal) }.map(\.1)
}

private func folded(_ log: [Sent], limits: MatchLimits = MatchLimits()) throws -> Bench<CustomersProjection> {
  let bench = Bench(CustomersProjection(limits: limits))
  for sent in log { try bench.append(sent) }
  return bench
}

/// `"user_id abc, email jane | email jane"`: events of one person each.
private func events(_ text: String) -> [Sent] {
  text.split(separator: "|").map { event in
    let person: Person = event.split(separator: ",").map { identifier in
      let parts = identifier.split(separator: " ")
      return (String(parts[0]), String(parts[1]))
    }
    return Sent(people: [person])
  }
}

@Test(arguments: [
  ("user_id abc123, email jane | user_id abc456, email jane", ["1": ["email jane", "user_id abc123"], "2": ["user_id abc456"]]),
  (
    "cookie a1 | user_id u1, cookie a1 | user_id u2, cookie a1", ["1": ["cookie a1", "user_id u1"], "3": ["user_id u2"]]
  ),
  ("email e | user_id u1, email e", ["1": ["email e", "user_id u1"]]),
  ("email a | phone b | email a, phone b", ["1": ["email a", "phone b"]]),
  ("dni:ES a, cookie c | dni:ES b, cookie c", ["1": ["cookie c", "dni:ES a"], "2": ["dni:ES b"]]),
  ("user_id u1, user_id u2", ["1": ["user_id u1"]]),
  ("cookie null | cookie null, email e | cookie null, email f", ["2": ["email e"], "3": ["email f"]]),
  ("name Ana, email e | name Ana, email f", ["1": ["email e"], "2": ["email f"]]),
  (
    "cookie 1x, cookie 2x, cookie 3x, cookie 4x, cookie 5x, cookie 6x",
    ["1": ["cookie 1x", "cookie 2x", "cookie 3x", "cookie 4x", "cookie 5x"]]
  ),
  ("email x, cookie y, email x, email X", ["1": ["cookie y", "email x"]]),
])
func `the cases of SEMANTICS come out as written`(_ log: String, _ expected: [String: [String]]) throws {
  #expect(try partition(folded(events(log))) == expected)
}

@Test func `six events on six channels that share identifiers pairwise are one customer, a seventh is another`() throws {
  let pairs = [
    "cookie c, email e", "email e, user_id u", "user_id u, phone p", "phone p, social:x h", "social:x h, device d", "device d, crm k",
  ]
  let bench = try folded(events(pairs.joined(separator: "|") + "| cookie other"))
  #expect(try partition(bench).keys.sorted() == ["1", "7"])
  #expect(try timelines(bench)["1"]?.count == 6)
}

@Test func `an anonymous journey exists before any login and belongs to the person after it`() throws {
  let bench = Bench(CustomersProjection())
  try bench.append(Sent(people: [[("user_id", "u")]], occurred: 50))
  try bench.append(Sent(people: [[("cookie", "c")]], occurred: 10))
  try bench.append(Sent(people: [[("cookie", "c")]], occurred: 20))
  #expect(try timelines(bench)["2"] == [[10, 2, 0], [20, 3, 0]])
  try bench.append(Sent(people: [[("cookie", "c"), ("user_id", "u")]], occurred: 60))
  #expect(try timelines(bench) == ["1": [[10, 2, 0], [20, 3, 0], [50, 1, 0], [60, 4, 0]]])
}

@Test func `both Unicode forms of one value are one identifier, of a source two sources`() throws {
  let bench = Bench(CustomersProjection())
  try bench.append(Sent(people: [[("crm", "Jose\u{301}")]], data: [#""traits":{"a":1}"#], source: "/caf\u{e9}"))
  try bench.append(Sent(people: [[("crm", "Jos\u{e9}")]], source: "/cafe\u{301}"))
  let snapshot = try bench.snapshot()
  #expect(try partition(bench) == ["1": ["crm Jos\u{e9}"]])
  let first = try #require(try snapshot.row(Names.numbersTable, ByteString("/caf\u{e9}")))
  let second = try #require(try snapshot.row(Names.numbersTable, ByteString("/cafe\u{301}")))
  #expect(first.value != second.value)
  let answer = try bench.ask("customers/{id}/journey", id: "1")
  #expect(Array(answer.utf8).split(separator: Array("\"/caf\u{e9}\"".utf8)).count == 2)
}

@Test func `a window in occurred time ends at the event and leaves its beginning out`() throws {
  let day: Int64 = 86_400
  func cookies(_ last: Int64) throws -> [String: [String]] {
    var log = (1...5).map { Sent(people: [[("email", "e"), ("cookie", "c\($0)")]], occurred: 100 * day) }
    log.append(Sent(people: [[("email", "e"), ("cookie", "c6")]], occurred: last))
    return try partition(folded(log))
  }
  #expect(try cookies(107 * day)["1"]?.count == 7)
  #expect(try cookies(107 * day - 1)["1"]?.count == 6)
  #expect(try cookies(100 * day)["1"]?.count == 6)
  #expect(try cookies(100 * day - 1)["1"]?.count == 7)
}

@Test func `a value over 400 bytes is found by its whole text`() throws {
  let long = String(repeating: "x", count: 500)
  let bench = Bench(CustomersProjection())
  try bench.append(Sent(people: [[("cookie", long + "a"), ("email", "a@x.org")]]))
  try bench.append(Sent(people: [[("cookie", long + "b"), ("email", "b@x.org")]]))
  try bench.append(Sent(people: [[("cookie", long + "a")]]))
  #expect(try timelines(bench).mapValues(\.count) == ["1": 2, "2": 1])
  #expect(try bench.ask("customers", [("identifier", "cookie:\(long)b")]).contains(#""id":"2""#))
}

@Test func `at most so many merges and identifiers, each value set aside leaves a fact`() throws {
  var limits = MatchLimits()
  limits.mergeCountMax = 1
  limits.identifierCountMax = 3
  let log = events("email a | phone b | email a, phone b | cookie c | email a, cookie c | email a, crm k | email a, zip z")
  let bench = try folded(log, limits: limits)
  #expect(try partition(bench) == ["1": ["crm k", "email a", "phone b"], "4": ["cookie c"]])
  #expect(try setAside(bench) == ["5 0 cookie c", "7 0 zip z"])
  let identity = try bench.ask("customers/{id}/identity", id: "1")
  #expect(identity.contains(#""component":{"id":"1","identifierCount":5}"#))
  #expect(identity.contains(#"{"position":5,"participant":0,"limit":"merges","setAsideKind":"cookie"}"#))
  #expect(identity.contains(#"{"position":7,"participant":0,"limit":"identifiers","setAsideKind":"zip"}"#))
}

@Test func `identifiers that shared an event stay in one component though a limit parted them`() throws {
  let bench = try folded(events("cookie a1 | user_id u1, cookie a1 | user_id u2, cookie a1 | email lone"))
  let first = try bench.ask("customers/{id}/identity", id: "1")
  let other = try bench.ask("customers/{id}/identity", id: "3")
  #expect(first.contains(#""component":{"id":"1","identifierCount":3}"#))
  #expect(other.contains(#""component":{"id":"1","identifierCount":3}"#))
  #expect(first.contains(#""kind":"user_id""#))
}

@Test func `an event with hundreds of values keeps what the limits allow and files the rest`() throws {
  let bench = Bench(CustomersProjection())
  let person: Person = (10..<30).flatMap { kind in (100..<130).map { ("k\(kind)", "v\($0)") } }
  try bench.append(Sent(people: [person]))
  // The last kind gives way first, so the first kind is what stays.
  #expect(try partition(bench)["1"] == (100..<105).map { "k10 v\($0)" })
  #expect(try setAside(bench).count == person.count - 5)
}

@Test(arguments: 0..<40)
func `the fold agrees with the plain second implementation on random logs`(_ block: Int) throws {
  var fired = 0
  var merged = 0
  for seed in UInt64(block * 50)..<UInt64(block * 50 + 50) {
    let log = randomLog(seed, count: 30)
    var limits = MatchLimits()
    var reference = ReferenceIdentity()
    if seed % 2 == 0 {
      limits.mergeCountMax = 2
      limits.identifierCountMax = 6
      reference.mergeCountMax = 2
      reference.identifierCountMax = 6
    }
    let bench = try folded(log, limits: limits)
    for (index, sent) in log.enumerated() { reference.apply(sent, position: index + 1) }
    let expected = reference.customers.map { ($0.id, $0.attached.keys.map { "\($0.kind) \($0.value)" }.sorted()) }
    #expect(try partition(bench) == Dictionary(uniqueKeysWithValues: expected), "seed \(seed)")
    #expect(try setAside(bench) == reference.setAside, "seed \(seed)")
    var lines = Dictionary(uniqueKeysWithValues: reference.customers.map { ($0.id, $0.timeline) })
    if !reference.unowned.isEmpty { lines["unowned"] = reference.unowned }
    let order: ([Int64], [Int64]) -> Bool = { $0.lexicographicallyPrecedes($1) }
    let found = try timelines(bench)
    #expect(found == lines.mapValues { $0.sorted(by: order) }, "seed \(seed)")
    #expect(found.values.reduce(0) { $0 + $1.count } == log.reduce(0) { $0 + $1.people.count }, "seed \(seed)")
    try checkSums(bench, reference, seed)
    fired += reference.setAside.count
    merged += reference.customers.reduce(0) { $0 + $1.mergedFrom.count }
  }
  #expect(fired > 0 && merged > 0, "the logs of this block test nothing")
}

private func checkSums(_ bench: Bench<CustomersProjection>, _ reference: ReferenceIdentity, _ seed: UInt64) throws {
  let snapshot = try bench.snapshot()
  var seen = 0
  try snapshot.scan(CustomerTables.customers, prefix: []) { (id, row) throws(QueryFailure) in
    seen += 1
    let customer = reference.customers.first { $0.id == CustomerID(raw: id).text }
    let times = customer?.timeline.map { $0[0] * 1_000_000 } ?? []
    #expect(Int(row.eventCount) == times.count, "seed \(seed)")
    #expect(row.firstSeen == times.min() && row.lastSeen == times.max(), "seed \(seed)")
    #expect(row.mergedFrom.map { CustomerID(raw: $0).text }.sorted() == (customer?.mergedFrom.sorted() ?? []), "seed \(seed)")
    #expect(row.channels.reduce(0) { $0 + $1.count } == row.eventCount, "seed \(seed)")
    #expect(row.identifiers.count == customer?.attached.count, "seed \(seed)")
    for merged in row.mergedFrom {
      let redirect = try snapshot.row(CustomerTables.redirects, merged)
      #expect(redirect?.value == id, "seed \(seed)")
    }
    return true
  }
  #expect(seen == reference.customers.count, "seed \(seed)")
}

@Test func `without limits any order gives the partition of a union-find`() throws {
  for seed in UInt64(0)..<60 {
    var random = Seeded(seed)
    var limits = MatchLimits()
    let wide = MatchLimits.KindLimit(count: 1_000, windowMicroseconds: nil)
    (limits.person, limits.contact, limits.other) = (wide, wide, wide)
    let log = randomLog(seed, count: 25)
    let expected = NaivePartition(log).classes
    for _ in 0..<3 {
      let shuffled = log.shuffled(using: &random)
      let classes = try partition(folded(shuffled, limits: limits)).values.sorted { $0.lexicographicallyPrecedes($1) }
      #expect(classes == expected, "seed \(seed)")
    }
  }
}

@Test func `with limits the order shows`() throws {
  let one = try partition(folded(events("user_id a, email e | user_id b, email e")))
  let other = try partition(folded(events("user_id b, email e | user_id a, email e")))
  #expect(one["1"] == ["email e", "user_id a"])
  #expect(other["1"] == ["email e", "user_id b"])
}

@Test func `the order of values inside an event does not show`() throws {
  for seed in UInt64(0)..<40 {
    var random = Seeded(seed)
    let log = randomLog(seed, count: 20)
    let shuffled = log.map { sent in
      var other = sent
      other.people = sent.people.map { $0.shuffled(using: &random) + $0.prefix(1) }
      return other
    }
    let (one, other) = (try folded(log), try folded(shuffled))
    _ = (try one.snapshot(), try other.snapshot())
    #expect(one.rows.digest == other.rows.digest, "seed \(seed)")
  }
}

@Test func `the rows do not depend on how the log is cut into batches`() throws {
  for seed in UInt64(0)..<40 {
    let log = randomLog(seed, count: 40)
    let whole = try folded(log)
    _ = try whole.snapshot()
    for mode in 0..<3 {
      var random = Seeded(seed)
      let cut = Bench(CustomersProjection())
      for sent in log {
        try cut.append(sent)
        guard mode == 0 || Int.random(in: 0..<5, using: &random) == 0 else { continue }
        try cut.rows.flush()
        if mode < 2 { cut.rows.evictCleanRows() }
      }
      _ = try cut.snapshot()
      #expect(cut.rows.digest == whole.rows.digest, "seed \(seed), mode \(mode)")
      #expect(cut.rows.rowCount == whole.rows.rowCount, "seed \(seed), mode \(mode)")
    }
  }
}

@Test func `a batch that is given up leaves no trace`() throws {
  for seed in UInt64(0)..<20 {
    let log = randomLog(seed, count: 30)
    let other = randomLog(seed + 1_000, count: 10)
    let whole = try folded(log)
    _ = try whole.snapshot()
    let bench = Bench(CustomersProjection())
    for sent in log.prefix(15) { try bench.append(sent) }
    try bench.rows.flush()
    let (digest, count) = (bench.rows.digest, bench.rows.rowCount)
    let detour = GivenUpBacking(bench.backing)
    bench.rows.backing = detour
    for sent in other { try bench.append(sent) }
    bench.rows.backing = bench.backing
    bench.rows.discard(digest: digest, rowCount: count)
    for (index, sent) in log.enumerated().dropFirst(15) {
      try bench.append(sent, at: UInt64(index + 1))
    }
    try bench.rows.flush()
    #expect(bench.rows.digest == whole.rows.digest, "seed \(seed)")
  }
}

@Test func `components are the classes of a union-find, whatever limits fired`() throws {
  for seed in UInt64(0)..<60 {
    let log = randomLog(seed, count: 25)
    let bench = try folded(log)
    let snapshot = try bench.snapshot()
    func root(_ component: UInt64) throws(QueryFailure) -> (UInt64, ComponentRow) {
      var current = component
      while true {
        guard let row = try snapshot.row(IdentityTables.components, current) else { throw .notFound("component") }
        if row.parent == 0 { return (current, row) }
        current = row.parent
      }
    }
    var classes: [UInt64: [String]] = [:]
    var sums: [UInt64: ComponentRow] = [:]
    try snapshot.scan(IdentityTables.identifiers, prefix: []) { (key, row) throws(QueryFailure) in
      let (id, component) = try root(row.component)
      classes[id, default: []].append(String(decoding: key.bytes.map { $0 == 0 ? 0x20 : $0 }, as: UTF8.self))
      sums[id] = component
      return true
    }
    #expect(classes.values.map { $0.sorted() }.sorted { $0.lexicographicallyPrecedes($1) } == NaivePartition(log).classes, "seed \(seed)")
    for (id, members) in classes { #expect(sums[id]?.identifierCount == UInt64(members.count), "seed \(seed)") }
    try checkEvidence(snapshot, sums, log, seed)
  }
}

/// Whatever a component is folded again from is found from its root: each participant with identifiers once, on the timeline
/// of one of its customers or, set aside altogether, on the unowned one.
private func checkEvidence(_ snapshot: Snapshot, _ sums: [UInt64: ComponentRow], _ log: [Sent], _ seed: UInt64) throws {
  var found: [String] = []
  func note(_ key: TimelineKey, _ entry: TimelineEntry) {
    let sent = log[Int(key.position) - 1]
    #expect(key.occurred == sent.occurred * 1_000_000, "seed \(seed)")
    #expect(entry.identifiers.count == Set(sent.people[Int(key.participant)].map { "\($0.kind) \($0.value)" }).count, "seed \(seed)")
    found.append("\(key.position) \(key.participant)")
  }
  for root in sums.keys {
    var tree = [root]
    var index = 0
    var customers: Set<UInt64> = []
    while index < tree.count {
      var prefix = ByteWriter()
      prefix.uint64(tree[index])
      try snapshot.scan(IdentityTables.children, prefix: prefix.bytes) { (key, _) throws(QueryFailure) in
        tree.append(key.child)
        return true
      }
      try snapshot.scan(IdentityTables.members, prefix: prefix.bytes) { (key, _) throws(QueryFailure) in
        customers.insert(try snapshot.row(CustomerTables.redirects, key.customer.raw)?.value ?? key.customer.raw)
        return true
      }
      try snapshot.scan(IdentityTables.unownedEvidence, prefix: prefix.bytes) { (key, evidence) throws(QueryFailure) in
        let place = TimelineKey(unit: .unowned, occurred: evidence.occurred, position: key.position, participant: key.participant)
        guard let entry = try snapshot.row(CustomerTables.timelines, place) else { throw .notFound("entry") }
        note(place, entry)
        return true
      }
      index += 1
    }
    for customer in customers {
      let prefix = TimelineKey.prefix(CustomerID(raw: customer))
      try snapshot.scan(CustomerTables.timelines, prefix: prefix) { (key, entry) throws(QueryFailure) in
        note(key, entry)
        return true
      }
    }
  }
  let expected = log.enumerated().flatMap { index, sent in
    sent.people.indices.filter { !sent.people[$0].isEmpty }.map { "\(index + 1) \($0)" }
  }
  #expect(found.sorted() == expected.sorted(), "seed \(seed)")
}
