// Why: CSV (RFC 4180) and TSV exports of any size, read as bytes, record by record.
//
// Invariants:
// - Every byte of the input belongs to exactly one record, so no row is dropped in silence; blank lines between records
//   are the one exception, and a file that ends without a line feed still gives its last record.
// - Inside quotes everything is text, line feeds and NUL included; a doubled quote is one quote.
// - A malformed record is reported with the line where it starts; reading goes on after it.
// - A record never exceeds `InputBuffer.recordByteCountMax`: a quote that is never closed must not eat the memory.

/// A reader of delimited text.
struct DelimitedReader: ~Copyable {
  /// What a scan found.
  private enum Found {
    /// A record; `end` is behind its line end, `content` before it.
    case record(content: Int, end: Int, lineFeeds: Int)
    case blank(end: Int)
    case needsMore
    case end
  }

  private(set) var input: InputBuffer
  private let delimiter: UInt8
  private let isQuoted: Bool
  /// The line of the next record, from 1.
  private(set) var line = 1
  /// Whether the record that was read last ended with a line feed, as opposed to the end of the file.
  private(set) var endedWithLineFeed = true

  /// - Parameters:
  ///   - delimiter: The byte between fields.
  ///   - isQuoted: Whether `"` quotes (CSV); else every byte is itself (TSV).
  init(_ source: consuming ByteSource, delimiter: UInt8, isQuoted: Bool) {
    input = InputBuffer(source)
    self.delimiter = delimiter
    self.isQuoted = isQuoted
  }

  /// Goes on at a record's beginning that was reached before.
  mutating func skip(to position: Int, line: Int) throws(InputError) {
    try input.skip(to: position)
    self.line = line
  }

  /// Passes over lines, whatever stands in them.
  mutating func skipLines(_ count: Int) throws(InputError) {
    var (left, searched) = (count, input.start)
    while left > 0 {
      if let end = input.bytes[searched...].firstIndex(of: UInt8(ascii: "\n")) {
        input.advance(to: end + 1)
        searched = end + 1
        line += 1
        left -= 1
      } else {
        input.advance(to: input.bytes.count)
        guard try input.fill() else { return }
        searched = input.start
      }
    }
  }

  /// Reads the next record into `row`.
  ///
  /// - Returns: false at the end.
  /// - Throws: `InputError` if the file cannot be read, ``RowError`` if this record is malformed; `row` holds its bytes.
  mutating func next(_ row: inout Row) throws -> Bool {
    while true {
      row.removeFields()
      row.line = line
      var failure: Failure?
      let found = scan(&row, &failure)
      switch found {
      case .needsMore:
        guard input.bytes.count - input.start <= InputBuffer.recordByteCountMax else {
          let reason =
            "the record that starts on line \(line) has more than \(InputBuffer.recordByteCountMax) bytes; is a quote not closed?"
          throw InputError(file: input.source.name, reason: reason)
        }
        _ = try input.fill()
      case .end: return false
      case .blank(let end):
        input.advance(to: end)
        line += 1
      case .record(let content, let end, let lineFeeds):
        let start = input.start
        row.setRaw(input.bytes[start..<content])
        row.halveQuotes()
        input.advance(to: end)
        line += lineFeeds
        endedWithLineFeed = end > content && input.bytes[end - 1] == UInt8(ascii: "\n")
        if let failure { throw RowError(line: row.line, reason: failure.reason) }
        return true
      }
    }
  }

  private enum Failure {
    case quoteInside, textAfterQuote, neverClosed

    var reason: String {
      switch self {
      case .quoteInside: "a quote inside an unquoted field; if quotes mean nothing in this file, the mapping says quotes: false"
      case .textAfterQuote: "text after a closing quote; a quote inside a quoted field is doubled"
      case .neverClosed: "a quoted field is never closed"
      }
    }
  }

  /// Looks for the end of the record and of its fields.
  private borrowing func scan(_ row: inout Row, _ failure: inout Failure?) -> Found {
    let bytes = input.bytes.span
    let (start, count, isFinal) = (input.start, bytes.count, input.isAtEnd)
    let (delimiter, isQuoted) = (delimiter, isQuoted)
    let (lineFeed, carriageReturn, quote) = (UInt8(ascii: "\n"), UInt8(ascii: "\r"), UInt8(ascii: "\""))
    if start == count { return isFinal ? .end : .needsMore }
    var (at, lineFeeds) = (start, 0)
    while true {
      // At the beginning of a field.
      let fieldStart = at
      if isQuoted, at < count, bytes[at] == quote {
        at += 1
        var hasDoubled = false
        while true {
          while at < count, bytes[at] != quote {
            if bytes[at] == lineFeed { lineFeeds += 1 }
            at += 1
          }
          guard at < count else {
            if !isFinal { return .needsMore }
            failure = .neverClosed
            return .record(content: count, end: count, lineFeeds: lineFeeds)
          }
          at += 1
          if at == count && !isFinal { return .needsMore }
          guard at < count, bytes[at] == quote else { break }
          hasDoubled = true
          at += 1
        }
        let content = (fieldStart + 1)..<(at - 1)
        if hasDoubled { row.doubled.append(row.count) }
        row.add((content.lowerBound - start)..<(content.upperBound - start))
        if at == count { return .record(content: at, end: at, lineFeeds: lineFeeds) }
        if bytes[at] == delimiter {
          at += 1
          continue
        }
        if bytes[at] == lineFeed { return .record(content: at, end: at + 1, lineFeeds: lineFeeds + 1) }
        if bytes[at] == carriageReturn {
          if at + 1 == count { return isFinal ? .record(content: at, end: count, lineFeeds: lineFeeds) : .needsMore }
          if bytes[at + 1] == lineFeed { return .record(content: at, end: at + 2, lineFeeds: lineFeeds + 1) }
        }
        failure = failure ?? .textAfterQuote
      }
      while at < count {
        let byte = bytes[at]
        if byte == delimiter || byte == lineFeed { break }
        if byte == quote && isQuoted { failure = failure ?? .quoteInside }
        at += 1
      }
      if at == count && !isFinal { return .needsMore }
      if at < count, bytes[at] == delimiter {
        row.add((fieldStart - start)..<(at - start))
        at += 1
        continue
      }
      var content = at
      if content > fieldStart, bytes[content - 1] == carriageReturn { content -= 1 }
      let end = min(at + 1, count)
      if row.count == 0 && content == fieldStart { return at == count ? .end : .blank(end: end) }
      row.add((fieldStart - start)..<(content - start))
      return .record(content: content, end: end, lineFeeds: lineFeeds + (at < count ? 1 : 0))
    }
  }
}
