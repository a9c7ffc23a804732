// Why: columns must stay columns for people with accents in their names.
import LedgerClient
import Testing

@testable import ledgerctl

@Suite struct TableTests {
  @Test(arguments: [("Ana", 3), ("Muñoz", 5), ("Mun\u{303}oz", 5), ("日本", 4), ("", 0), ("👍", 2)])
  func `the width of a text is what a terminal shows`(text: String, width: Int) { #expect(Table.width(text) == width) }

  @Test func `columns are aligned, numbers to the right, and data cannot drive the terminal`() {
    var table = Table(["NAME", "N"])
    table.add(["Mun\u{303}oz", "5"])
    table.add(["a\u{1B}[2J", "12"])
    #expect(table.lines() == ["NAME    N", "Mun\u{303}oz   5", "a\u{FFFD}[2J  12"])
  }

  @Test func `an outline shows every member`() throws {
    let json = try JSONValue(
      parsing: Array(
        #"{"id":"17","list":[{"kind":"email","value":"a"},{"kind":"x"}],"traits":{"n":{"value":"A"}},"none":null,"e":[1,2]}"#.utf8))
    #expect(
      Outline.lines(json) == ["id  17", "list", "  kind   value", "  email  a", "  x", "traits", "     value", "  n  A", "e   [1,2]"])
  }
}
