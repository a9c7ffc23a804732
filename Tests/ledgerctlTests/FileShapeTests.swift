// Why: what people's files look like: compressed, of another code page, with a preamble, in columns, of another kind. Each
// has a decided end here.
import Bytes
import Testing
import Zstd

@testable import ledgerctl

/// Reads rows as a mapping's keys say; a bad one shows as `!line: reason`.
private func rows(_ keys: String, _ bytes: [UInt8], columns: [String] = [], name: String = "t") throws -> [String] {
  let mapping = try MappingReader.read(keys + "event: {id: i, source: s, type: t}\n", file: "m.yaml")
  var reader = try RowReader(ByteSource(name: name, bytes: bytes), shape: mapping.shape, columns: columns)
  var (row, made) = (Row(), [reader.columns.joined(separator: "|")])
  while true {
    do {
      guard try reader.next(&row) else { return made }
      made.append("\(row.line): " + (0..<row.count).map { row.text($0) }.joined(separator: "|"))
    } catch let error as RowError {
      made.append("!\(error.line): \(error.reason)")
    }
  }
}

@Suite struct FileShapeTests {
  @Test(
    arguments: [
      ("", "", [""]),
      ("", "\u{FEFF}", [""]),
      ("", "a,b", ["a|b"]),
      ("", "a,b\n1,2", ["a|b", "2: 1|2"]),
      ("", "a,b\r\n1,2\r\n", ["a|b", "2: 1|2"]),
      ("", "a,b\n1\n1,2,3\n", ["a|b", "!2: 1 fields, but 2 columns", "!3: 3 fields, but 2 columns"]),
      ("", "a,b\n\"1\n2\",\"x\"\"y\"\n3,4\n", ["a|b", "2: 1\n2|x\"y", "4: 3|4"]),
      ("delimiter: \";\"\n", "a;b\n1,5;2\n", ["a|b", "2: 1,5|2"]),
      ("delimiter: \"|\"\nquotes: false\n", "a|b\n\"1|5\"\"\n", ["a|b", "2: \"1|5\"\""]),
      ("format: tsv\n", "a\tb\n\"1\t2\n", ["a|b", "2: \"1|2"]),
      ("format: tsv\nquotes: true\n", "a\tb\n\"1\t5\"\t2\n", ["a|b", "2: 1\t5|2"]),
      ("format: columns\n", "  a   b\n\n 1\t 2 \r\n3 4", ["a|b", "3: 1|2", "4: 3|4"]),
      ("format: columns\nheader: [a, b]\n", "1 2\n1 2 3\n", ["a|b", "1: 1|2", "!2: 3 fields, but 2 columns"]),
      ("skip-lines: 2\n", "Report \"of\nmay, june\na,b\n1,2\n", ["a|b", "4: 1|2"]),
      ("skip-lines: 1\nheader: [a, b]\n", "x,x\n1,2\n", ["a|b", "2: 1|2"]),
      ("skip-lines: 9\n", "x\n", [""]),
      ("skip-lines: 1\nformat: columns\n", "# made by x\na b\n1 2\n", ["a|b", "3: 1|2"]),
      ("trim: true\n", " a , b\n1,2\n", ["a|b", "2: 1|2"]),
    ] as [(String, String, [String])])
  func `a file is cut as the mapping says`(keys: String, text: String, expected: [String]) throws {
    #expect(try rows(keys, Array(text.utf8)) == expected)
  }

  @Test(
    arguments: [
      ("utf-8", [0xC3, 0xB1], "ñ"), ("utf-8", [0xF1], nil), ("utf-8", [0xED, 0xA0, 0x80], nil), ("latin-1", [0xF1, 0x80], "ñ\u{80}"),
      ("windows-1252", [0xF1, 0x80, 0x93, 0x99, 0x9F], "ñ€“™Ÿ"), ("windows-1252", [0x81], nil),
    ] as [(String, [UInt8], String?)])
  func `text of every encoding comes out as UTF-8, or its row is bad`(encoding: String, bytes: [UInt8], expected: String?) throws {
    let made = try rows("encoding: \(encoding)\n", Array("a,b\nx,".utf8) + bytes + Array("\ny,z\n".utf8))
    #expect(made.count == 3 && made[2] == "3: y|z")
    if let expected { #expect(made[1] == "2: x|\(expected)") } else { #expect(made[1].hasPrefix("!2: column “b”: ")) }
  }

  @Test(
    arguments: [
      ([0x50, 0x4B, 3, 4], "spreadsheet"), (Array("BZh9".utf8), "bzip2"), ([0xFD, 0x37, 0x7A, 0x58, 0x5A], "xz"),
      (Array("PAR1".utf8), "Parquet"), ([0xFF, 0xFE, 0x61, 0], "UTF-16"), ([0x61, 0, 0x62, 0], "UTF-16"), ([0, 0x61, 0, 0x62], "UTF-16"),
    ] as [([UInt8], String)])
  func `a file of another kind is named, with what to do`(bytes: [UInt8], word: String) {
    let error = #expect(throws: InputError.self) { try rows("", bytes) }
    #expect(error?.description.contains(word) == true)
  }

  @Test func `a header that is malformed, not text, or ends with carriage returns only says so`() {
    for (text, word) in [("a\"b\n", "quote inside"), ("a,b\r1,2\r", "tr '\\r' '\\n'")] {
      let error = #expect(throws: InputError.self) { try rows("", Array(text.utf8)) }
      #expect(error?.description.contains(word) == true)
    }
    let error = #expect(throws: InputError.self) { try rows("", [0x61, 0xF1, 0x0A]) }
    #expect(error?.description.contains("windows-1252") == true)
  }

  @Test func `a column that stands twice is refused if the mapping reads it, and no name is shown of a header that is none`() throws {
    let twice = #expect(throws: MappingError.self) {
      try ColumnIndex(["a", "b", "a"], reads: [("b", ""), ("a", "m.yaml:1: event.id")], file: "t.csv")
    }
    #expect(
      twice?.description.hasPrefix("m.yaml:1: event.id: the column “a” stands twice in the header of t.csv, as fields 1 and 3") == true)
    #expect(throws: Never.self) { try ColumnIndex(["a", "b", "a"], reads: [("b", "")], file: "t.csv") }
    let missing = #expect(throws: MappingError.self) { try ColumnIndex(["Ana Muñoz", "1980"], reads: [("name", "")], file: "t.csv") }
    #expect(missing?.description.contains("Ana") == false)
    // Two spellings of é are two columns.
    #expect(throws: MappingError.self) { try ColumnIndex(["caf\u{E9}"], reads: [("cafe\u{301}", "")], file: "t.csv") }
  }

  @Test func `zstd is known by its content, several frames are one file, and a cut one is an error`() throws {
    var compressor = Compressor()
    var frames: [UInt8] = []
    for text in ["a,b\n1,2\n", "3,4\n"] { try compressor.compress(Array(text.utf8).rawSpan, level: 3, into: &frames) }
    #expect(try rows("", frames) == ["a|b", "2: 1|2", "3: 3|4"])
    for cut in [frames.count - 1, 5] {
      let error = #expect(throws: InputError.self) { try rows("", Array(frames[..<cut])) }
      #expect(error?.description.contains("ends too early") == true)
    }
    frames[4] |= 0x08  // the reserved bit of the frame's header
    #expect(throws: InputError.self) { try rows("", frames) }
  }

  @Test func `a reader that is told a place gives the rows from there, in plain and compressed files`() throws {
    let text = "a,b\n" + (1...3_000).map { "\($0),\"x\n\"\n" }.joined()
    var frames: [UInt8] = []
    var compressor = Compressor()
    try compressor.compress(Array(text.utf8).rawSpan, level: 3, into: &frames)
    for bytes in [Array(text.utf8), frames] {
      var first = try RowReader(ByteSource(name: "t", bytes: bytes), shape: FileShape(), columns: [])
      var row = Row()
      for _ in 1...2_000 { _ = try first.next(&row) }
      let place = first.place
      var second = try RowReader(ByteSource(name: "t", bytes: bytes), shape: FileShape(), columns: [])
      try second.skip(to: place)
      #expect(try second.next(&row) && row.text(0) == "2001" && row.line == 4_002)
      var third = try RowReader(ByteSource(name: "t", bytes: bytes), shape: FileShape(), columns: [])
      #expect(throws: InputError.self) { try third.skip(to: RowReader.Place(offset: text.utf8.count + 1, line: 1)) }
    }
  }
}
