// The fold of unified customers and their timelines.
//
// Invariants:
// - Each participant of each event has exactly one timeline row, on its customer's timeline or on the unowned one.
// - A merge moves everything at once: identifiers, timeline, traits, counts, totals. Nothing points at a merged customer
//   but its redirect.
// - No state outlives a batch but the rows, and what is derived from them and checked against them (`Names`).

import Bytes
import JSON
public import LedgerCore
public import ProjectionEngine

/// The working state of ``CustomersProjection``.
public final class CustomersFold: ProjectionFold {
  private let rows: RowStore
  private let names: Names
  private let graph: IdentityGraph
  private let customers: Table<UInt64, CustomerRow>
  private let redirects: Table<UInt64, Count>
  private let timelines: UnitTable<TimelineKey, TimelineEntry>
  private let traits: UnitTable<TraitKey, TraitRow>

  init(rows: RowStore, limits: MatchLimits) {
    self.rows = rows
    let counters = rows.table(Counter.table)
    names = Names(rows: rows, counters: counters)
    customers = rows.table(CustomerTables.customers)
    redirects = rows.table(CustomerTables.redirects)
    timelines = rows.unitTable(CustomerTables.timelines)
    traits = rows.unitTable(CustomerTables.traits)
    graph = IdentityGraph(rows: rows, names: names, counters: counters, customers: customers, limits: limits)
  }

  /// Folds one event: for each participant finds the customer, merges if it must, and adds to timeline, traits and sums.
  public func apply(_ event: LoggedEvent) throws(FoldFailure) {
    guard event.position <= CustomerID.positionMax else { throw .poison("the position does not fit a customer's id") }
    if try !names.refresh() { graph.forgetNames() }
    let interaction = Interaction(of: event)
    let occurred = event.occurred.microseconds
    let effective = min(occurred, event.envelope.received.microseconds)
    let shared = try sharedEntry(of: event, interaction)
    for (index, participant) in interaction.participants.enumerated() {
      var entry = shared
      entry.part = try names.number(of: participant.part, in: event.json)
      if index > 0 {
        entry.value = nil
        entry.cost = nil
      }
      let ordinal = UInt8(participant.ordinal)
      let resolved = try resolve(participant, at: event.position, occurred: occurred)
      let unit = resolved.unit
      entry.identifiers = resolved.identifiers
      timelines.insert(
        TimelineKey(unit: unit, occurred: occurred, position: event.position, participant: ordinal), entry)
      rows.markChanged(unit: unit.raw)
      guard unit != .unowned else { continue }
      var said: [CustomerRow.Trait] = []
      for trait in participant.traits {
        let name = try names.number(of: trait.name.rawSpan)
        let key = TraitKey(unit: unit, name: name, effective: effective, position: event.position, participant: ordinal)
        let value = event.json.withText(of: trait.value) { [UInt8]($0) }
        traits.insert(key, TraitRow(occurred: occurred, source: entry.source, value: value))
        said.append(CustomerRow.Trait(name: name, effective: effective, position: event.position, participant: ordinal))
      }
      try count(entry, said, occurred: occurred, direction: direction(of: event), for: resolved)
    }
  }

  /// The entry as all participants share it.
  private func sharedEntry(of event: LoggedEvent, _ interaction: Interaction) throws(FoldFailure) -> TimelineEntry {
    let attributes = event.attributes
    var entry = TimelineEntry()
    entry.type = try names.number(of: attributes.type, in: event.json)
    entry.source = try names.number(of: attributes.source, in: event.json)
    entry.channel = try names.number(of: attributes.channel, in: event.json)
    entry.campaign = try names.number(of: attributes.campaign, in: event.json)
    entry.direction = try names.number(of: attributes.direction, in: event.json)
    entry.purpose = try names.number(of: attributes.purpose, in: event.json)
    entry.role = try names.number(of: attributes.role, in: event.json)
    entry.businessUnit = try names.number(of: attributes.businessUnit, in: event.json)
    entry.stage = try names.number(of: attributes.stage, in: event.json)
    if let node = interaction.case { entry.case = event.json.bytes(of: node) }
    entry.value = try stored(interaction.value)
    entry.cost = try stored(interaction.cost)
    return entry
  }

  private func stored(_ amount: Amount?) throws(FoldFailure) -> StoredAmount? {
    guard let amount else { return nil }
    return StoredAmount(value: amount.value, currency: try names.number(of: amount.currency.rawSpan))
  }

  private func direction(of event: LoggedEvent) -> (inbound: Bool, outbound: Bool) {
    guard let node = event.attributes.direction else { return (false, false) }
    return (event.json.equals(node, "inbound"), event.json.equals(node, "outbound"))
  }

  /// Gives a customer the event's new identifiers and adds the event to its sums.
  private func count(
    _ entry: TimelineEntry, _ said: [CustomerRow.Trait], occurred: Int64, direction: (inbound: Bool, outbound: Bool), for resolved: Resolved
  ) throws(FoldFailure) {
    try customers.update(resolved.unit.raw) { (row) throws(FoldFailure) in
      if row == nil { row = CustomerRow() }
      row?.identifiers.append(contentsOf: resolved.attached)
      for number in resolved.seen { row?.touch(identifier: number, occurred: occurred) }
      row?.see(occurred: occurred)
      if entry.channel != 0 {
        row?.see(channel: entry.channel, inbound: direction.inbound, outbound: direction.outbound, occurred: occurred)
      }
      for trait in said { row?.see(trait: trait) }
      if let value = entry.value { try row?.add(value: value.value, cost: .zero, currency: value.currency) }
      if let cost = entry.cost { try row?.add(value: .zero, cost: cost.value, currency: cost.currency) }
    }
  }

  /// The customer of a participant; those it joins are one afterwards.
  private func resolve(_ participant: Interaction.Participant, at position: Position, occurred: Int64) throws(FoldFailure) -> Resolved {
    guard !participant.identifiers.isEmpty else { return .nobody }
    let resolved = try graph.resolve(
      participant.identifiers, position: position, participant: participant.ordinal, occurred: occurred)
    for loser in resolved.absorbed { try merge(loser, into: resolved.unit) }
    return resolved
  }
}

// MARK: Merging
extension CustomersFold {
  private func merge(_ loser: CustomerID, into survivor: CustomerID) throws(FoldFailure) {
    guard let absorbed = try customers.row(loser.raw) else { throw .storage(.malformedRow(table: customers.name)) }
    try customers.set(loser.raw, nil)
    try customers.update(survivor.raw) { (row) throws(FoldFailure) in try row?.absorb(absorbed, id: loser.raw) }
    for identifier in absorbed.identifiers { try graph.repoint(identifier, to: survivor) }
    for id in absorbed.mergedFrom { try redirects.set(id, Count(survivor.raw)) }
    try redirects.set(loser.raw, Count(survivor.raw))
    try timelines.move(from: loser.raw, to: survivor.raw)
    try traits.move(from: loser.raw, to: survivor.raw)
    rows.markChanged(unit: loser.raw)
    rows.markChanged(unit: survivor.raw)
  }
}
