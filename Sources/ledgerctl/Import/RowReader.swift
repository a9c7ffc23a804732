// Why: delimited text and NDJSON come out as the same rows, so that a mapping need not know which it reads.
//
// Invariants: every record of the input is given out once, or reported as a `RowError` with its line; a row has exactly
// the columns in `columns`; its bytes are UTF-8.

import LedgerClient

/// Reads the rows of one input.
struct RowReader: ~Copyable {
  /// The names of the fields of every row.
  let columns: [String]
  /// The file's name, for `{file}` and for messages.
  let name: String
  private let encoding: Mapping.Encoding
  private var delimited: DelimitedReader?
  private var lines: LineReader?
  /// The dot paths of the columns of an NDJSON row.
  private let paths: [[String]]

  /// Opens an input, and reads its header.
  init(_ source: consuming ByteSource, mapping: Mapping) throws {
    name = source.name
    encoding = mapping.encoding
    if mapping.format == .ndjson {
      columns = mapping.columns
      paths = columns.map { $0.split(separator: ".", omittingEmptySubsequences: false).map(String.init) }
      delimited = nil
      lines = LineReader(source)
      return
    }
    var reader = DelimitedReader(source, delimiter: mapping.delimiter, isQuoted: mapping.format == .csv)
    switch mapping.header {
    case .names(let names): columns = names
    case .firstRecord: columns = try Self.header(&reader, mapping, file: name)
    }
    paths = []
    delimited = consume reader
    lines = nil
  }

  private static func header(_ reader: inout DelimitedReader, _ mapping: Mapping, file: String) throws -> [String] {
    var row = Row()
    do {
      guard try reader.next(&row) else { return mapping.columns }  // an empty file has no rows, which is no error
    } catch let error as RowError {
      throw InputError(file: file, reason: "the header: \(error.reason)")
    }
    try decode(&row, mapping.encoding)
    return (0..<row.count).map { index in
      let text = row.text(index)
      return mapping.trims ? String(text.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed()) : text
    }
  }

  /// Reads the next row.
  ///
  /// - Returns: false at the end.
  /// - Throws: `InputError` if the input cannot be read on, ``RowError`` if this row is bad.
  mutating func next(_ row: inout Row) throws -> Bool {
    if delimited != nil {
      guard try delimited?.next(&row) == true else { return false }
      try Self.decode(&row, encoding)
      guard row.count == columns.count else {
        throw RowError(line: row.line, reason: "\(row.count) fields, but \(columns.count) columns")
      }
      return true
    }
    row.removeAll()
    guard let (line, bytes) = try lines?.next() else { return false }
    row.line = line
    let json: JSONValue
    do {
      json = try JSONValue(parsing: bytes)
    } catch {
      row.bytes = bytes
      row.ends = [bytes.count]
      throw RowError(line: line, reason: "no JSON: \(error)")
    }
    guard case .object = json else {
      row.bytes = bytes
      row.ends = [bytes.count]
      throw RowError(line: line, reason: "no JSON object")
    }
    for (column, path) in zip(columns, paths) {
      var found = json[column]
      if found == nil && path.count > 1 {
        found = json
        for name in path { found = found?[name] }
      }
      append(found, to: &row)
    }
    return true
  }

  private func append(_ value: JSONValue?, to row: inout Row) {
    switch value {
    case nil: row.kinds.append(.missing)
    case .null?: row.kinds.append(.null)
    case .string(let text)?:
      row.kinds.append(.text)
      row.bytes.append(contentsOf: text.utf8)
    case let value?:
      row.kinds.append(.json)
      row.bytes.append(contentsOf: value.encoded())
    }
    row.ends.append(row.bytes.count)
  }

  /// Makes a row's bytes UTF-8.
  private static func decode(_ row: inout Row, _ encoding: Mapping.Encoding) throws(RowError) {
    switch encoding {
    case .utf8:
      do {
        _ = try UTF8Span(validating: row.bytes.span)
      } catch {
        throw RowError(line: row.line, reason: "the row is not UTF-8; is the encoding another one?")
      }
    case .latin1:
      guard row.bytes.contains(where: { $0 >= 0x80 }) else { return }
      var decoded = Row()
      decoded.line = row.line
      for index in 0..<row.count {
        for byte in row.bytes[row.range(index)] {
          if byte < 0x80 {
            decoded.bytes.append(byte)
          } else {
            decoded.bytes.append(0xC0 | byte >> 6)
            decoded.bytes.append(0x80 | byte & 0x3F)
          }
        }
        decoded.ends.append(decoded.bytes.count)
      }
      row = decoded
    }
  }
}
