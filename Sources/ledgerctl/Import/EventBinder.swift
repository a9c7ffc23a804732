// Why: a mapping names columns, rows have numbered fields; the names are looked up once per file, not once per row.
//
// Invariant: a column that is not there, or there twice, is found before the first row is read.

/// Binds a mapping to the columns of a file.
struct EventBinder {
  private let columns: ColumnIndex
  private let tables: [Mapping.Lookup: LookupTable]

  init(
    _ mapping: Mapping, columns: [String], file: String, tables: [Mapping.Lookup: LookupTable]
  ) throws(MappingError) {
    self.columns = try ColumnIndex(columns, reads: mapping.columns, file: file)
    self.tables = tables
  }

  func bind(_ node: Mapping.Node) -> EventBuilder.Node {
    switch node {
    case .constant(let bytes): return .constant(bytes)
    case .object(let members):
      return .object(
        members.map { member in
          var name: [UInt8] = []
          JSONToken.string(Array(member.name.utf8)[...], into: &name)
          return (name: name + [UInt8(ascii: ":")], node: bind(member.node))
        })
    case .array(let elements): return .array(elements.map(bind))
    case .leaf(let leaf):
      if leaf.template.count == 1, case .literal(let text) = leaf.template[0], leaf.type == .string, leaf.map == nil, leaf.lookup == nil,
        leaf.when.tests.isEmpty
      {
        var bytes: [UInt8] = []
        JSONToken.string(text[...], into: &bytes)
        return .constant(bytes)
      }
      return .leaf(
        EventBuilder.Leaf(
          spec: leaf, template: bind(leaf.template), fallback: leaf.fallback.map(bind), tests: bind(leaf.when),
          table: leaf.lookup.flatMap { tables[$0] }))
    }
  }

  func bind(_ condition: Mapping.Condition) -> [EventBuilder.Test] {
    condition.tests.map { EventBuilder.Test(column: columns[$0.column], values: $0.values, isNegated: $0.isNegated) }
  }

  func bind(_ pieces: [Mapping.Piece]) -> [EventBuilder.Piece] {
    pieces.map { piece in
      switch piece {
      case .literal(let bytes): .literal(bytes)
      case .file: .file
      case .line: .line
      case .column(let name): .column(columns[name])
      }
    }
  }
}
