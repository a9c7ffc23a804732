// Why: people read columns; accents and wide characters must not push them out of line.
//
// Invariants: cells hold no control characters (data must not drive the terminal); no line ends with blanks.

/// A table of text.
struct Table {
  private let titles: [String]
  private(set) var rows: [[String]] = []

  init(_ titles: [String]) { self.titles = titles }

  mutating func add(_ cells: [String]) { rows.append(cells.map(Self.clean)) }

  /// The width of each column over the rows so far and the titles.
  var widths: [Int] {
    var widths = titles.map(Self.width)
    for row in rows {
      for (index, cell) in row.enumerated() where index < widths.count { widths[index] = max(widths[index], Self.width(cell)) }
    }
    return widths
  }

  /// The title line and the rows. Columns of numbers only are aligned to the right.
  func lines() -> [String] {
    let widths = widths
    let isNumeric = titles.indices.map { index in
      !rows.isEmpty && rows.allSatisfy { $0[index].isEmpty || Double($0[index]) != nil }
    }
    return ([titles] + rows).map { Self.line($0, widths: widths, isNumeric: isNumeric) }
  }

  static func line(_ cells: [String], widths: [Int], isNumeric: [Bool]) -> String {
    var line = ""
    for (index, cell) in cells.enumerated() {
      if index > 0 { line += "  " }
      let padding = String(repeating: " ", count: max(0, widths[index] - width(cell)))
      line += isNumeric[index] ? padding + cell : cell + padding
    }
    while line.last == " " { line.removeLast() }
    return line
  }

  /// The number of terminal cells that a text takes: none for combining marks, two for East Asian wide characters.
  static func width(_ text: String) -> Int {
    var width = 0
    for scalar in text.unicodeScalars {
      if scalar.value < 0x300 {
        width += 1
        continue
      }
      switch scalar.properties.generalCategory {
      case .nonspacingMark, .enclosingMark, .format: break
      default: width += isWide(scalar.value) ? 2 : 1
      }
    }
    return width
  }

  private static func isWide(_ value: UInt32) -> Bool {
    switch value {
    case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0xA4CF, 0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE6F, 0xFF00...0xFF60,
      0xFFE0...0xFFE6, 0x1F300...0x1F64F, 0x1F900...0x1F9FF, 0x20000...0x3FFFD:
      true
    default: false
    }
  }

  static func clean(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: { $0.value < 0x20 || (0x7F...0x9F).contains($0.value) }) else { return text }
    var cleaned = String.UnicodeScalarView()
    for scalar in text.unicodeScalars { cleaned.append(scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) ? "\u{FFFD}" : scalar) }
    return String(cleaned)
  }
}
