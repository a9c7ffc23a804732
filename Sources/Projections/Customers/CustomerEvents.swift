// Events made ready for the fold of customers: all that needs no rows (reading JSON, normalising identifiers, hashing keys),
// so that it can be done ahead on another thread, and into arrays that are used again, so that an event allocates nothing.
//
// Invariants:
// - Texts are slices of one arena. What is not there is an empty slice; no text that means something is empty.
// - What is prepared is a function of the event alone.

import Bytes
import JSON
public import LedgerCore
public import ProjectionEngine

/// Prepared events, in order.
public struct CustomerEvents: PreparedEvents {
  /// Some bytes of the arena.
  struct Slice {
    static let none = Slice(start: 0, count: 0)
    let start: UInt32
    let count: UInt32

    var isEmpty: Bool { count == 0 }
    var range: Range<Int> { Int(start)..<Int(start + count) }
  }

  struct Event {
    let position: Position
    let occurred: Int64
    /// min(occurred, received): an event from the future is not newer than one received later.
    let effective: Int64
    let isInbound: Bool
    let isOutbound: Bool
    var type = Slice.none
    var source = Slice.none
    var channel = Slice.none
    var campaign = Slice.none
    var direction = Slice.none
    var purpose = Slice.none
    var role = Slice.none
    var businessUnit = Slice.none
    var stage = Slice.none
    var `case` = Slice.none
    let value: Amount?
    let cost: Amount?
    /// Places in ``CustomerEvents/participants``.
    var participants = 0..<0
  }

  struct Participant {
    let ordinal: UInt8
    let part: Slice
    /// Places in ``CustomerEvents/identifiers``, in byte order.
    let identifiers: Range<Int>
    /// Places in ``CustomerEvents/traits``.
    let traits: Range<Int>
  }

  struct Identifier {
    /// `kind 0x00 value`
    let text: Slice
    let kindByteCount: Int
    /// The row's key: the text, bounded.
    let key: Slice
    let keyHash: UInt64
    /// As it was sent; none if that is the value.
    let raw: Slice

    var kind: Range<Int> { text.range.lowerBound..<text.range.lowerBound + kindByteCount }
    var value: Range<Int> { text.range.lowerBound + kindByteCount + 1..<text.range.upperBound }
    var isLong: Bool { key.start != text.start }
  }

  struct Trait {
    let name: Slice
    /// JSON.
    let value: Slice
  }

  private(set) var arena: [UInt8] = []
  private(set) var events: [Event] = []
  private(set) var participants: [Participant] = []
  private(set) var identifiers: [Identifier] = []
  private(set) var traits: [Trait] = []

  /// None.
  public init() {}

  /// Bytes of text.
  public var byteCount: Int { arena.count }

  /// Prepares one more.
  public mutating func append(_ event: LoggedEvent) {
    let attributes = event.attributes
    let interaction = Interaction(of: event)
    let occurred = event.occurred.microseconds
    var prepared = Event(
      position: event.position, occurred: occurred, effective: min(occurred, event.envelope.received.microseconds),
      isInbound: attributes.direction.map { event.json.equals($0, "inbound") } ?? false,
      isOutbound: attributes.direction.map { event.json.equals($0, "outbound") } ?? false, value: interaction.value,
      cost: interaction.cost)
    prepared.type = add(attributes.type, event.json)
    prepared.source = add(attributes.source, event.json)
    prepared.channel = add(attributes.channel, event.json)
    prepared.campaign = add(attributes.campaign, event.json)
    prepared.direction = add(attributes.direction, event.json)
    prepared.purpose = add(attributes.purpose, event.json)
    prepared.role = add(attributes.role, event.json)
    prepared.businessUnit = add(attributes.businessUnit, event.json)
    prepared.stage = add(attributes.stage, event.json)
    prepared.case = add(interaction.case, event.json)
    let first = participants.count
    for participant in interaction.participants { add(participant, event.json) }
    prepared.participants = first..<participants.count
    events.append(prepared)
  }

  /// Forgets them and keeps the memory.
  public mutating func removeAll() {
    arena.removeAll(keepingCapacity: true)
    events.removeAll(keepingCapacity: true)
    participants.removeAll(keepingCapacity: true)
    identifiers.removeAll(keepingCapacity: true)
    traits.removeAll(keepingCapacity: true)
  }

  private mutating func add(_ participant: Interaction.Participant, _ json: borrowing JSONReader) {
    let part = add(participant.part, json)
    let firstIdentifier = identifiers.count
    for identifier in participant.identifiers { add(identifier) }
    let firstTrait = traits.count
    for trait in participant.traits {
      let name = add(trait.name)
      let start = arena.count
      json.withText(of: trait.value) { arena.append($0) }
      traits.append(Trait(name: name, value: slice(from: start)))
    }
    participants.append(
      Participant(
        ordinal: UInt8(participant.ordinal), part: part, identifiers: firstIdentifier..<identifiers.count,
        traits: firstTrait..<traits.count))
  }

  private mutating func add(_ identifier: LedgerCore.Identifier) {
    let start = arena.count
    arena.append(contentsOf: identifier.kind)
    arena.append(0)
    arena.append(contentsOf: identifier.value)
    let text = slice(from: start)
    var key = text
    if Int(text.count) > BoundedKey.byteCountMax {
      let bounded = BoundedKey.of(arena.rawSpan.slice(text.range))
      key = add(bounded.bytes)
    }
    let hash = RowHash.of(arena.rawSpan.slice(key.range))
    let raw = identifier.raw == identifier.value ? Slice.none : add(identifier.raw)
    identifiers.append(Identifier(text: text, kindByteCount: identifier.kind.count, key: key, keyHash: hash, raw: raw))
  }

  private mutating func add(_ node: JSONNode?, _ json: borrowing JSONReader) -> Slice {
    guard let node else { return .none }
    let start = arena.count
    json.withString(of: node) { arena.append($0) }
    return slice(from: start)
  }

  private mutating func add(_ bytes: [UInt8]) -> Slice {
    let start = arena.count
    arena.append(contentsOf: bytes)
    return slice(from: start)
  }

  private func slice(from start: Int) -> Slice { Slice(start: UInt32(start), count: UInt32(arena.count - start)) }
}
