// Why: the hot path of an import, a row in and the bytes of an event out.
//
// Invariants:
// - The bytes depend on the mapping, the row, the file's name and the line, on nothing else.
// - A number is copied as it is written in the file; nothing passes through `Double`.
// - What cannot be mapped is a `RowError` that names the column and the key, never the value: it may be personal.

import LedgerClient

/// A mapping bound to the columns of a file.
struct EventBuilder {
  /// What became of a row.
  enum Outcome { case event, skipped }

  /// A part of the event.
  indirect enum Node {
    case object([(name: [UInt8], node: Node)])
    case array([Node])
    case constant([UInt8])
    case leaf(Leaf)
  }

  /// A piece of a template.
  enum Piece {
    case literal([UInt8])
    case column(Int)
    case file
    case line
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

    /// What is wrong with this value in a row; never the value.
    func error(_ row: Row, _ reason: String) -> RowError {
      let place = spec.columnName.map { "column “\($0)”" } ?? spec.path
      return RowError(line: row.line, reason: "\(place): \(reason)")
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
    let binder = try EventBinder(mapping, columns: columns, file: file, tables: tables)
    root = binder.bind(mapping.event)
    tests = binder.bind(mapping.when)
    nulls = mapping.nulls
    trims = mapping.shape.trims
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
      case .reject: throw leaf.error(row, "no value, and \(leaf.spec.path) needs one")
      case .skip: throw Skip()
      }
    }
    switch leaf.spec.type {
    case .string: JSONToken.string(value[...], into: &output)
    case .number:
      guard let number = leaf.spec.marks.number(value[...]) else { throw leaf.error(row, "no number for \(leaf.spec.path)") }
      output.append(contentsOf: number)
    case .decimal:
      guard let decimal = leaf.spec.marks.decimal(value[...]) else { throw leaf.error(row, "no decimal for \(leaf.spec.path)") }
      JSONToken.string(decimal[...], into: &output)
    case .boolean:
      switch String(decoding: value, as: UTF8.self).lowercased() {
      case "true", "t", "yes", "y", "1": output.append(contentsOf: "true".utf8)
      case "false", "f", "no", "n", "0": output.append(contentsOf: "false".utf8)
      default: throw leaf.error(row, "no boolean for \(leaf.spec.path)")
      }
    case .time:
      output.append(UInt8(ascii: "\""))
      guard leaf.spec.time.write(value[...], into: &output) else {
        throw leaf.error(row, "no time of the format \(leaf.spec.time.name) for \(leaf.spec.path)")
      }
      output.append(UInt8(ascii: "\""))
    case .json:
      if case .column(let index)? = leaf.template.first, leaf.template.count == 1, !row.kinds.isEmpty {
        if row.kind(index) == .json { output.append(contentsOf: value) } else { JSONToken.string(value[...], into: &output) }
        return true
      }
      do throws(JSONSyntaxError) {
        output.append(contentsOf: try JSONValue(parsing: value).encoded())
      } catch {
        throw leaf.error(row, "no JSON for \(leaf.spec.path)")
      }
    }
    return true
  }

  /// Puts the leaf's text into `value`.
  ///
  /// - Returns: false if it is null.
  private mutating func evaluate(_ leaf: Leaf, _ row: Row) throws(RowError) -> Bool {
    guard holds(leaf.tests, row) else { return false }
    var isKnown = evaluate(leaf.template, row, nulls: leaf.spec.nulls)
    if isKnown, let table = leaf.table {
      if let found = table[value[...]] {
        value = found
        isKnown = !nulls.contains(value)
      } else if leaf.fallback == nil {
        throw leaf.error(row, "not to be found in \(leaf.spec.lookup?.file ?? ""), and \(leaf.spec.path) has no default")
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
          throw leaf.error(row, "no entry in \(leaf.spec.path).map, and there is no default")
        }
        isKnown = false
      }
    }
    if isKnown { return true }
    guard let fallback = leaf.fallback else { return false }
    return evaluate(fallback, row, nulls: leaf.spec.nulls)
  }

  private mutating func evaluate(_ template: [Piece], _ row: Row, nulls leafNulls: [[UInt8]]) -> Bool {
    value.removeAll(keepingCapacity: true)
    for piece in template {
      switch piece {
      case .literal(let bytes): value.append(contentsOf: bytes)
      case .file: value.append(contentsOf: file)
      case .line: value.append(contentsOf: String(row.line).utf8)
      case .column(let index):
        guard let range = range(index, row), leafNulls.isEmpty || !leafNulls.contains(where: { row.bytes[range].elementsEqual($0) }) else {
          return false
        }
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
    let range = trims ? row.trimmed(index) : row.range(index)
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
}
