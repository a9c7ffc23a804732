// How a customer came about: their component, its size, and the limits that fired in it.
//
// Invariants:
// - Limit facts name kinds and positions, and no identifier's value: what was set aside belongs to somebody else.

import Bytes
import JSON
import LedgerCore
import ProjectionEngine

enum IdentityQuery {
  /// How many limit facts an answer lists.
  private static let factCountMax = 1_000

  static func answer(_ request: QueryRequest, _ snapshot: Snapshot) throws(QueryFailure) -> [UInt8] {
    let customer = try CustomerQueries.customer(of: request, snapshot)
    let root = try component(of: customer, snapshot)
    guard let sums = try snapshot.row(IdentityTables.components, root) else { throw damaged }
    var facts: [(key: LimitFactKey, row: LimitFactRow)] = []
    for component in try tree(below: root, snapshot) {
      var prefix = ByteWriter(capacity: 8)
      prefix.uint64(component)
      try snapshot.scan(IdentityTables.limitFacts, prefix: prefix.bytes) { (key, row) throws(QueryFailure) in
        facts.append((key, row))
        return facts.count <= factCountMax
      }
      if facts.count > factCountMax { break }
    }
    let isComplete = facts.count <= factCountMax
    if !isComplete { facts.removeLast() }
    facts.sort { left, right in
      (left.key.position, left.key.participant, left.key.ordinal) < (right.key.position, right.key.participant, right.key.ordinal)
    }
    return try body(customer, root, sums, facts, isComplete: isComplete, request, snapshot)
  }

  private static let damaged = QueryFailure.storage(.malformedRow(table: IdentityTables.components.name))

  private static func component(of customer: CustomerID, _ snapshot: Snapshot) throws(QueryFailure) -> UInt64 {
    guard let row = try snapshot.row(CustomerTables.customers, customer.raw), let first = row.identifiers.first,
      let value = try snapshot.row(IdentityTables.values, first.number),
      let identifier = try snapshot.row(IdentityTables.identifiers, value.rowKey)
    else { throw damaged }
    var current = identifier.component
    for _ in 0..<ComponentRow.depthMax {
      guard let row = try snapshot.row(IdentityTables.components, current) else { break }
      if row.parent == 0 { return current }
      current = row.parent
    }
    throw damaged
  }

  /// The component and all that it absorbed.
  private static func tree(below root: UInt64, _ snapshot: Snapshot) throws(QueryFailure) -> [UInt64] {
    var components = [root]
    var index = 0
    while index < components.count {
      var prefix = ByteWriter(capacity: 8)
      prefix.uint64(components[index])
      try snapshot.scan(IdentityTables.children, prefix: prefix.bytes) { (key, _) throws(QueryFailure) in
        components.append(key.child)
        return true
      }
      index += 1
    }
    return components
  }

  private static func body(
    _ customer: CustomerID, _ root: UInt64, _ sums: ComponentRow, _ facts: [(key: LimitFactKey, row: LimitFactRow)], isComplete: Bool,
    _ request: QueryRequest, _ snapshot: Snapshot
  ) throws(QueryFailure) -> [UInt8] {
    var texts = NameTexts(snapshot)
    var writer = JSONWriter()
    writer.beginObject()
    writer.member("customer", customer.text)
    writer.key("component")
    writer.beginObject()
    writer.member("id", String(root))
    writer.member("identifierCount", sums.identifierCount)
    writer.endObject()
    writer.key("limits")
    writer.beginArray()
    for (key, row) in facts {
      guard let setAside = try snapshot.row(IdentityTables.values, row.setAside) else { throw damaged }
      writer.beginObject()
      writer.member("position", key.position)
      writer.member("participant", UInt64(key.participant))
      switch row.limit {
      case .kind(let name):
        writer.member("limit", "kind")
        let kind = try texts.text(of: name)
        writer.member("kind", utf8: kind.rawSpan)
      case .identifiers: writer.member("limit", "identifiers")
      case .merges: writer.member("limit", "merges")
      }
      writer.member("setAsideKind", utf8: setAside.kind.rawSpan)
      writer.endObject()
    }
    writer.endArray()
    writer.member("limitsComplete", isComplete)
    writer.frame(request, snapshot)
    writer.endObject()
    return writer.bytes
  }
}
