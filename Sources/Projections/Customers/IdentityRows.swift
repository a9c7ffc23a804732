// The identity graph as rows: identifiers, the components they form, and the evidence for them.
//
// Invariants:
// - Identifiers that ever shared an event are in one component, limits ignored, values set aside included. Components are
//   only ever joined, so a component holds all that a retraction or an as-of view must fold again.
// - A component's id is the number of the first identifier it had. Joining components writes one pointer and one row of
//   `component-children`, whatever their sizes; the larger one stays, of equal ones the one with the lower id, so a root
//   is at most log2(identifiers) pointers away and no path needs shortening.
// - What lies under a component lies under the component as it was then: all that belongs to one is in the tree below its
//   root.
// - The evidence (which event named which identifiers) stands on the timelines. A component's evidence is on those of
//   its customers and, for events whose identifiers were all set aside, on the unowned one, where `unowned-evidence`
//   finds it. A customer that was merged away stays listed; its redirect leads on.

import Bytes
import LedgerCore
import ProjectionEngine

enum IdentityTables {
  /// `kind 0x00 value`, bounded → who it is.
  static let identifiers = TableName<ByteString, IdentifierRow>("identifiers")
  /// Number → the identifier itself.
  static let values = TableName<UInt64, IdentifierValue>("identifier-values")
  /// Component → pointer or sums.
  static let components = TableName<UInt64, ComponentRow>("components")
  /// (Parent, child): what a component absorbed.
  static let children = TableName<ComponentChild, Empty>("component-children")
  /// (Component then, customer): who came about in it.
  static let members = TableName<ComponentMember, Empty>("component-customers")
  /// (Component then, position, participant) → when: events with identifiers that belong to nobody.
  static let unownedEvidence = TableName<EvidenceKey, EvidenceRow>("unowned-evidence")
  /// (Component then, position, participant, ordinal) → a limit that fired.
  static let limitFacts = TableName<LimitFactKey, LimitFactRow>("limit-facts")
}

extension Identifier {
  /// The key in ``IdentityTables/identifiers``. Kinds have no NUL, so it cannot be read in two ways.
  var rowKey: ByteString {
    var text: [UInt8] = []
    text.reserveCapacity(kind.count + 1 + value.count)
    text.append(contentsOf: kind)
    text.append(0)
    text.append(contentsOf: value)
    return text.count > BoundedKey.byteCountMax ? BoundedKey.of(text.rawSpan) : ByteString(text)
  }
}

struct IdentifierRow: StoredRow {
  /// Dense, from 1, in the order of first appearance.
  let number: UInt64
  /// The component it was put into first; follow its pointers.
  let component: UInt64
  /// The customer it belongs to, 0 for none.
  var owner: CustomerID

  init(number: UInt64, component: UInt64, owner: CustomerID) {
    self.number = number
    self.component = component
    self.owner = owner
  }
  init(from reader: inout ByteReader) throws(ByteError) {
    number = try reader.varint()
    component = try reader.varint()
    owner = CustomerID(raw: try reader.varint())
  }
  func write(to writer: inout ByteWriter) {
    writer.varint(number)
    writer.varint(component)
    writer.varint(owner.raw)
  }
}

struct IdentifierValue: StoredRow {
  let kind: [UInt8]
  let value: [UInt8]
  /// As it was sent first; empty if that is ``value``.
  let raw: [UInt8]
  let firstPosition: Position

  init(_ identifier: CustomerEvents.Identifier, _ arena: [UInt8], firstPosition: Position) {
    kind = Array(arena[identifier.kind])
    value = Array(arena[identifier.value])
    raw = Array(arena[identifier.raw.range])
    self.firstPosition = firstPosition
  }
  init(from reader: inout ByteReader) throws(ByteError) {
    kind = try reader.lengthPrefixedArray()
    value = try reader.lengthPrefixedArray()
    raw = try reader.lengthPrefixedArray()
    firstPosition = try reader.varint()
  }
  func write(to writer: inout ByteWriter) {
    writer.lengthPrefixed(kind)
    writer.lengthPrefixed(value)
    writer.lengthPrefixed(raw)
    writer.varint(firstPosition)
  }

  /// The key of its row in ``IdentityTables/identifiers``.
  var rowKey: ByteString { BoundedKey.of((kind + [0] + value).rawSpan) }
}

struct ComponentRow: StoredRow {
  /// Each pointer leads to a component at least twice as large, so a longer way to the root is damage.
  static let depthMax = 64

  /// The component that absorbed it, 0 for a root. The count below is a root's.
  var parent: UInt64 = 0
  /// Identifiers.
  var identifierCount: UInt64 = 0

  init() {}
  init(from reader: inout ByteReader) throws(ByteError) {
    parent = try reader.varint()
    identifierCount = try reader.varint()
  }
  func write(to writer: inout ByteWriter) {
    writer.varint(parent)
    writer.varint(identifierCount)
  }
}

struct ComponentChild: RowKey {
  let parent: UInt64
  let child: UInt64

  init(parent: UInt64, child: UInt64) {
    self.parent = parent
    self.child = child
  }
  init(from reader: inout ByteReader) throws(ByteError) {
    parent = try reader.uint64()
    child = try reader.uint64()
  }
  func write(to writer: inout ByteWriter) {
    writer.uint64(parent)
    writer.uint64(child)
  }
}

struct ComponentMember: RowKey {
  let component: UInt64
  let customer: CustomerID

  init(component: UInt64, customer: CustomerID) {
    self.component = component
    self.customer = customer
  }
  init(from reader: inout ByteReader) throws(ByteError) {
    component = try reader.uint64()
    customer = CustomerID(raw: try reader.uint64())
  }
  func write(to writer: inout ByteWriter) {
    writer.uint64(component)
    writer.uint64(customer.raw)
  }
}

/// A row whose key says it all.
struct Empty: StoredRow {
  init() {}
  init(from reader: inout ByteReader) throws(ByteError) {}
  func write(to writer: inout ByteWriter) {}
}

struct EvidenceKey: RowKey {
  let component: UInt64
  let position: Position
  let participant: UInt8

  init(component: UInt64, position: Position, participant: UInt8) {
    self.component = component
    self.position = position
    self.participant = participant
  }
  init(from reader: inout ByteReader) throws(ByteError) {
    component = try reader.uint64()
    position = try reader.uint64()
    participant = try reader.uint8()
  }
  func write(to writer: inout ByteWriter) {
    writer.uint64(component)
    writer.uint64(position)
    writer.uint8(participant)
  }
}

/// Where on the unowned timeline it stands.
struct EvidenceRow: StoredRow {
  /// When the event happened, in microseconds.
  let occurred: Int64

  init(occurred: Int64) { self.occurred = occurred }
  init(from reader: inout ByteReader) throws(ByteError) { occurred = try reader.zigzag() }
  func write(to writer: inout ByteWriter) { writer.zigzag(occurred) }
}

struct LimitFactKey: RowKey {
  let component: UInt64
  let position: Position
  let participant: UInt8
  let ordinal: UInt16

  init(component: UInt64, position: Position, participant: UInt8, ordinal: UInt16) {
    self.component = component
    self.position = position
    self.participant = participant
    self.ordinal = ordinal
  }
  init(from reader: inout ByteReader) throws(ByteError) {
    component = try reader.uint64()
    position = try reader.uint64()
    participant = try reader.uint8()
    ordinal = try reader.uint16()
  }
  func write(to writer: inout ByteWriter) {
    writer.uint64(component)
    writer.uint64(position)
    writer.uint8(participant)
    writer.uint16(ordinal)
  }
}

/// Which limit would have been exceeded.
enum ExceededLimit: Equatable, Sendable {
  /// Too many identifiers of a kind (its name's number) in the kind's window.
  case kind(UInt64)
  /// Too many identifiers of one customer.
  case identifiers
  /// Too many customers merged into one.
  case merges
}

struct LimitFactRow: StoredRow {
  let limit: ExceededLimit
  /// The number of the identifier that was set aside for it.
  let setAside: UInt64

  init(limit: ExceededLimit, setAside: UInt64) {
    self.limit = limit
    self.setAside = setAside
  }
  init(from reader: inout ByteReader) throws(ByteError) {
    let start = reader.offset
    let tag = try reader.uint8()
    switch tag {
    case 1: limit = .kind(try reader.varint())
    case 2: limit = .identifiers
    case 3: limit = .merges
    default: throw .unknownValue(offset: start, UInt64(tag))
    }
    setAside = try reader.varint()
  }
  func write(to writer: inout ByteWriter) {
    switch limit {
    case .kind(let name):
      writer.uint8(1)
      writer.varint(name)
    case .identifiers: writer.uint8(2)
    case .merges: writer.uint8(3)
    }
    writer.varint(setAside)
  }
}
