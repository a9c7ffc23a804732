// Steps 3 to 5 of SEMANTICS §2 once more, as plainly as can be, to compare the fold with. It shares no code with the fold:
// customers are lists, every question is answered by looking at all of them.

struct ReferenceIdentifier: Hashable, Comparable {
  let kind: String
  let value: String

  static func < (left: Self, right: Self) -> Bool { (left.kind, left.value) < (right.kind, right.value) }

  /// Who comes first, and the kind's limit. Tests use ASCII only, so strings compare as bytes.
  var priority: Int {
    if kind == "user_id" { return 0 }
    if kind.hasPrefix("dni:") || kind.hasPrefix("nie:") || kind.hasPrefix("cuit:") { return 1 }
    return kind == "email" ? 2 : kind == "phone" ? 3 : 4
  }
}

struct ReferenceCustomer {
  var id: String
  /// (position, participant) of its creation.
  var born: [Int]
  var attached: [ReferenceIdentifier: Int64] = [:]
  var mergedFrom: Set<String> = []
  var timeline: [[Int64]] = []
}

struct ReferenceIdentity {
  var mergeCountMax = 100
  var identifierCountMax = 1_000
  var customers: [ReferenceCustomer] = []
  var unowned: [[Int64]] = []
  /// "position participant kind value", in the order they fired.
  var setAside: [String] = []
  var limitsFired = 0

  private static let day: Int64 = 86_400

  private func counts(_ identifier: ReferenceIdentifier, _ attachedAt: Int64, _ now: Int64) -> Bool {
    switch identifier.priority {
    case 0, 1: true
    case 2, 3: attachedAt > now - 365 * Self.day && attachedAt <= now
    default: attachedAt > now - 7 * Self.day && attachedAt <= now
    }
  }

  private func isExceeded(_ values: [ReferenceIdentifier], _ now: Int64) -> Bool {
    let owners = customers.filter { customer in values.contains { customer.attached[$0] != nil } }
    let fresh = values.filter { value in !customers.contains { $0.attached[value] != nil } }
    if fresh.isEmpty && owners.count < 2 { return false }
    var kinds = Set(fresh.map(\.kind))
    for owner in owners { kinds.formUnion(owner.attached.keys.map(\.kind)) }
    for kind in kinds {
      let parts = owners.map { $0.attached.filter { $0.key.kind == kind && counts($0.key, $0.value, now) }.count }
      let new = fresh.filter { $0.kind == kind }.count
      let contributors = parts.filter { $0 > 0 }.count + (new > 0 ? 1 : 0)
      let priority = ReferenceIdentifier(kind: kind, value: "").priority
      if (new > 0 || contributors > 1) && parts.reduce(new, +) > (priority < 2 ? 1 : 5) { return true }
    }
    if owners.reduce(fresh.count, { $0 + $1.attached.count }) > identifierCountMax { return true }
    return owners.count > 1 && owners.reduce(owners.count - 1, { $0 + $1.mergedFrom.count }) > mergeCountMax
  }

  mutating func apply(_ sent: Sent, position: Int) {
    for (ordinal, person) in sent.people.enumerated() {
      var values = Array(Set(person.map { ReferenceIdentifier(kind: $0.kind, value: $0.value) }))
      values.sort { $0.priority != $1.priority ? $0.priority < $1.priority : $0 < $1 }
      while !values.isEmpty && isExceeded(values, sent.occurred) {
        let last = values.removeLast()
        setAside.append("\(position) \(ordinal) \(last.kind) \(last.value)")
      }
      let entry = [sent.occurred, Int64(position), Int64(ordinal)]
      if values.isEmpty {
        unowned.append(entry)
        continue
      }
      let owners = customers.indices.filter { index in values.contains { customers[index].attached[$0] != nil } }
        .sorted { customers[$0].born.lexicographicallyPrecedes(customers[$1].born) }
      let id = ordinal == 0 ? "\(position)" : "\(position)-\(ordinal)"
      var survivor = owners.first.map { customers[$0] } ?? ReferenceCustomer(id: id, born: [position, ordinal])
      for index in owners.dropFirst() {
        let loser = customers[index]
        survivor.attached.merge(loser.attached) { mine, _ in mine }
        survivor.mergedFrom.formUnion(loser.mergedFrom)
        survivor.mergedFrom.insert(loser.id)
        survivor.timeline += loser.timeline
      }
      for value in values where survivor.attached[value] == nil { survivor.attached[value] = sent.occurred }
      survivor.timeline.append(entry)
      let gone = Set(owners.map { customers[$0].id })
      customers.removeAll { gone.contains($0.id) }
      customers.append(survivor)
    }
  }
}
