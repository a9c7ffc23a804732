// Why: exports of old systems are not UTF-8, and an event is; every row is checked or converted here.
//
// Invariant: what comes out is UTF-8. A byte that means nothing in the encoding makes its row bad, it is never replaced.

/// How the text of a file is written.
enum TextEncoding: String, CaseIterable {
  case utf8 = "utf-8"
  case windows1252 = "windows-1252"
  case latin1 = "latin-1"

  /// What Windows-1252 has in 0x80–0x9F; zero where it has nothing (Unicode's CP1252.TXT).
  private static let windowsScalars: [UInt32] = [
    0x20AC, 0, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0, 0x017D, 0,
    0, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0, 0x017E, 0x0178,
  ]

  /// Makes a row UTF-8, or finds that it cannot be.
  ///
  /// - Parameter columns: The names of its fields, for the message.
  func decode(_ row: inout Row, columns: [String]) throws(RowError) {
    switch self {
    case .utf8:
      if Self.isUTF8(row.bytes.span) { return }
      let index = (0..<row.count).first { index in !Self.isUTF8(row.bytes.span.extracting(row.range(index))) }
      throw RowError(
        line: row.line,
        reason: Self.place(index, columns) + "the text is not UTF-8; if the file is of Windows, the mapping says encoding: windows-1252")
    case .windows1252, .latin1:
      guard row.bytes.contains(where: { $0 >= 0x80 }) else { return }
      var decoded = Row()
      decoded.line = row.line
      if !append(row.raw, to: &decoded.bytes) { try refuse(row, columns) }
      decoded.rawByteCount = decoded.bytes.count
      for index in 0..<row.count {
        let start = decoded.bytes.count
        if !append(row.bytes[row.range(index)], to: &decoded.bytes) { try refuse(row, columns) }
        decoded.add(start..<decoded.bytes.count)
      }
      row = decoded
    }
  }

  private func refuse(_ row: Row, _ columns: [String]) throws(RowError) {
    var rest: [UInt8] = []
    let index = (0..<row.count).first { !append(row.bytes[row.range($0)], to: &rest) }
    throw RowError(
      line: row.line, reason: Self.place(index, columns) + "a byte that means nothing in \(rawValue); is the encoding another one?")
  }

  private static func place(_ index: Int?, _ columns: [String]) -> String {
    guard let index else { return "" }
    return index < columns.count ? "column “\(columns[index])”: " : "field \(index + 1): "
  }

  private static func isUTF8(_ bytes: Span<UInt8>) -> Bool {
    do {
      _ = try UTF8Span(validating: bytes)
      return true
    } catch {
      return false
    }
  }

  /// - Returns: whether every byte means something.
  private func append(_ bytes: ArraySlice<UInt8>, to output: inout [UInt8]) -> Bool {
    for byte in bytes {
      guard byte >= 0x80 else {
        output.append(byte)
        continue
      }
      var scalar = UInt32(byte)
      if self == .windows1252 && byte < 0xA0 { scalar = Self.windowsScalars[Int(byte - 0x80)] }
      guard scalar > 0, let unicode = Unicode.Scalar(scalar) else { return false }
      output.append(contentsOf: UTF8.encode(unicode) ?? UTF8.encodedReplacementCharacter)
    }
    return true
  }
}
