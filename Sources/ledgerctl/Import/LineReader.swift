// Why: NDJSON and white-space columns have one record per line.
//
// Invariants: every line that is not blank is given out once, with its number; a line never exceeds
// `InputBuffer.recordByteCountMax`; the last line needs no line feed.

/// Cuts an input into lines.
struct LineReader: ~Copyable {
  private(set) var input: InputBuffer
  /// The number of the next line, from 1.
  private(set) var line = 1
  /// Whether the line that was read last ended with a line feed, as opposed to the end of the file.
  private(set) var endedWithLineFeed = true
  private var isSkipping = false

  init(_ source: consuming ByteSource) { input = InputBuffer(source) }

  /// Goes on at a line's beginning that was reached before.
  mutating func skip(to position: Int, line: Int) throws(InputError) {
    try input.skip(to: position)
    self.line = line
  }

  /// Passes over lines, whatever stands in them.
  mutating func skipLines(_ count: Int) throws {
    for _ in 0..<count { guard try take() != nil else { return } }
  }

  /// Reads the next line that is not blank into `row`, without its line end and without fields.
  ///
  /// - Returns: false at the end.
  mutating func next(_ row: inout Row) throws -> Bool {
    row.removeAll()
    while true {
      let number = line
      guard let range = try take() else { return false }
      var content = range
      if let last = content.last, input.bytes[last] == UInt8(ascii: "\r") { content = content.dropLast() }
      if isBlank(content) { continue }
      row.setRaw(input.bytes[content])
      row.line = number
      return true
    }
  }

  /// Takes a line.
  ///
  /// - Returns: where it lies in the buffer; nil at the end.
  private mutating func take() throws -> Range<Int>? {
    var searched = input.start
    while true {
      if let end = Self.lineFeed(in: input.bytes.span, from: searched) {
        let range = input.start..<end
        input.advance(to: end + 1)
        line += 1
        endedWithLineFeed = true
        if !isSkipping { return range }
        isSkipping = false
        searched = input.start
        continue
      }
      if isSkipping { input.advance(to: input.bytes.count) }
      let unfinished = input.bytes.count - input.start
      if unfinished > InputBuffer.recordByteCountMax {
        isSkipping = true
        throw RowError(line: line, reason: "a line of more than \(InputBuffer.recordByteCountMax) bytes")
      }
      guard try input.fill() else {
        if isSkipping || unfinished == 0 { return nil }
        let range = input.start..<input.bytes.count
        input.advance(to: range.upperBound)
        line += 1
        endedWithLineFeed = false
        return range
      }
      searched = input.start + unfinished
    }
  }

  private static func lineFeed(in bytes: Span<UInt8>, from start: Int) -> Int? {
    var at = start
    while at < bytes.count {
      if bytes[at] == UInt8(ascii: "\n") { return at }
      at += 1
    }
    return nil
  }

  private borrowing func isBlank(_ range: Range<Int>) -> Bool {
    range.allSatisfy { input.bytes[$0] == 0x20 || input.bytes[$0] == 0x09 || input.bytes[$0] == 0x0D }
  }
}
