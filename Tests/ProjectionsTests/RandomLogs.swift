// Seeded logs that bring out the hard parts: few values, so that people collide; times out of order; several people.

/// A log of events whose identifiers collide often.
func randomLog(_ seed: UInt64, count: Int) -> [Sent] {
  var random = Seeded(seed)
  let pools: [(kind: String, count: Int)] = [
    ("user_id", 3), ("dni:ES", 3), ("email", 9), ("phone", 4), ("cookie", 12), ("social:x", 3), ("device", 2),
  ]
  return (0..<count).map { index in
    var sent = Sent()
    let peopleCount = Int.random(in: 0..<8, using: &random) == 0 ? Int.random(in: 2...3, using: &random) : 1
    sent.people = (0..<peopleCount).map { _ in
      (0..<Int.random(in: 0...4, using: &random)).map { _ in
        let pool = pools[Int.random(in: 0..<pools.count, using: &random)]
        return (pool.kind, "v\(Int.random(in: 1...pool.count, using: &random))")
      }
    }
    let span: Int64 = seed % 3 == 0 ? 800 : 20
    sent.occurred = Int64.random(in: 0..<span * 4, using: &random) * 21_600
    sent.source = "/s\(Int.random(in: 0..<3, using: &random))"
    sent.attributes = ["\"channel\":\"c\(Int.random(in: 0..<4, using: &random))\""]
    if index % 3 == 0 { sent.data = ["\"traits\":{\"plan\":\(index),\"city\":\"x\"}"] }
    if index % 4 == 0 { sent.data.append("\"value\":{\"amount\":\"\(index).05\",\"currency\":\"EUR\"}") }
    return sent
  }
}

/// The naive union-find over the values of a log.
struct NaivePartition {
  private var parent: [String: String] = [:]

  init(_ log: [Sent]) {
    for sent in log {
      for person in sent.people {
        let names = person.map { "\($0.kind) \($0.value)" }
        for name in names {
          if parent[name] == nil { parent[name] = name }
          parent[root(name)] = root(names[0])
        }
      }
    }
  }

  private func root(_ name: String) -> String {
    var current = name
    while let next = parent[current], next != current { current = next }
    return current
  }

  /// The classes, each sorted, sorted.
  var classes: [[String]] {
    Dictionary(grouping: parent.keys, by: root).values.map { $0.sorted() }.sorted { $0.lexicographicallyPrecedes($1) }
  }
}
