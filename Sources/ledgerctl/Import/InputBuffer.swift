// Why: the readers look at whole records; this holds the unread bytes of an input in one piece and knows where it is.
//
// Invariants:
// - `bytes[start...]` is what was not taken yet; `position` is where that begins in the (decompressed) input.
// - A byte order mark is passed over, and only at the beginning.
// - The buffer grows no further than a record needs: a record of more than `recordByteCountMax` is an error.

/// The unread bytes of an input.
struct InputBuffer: ~Copyable {
  static let recordByteCountMax = 16 << 20
  static let beginningByteCountMax = 1_024

  private(set) var source: ByteSource
  private(set) var bytes: [UInt8] = []
  private(set) var start = 0
  private(set) var isAtEnd = false
  /// The first bytes of the input, by which it is known again.
  private(set) var beginning: [UInt8] = []
  /// Where `bytes` begins in the input.
  private var base = 0
  private var hasBegun = false

  init(_ source: consuming ByteSource) { self.source = source }

  /// The offset of the next byte in the decompressed input, a byte order mark counted.
  var position: Int { base + start }
  /// The bytes that were read of the file itself, compressed or not.
  var readByteCount: Int { source.readByteCount }

  /// Marks the bytes before `index` as taken.
  mutating func advance(to index: Int) { start = index }

  /// Gets more bytes behind those that are there, at least as many again.
  ///
  /// - Returns: false, and `isAtEnd`, if there are no more.
  mutating func fill() throws(InputError) -> Bool {
    if start > 0 {
      bytes.removeSubrange(0..<start)
      base += start
      start = 0
    }
    let wanted = max(bytes.count, hasBegun ? 1 : Self.beginningByteCountMax)
    let before = bytes.count
    while bytes.count - before < wanted {
      guard let piece = try source.next() else {
        isAtEnd = true
        break
      }
      if bytes.isEmpty { bytes = piece } else { bytes += piece }
    }
    if !hasBegun {
      hasBegun = true
      beginning = Array(bytes.prefix(Self.beginningByteCountMax))
      if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { start = 3 }
    }
    return bytes.count > before
  }

  /// Moves on to an offset of the decompressed input, forwards only.
  mutating func skip(to offset: Int) throws(InputError) {
    if offset <= position { return }
    if offset <= base + bytes.count {
      start = offset - base
      return
    }
    bytes = try source.skip(to: offset, given: base + bytes.count)
    (base, start, isAtEnd, hasBegun) = (offset, 0, false, true)
  }
}
