// Why: the hot path of an import, a row in and the bytes of an event out.
//
// Invariants:
// - The bytes depend on the mapping, the row, the file's name and the line, on nothing else.
// - A number is copied as it is written in the file; nothing passes through `Double`.
// - What cannot be mapped is a `RowError` that names the key and never the value: it may be personal.

/// A mapping bound to the columns of a file.
struct EventBuilder {
  /// What became of a row.
  enum Outcome { case event, skipped }

  private indirect enum Node {
    case object([(name: [UInt8], node: Node)])
    case array([Node])
    case constant([UInt8])
    case leaf(Leaf)
  }

  private enum Piece {
    case literal([UInt8])
    case column(Int)
    case file
    case line
  }

  private struct Test {
    let column: Int
    let values: [[UInt8]?]
    let isNegated: Bool
  }

  /// A class, so that looking at a leaf costs one retain instead of one per member.
  private final class Leaf {
    let spec: Mapping.Leaf
    let template: [Piece]
    let fallback: [Piece]?
    let tests: [Test]
    let table: LookupTable?

    init(spec: Mapping.Leaf, template: [Piece], fallback: [Piece]?, tests: [Test], table: LookupTable?) {
      self.spec = spec
      self.template = template
      self.fallback = fallback
      self.tests = tests
      self.table = table
    }
  }

  private struct Skip: Error {}

  private let root: Node
  private let tests: [Test]
  private let nulls: [[UInt8]]
  private let trims: Bool
  private let file: [UInt8]
  private var value: [UInt8] = []

  /// Binds a mapping.
  ///
  /// - Parameters:
  ///   - columns: The names of the row's fields.
  ///   - file: The name for `{file}`.
  /// - Throws: ``MappingError`` if the mapping reads a column that is not there.
  init(_ mapping: Mapping, columns: [String], file: String, tables: [Mapping.Lookup: LookupTable]) throws(MappingError) {
    let binder = Binder(columns: columns, file: file, tables: tables)
    root = try binder.bind(mapping.event)
    tests = try binder.bind(mapping.when, "when")
    nulls = mapping.nulls
    trims = mapping.trims
    self.file = Array(file.utf8)
  }

  /// Appends the event that `row` becomes to `output`; appends nothing if it is skipped or refused.
  mutating func build(_ row: Row, into output: inout [UInt8]) throws(RowError) -> Outcome {
    let start = output.count
    guard holds(tests, row) else { return .skipped }
    do {
      _ = try write(root, row, into: &output)
      return .event
    } catch let error as RowError {
      output.removeLast(output.count - start)
      throw error
    } catch {
      output.removeLast(output.count - start)
      return .skipped
    }
  }

  /// - Returns: whether anything was written.
  private mutating func write(_ node: Node, _ row: Row, into output: inout [UInt8]) throws -> Bool {
    switch node {
    case .constant(let bytes):
      output.append(contentsOf: bytes)
      return true
    case .object(let members):
      output.append(UInt8(ascii: "{"))
      var isEmpty = true
      for member in members {
        let start = output.count
        if !isEmpty { output.append(UInt8(ascii: ",")) }
        output.append(contentsOf: member.name)
        if try write(member.node, row, into: &output) { isEmpty = false } else { output.removeLast(output.count - start) }
      }
      if isEmpty && !members.isEmpty { return false }
      output.append(UInt8(ascii: "}"))
      return true
    case .array(let elements):
      output.append(UInt8(ascii: "["))
      var isEmpty = true
      for element in elements {
        let start = output.count
        if !isEmpty { output.append(UInt8(ascii: ",")) }
        if try write(element, row, into: &output) { isEmpty = false } else { output.removeLast(output.count - start) }
      }
      if isEmpty && !elements.isEmpty { return false }
      output.append(UInt8(ascii: "]"))
      return true
    case .leaf(let leaf): return try write(leaf, row, into: &output)
    }
  }

  private mutating func write(_ leaf: Leaf, _ row: Row, into output: inout [UInt8]) throws -> Bool {
    guard try evaluate(leaf, row) else {
      switch leaf.spec.nullRule {
      case .omit: return false
      case .null:
        output.append(contentsOf: "null".utf8)
        return true
      case .reject: throw RowError(line: row.line, reason: "\(leaf.spec.path) has no value")
      case .skip: throw Skip()
      }
    }
    func reject(_ what: String) -> RowError { RowError(line: row.line, reason: "\(leaf.spec.path): the value is no \(what)") }
    switch leaf.spec.type {
    case .string: JSONToken.string(value[...], into: &output)
    case .number:
      guard JSONToken.isNumber(value[...]) else { throw reject("number") }
      output.append(contentsOf: value)
    case .decimal:
      guard let text = JSONToken.decimal(value[...], mark: leaf.spec.decimalMark, group: leaf.spec.groupMark) else {
        throw reject("decimal")
      }
      JSONToken.string(text[...], into: &output)
    case .boolean:
      switch String(decoding: value, as: UTF8.self).lowercased() {
      case "true", "t", "yes", "y", "1": output.append(contentsOf: "true".utf8)
      case "false", "f", "no", "n", "0": output.append(contentsOf: "false".utf8)
      default: throw reject("boolean")
      }
    case .time:
      output.append(UInt8(ascii: "\""))
      guard leaf.spec.time.write(value[...], into: &output) else { throw reject("time of the format") }
      output.append(UInt8(ascii: "\""))
    case .json:
      if case .column(let index)? = leaf.template.first, leaf.template.count == 1, row.kind(index) == .json {
        output.append(contentsOf: value)
      } else {
        JSONToken.string(value[...], into: &output)
      }
    }
    return true
  }

  /// Puts the leaf's text into `value`.
  ///
  /// - Returns: false if it is null.
  private mutating func evaluate(_ leaf: Leaf, _ row: Row) throws(RowError) -> Bool {
    guard holds(leaf.tests, row) else { return false }
    var isKnown = evaluate(leaf.template, row)
    if isKnown, let table = leaf.table {
      if let found = table[value[...]] {
        value = found
        isKnown = !nulls.contains(value)
      } else if leaf.fallback == nil {
        throw RowError(
          line: row.line, reason: "\(leaf.spec.path).lookup: “\(leaf.spec.lookup?.file ?? "")” has no such key, and there is no default")
      } else {
        isKnown = false
      }
    }
    if isKnown, let map = leaf.spec.map {
      switch map[value] {
      case .some(.some(let text)): value = text
      case .some(.none): return false
      case nil:
        guard leaf.fallback != nil else {
          throw RowError(line: row.line, reason: "\(leaf.spec.path).map has no entry for the value, and there is no default")
        }
        isKnown = false
      }
    }
    if isKnown { return true }
    guard let fallback = leaf.fallback else { return false }
    return evaluate(fallback, row)
  }

  private mutating func evaluate(_ template: [Piece], _ row: Row) -> Bool {
    value.removeAll(keepingCapacity: true)
    for piece in template {
      switch piece {
      case .literal(let bytes): value.append(contentsOf: bytes)
      case .file: value.append(contentsOf: file)
      case .line: value.append(contentsOf: String(row.line).utf8)
      case .column(let index):
        guard let range = range(index, row) else { return false }
        value.append(contentsOf: row.bytes[range])
      }
    }
    return true
  }

  /// Where a column's text lies; nil if it is null.
  private func range(_ index: Int, _ row: Row) -> Range<Int>? {
    switch row.kind(index) {
    case .null, .missing: return nil
    case .json: return row.range(index)
    case .text: break
    }
    var range = row.range(index)
    if trims {
      while let first = range.first, row.bytes[first] == 0x20 || row.bytes[first] == 0x09 { range.removeFirst() }
      while let last = range.last, row.bytes[last] == 0x20 || row.bytes[last] == 0x09 { range.removeLast() }
    }
    for null in nulls where null.count == range.count && row.bytes[range].elementsEqual(null) { return nil }
    return range
  }

  private func holds(_ tests: [Test], _ row: Row) -> Bool {
    for test in tests {
      let range = range(test.column, row)
      let isAmong = test.values.contains { value in
        switch (value, range) {
        case (nil, nil): true
        case (let value?, let range?): row.bytes[range].elementsEqual(value)
        default: false
        }
      }
      if isAmong == test.isNegated { return false }
    }
    return true
  }

  private struct Binder {
    let columns: [String]
    let file: String
    let tables: [Mapping.Lookup: LookupTable]

    func bind(_ node: Mapping.Node) throws(MappingError) -> Node {
      switch node {
      case .constant(let bytes): return .constant(bytes)
      case .object(let members):
        return .object(
          try members.map { (member) throws(MappingError) in
            var name: [UInt8] = []
            JSONToken.string(Array(member.name.utf8)[...], into: &name)
            return (name: name + [UInt8(ascii: ":")], node: try bind(member.node))
          })
      case .array(let elements): return .array(try elements.map { (element) throws(MappingError) in try bind(element) })
      case .leaf(let leaf):
        if leaf.template.count == 1, case .literal(let text) = leaf.template[0], leaf.type == .string, leaf.map == nil, leaf.lookup == nil,
          leaf.when.tests.isEmpty
        {
          var bytes: [UInt8] = []
          JSONToken.string(text[...], into: &bytes)
          return .constant(bytes)
        }
        return .leaf(
          Leaf(
            spec: leaf, template: try bind(leaf.template, leaf.path),
            fallback: try leaf.fallback.map { (pieces) throws(MappingError) in try bind(pieces, leaf.path) },
            tests: try bind(leaf.when, leaf.path + ".when"), table: leaf.lookup.flatMap { tables[$0] }))
      }
    }

    func bind(_ condition: Mapping.Condition, _ path: String) throws(MappingError) -> [Test] {
      try condition.tests.map { (test) throws(MappingError) in
        Test(column: try index(test.column, path), values: test.values, isNegated: test.isNegated)
      }
    }

    func bind(_ pieces: [Mapping.Piece], _ path: String) throws(MappingError) -> [Piece] {
      try pieces.map { (piece) throws(MappingError) in
        switch piece {
        case .literal(let bytes): .literal(bytes)
        case .file: .file
        case .line: .line
        case .column(let name): .column(try index(name, path))
        }
      }
    }

    private func index(_ name: String, _ path: String) throws(MappingError) -> Int {
      if let index = columns.firstIndex(where: { $0.utf8.elementsEqual(name.utf8) }) { return index }
      throw MappingError(
        description: "\(path): there is no column “\(name)” in \(file); it has \(columns.joined(separator: ", "))")
    }
  }
}
