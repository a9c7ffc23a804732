// Why: some facts of an event lie in a second file (the start of a campaign); it is read once and held in memory.
//
// Invariants: a key stands for one value, a file that says two things is refused; a file has at most `rowCountMax` rows.

/// Values of one column of a file by another.
struct LookupTable {
  static let rowCountMax = 5_000_000

  private var values: [[UInt8]: [UInt8]] = [:]

  subscript(_ key: ArraySlice<UInt8>) -> [UInt8]? { values[Array(key)] }

  /// Reads a delimited file with a header: TSV if it is named so, else CSV.
  init(_ lookup: Mapping.Lookup, source: consuming ByteSource, mapping: Mapping) throws {
    let name = source.name
    let isTSV = name.lowercased().hasSuffix(".tsv")
    var reader = DelimitedReader(source, delimiter: isTSV ? 0x09 : UInt8(ascii: ","), isQuoted: !isTSV)
    var row = Row()
    guard try reader.next(&row) else { throw InputError(file: name, reason: "it is empty; a header was expected") }
    let header = (0..<row.count).map { row.text($0) }
    func index(_ column: String) throws -> Int {
      if let index = header.firstIndex(where: { $0.utf8.elementsEqual(column.utf8) }) { return index }
      throw InputError(file: name, reason: "there is no column “\(column)”; it has \(header.joined(separator: ", "))")
    }
    let (key, value) = (try index(lookup.key), try index(lookup.column))
    do {
      while try reader.next(&row) {
        guard row.count == header.count else {
          throw RowError(line: row.line, reason: "\(row.count) fields, but the header has \(header.count)")
        }
        let bytes = Array(row.bytes[row.range(value)])
        if let other = values.updateValue(bytes, forKey: Array(row.bytes[row.range(key)])), other != bytes {
          throw RowError(line: row.line, reason: "the key in “\(lookup.key)” stands for two values of “\(lookup.column)”")
        }
        guard values.count <= Self.rowCountMax else { throw InputError(file: name, reason: "more than \(Self.rowCountMax) rows") }
      }
    } catch let error as RowError {
      throw InputError(file: name, reason: "line \(error.line): \(error.reason)")
    }
  }
}
