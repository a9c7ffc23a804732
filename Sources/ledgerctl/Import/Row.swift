// Why: one record of an input, as bytes; the mapping reads columns from it without making strings.
//
// Invariants:
// - Fields lie one after the other in `bytes`; `ends[i]` is where field i ends, and the next begins.
// - A field of kind `.missing` or `.null` has no bytes.

/// A record with its fields.
struct Row {
  /// What a field was in its file.
  enum Kind: UInt8 {
    /// Text: every CSV field, a JSON string.
    case text
    /// A JSON number, boolean, array or object, as its text.
    case json
    /// A JSON null.
    case null
    /// A column that this row does not have.
    case missing
  }

  /// The fields' bytes, unescaped.
  var bytes: [UInt8] = []
  /// Where each field ends in `bytes`.
  var ends: [Int] = []
  /// What each field was; empty if all are text.
  var kinds: [Kind] = []
  /// The line on which the record starts, from 1.
  var line = 0

  var count: Int { ends.count }

  mutating func removeAll() {
    bytes.removeAll(keepingCapacity: true)
    ends.removeAll(keepingCapacity: true)
    kinds.removeAll(keepingCapacity: true)
  }

  func range(_ index: Int) -> Range<Int> { (index == 0 ? 0 : ends[index - 1])..<ends[index] }
  func kind(_ index: Int) -> Kind { kinds.isEmpty ? .text : kinds[index] }
  func text(_ index: Int) -> String { String(decoding: bytes[range(index)], as: UTF8.self) }
}

/// A record that cannot be read; the reader goes on with the next one.
struct RowError: Error, Equatable {
  let line: Int
  let reason: String
}
