// The fold of unified customers and their timelines.
//
// Invariants:
// - Each participant of each event has exactly one timeline row, on its customer's timeline or on the unowned one.
// - A merge moves everything at once: identifiers, timeline, traits, counts, totals. Nothing points at a merged customer
//   but its redirect.
// - No state outlives a batch but the rows, and what is derived from them and checked against them (`Names`).

import Bytes
import LedgerCore
public import ProjectionEngine

/// The working state of ``CustomersProjection``.
public final class CustomersFold: PreparingFold {
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
  public func apply(_ prepared: borrowing CustomerEvents, at index: Int) throws(FoldFailure) {
    let event = prepared.events[index]
    guard event.position <= CustomerID.positionMax else { throw .poison("the position does not fit a customer's id") }
    if try !names.refresh() { graph.forgetNames() }
    let arena = prepared.arena
    let shared = try sharedEntry(of: event, in: arena)
    for place in event.participants {
      let participant = prepared.participants[place]
      var entry = shared
      entry.part = try names.number(of: participant.part, in: arena)
      if place > event.participants.lowerBound {
        entry.value = nil
        entry.cost = nil
      }
      let resolved = try resolve(participant, of: event, prepared)
      let unit = resolved.unit
      entry.identifiers = resolved.identifiers
      timelines.insert(
        TimelineKey(unit: unit, occurred: event.occurred, position: event.position, participant: participant.ordinal), entry)
      rows.markChanged(unit: unit.raw)
      guard unit != .unowned else { continue }
      var said: [CustomerRow.Trait] = []
      for trait in prepared.traits[participant.traits] {
        let name = try names.number(of: trait.name, in: arena)
        let key = TraitKey(
          unit: unit, name: name, effective: event.effective, position: event.position, participant: participant.ordinal)
        traits.insert(key, TraitRow(occurred: event.occurred, source: entry.source, value: Array(arena[trait.value.range])))
        said.append(
          CustomerRow.Trait(name: name, effective: event.effective, position: event.position, participant: participant.ordinal))
      }
      try count(entry, said, event, for: resolved)
    }
  }

  /// The entry as all participants share it.
  private func sharedEntry(of event: CustomerEvents.Event, in arena: [UInt8]) throws(FoldFailure) -> TimelineEntry {
    var entry = TimelineEntry()
    entry.type = try names.number(of: event.type, in: arena)
    entry.source = try names.number(of: event.source, in: arena)
    entry.channel = try names.number(of: event.channel, in: arena)
    entry.campaign = try names.number(of: event.campaign, in: arena)
    entry.direction = try names.number(of: event.direction, in: arena)
    entry.purpose = try names.number(of: event.purpose, in: arena)
    entry.role = try names.number(of: event.role, in: arena)
    entry.businessUnit = try names.number(of: event.businessUnit, in: arena)
    entry.stage = try names.number(of: event.stage, in: arena)
    if !event.case.isEmpty { entry.case = Array(arena[event.case.range]) }
    entry.value = try stored(event.value)
    entry.cost = try stored(event.cost)
    return entry
  }

  private func stored(_ amount: Amount?) throws(FoldFailure) -> StoredAmount? {
    guard let amount else { return nil }
    return StoredAmount(value: amount.value, currency: try names.number(of: amount.currency.rawSpan))
  }

  /// Gives a customer the event's new identifiers and adds the event to its sums.
  private func count(
    _ entry: TimelineEntry, _ said: [CustomerRow.Trait], _ event: CustomerEvents.Event, for resolved: Resolved
  ) throws(FoldFailure) {
    try customers.update(resolved.unit.raw) { (row) throws(FoldFailure) in
      if row == nil { row = CustomerRow() }
      row?.identifiers.append(contentsOf: resolved.attached)
      for number in resolved.seen { row?.touch(identifier: number, occurred: event.occurred) }
      row?.see(occurred: event.occurred)
      if entry.channel != 0 {
        row?.see(channel: entry.channel, inbound: event.isInbound, outbound: event.isOutbound, occurred: event.occurred)
      }
      for trait in said { row?.see(trait: trait) }
      if let value = entry.value { try row?.add(value: value.value, cost: .zero, currency: value.currency) }
      if let cost = entry.cost { try row?.add(value: .zero, cost: cost.value, currency: cost.currency) }
    }
  }

  /// The customer of a participant; those it joins are one afterwards.
  private func resolve(
    _ participant: CustomerEvents.Participant, of event: CustomerEvents.Event, _ prepared: borrowing CustomerEvents
  ) throws(FoldFailure) -> Resolved {
    guard !participant.identifiers.isEmpty else { return .nobody }
    let resolved = try graph.resolve(
      participant.identifiers, of: prepared, position: event.position, participant: participant.ordinal, occurred: event.occurred)
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
