// Why: rows that are sent together, with what is needed to say which of them was refused and where to go on after them.
//
// Invariants: the body is a JSON array of the events, in the order of the file; a row lies in it once, as an event or as a
// reject; limits hold for everything in it, so that what is under way is bounded whatever the rows are.

import LedgerClient

/// Consecutive rows of one input.
struct ImportBatch {
  static let eventCountMax = 1_000
  static let rowCountMax = 20_000
  /// Of the body, and of the rows that are kept for rejects: half of what a daemon takes unless it is set otherwise.
  static let byteCountMax = 4 << 20

  /// An event, and the row that it was made of.
  struct Entry {
    var line: Int
    var event: Range<Int>
    var row: Range<Int>
  }

  let file: String
  private(set) var body: [UInt8] = [UInt8(ascii: "[")]
  private(set) var rows: [UInt8] = []
  private(set) var entries: [Entry] = []
  var rejects: [Reject] = []
  var rowCount = 0
  /// Where the input goes on after these rows.
  var place = RowReader.Place(offset: 0, line: 1)
  /// The answer to come, once it was sent.
  var pending: PendingResponse?

  init(file: String) { self.file = file }

  /// Whether an event and its row can still be added.
  func hasRoom(eventByteCount: Int, rowByteCount: Int) -> Bool {
    entries.isEmpty
      || entries.count < Self.eventCountMax && body.count + eventByteCount + 2 <= Self.byteCountMax
        && rows.count + rowByteCount <= Self.byteCountMax
  }

  var isFull: Bool { rowCount >= Self.rowCountMax || rejects.count >= Self.eventCountMax }

  mutating func add(event: [UInt8], row: ArraySlice<UInt8>, line: Int) {
    if !entries.isEmpty { body.append(UInt8(ascii: ",")) }
    let (eventStart, rowStart) = (body.count, rows.count)
    body.append(contentsOf: event)
    rows.append(contentsOf: row)
    entries.append(Entry(line: line, event: eventStart..<body.count, row: rowStart..<rows.count))
  }

  mutating func close() { body.append(UInt8(ascii: "]")) }

  /// Takes events out, as rejects.
  mutating func reject(_ reasons: [Int: String]) {
    var rest = ImportBatch(file: file)
    for (index, entry) in entries.enumerated() {
      if let reason = reasons[index] {
        rejects.append(Reject(file: file, line: entry.line, reason: reason, row: Array(rows[entry.row]), isRefusal: true))
      } else {
        rest.add(event: Array(body[entry.event]), row: rows[entry.row], line: entry.line)
      }
    }
    rest.close()
    (body, rows, entries) = (rest.body, rest.rows, rest.entries)
  }

  /// The events in two batches, without the rejects; both are closed.
  func halves() -> [ImportBatch] {
    [entries.prefix(entries.count / 2), entries.dropFirst(entries.count / 2)].map { part in
      var half = ImportBatch(file: file)
      for entry in part { half.add(event: Array(body[entry.event]), row: rows[entry.row], line: entry.line) }
      half.close()
      return half
    }
  }
}
