// Why: CSV (RFC 4180) and TSV exports of any size, read as bytes, record by record.
//
// Invariants:
// - Every byte of the input belongs to exactly one record, so no row is dropped in silence; blank lines between records
//   are the one exception, and a file that ends without a line feed still gives its last record.
// - Inside quotes everything is text, line feeds included; a doubled quote is one quote.
// - A malformed record is reported with the line where it starts; reading goes on after it.
// - A record never exceeds `recordByteCountMax`: a quote that is never closed must not eat the memory.

/// A reader of delimited text.
struct DelimitedReader: ~Copyable {
  static let recordByteCountMax = 16 << 20

  private enum State {
    case fieldStart, plain, quoted, quoteInQuoted
  }

  private var source: ByteSource
  private let delimiter: UInt8
  private let isQuoted: Bool
  private var piece: [UInt8] = []
  private var offset = 0
  private var line = 1
  private var isFirstPiece = true

  /// - Parameters:
  ///   - delimiter: The byte between fields.
  ///   - isQuoted: Whether `"` quotes (CSV); else every byte is itself (TSV).
  init(_ source: consuming ByteSource, delimiter: UInt8, isQuoted: Bool) {
    self.source = source
    self.delimiter = delimiter
    self.isQuoted = isQuoted
  }

  /// Reads the next record into `row`.
  ///
  /// - Returns: false at the end.
  /// - Throws: `InputError` if the file cannot be read, ``RowError`` if this record is malformed.
  mutating func next(_ row: inout Row) throws -> Bool {
    row.removeAll()
    row.line = line
    var state = State.fieldStart
    var failure: String?
    while true {
      if offset == piece.count {
        guard try fill() else {
          if state == .quoted { throw RowError(line: row.line, reason: "a quoted field is never closed") }
          if row.ends.isEmpty && state == .fieldStart { return false }
          if state == .plain, row.bytes.last == UInt8(ascii: "\r") { row.bytes.removeLast() }
          row.ends.append(row.bytes.count)
          if let failure { throw RowError(line: row.line, reason: failure) }
          return true
        }
      }
      if scan(&row, &state, &failure) {
        if row.ends.count == 1 && row.bytes.isEmpty && !endedQuoted {
          row.removeAll()
          row.line = line
          state = .fieldStart
          continue
        }
        if let failure { throw RowError(line: row.line, reason: failure) }
        return true
      }
      if row.bytes.count + row.ends.count > Self.recordByteCountMax {
        let reason = "the record that starts on line \(row.line) has more than \(Self.recordByteCountMax) bytes; is a quote not closed?"
        throw InputError(file: source.name, reason: reason)
      }
    }
  }

  /// Whether the last field ended with a quote: `""` alone on a line is a record with an empty field.
  private var endedQuoted = false

  /// Takes bytes of the piece until a record or the piece ends.
  ///
  /// - Returns: whether the record ended.
  private mutating func scan(_ row: inout Row, _ state: inout State, _ failure: inout String?) -> Bool {
    let lineFeed = UInt8(ascii: "\n")
    let carriageReturn = UInt8(ascii: "\r")
    let quote = UInt8(ascii: "\"")
    while offset < piece.count {
      switch state {
      case .fieldStart where isQuoted && piece[offset] == quote:
        offset += 1
        state = .quoted
      case .fieldStart, .plain:
        let start = offset
        while offset < piece.count, piece[offset] != delimiter, piece[offset] != lineFeed, !(isQuoted && piece[offset] == quote) {
          offset += 1
        }
        if offset > start {
          row.bytes.append(contentsOf: piece[start..<offset])
          state = .plain
        }
        guard offset < piece.count else { return false }
        let byte = piece[offset]
        offset += 1
        if byte == quote && isQuoted {
          failure = failure ?? "a quote inside an unquoted field"
          row.bytes.append(byte)
          state = .plain
          continue
        }
        if byte == lineFeed {
          line += 1
          let fieldStart = row.ends.last ?? 0
          if row.bytes.count > fieldStart, row.bytes.last == carriageReturn { row.bytes.removeLast() }
          row.ends.append(row.bytes.count)
          endedQuoted = false
          return true
        }
        row.ends.append(row.bytes.count)
        state = .fieldStart
      case .quoted:
        let start = offset
        while offset < piece.count, piece[offset] != quote {
          if piece[offset] == lineFeed { line += 1 }
          offset += 1
        }
        row.bytes.append(contentsOf: piece[start..<offset])
        guard offset < piece.count else { return false }
        offset += 1
        state = .quoteInQuoted
      case .quoteInQuoted:
        let byte = piece[offset]
        offset += 1
        switch byte {
        case quote:
          row.bytes.append(quote)
          state = .quoted
        case delimiter:
          row.ends.append(row.bytes.count)
          state = .fieldStart
        case lineFeed:
          line += 1
          row.ends.append(row.bytes.count)
          endedQuoted = true
          return true
        case carriageReturn: break  // belongs to the line feed; anything else after it is caught below
        default:
          failure = failure ?? "text after a closing quote"
          row.bytes.append(byte)
          state = .plain
        }
      }
    }
    return false
  }

  private mutating func fill() throws(InputError) -> Bool {
    guard var next = try source.next() else { return false }
    if isFirstPiece {
      isFirstPiece = false
      // A byte order mark may be split over pieces of a pipe; get enough to know.
      while next.count < 3, let more = try source.next() { next += more }
      if next.starts(with: [0xEF, 0xBB, 0xBF]) { next.removeFirst(3) }
    }
    piece = next
    offset = 0
    if piece.isEmpty { return try fill() }
    return true
  }
}
