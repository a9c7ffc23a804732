// Why: CSV is where data is lost without a word; each edge case is a row here.
import Testing

@testable import ledgerctl

/// Reads records; a bad one shows as `!line: reason`.
private func read(_ bytes: [UInt8], delimiter: Character = ",", isQuoted: Bool = true, piecesOf size: Int? = nil) throws -> [String] {
  let source = ByteSource(name: "t.csv", bytes: bytes, pieceByteCount: size ?? Int.max)
  var reader = DelimitedReader(source, delimiter: delimiter.asciiValue ?? 0, isQuoted: isQuoted)
  var row = Row()
  var records: [String] = []
  while true {
    do {
      guard try reader.next(&row) else { return records }
      records.append("\(row.line): " + (0..<row.count).map { "[\(row.text($0))]" }.joined())
    } catch let error as RowError {
      records.append("!\(error.line): \(error.reason)")
    }
  }
}

@Suite struct DelimitedReaderTests {
  @Test(
    arguments: [
      ("", []),
      ("a", ["1: [a]"]),
      ("a,b\n", ["1: [a][b]"]),
      ("a,b\nc,d", ["1: [a][b]", "2: [c][d]"]),
      ("a,b\r\nc,d\r\n", ["1: [a][b]", "2: [c][d]"]),
      ("a,b\r", ["1: [a][b]"]),
      (",\n,,", ["1: [][]", "2: [][][]"]),
      ("\n\na\n\n\nb\n\n", ["3: [a]", "6: [b]"]),
      ("\r\na\r\n", ["2: [a]"]),
      ("\"\"\n\"\",\n", ["1: []", "2: [][]"]),
      ("\"a,b\",c\n", ["1: [a,b][c]"]),
      ("\"a\"\"b\",\"\"\"\"\n", ["1: [a\"b][\"]"]),
      ("\"a\nb\r\nc\",d\ne,f\n", ["1: [a\nb\r\nc][d]", "4: [e][f]"]),
      ("\"a\"\r\n\"b\"", ["1: [a]", "2: [b]"]),
      ("\u{FEFF}a,b\n", ["1: [a][b]"]),
      ("\u{FEFF}\"a\",b\n", ["1: [a][b]"]),
      ("ñ,é\n", ["1: [ñ][é]"]),
      (" a , b \n", ["1: [ a ][ b ]"]),
      (
        "a\"b,c\nd,e\n",
        ["!1: a quote inside an unquoted field; if quotes mean nothing in this file, the mapping says quotes: false", "2: [d][e]"]
      ),
      ("\"a\"b,c\nd,e\n", ["!1: text after a closing quote; a quote inside a quoted field is doubled", "2: [d][e]"]),
      ("a\u{0}b,\"\u{0}\"\n", ["1: [a\u{0}b][\u{0}]"]),
      ("a\rb,c\r\r\n", ["1: [a\rb][c\r]"]),
      ("\"\"\"\"\"\"\r\n\"a\"\"\",\"\"\"b\"", ["1: [\"\"]", "2: [a\"][\"b]"]),
      ("x\n\"a,b\nc", ["1: [x]", "!2: a quoted field is never closed"]),
    ] as [(String, [String])])
  func `records are cut as RFC 4180 says, wherever the pieces end`(text: String, expected: [String]) throws {
    let bytes = Array(text.utf8)
    #expect(try read(bytes) == expected)
    #expect(try read(bytes, piecesOf: 1) == expected)
    #expect(try read(bytes, piecesOf: 3) == expected)
  }

  @Test func `a record's bytes and place are kept as they are, whatever its fields became`() throws {
    let bytes = Array("\u{FEFF}\n\"a\"\"b\",c\r\nd,\"e\nf\"\ng".utf8)
    for size in [1, 2, 5, 100] {
      var reader = DelimitedReader(ByteSource(name: "t", bytes: bytes, pieceByteCount: size), delimiter: UInt8(ascii: ","), isQuoted: true)
      var (row, raws, offsets) = (Row(), [String](), [Int]())
      while try reader.next(&row) {
        raws.append(String(decoding: row.raw, as: UTF8.self))
        offsets.append(reader.place.offset)
      }
      #expect(raws == ["\"a\"\"b\",c", "d,\"e\nf\"", "g"])
      #expect(offsets == [14, 22, 23] && !reader.endedWithLineFeed)
    }
  }

  @Test func `a TSV file has no quotes`() throws {
    #expect(try read(Array("a\t\"b\tc\n".utf8), delimiter: "\t", isQuoted: false) == ["1: [a][\"b][c]"])
  }

  @Test func `a quote that is never closed stops the import before it eats the memory`() {
    let bytes = [UInt8(ascii: "\"")] + [UInt8](repeating: UInt8(ascii: "x"), count: InputBuffer.recordByteCountMax + 2)
    #expect(throws: InputError.self) { try read(bytes + bytes, piecesOf: 1 << 20) }
  }
}

@Suite struct LineReaderTests {
  @Test(
    arguments: [
      ("", []), ("a", ["1 a"]), ("a\nb\n", ["1 a", "2 b"]), ("\n \r\na\r\n\nb", ["3 a", "5 b"]), ("\u{FEFF}a\n", ["1 a"]),
    ] as [(String, [String])])
  func `lines keep their numbers, blank ones are passed over`(text: String, expected: [String]) throws {
    for size in [1, 3, 100] {
      var reader = LineReader(ByteSource(name: "t", bytes: Array(text.utf8), pieceByteCount: size))
      var (row, lines) = (Row(), [String]())
      while try reader.next(&row) { lines.append("\(row.line) \(String(decoding: row.raw, as: UTF8.self))") }
      #expect(lines == expected)
    }
  }
}
