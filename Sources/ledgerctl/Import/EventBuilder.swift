// Why: the hot path of an import, a row in and the bytes of an event out.
//
// Invariants:
// - The bytes depend on the mapping, the row, the file's name and the line, on nothing else.
// - A number is copied as it is written in the file; nothing passes through `Double`.
// - What cannot be mapped is a `RowError` that names the column and the key, never the value: it may be personal.

import Bytes
import LedgerClient

/// A mapping bound to the columns of a file.
struct EventBuilder {
  /// What became of a row.
  enum Outcome { case event, skipped }

  private struct Skip: Error {}

  private let program: EventProgram
  private let nulls: [[UInt8]]
  private let trims: Bool
  private let file: [UInt8]
  private var value: [UInt8] = []
  /// The objects and lists that are open: where each began in the output, and whether what holds it was empty then.
  private var open: [(start: Int, wasEmpty: Bool)] = []

  /// Binds a mapping.
  ///
  /// - Parameters:
  ///   - columns: The names of the row's fields.
  ///   - file: The name for `{file}`.
  /// - Throws: ``MappingError`` if the mapping reads a column that is not there.
  init(_ mapping: Mapping, columns: [String], file: String, tables: [Mapping.Lookup: LookupTable]) throws(MappingError) {
    program = try EventProgram(mapping, columns: columns, file: file, tables: tables)
    nulls = mapping.nulls
    trims = mapping.shape.trims
    self.file = Array(file.utf8)
  }

  /// Appends the event that `row` becomes to `output`; appends nothing if it is skipped or refused.
  mutating func build(_ row: Row, into output: inout [UInt8]) throws(RowError) -> Outcome {
    let start = output.count
    guard holds(program.tests, row) else { return .skipped }
    do {
      try run(row, into: &output)
      return .event
    } catch let error as RowError {
      output.removeLast(output.count - start)
      throw error
    } catch {
      output.removeLast(output.count - start)
      return .skipped
    }
  }

  /// Takes the steps one by one. What is null leaves no trace: its comma and name are taken back.
  private mutating func run(_ row: Row, into output: inout [UInt8]) throws {
    open.removeAll(keepingCapacity: true)
    var isEmpty = true
    for step in program.steps {
      let start = output.count
      if step.kind != .end {
        if !isEmpty { output.append(UInt8(ascii: ",")) }
        output.append(program.text.rawSpan.extracting(step.name))
      }
      switch step.kind {
      case .begin:
        open.append((start, isEmpty))
        output.append(UInt8(ascii: step.isList ? "[" : "{"))
        isEmpty = true
      case .end:
        let (start, wasEmpty) = open.removeLast()
        if isEmpty && step.hasMembers {
          output.removeLast(output.count - start)
          isEmpty = wasEmpty
        } else {
          output.append(UInt8(ascii: step.isList ? "]" : "}"))
          isEmpty = false
        }
      case .constant:
        output.append(program.text.rawSpan.extracting(step.constant))
        isEmpty = false
      case .text:
        if let range = range(step.index, row) {
          JSONToken.string(row.bytes.rawSpan.extracting(range), into: &output)
          isEmpty = false
        } else {
          output.removeLast(output.count - start)
        }
      case .leaf:
        if try write(program.leaves[step.index], row, into: &output) {
          isEmpty = false
        } else {
          output.removeLast(output.count - start)
        }
      }
    }
  }

  /// - Returns: whether anything was written.
  private mutating func write(_ leaf: EventProgram.Leaf, _ row: Row, into output: inout [UInt8]) throws -> Bool {
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
    case .string: JSONToken.string(value.rawSpan, into: &output)
    case .number:
      if !leaf.spec.marks.isGiven {
        guard JSONToken.isNumber(value.rawSpan) else { throw leaf.error(row, "no number for \(leaf.spec.path)") }
        output.append(value.rawSpan)
        return true
      }
      guard let number = leaf.spec.marks.number(value[...]) else { throw leaf.error(row, "no number for \(leaf.spec.path)") }
      output.append(number.rawSpan)
    case .decimal:
      guard let decimal = leaf.spec.marks.decimal(value[...]) else { throw leaf.error(row, "no decimal for \(leaf.spec.path)") }
      JSONToken.string(decimal.rawSpan, into: &output)
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
      if let index = leaf.column, !row.kinds.isEmpty {
        if row.kind(index) == .json { output.append(value.rawSpan) } else { JSONToken.string(value.rawSpan, into: &output) }
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
  private mutating func evaluate(_ leaf: EventProgram.Leaf, _ row: Row) throws(RowError) -> Bool {
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

  private mutating func evaluate(_ template: EventProgram.Template, _ row: Row, nulls leafNulls: [[UInt8]]) -> Bool {
    value.removeAll(keepingCapacity: true)
    for piece in template.pieces {
      switch piece.kind {
      case .literal: value.append(template.text.rawSpan.extracting(piece.range))
      case .file: value.append(contentsOf: file)
      case .line: value.append(contentsOf: String(row.line).utf8)
      case .column:
        guard let range = range(piece.column, row) else { return false }
        if !leafNulls.isEmpty, leafNulls.contains(where: { row.bytes[range].elementsEqual($0) }) { return false }
        value.append(row.bytes.rawSpan.extracting(range))
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
    for null in nulls where null.count == range.count {
      if range.isEmpty || row.bytes.rawSpan.extracting(range).isEqual(to: null.rawSpan) { return nil }
    }
    return range
  }

  private func holds(_ tests: [EventProgram.Test], _ row: Row) -> Bool {
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
