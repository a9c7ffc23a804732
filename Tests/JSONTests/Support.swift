// Why this file exists: the one place where the tests touch the reader's API for texts, and the seeded random source.

import Bytes
import JSON
import Testing

/// Parses `text` and hands over the reader and its root.
func reading<R>(_ text: String, _ body: (borrowing JSONReader, JSONNode) throws -> R) throws -> R {
  var reader = JSONReader()
  let root = try reader.parse(Array(text.utf8).rawSpan)
  return try body(reader, root)
}

/// `#require` for results of calls on a reader: the macro cannot take apart calls on values that are not copyable.
func required<T>(_ value: T?, sourceLocation: SourceLocation = #_sourceLocation) throws -> T {
  try #require(value, sourceLocation: sourceLocation)
}

/// The refusal of some bytes; `nil` if they are accepted.
func refusal(of bytes: [UInt8]) -> JSONError? {
  var reader = JSONReader()
  do throws(JSONError) {
    _ = try reader.parse(bytes.rawSpan)
    return nil
  } catch {
    return error
  }
}

/// SplitMix64: the same numbers for the same seed everywhere.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
