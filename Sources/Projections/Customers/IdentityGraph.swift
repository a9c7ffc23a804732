// Which customer an event belongs to: SEMANTICS §2, steps 4 and 5, and the components under them.
//
// Invariants:
// - The answer is a function of the log's order and the limits. The order of values inside one event does not show.
// - A limit is checked where something is gained: a kind when the event brings a new value of it or several customers
//   bring values of it together. An event that only repeats what its customer has is never refused.
// - Every value set aside leaves a limit fact that names the first limit exceeded: kinds in priority order, then
//   identifiers, then merges.
// - A survivor is the customer with the lowest id; a merge leaves `attachedAt` of every identifier as it was.

import Bytes
import LedgerCore
import ProjectionEngine

/// An event's person, as the graph sees one.
struct Resolved {
  /// The customer, or ``CustomerID/unowned``.
  let unit: CustomerID
  /// Customers that have to be merged into `unit`, ascending. Their identifiers are re-pointed by the merge.
  let absorbed: [CustomerID]
  /// Identifiers that the customer gets.
  let attached: [CustomerRow.Attached]
  /// Numbers of the identifiers that the customers had already.
  let seen: [UInt64]
  /// Numbers of all identifiers that the event named, ascending.
  let identifiers: [UInt64]

  static let nobody = Resolved(unit: .unowned, absorbed: [], attached: [], seen: [], identifiers: [])
}

final class IdentityGraph {
  private struct Candidate {
    /// The place among the event's identifiers, which are in byte order.
    let index: Int
    /// Of its row.
    let place: RowPlace
    let number: UInt64
    let kind: UInt64
    let rank: MatchLimits.Rank
    /// As the identifier's row names it; its root is somewhere above.
    let component: UInt64
    let owner: CustomerID
  }

  private let limits: MatchLimits
  private let names: Names
  private let counters: Table<UInt64, Count>
  private let identifiers: Table<ByteString, IdentifierRow>
  private let values: Table<UInt64, IdentifierValue>
  private let components: Table<UInt64, ComponentRow>
  private let children: Table<ComponentChild, Empty>
  private let members: Table<ComponentMember, Empty>
  private let unownedEvidence: Table<EvidenceKey, EvidenceRow>
  private let limitFacts: Table<LimitFactKey, LimitFactRow>
  private let customers: Table<UInt64, CustomerRow>
  /// By the number of the kind's name; forgotten with the names.
  private var kinds: [UInt64: IdentifierKind] = [:]

  init(rows: RowStore, names: Names, counters: Table<UInt64, Count>, customers: Table<UInt64, CustomerRow>, limits: MatchLimits) {
    self.limits = limits
    self.names = names
    self.counters = counters
    self.customers = customers
    identifiers = rows.table(IdentityTables.identifiers)
    values = rows.table(IdentityTables.values)
    components = rows.table(IdentityTables.components)
    children = rows.table(IdentityTables.children)
    members = rows.table(IdentityTables.members)
    unownedEvidence = rows.table(IdentityTables.unownedEvidence)
    limitFacts = rows.table(IdentityTables.limitFacts)
  }

  /// Forgets what was derived from the numbers of names.
  func forgetNames() { kinds.removeAll(keepingCapacity: true) }

  /// Finds the customer of an event's participant, and files the evidence. Identifiers of the event are pointed at the
  /// answer; the customers' own rows and the identifiers of absorbed ones are the caller's.
  ///
  /// - Parameter places: Of the identifiers among the prepared ones: at least one, distinct, in byte order.
  func resolve(
    _ places: Range<Int>, of prepared: borrowing CustomerEvents, position: Position, participant: UInt8, occurred: Int64
  ) throws(FoldFailure) -> Resolved {
    var candidates: [Candidate] = []
    candidates.reserveCapacity(places.count)
    let fresh = try find(places, of: prepared, into: &candidates)
    // What a customer has stays in one component: an event that only repeats it joins nothing.
    if fresh.isEmpty, let owner = candidates.first?.owner, owner != .unowned, candidates.allSatisfy({ $0.owner == owner }) {
      let numbers = IdentityGraph.numbers(of: candidates)
      return Resolved(unit: owner, absorbed: [], attached: [], seen: numbers, identifiers: numbers)
    }
    let component = try join(prepared, fresh, position: position, &candidates)
    let numbers = IdentityGraph.numbers(of: candidates)
    if candidates.count > 1 { prioritise(&candidates) }
    try setAside(&candidates, component: component, position: position, participant: participant, occurred: occurred)
    guard !candidates.isEmpty else {
      let key = EvidenceKey(component: component, position: position, participant: participant)
      unownedEvidence.insert(key, EvidenceRow(occurred: occurred))
      return Resolved(unit: .unowned, absorbed: [], attached: [], seen: [], identifiers: numbers)
    }
    let owners = IdentityGraph.owners(of: candidates)
    let unit = owners.first ?? CustomerID(position: position, participant: Int(participant))
    if owners.isEmpty { members.insert(ComponentMember(component: component, customer: unit), Empty()) }
    var attached: [CustomerRow.Attached] = []
    var seen: [UInt64] = []
    for candidate in candidates {
      if candidate.owner == .unowned {
        attached.append(
          CustomerRow.Attached(
            number: candidate.number, kind: candidate.kind, attachedAt: occurred, position: position, lastSeen: occurred))
        try identifiers.update(at: candidate.place) { (row) throws(FoldFailure) in row?.owner = unit }
      } else {
        seen.append(candidate.number)
      }
    }
    return Resolved(unit: unit, absorbed: Array(owners.dropFirst()), attached: attached, seen: seen, identifiers: numbers)
  }

  private static func numbers(of candidates: [Candidate]) -> [UInt64] {
    candidates.count == 1 ? [candidates[0].number] : candidates.map(\.number).sorted()
  }

  /// Points an identifier of an absorbed customer at the survivor.
  func repoint(_ attached: CustomerRow.Attached, to unit: CustomerID) throws(FoldFailure) {
    guard let value = try values.row(attached.number) else { throw .storage(.malformedRow(table: values.name)) }
    try identifiers.update(value.rowKey) { (row) throws(FoldFailure) in row?.owner = unit }
  }
}

// MARK: Components
extension IdentityGraph {
  /// An identifier that no event named before.
  private struct Fresh {
    let index: Int
    let place: RowPlace
    let kind: UInt64
    let rank: MatchLimits.Rank
  }

  /// Finds the identifiers that are known; answers the others.
  private func find(
    _ places: Range<Int>, of prepared: borrowing CustomerEvents, into candidates: inout [Candidate]
  ) throws(FoldFailure) -> [Fresh] {
    let arena = prepared.arena
    var fresh: [Fresh] = []
    for index in places {
      let identifier = prepared.identifiers[index]
      let place = try identifiers.place(ofKey: arena.rawSpan.slice(identifier.key.range), hash: identifier.keyHash)
      let kind = try names.number(of: arena.rawSpan.slice(identifier.kind))
      let rank = remember(kind, arena.rawSpan.slice(identifier.kind)).rank
      if let row = identifiers.row(at: place) {
        if identifier.isLong { try check(identifier, arena, row) }
        candidates.append(
          Candidate(
            index: index, place: place, number: row.number, kind: kind, rank: rank, component: row.component, owner: row.owner))
      } else {
        fresh.append(Fresh(index: index, place: place, kind: kind, rank: rank))
      }
    }
    return fresh
  }

  /// Enters the fresh identifiers, joins the components of all, and answers the root.
  private func join(
    _ prepared: borrowing CustomerEvents, _ fresh: [Fresh], position: Position, _ candidates: inout [Candidate]
  ) throws(FoldFailure) -> UInt64 {
    var roots: [UInt64] = []
    for candidate in candidates {
      let root = try root(of: candidate.component)
      if !roots.contains(root) { roots.append(root) }
    }
    var number = try fresh.isEmpty ? 0 : counters.row(Counter.identifiers)?.value ?? 0
    let component = try roots.isEmpty ? number + 1 : join(roots)
    guard !fresh.isEmpty else { return component }
    for new in fresh {
      number += 1
      let row = IdentifierRow(number: number, component: component, owner: .unowned)
      try identifiers.update(at: new.place) { (stored) throws(FoldFailure) in stored = row }
      values.insert(number, IdentifierValue(prepared.identifiers[new.index], prepared.arena, firstPosition: position))
      candidates.append(
        Candidate(
          index: new.index, place: new.place, number: number, kind: new.kind, rank: new.rank, component: component, owner: .unowned))
    }
    try counters.set(Counter.identifiers, Count(number))
    let freshCount = UInt64(fresh.count)
    try components.update(component) { (row) throws(FoldFailure) in
      if row == nil { row = ComponentRow() }
      row?.identifierCount += freshCount
    }
    return component
  }

  /// The keys of long identifiers hold a hash: makes sure that this is the one.
  private func check(_ identifier: CustomerEvents.Identifier, _ arena: [UInt8], _ row: IdentifierRow) throws(FoldFailure) {
    guard let stored = try values.row(row.number), stored.kind[...] == arena[identifier.kind],
      stored.value[...] == arena[identifier.value]
    else { throw .poison("two long identifiers have the same hash") }
  }

  private func root(of component: UInt64) throws(FoldFailure) -> UInt64 {
    var current = component
    for _ in 0..<ComponentRow.depthMax {
      guard let row = try components.row(current) else { break }
      if row.parent == 0 { return current }
      current = row.parent
    }
    throw .storage(.malformedRow(table: components.name))
  }

  /// Joins roots under the one with the most identifiers, of equal ones under the lowest.
  private func join(_ roots: [UInt64]) throws(FoldFailure) -> UInt64 {
    guard var winner = roots.first else { preconditionFailure("there is a root to join") }
    guard roots.count > 1 else { return winner }
    var winnerSize: UInt64 = 0
    var identifierCount: UInt64 = 0
    for root in roots {
      let row = try components.row(root) ?? ComponentRow()
      if row.identifierCount > winnerSize || (row.identifierCount == winnerSize && root < winner) {
        winner = root
        winnerSize = row.identifierCount
      }
      identifierCount += row.identifierCount
    }
    let parent = winner
    for root in roots where root != parent {
      children.insert(ComponentChild(parent: parent, child: root), Empty())
      var row = ComponentRow()
      row.parent = parent
      try components.set(root, row)
    }
    let sum = identifierCount
    try components.update(parent) { (row) throws(FoldFailure) in row?.identifierCount = sum }
    return parent
  }
}

// MARK: Limits
extension IdentityGraph {
  private func remember(_ number: UInt64, _ text: RawSpan) -> IdentifierKind {
    if let known = kinds[number] { return known }
    let rank = MatchLimits.rank(of: text)
    let kind = IdentifierKind(rank: rank, limit: limits.limit(of: rank), text: [UInt8](text))
    kinds[number] = kind
    return kind
  }

  private func kind(_ number: UInt64) throws(FoldFailure) -> IdentifierKind {
    if let known = kinds[number] { return known }
    let text = try names.text(of: number)
    return remember(number, text.rawSpan)
  }

  /// Sorts by priority: rank, kind, value; the last gives way first.
  private func prioritise(_ candidates: inout [Candidate]) {
    candidates.sort { left, right in
      left.rank != right.rank ? left.rank < right.rank : left.index < right.index
    }
  }

  private static func owners(of candidates: [Candidate]) -> [CustomerID] {
    var owners: [CustomerID] = []
    for candidate in candidates where candidate.owner != .unowned && !owners.contains(candidate.owner) {
      owners.append(candidate.owner)
    }
    return owners.sorted()
  }

  /// Sets values aside, the last first, until no limit is exceeded.
  ///
  /// - Complexity: O(candidates × (customers + kinds)), and the customers' identifiers once.
  private func setAside(
    _ candidates: inout [Candidate], component: UInt64, position: Position, participant: UInt8, occurred: Int64
  ) throws(FoldFailure) {
    var join = Join()
    for owner in IdentityGraph.owners(of: candidates) { join.add(try customer(owner, at: occurred)) }
    for candidate in candidates where candidate.owner == .unowned { join.addNew(try kind(candidate.kind), candidate.kind) }
    var ordinal: UInt16 = 0
    while let last = candidates.last, let limit = join.exceeded(limits) {
      candidates.removeLast()
      let key = LimitFactKey(component: component, position: position, participant: participant, ordinal: ordinal)
      limitFacts.insert(key, LimitFactRow(limit: limit, setAside: last.number))
      ordinal += 1
      if last.owner == .unowned {
        join.removeNew(last.kind)
      } else if !candidates.contains(where: { $0.owner == last.owner }) {
        join.remove(last.owner)
      }
    }
  }

  private func customer(_ id: CustomerID, at moment: Int64) throws(FoldFailure) -> Join.Customer {
    let found = try customers.read(id.raw) { (row) throws(FoldFailure) -> Join.Customer? in
      switch row {
      case .none: return nil
      case .some(let row):
        var counts: [Join.Held] = []
        for identifier in row.identifiers {
          let kind = try kind(identifier.kind)
          guard kind.limit.counts(attachedAt: identifier.attachedAt, at: moment) else { continue }
          if let index = counts.firstIndex(where: { $0.number == identifier.kind }) {
            counts[index].count += 1
          } else {
            counts.append(Join.Held(number: identifier.kind, kind: kind, count: 1))
          }
        }
        return Join.Customer(id: id, identifierCount: row.identifiers.count, mergeCount: row.mergedFrom.count, counts: counts)
      }
    }
    guard let found else { throw .storage(.malformedRow(table: customers.name)) }
    return found
  }
}
