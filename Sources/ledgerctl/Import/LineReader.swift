// Why: NDJSON inputs, one record per line.
//
// Invariants: every line that is not blank is given out once, with its number; a line never exceeds
// `DelimitedReader.recordByteCountMax`; the last line needs no line feed.

/// Cuts an input into lines.
struct LineReader: ~Copyable {
  private var source: ByteSource
  private var piece: [UInt8] = []
  private var offset = 0
  private var number = 0
  private var isFirstPiece = true
  private var isSkipping = false

  init(_ source: consuming ByteSource) { self.source = source }

  /// The next line that is not blank, without its line end; nil at the end.
  mutating func next() throws -> (line: Int, bytes: [UInt8])? {
    var bytes: [UInt8] = []
    while true {
      if offset == piece.count {
        guard let next = try source.next() else {
          if isSkipping { return nil }
          return Self.isBlank(bytes) ? nil : (number + 1, bytes)
        }
        piece = next
        offset = 0
        if isFirstPiece {
          isFirstPiece = false
          while piece.count < 3, let more = try source.next() { piece += more }
          if piece.starts(with: [0xEF, 0xBB, 0xBF]) { offset = 3 }
        }
      }
      let end = piece[offset...].firstIndex(of: UInt8(ascii: "\n"))
      if !isSkipping { bytes.append(contentsOf: piece[offset..<(end ?? piece.count)]) }
      offset = end.map { $0 + 1 } ?? piece.count
      if end != nil {
        number += 1
        if isSkipping {
          isSkipping = false
          continue
        }
        if bytes.last == UInt8(ascii: "\r") { bytes.removeLast() }
        if !Self.isBlank(bytes) { return (number, bytes) }
        bytes.removeAll(keepingCapacity: true)
      } else if bytes.count > DelimitedReader.recordByteCountMax {
        isSkipping = true
        throw RowError(line: number + 1, reason: "a line of more than \(DelimitedReader.recordByteCountMax) bytes")
      }
    }
  }

  private static func isBlank(_ bytes: [UInt8]) -> Bool { bytes.allSatisfy { $0 == 0x20 || $0 == 0x09 || $0 == 0x0D } }
}
