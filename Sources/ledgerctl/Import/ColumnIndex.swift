// Why: a mapping names columns, a row has fields; a name that leads nowhere, or to two fields, must be found before the
// first row is read.
//
// Invariants:
// - Every name that the mapping reads stands for exactly one field.
// - The names of a file are shown only if one of them is known: else its first record may hold a person's data.

/// Where the columns that a mapping reads stand in the rows of a file.
struct ColumnIndex {
  private var indexes: [[UInt8]: Int] = [:]

  /// The field of a name that was given as read.
  subscript(_ name: String) -> Int {
    guard let index = indexes[Array(name.utf8)] else { preconditionFailure("column \(name) was not announced") }
    return index
  }

  /// Finds columns.
  ///
  /// - Parameters:
  ///   - columns: The names of the fields, in their order.
  ///   - uses: What is looked for, and what to begin a message about it with: the place in the mapping, or nothing.
  ///   - file: For messages.
  /// - Throws: ``MappingError`` for the first name that is not there, or there twice.
  init(_ columns: [String], reads uses: [(name: String, place: String)], file: String) throws(MappingError) {
    var found: [[UInt8]: [Int]] = [:]
    for (index, name) in columns.enumerated() { found[Array(name.utf8), default: []].append(index) }
    let isHeaderKnown = uses.contains { found[Array($0.name.utf8)] != nil }
    for (name, place) in uses {
      let start = place.isEmpty ? "" : place + ": "
      switch found[Array(name.utf8)] {
      case let places? where places.count == 1: indexes[Array(name.utf8)] = places[0]
      case let places?:
        let numbers = places.map { String($0 + 1) }.joined(separator: " and ")
        throw MappingError(
          description: start + "the column “\(name)” stands twice in the header of \(file), as fields \(numbers); "
            + "name the columns in the mapping (header: […] with skip-lines: 1)")
      case nil: throw MappingError(description: start + Self.missing(name, columns, isHeaderKnown: isHeaderKnown, file))
      }
    }
  }

  private static func missing(_ name: String, _ columns: [String], isHeaderKnown: Bool, _ file: String) -> String {
    let nearest = Suggestion.nearest(to: name, among: columns)
    let start = "there is no column “\(name)” in \(file)\(Suggestion.words(nearest))"
    if isHeaderKnown {
      return start + "; it has " + columns.prefix(100).joined(separator: ", ") + (columns.count > 100 ? ", …" : "")
    }
    if nearest != nil { return start }
    return start + ", nor any other that the mapping reads: its first record has \(columns.count) "
      + (columns.count == 1 ? "field; is the delimiter another one?" : "fields; if it is no header, name the columns with header: […]")
  }
}

/// What somebody may have meant.
enum Suggestion {
  /// The nearest of some names, if it is near: a typing error or another case of letters.
  static func nearest(to name: String, among names: [String]) -> String? {
    let bytes = Array(name.lowercased().utf8)
    let bound = min(3, bytes.count / 3)
    var best: (name: String, distance: Int)?
    for other in names where other.utf8.count <= 64 && !other.utf8.elementsEqual(name.utf8) {
      let distance = distance(bytes, Array(other.lowercased().utf8))
      if distance <= bound && distance < best?.distance ?? .max { best = (other, distance) }
    }
    return best?.name
  }

  /// `, did you mean “x”?`, or nothing.
  static func words(_ nearest: String?) -> String { nearest.map { ", did you mean “\($0)”?" } ?? "" }

  /// How many letters must be put in, left out, replaced or swapped with their neighbour (optimal string alignment).
  static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
    if left.isEmpty || right.isEmpty { return max(left.count, right.count) }
    var rows = [Array(0...right.count)]
    for i in 1...left.count {
      var row = [i] + [Int](repeating: 0, count: right.count)
      for j in 1...right.count {
        row[j] = min(rows[i - 1][j] + 1, row[j - 1] + 1, rows[i - 1][j - 1] + (left[i - 1] == right[j - 1] ? 0 : 1))
        if i > 1, j > 1, left[i - 1] == right[j - 2], left[i - 2] == right[j - 1] { row[j] = min(row[j], rows[i - 2][j - 2] + 1) }
      }
      rows.append(row)
    }
    return rows[left.count][right.count]
  }
}
