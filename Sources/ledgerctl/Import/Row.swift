// Why: one record of an input, as bytes; the mapping reads columns from it without making strings.
//
// Invariants:
// - `bytes` begins with the record as it stands in the file, `rawByteCount` bytes; behind it lie the fields that had to be
//   rewritten (doubled quotes, JSON escapes). Field i is `bytes[starts[i]..<ends[i]]`.
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

  /// The record, then the fields that are not a part of it.
  var bytes: [UInt8] = []
  /// How many bytes of `bytes` are the record, without its line end.
  var rawByteCount = 0
  /// Where each field starts in `bytes`.
  var starts: [Int] = []
  /// Where each field ends in `bytes`.
  var ends: [Int] = []
  /// The fields in which quotes are doubled, until ``halveQuotes()``.
  var doubled: [Int] = []
  /// What each field was; empty if all are text.
  var kinds: [Kind] = []
  /// The line on which the record starts, from 1.
  var line = 0

  var count: Int { ends.count }
  /// The record as it stands in the file.
  var raw: ArraySlice<UInt8> { bytes[..<rawByteCount] }

  mutating func removeAll() {
    bytes.removeAll(keepingCapacity: true)
    rawByteCount = 0
    removeFields()
  }

  mutating func removeFields() {
    starts.removeAll(keepingCapacity: true)
    ends.removeAll(keepingCapacity: true)
    kinds.removeAll(keepingCapacity: true)
    doubled.removeAll(keepingCapacity: true)
  }

  /// Writes the fields with doubled quotes anew, behind the record.
  mutating func halveQuotes() {
    for index in doubled {
      let (range, start) = (range(index), bytes.count)
      var isSecond = false
      for at in range {
        isSecond = bytes[at] == UInt8(ascii: "\"") && !isSecond
        if !isSecond { bytes.append(bytes[at]) }
      }
      (starts[index], ends[index]) = (start, bytes.count)
    }
    doubled.removeAll(keepingCapacity: true)
  }

  /// Takes over a record of the file.
  mutating func setRaw(_ record: ArraySlice<UInt8>) {
    bytes.removeAll(keepingCapacity: true)
    bytes.append(contentsOf: record)
    rawByteCount = record.count
  }

  /// Adds a field that is a part of the record.
  mutating func add(_ range: Range<Int>) {
    starts.append(range.lowerBound)
    ends.append(range.upperBound)
  }

  func range(_ index: Int) -> Range<Int> { starts[index]..<ends[index] }

  /// Where a field lies without the blanks and tabs at its ends.
  func trimmed(_ index: Int) -> Range<Int> {
    var range = range(index)
    while let first = range.first, bytes[first] == 0x20 || bytes[first] == 0x09 { range.removeFirst() }
    while let last = range.last, bytes[last] == 0x20 || bytes[last] == 0x09 { range.removeLast() }
    return range
  }

  func kind(_ index: Int) -> Kind { kinds.isEmpty ? .text : kinds[index] }
  func text(_ index: Int) -> String { String(decoding: bytes[range(index)], as: UTF8.self) }
}

/// A record that cannot be read; the reader goes on with the next one.
struct RowError: Error, Equatable {
  let line: Int
  let reason: String
}
