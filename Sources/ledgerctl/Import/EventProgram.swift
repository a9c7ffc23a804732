// Why: a mapping is a tree of names, rows are numbered fields, and a file has millions of them; the tree is laid out once as
// a list of steps, so that a row costs no walk over references (three fifths of the time went into counting them).
//
// Invariants:
// - Steps are plain values; every `begin` has its `end`; the first and the last are those of the event.
// - A column that is not there, or there twice, is found before the first row is read.

/// The steps that make an event of a row.
struct EventProgram {
  enum Kind: UInt8 {
    /// An object or a list opens, closes.
    case begin, end
    /// The same JSON text in every event.
    case constant
    /// A column's text as a JSON string, left out if it is null: the most frequent leaf.
    case text
    /// Any other value.
    case leaf
  }

  struct Step {
    var kind: Kind
    var isList = false
    var hasMembers = false
    /// The name with its quotes and colon, in `text`; empty in lists.
    var name = 0..<0
    /// The JSON text of a constant, in `text`.
    var constant = 0..<0
    /// Of `leaves`, or the field of a `text`.
    var index = 0
  }

  /// A text with columns in it.
  struct Template {
    enum PieceKind: UInt8 { case literal, column, file, line }

    struct Piece {
      var kind: PieceKind
      /// Of a literal, in `text`.
      var range = 0..<0
      var column = 0
    }

    var pieces: [Piece] = []
    var text: [UInt8] = []
  }

  /// A test of a column.
  struct Test {
    let column: Int
    let values: [[UInt8]?]
    let isNegated: Bool
  }

  /// A value, a class so that looking at it costs one retain instead of one per member.
  final class Leaf {
    let spec: Mapping.Leaf
    let template: Template
    let fallback: Template?
    let tests: [Test]
    let table: LookupTable?

    init(spec: Mapping.Leaf, template: Template, fallback: Template?, tests: [Test], table: LookupTable?) {
      self.spec = spec
      self.template = template
      self.fallback = fallback
      self.tests = tests
      self.table = table
    }

    /// The field that the value comes from, if it is one.
    var column: Int? { template.pieces.count == 1 && template.pieces[0].kind == .column ? template.pieces[0].column : nil }

    /// What is wrong with this value in a row; never the value.
    func error(_ row: Row, _ reason: String) -> RowError {
      let place = spec.columnName.map { "column “\($0)”" } ?? spec.path
      return RowError(line: row.line, reason: "\(place): \(reason)")
    }
  }

  private(set) var steps: [Step] = []
  private(set) var text: [UInt8] = []
  private(set) var leaves: [Leaf] = []
  /// What a row must fulfil to become an event.
  private(set) var tests: [Test] = []
  private let columns: ColumnIndex
  private let tables: [Mapping.Lookup: LookupTable]

  /// Lays out a mapping for the columns of a file.
  ///
  /// - Throws: ``MappingError`` if the mapping reads a column that is not there.
  init(_ mapping: Mapping, columns: [String], file: String, tables: [Mapping.Lookup: LookupTable]) throws(MappingError) {
    self.columns = try ColumnIndex(columns, reads: mapping.columnUses, file: file)
    self.tables = tables
    tests = bind(mapping.when)
    add(mapping.event, name: nil)
  }

  private mutating func append(_ bytes: [UInt8]) -> Range<Int> {
    text += bytes
    return (text.count - bytes.count)..<text.count
  }

  private mutating func add(_ node: Mapping.Node, name: String?) {
    let name = name.map { append(JSONToken.string($0) + [UInt8(ascii: ":")]) } ?? 0..<0
    switch node {
    case .constant(let bytes): steps.append(Step(kind: .constant, name: name, constant: append(bytes)))
    case .object(let members):
      steps.append(Step(kind: .begin, name: name))
      for member in members { add(member.node, name: member.name) }
      steps.append(Step(kind: .end, hasMembers: !members.isEmpty))
    case .array(let elements):
      steps.append(Step(kind: .begin, isList: true, name: name))
      for element in elements { add(element, name: nil) }
      steps.append(Step(kind: .end, isList: true, hasMembers: !elements.isEmpty))
    case .leaf(let leaf): add(leaf, name: name)
    }
  }

  private mutating func add(_ leaf: Mapping.Leaf, name: Range<Int>) {
    let template = bind(leaf.template)
    let isPlain = leaf.type == .string && leaf.map == nil && leaf.lookup == nil && leaf.when.tests.isEmpty
    if isPlain, leaf.template.count == 1 {
      switch leaf.template[0] {
      case .literal(let bytes):
        steps.append(Step(kind: .constant, name: name, constant: append(JSONToken.string(String(decoding: bytes, as: UTF8.self)))))
        return
      case .column where leaf.fallback == nil && leaf.nulls.isEmpty && leaf.nullRule == .omit:
        steps.append(Step(kind: .text, name: name, index: template.pieces[0].column))
        return
      case .column, .file, .line: break
      }
    }
    leaves.append(
      Leaf(
        spec: leaf, template: template, fallback: leaf.fallback.map(bind), tests: bind(leaf.when), table: leaf.lookup.flatMap { tables[$0] }
      ))
    steps.append(Step(kind: .leaf, name: name, index: leaves.count - 1))
  }

  private func bind(_ condition: Mapping.Condition) -> [Test] {
    condition.tests.map { Test(column: columns[$0.column], values: $0.values, isNegated: $0.isNegated) }
  }

  private func bind(_ pieces: [Mapping.Piece]) -> Template {
    var template = Template()
    for piece in pieces {
      switch piece {
      case .literal(let bytes):
        template.text += bytes
        template.pieces.append(Template.Piece(kind: .literal, range: (template.text.count - bytes.count)..<template.text.count))
      case .file: template.pieces.append(Template.Piece(kind: .file))
      case .line: template.pieces.append(Template.Piece(kind: .line))
      case .column(let name): template.pieces.append(Template.Piece(kind: .column, column: columns[name]))
      }
    }
    return template
  }
}
