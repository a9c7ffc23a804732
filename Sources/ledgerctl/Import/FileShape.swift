// Why: inputs and the files in which values are looked up are described by the same keys.
//
// Invariants: the defaults are those of the reference page; a shape does not depend on the file's name.

/// How a file is cut into rows.
struct FileShape: Hashable {
  enum Format: String, CaseIterable { case csv, tsv, columns, ndjson }

  enum Header: Hashable {
    case firstRecord
    case names([String])
  }

  var format = Format.csv
  var header = Header.firstRecord
  /// Lines before the header, or before the first record, that are passed over.
  var skippedLineCount = 0
  var encoding = TextEncoding.utf8
  /// The byte between fields; nil for the format's own: a comma, a tab for TSV.
  var delimiter: UInt8?
  /// Whether `"` quotes; nil for the format's own: yes for CSV only.
  var isQuoted: Bool?
  /// Whether blanks around values are cut off.
  var trims = false
}
