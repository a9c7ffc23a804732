// Why: some facts of an event lie in a second file (the start of a campaign); it is read once and held in memory.
//
// Invariants: a key stands for one value, a file that says two things is refused; a file has at most `rowCountMax` rows.

/// Values of one column of a file by another.
struct LookupTable {
  static let rowCountMax = 5_000_000

  private var values: [[UInt8]: [UInt8]] = [:]

  subscript(_ key: ArraySlice<UInt8>) -> [UInt8]? { values[Array(key)] }

  /// Reads a file as the lookup describes it.
  ///
  /// - Throws: `InputError`, with the line of a bad row.
  init(_ lookup: Mapping.Lookup, source: consuming ByteSource) throws {
    var reader = try RowReader(source, shape: lookup.shape, columns: [lookup.key, lookup.column])
    let name = reader.name
    let columns: ColumnIndex
    do throws(MappingError) {
      columns = try ColumnIndex(reader.columns, reads: [(lookup.key, ""), (lookup.column, "")], file: name)
    } catch {
      throw InputError(file: name, reason: error.description)
    }
    let (key, value) = (columns[lookup.key], columns[lookup.column])
    var row = Row()
    do {
      while try reader.next(&row) {
        let bytes = Self.text(row, value, lookup.shape)
        if let other = values.updateValue(bytes, forKey: Self.text(row, key, lookup.shape)), other != bytes {
          throw RowError(line: row.line, reason: "the key in “\(lookup.key)” stands for two values of “\(lookup.column)”")
        }
        guard values.count <= Self.rowCountMax else { throw InputError(file: name, reason: "more than \(Self.rowCountMax) rows") }
      }
    } catch let error as RowError {
      throw InputError(file: name, reason: "line \(error.line): \(error.reason)")
    }
  }

  private static func text(_ row: Row, _ index: Int, _ shape: FileShape) -> [UInt8] {
    Array(row.bytes[shape.trims ? row.trimmed(index) : row.range(index)])
  }
}
