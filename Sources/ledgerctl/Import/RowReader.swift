// Why: delimited text, white-space columns and NDJSON come out as the same rows, so that a mapping need not know which it
// reads.
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
  /// The bytes in the file, compressed if it is; nil if nobody knows.
  let byteCount: Int?
  private let shape: FileShape
  private var delimited: DelimitedReader?
  private var lines: LineReader?
  /// The dot paths of the columns of an NDJSON row.
  private let paths: [[String]]

  /// Where the next record begins in the decompressed input.
  struct Place: Equatable {
    var offset: Int
    /// From 1.
    var line: Int
  }

  /// Opens an input, and reads its header.
  ///
  /// - Parameter columns: What NDJSON rows shall have; the other formats say it themselves.
  /// - Throws: `InputError`, also if the header is none.
  init(_ source: consuming ByteSource, shape: FileShape, columns wanted: [String]) throws {
    name = source.name
    byteCount = source.byteCount
    self.shape = shape
    var row = Row()
    switch shape.format {
    case .csv, .tsv:
      let isTSV = shape.format == .tsv
      var reader = DelimitedReader(
        source, delimiter: shape.delimiter ?? (isTSV ? 0x09 : UInt8(ascii: ",")), isQuoted: shape.isQuoted ?? !isTSV)
      try reader.skipLines(shape.skippedLineCount)
      switch shape.header {
      case .names(let names): columns = names
      case .firstRecord:
        do {
          columns = try reader.next(&row) ? try Self.names(row, shape, file: name) : wanted  // an empty file is no error
        } catch let error as RowError {
          throw InputError(file: name, reason: "the header: \(error.reason)")
        }
      }
      paths = []
      delimited = consume reader
      lines = nil
    case .columns, .ndjson:
      var reader = LineReader(source)
      try reader.skipLines(shape.skippedLineCount)
      switch shape.header {
      case _ where shape.format == .ndjson: columns = wanted
      case .names(let names): columns = names
      case .firstRecord:
        if try reader.next(&row) {
          Self.split(&row)
          columns = try Self.names(row, shape, file: name)
        } else {
          columns = wanted
        }
      }
      paths = shape.format == .ndjson ? columns.map { $0.split(separator: ".", omittingEmptySubsequences: false).map(String.init) } : []
      delimited = nil
      lines = consume reader
    }
  }

  private static func names(_ row: Row, _ shape: FileShape, file: String) throws(InputError) -> [String] {
    var row = row
    do throws(RowError) {
      try shape.encoding.decode(&row, columns: [])
    } catch {
      throw InputError(file: file, reason: "the header: \(error.reason)")
    }
    if row.raw.contains(UInt8(ascii: "\r")) {
      throw InputError(
        file: file, reason: "its lines end with carriage returns only; use `tr '\\r' '\\n' <FILE | ledgerctl import --name NAME … -`")
    }
    return (0..<row.count).map { index in
      let text = row.text(index)
      return shape.trims ? String(text.drop { $0 == " " || $0 == "\t" }.reversed().drop { $0 == " " || $0 == "\t" }.reversed()) : text
    }
  }

  /// Where the next record begins.
  var place: Place {
    switch delimited {
    case .some(let reader): return reader.place
    case .none: break
    }
    switch lines {
    case .some(let reader): return reader.place
    case .none: return Place(offset: 0, line: 1)
    }
  }

  /// Whether the last record ended with a line feed: one that did not may still be growing.
  var endedWithLineFeed: Bool {
    switch delimited {
    case .some(let reader): return reader.endedWithLineFeed
    case .none: break
    }
    switch lines {
    case .some(let reader): return reader.endedWithLineFeed
    case .none: return true
    }
  }

  /// The first bytes of the input, by which it is known again.
  var beginning: [UInt8] {
    switch delimited {
    case .some(let reader): return reader.input.beginning
    case .none: break
    }
    switch lines {
    case .some(let reader): return reader.input.beginning
    case .none: return []
    }
  }

  /// The bytes of the file itself that were read, compressed or not.
  var readByteCount: Int {
    switch delimited {
    case .some(let reader): return reader.input.readByteCount
    case .none: break
    }
    switch lines {
    case .some(let reader): return reader.input.readByteCount
    case .none: return 0
    }
  }

  /// Goes on at a place that was reached before.
  mutating func skip(to place: Place) throws(InputError) {
    try delimited?.skip(to: place.offset, line: place.line)
    try lines?.skip(to: place.offset, line: place.line)
  }

  /// Reads the next row.
  ///
  /// - Returns: false at the end.
  /// - Throws: `InputError` if the input cannot be read on, ``RowError`` if this row is bad; `row` holds its bytes.
  mutating func next(_ row: inout Row) throws -> Bool {
    if delimited != nil {
      guard try delimited?.next(&row) == true else { return false }
    } else {
      guard try lines?.next(&row) == true else { return false }
      if shape.format == .ndjson {
        try parse(&row)
        return true
      }
      Self.split(&row)
    }
    try shape.encoding.decode(&row, columns: columns)
    guard row.count == columns.count else {
      throw RowError(line: row.line, reason: "\(row.count) fields, but \(columns.count) columns")
    }
    return true
  }

  /// Cuts a line where blanks and tabs are; those at its ends mean nothing.
  private static func split(_ row: inout Row) {
    var start: Int?
    for at in 0..<row.rawByteCount {
      if row.bytes[at] == 0x20 || row.bytes[at] == 0x09 {
        if let begun = start { row.add(begun..<at) }
        start = nil
      } else if start == nil {
        start = at
      }
    }
    if let begun = start { row.add(begun..<row.rawByteCount) }
  }

  private func parse(_ row: inout Row) throws(RowError) {
    try shape.encoding.decode(&row, columns: [])
    let json: JSONValue
    do throws(JSONSyntaxError) {
      json = try JSONValue(parsing: Array(row.raw))
    } catch {
      throw RowError(line: row.line, reason: "no JSON: \(error)")
    }
    guard case .object = json else { throw RowError(line: row.line, reason: "no JSON object") }
    for (column, path) in zip(columns, paths) {
      var found = json[column]
      if found == nil && path.count > 1 {
        found = json
        for name in path { found = found?[name] }
      }
      append(found, to: &row)
    }
  }

  private func append(_ value: JSONValue?, to row: inout Row) {
    let start = row.bytes.count
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
    row.add(start..<row.bytes.count)
  }
}

extension DelimitedReader {
  /// Where the next record begins.
  var place: RowReader.Place { RowReader.Place(offset: input.position, line: line) }
}

extension LineReader {
  /// Where the next line begins.
  var place: RowReader.Place { RowReader.Place(offset: input.position, line: line) }
}
