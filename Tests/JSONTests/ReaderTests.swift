// Why this file exists: what is accepted is read as the text says: nodes, strings, numbers, names.

import Bytes
import Testing

@testable import JSON

@Suite struct `A reader` {
  func slice(of text: String, _ reader: borrowing JSONReader, _ node: JSONNode?) throws -> String {
    let node = try #require(node)
    let bytes = Array(text.utf8)[reader.textRange(of: node)]
    let lent = reader.withText(of: node) { span in unsafe span.withUnsafeBytes { unsafe Array($0) } }
    #expect(lent == Array(bytes))
    return String(decoding: bytes, as: UTF8.self)
  }

  func number(_ name: StaticString, _ reader: borrowing JSONReader, _ object: JSONNode) -> Int64? {
    guard let value = reader.member(name, of: object) else { return nil }
    return reader.int64(of: value)
  }

  @Test func `lays nodes out as the C struct does`() {
    #expect(nodeLayouts.swift == nodeLayouts.c)
    #expect(nodeLayouts.swift.first == 16)
  }

  @Test(arguments: [11, 12, 13, 14] as [UInt64])
  func `reads random texts back through their nodes`(seed: UInt64) throws {
    var random = SeededGenerator(state: seed)
    let generator = RandomJSON(depthMax: 6)
    var reader = JSONReader()
    for round in 0..<500 {
      let tree = generator.tree(&random, depth: 0)
      let text = generator.spelled(tree, &random)
      let root = try reader.parse(text.rawSpan)
      #expect(Tree(reader, root, stepwise: true) == tree, "seed \(seed), round \(round)")
      #expect(Tree(reader, root, stepwise: false) == tree, "seed \(seed), round \(round)")
      let again = reader.canonicalBytes(of: root)
      let root2 = try reader.parse(again.rawSpan)
      #expect(reader.canonicalBytes(of: root2) == again, "seed \(seed), round \(round)")
    }
  }

  @Test func `gives the exact text of every value`() throws {
    let text = " { \"a\" : [ 1 , \"x\\n\" , { } ] , \"ñ\" : -1.50e+3 , \"c\":true, \"d\":null,\"e\":\"\" } \n"
    try reading(text) { reader, root in
      #expect(try slice(of: text, reader, root) == text.trimmingSpaces)
      #expect(try slice(of: text, reader, reader.firstChild(of: root)) == "\"a\"")
      let list = try required(reader.member("a", of: root))
      #expect(try slice(of: text, reader, list) == "[ 1 , \"x\\n\" , { } ]")
      var ranges: [Range<Int>] = []
      reader.forEachElement(of: list) { ranges.append(reader.textRange(of: $0)) }
      let elements = ranges.map { String(decoding: Array(text.utf8)[$0], as: UTF8.self) }
      #expect(elements == ["1", "\"x\\n\"", "{ }"])
      #expect(try slice(of: text, reader, reader.member("ñ", of: root)) == "-1.50e+3")
      #expect(try slice(of: text, reader, reader.member("c", of: root)) == "true")
      #expect(try slice(of: text, reader, reader.member("d", of: root)) == "null")
      #expect(try slice(of: text, reader, reader.member("e", of: root)) == "\"\"")
      #expect(reader.childCount(of: root) == 5 && reader.childCount(of: list) == 3)
    }
  }

  @Test(arguments: ["null", "true", " 12 ", "\"a\"", "[]", "{}", "0", "-0", "\t\"\"\n"])
  func `takes any value as a whole text`(_ text: String) throws {
    try reading(text) { reader, root in
      #expect(reader.textRange(of: root).count == text.trimmingSpaces.utf8.count)
      #expect(reader.firstChild(of: root) == nil && reader.childCount(of: root) == 0)
    }
  }

  @Test func `keeps numbers of any size as text`() throws {
    let numbers = ["123456789012345678901234567890", "-99999999999999999999", "1e400", "-1E+99999999999999999999", "1e-400"]
    let long = String(repeating: "9", count: 5000) + "." + String(repeating: "1", count: 5000)
    let text = "{\"list\":[\((numbers + [long]).joined(separator: " , "))],\"s\":\"1e400 \\n 01\"}"
    try reading(text) { reader, root in
      let list = try required(reader.member("list", of: root))
      var read: [String] = []
      reader.forEachElement(of: list) { node in
        #expect(reader.kind(of: node) == .number && reader.int64(of: node) == nil)
        read.append(reader.string(of: node))
      }
      #expect(read == numbers + [long])
      #expect(reader.equals(try required(reader.member("s", of: root)), "1e400 \n 01") == true)
    }
    for text in numbers { try reading(text) { reader, root in #expect(reader.string(of: root) == text) } }
  }

  @Test func `gives integers only when they are written as such and fit`() throws {
    let rows: [(String, Int64?)] = [
      ("0", 0), ("-0", 0), ("42", 42), ("-7", -7), ("9223372036854775807", .max), ("-9223372036854775808", .min),
      ("9223372036854775808", nil), ("-9223372036854775809", nil), ("1.0", nil), ("1e2", nil), ("\"1\"", nil), ("true", nil),
    ]
    for (text, value) in rows { try reading(text) { reader, root in #expect(reader.int64(of: root) == value, "\(text)") } }
  }

  @Test func `gives doubles unless none is near`() throws {
    let rows: [(String, Double?)] = [("1.5", 1.5), ("-2e3", -2000), ("7", 7), ("1e400", nil), ("1e-400", 0), ("\"1\"", nil)]
    for (text, value) in rows { try reading(text) { reader, root in #expect(reader.double(of: root) == value, "\(text)") } }
  }

  @Test func `gives truth values of true and false only`() throws {
    let rows: [(String, Bool?)] = [("true", true), ("false", false), ("null", nil), ("1", nil), ("\"true\"", nil)]
    for (text, value) in rows { try reading(text) { reader, root in #expect(reader.bool(of: root) == value, "\(text)") } }
  }

  @Test func `unescapes every escape`() throws {
    let text = #""\"\\\/\b\f\n\r\t\u0000\u00e9\u00E9\u20ac\ud83d\uDE00é""#
    let expected = Array("\"\\/\u{8}\u{C}\n\r\t\u{0}éé€😀é".utf8)
    try reading(text) { reader, root in
      #expect(reader.bytes(of: root) == expected)
      #expect(Array(reader.string(of: root).utf8) == expected)
      #expect(reader.stringByteCount(of: root) == expected.count)
      let lent = reader.withString(of: root) { span in unsafe span.withUnsafeBytes { unsafe Array($0) } }
      #expect(lent == expected)
    }
  }

  @Test func `lends strings without escapes as they stand`() throws {
    try reading("[\"Peñón 😀\",\"\"]") { reader, root in
      let first = try required(reader.firstChild(of: root))
      let lent = reader.withString(of: first) { span in unsafe span.withUnsafeBytes { unsafe Array($0) } }
      #expect(lent == Array("Peñón 😀".utf8))
      #expect(reader.stringByteCount(of: first) == lent.count)
      let second = try required(reader.next(after: first, in: root))
      #expect(reader.bytes(of: second).isEmpty && reader.equals(second, ""))
      #expect(reader.next(after: second, in: root) == nil)
    }
  }

  @Test func `finds members by unescaped name, the first of equals`() throws {
    let text = #"{"deep":{"id":0},"\u0069d":1,"id":2,"type2":3,"type":4,"a":5,"a-long-name-of-a-member":6,"a-long-name-of-a-membex":7}"#
    try reading(text) { reader, root in
      #expect(number("id", reader, root) == 1)
      #expect(number("type", reader, root) == 4)
      #expect(number("a", reader, root) == 5)
      #expect(number("a-long-name-of-a-membex", reader, root) == 7)
      #expect(number("none", reader, root) == nil && number("", reader, root) == nil)
      let deep = try required(reader.member("deep", of: root))
      let inner = try required(reader.member("id", of: deep))
      #expect(reader.member("id", of: inner) == nil)
    }
  }

  @Test func `keeps both Unicode forms of é distinct`() throws {
    try reading("{\"\u{E9}\":1,\"e\u{301}\":2,\"\\u00e9x\":3}") { reader, root in
      #expect(reader.hasDuplicateKeys(in: root) == false)
      #expect(number("\u{E9}", reader, root) == 1)
      #expect(number("e\u{301}", reader, root) == 2)
      #expect(number("éx", reader, root) == 3)
      let key = try required(reader.firstChild(of: root))
      #expect(reader.equals(key, "\u{E9}") && !reader.equals(key, "e\u{301}") == true)
    }
  }

  @Test func `compares by the whole string`() throws {
    try reading(#"["purchase.completed",1,"\u0000","ab\n"]"#) { reader, root in
      var nodes: [JSONNode] = []
      reader.forEachElement(of: root) { nodes.append($0) }
      #expect(reader.equals(nodes[0], "purchase.completed") == true)
      #expect(!reader.equals(nodes[0], "purchase.complete") && !reader.equals(nodes[0], "purchase.completex"))
      #expect(reader.equals(nodes[0], "purchasx.completed") == false)
      #expect(reader.equals(nodes[1], "1") == false)
      #expect(reader.equals(nodes[2], "\0") && !reader.equals(nodes[2], "") == true)
      #expect(reader.equals(nodes[3], "ab\n") && !reader.equals(nodes[3], "ab") && !reader.equals(nodes[3], "abn") == true)
    }
  }

  @Test(arguments: [2, 40])
  func `sees duplicate names, escaped or not, and not those inside`(members: Int) throws {
    let others = (0..<members).map { "\"k\($0)\":{\"x\":1,\"k\":2}" }.joined(separator: ",")
    let rows = [("\"x\":1", false), ("\"x\":1,\"x\":1", true), (#""x":1,"\u0078":1"#, true), (#""x":1,"\u0079":1"#, false)]
    for (extra, expected) in rows {
      try reading("{\(others),\(extra)}") { reader, root in #expect(reader.hasDuplicateKeys(in: root) == expected, "\(extra)") }
    }
    let edges = [
      (#"{"":1,"a":2}"#, false), (#"{"":1,"":2}"#, true), (#"{"abc":1,"axc":2}"#, false), (#"{"\u0061":1,"b":2,"a":3}"#, true),
      (#"{"longer-than-eight-x":1,"longer-than-eighz-x":2}"#, false), (#"{"a":{"a":1,"a":2}}"#, false), ("{}", false),
    ]
    for (text, expected) in edges {
      try reading(text) { reader, root in #expect(reader.hasDuplicateKeys(in: root) == expected, "\(text)") }
    }
    try reading("[1,1]") { reader, root in #expect(reader.hasDuplicateKeys(in: root) == false) }
  }

  @Test func `sees duplicate names in random objects as a set does`() throws {
    var random = SeededGenerator(state: 31)
    var duplicates = 0
    for round in 0..<2000 {
      let names = (0..<Int.random(in: 0...12, using: &random)).map { _ in
        (0..<Int.random(in: 0...3, using: &random)).map { _ in ["a", "b", "ñ"].randomElement(using: &random) ?? "" }.joined()
      }
      let expected = Set(names).count < names.count
      duplicates += expected ? 1 : 0
      let tree = Tree.object(names.map { Array($0.utf8) }, names.map { _ in .null })
      let text = String(decoding: RandomJSON(depthMax: 1).spelled(tree, &random), as: UTF8.self)
      try reading(text) { reader, root in #expect(reader.hasDuplicateKeys(in: root) == expected, "round \(round)") }
    }
    #expect(duplicates > 100 && duplicates < 1900)
  }

  @Test func `reads a batch of eight million bytes, then a short text`() throws {
    var text = Array("[".utf8)
    let event = Array(#"{"specversion":"1.0","id":"a\n","n":[1,2,3]}"#.utf8)
    var count = 0
    while text.count + event.count + 2 < 8 << 20 {
      if count > 0 { text.append(UInt8(ascii: ",")) }
      text += event
      count += 1
    }
    text.append(UInt8(ascii: "]"))
    var reader = JSONReader()
    let root = try reader.parse(text.rawSpan)
    #expect(reader.childCount(of: root) == count)
    var ids = 0
    reader.forEachElement(of: root) { if reader.member("id", of: $0).map({ reader.equals($0, "a\n") }) == true { ids += 1 } }
    #expect(ids == count)
    let short = try reader.parse(Array("{\"a\":1}".utf8).rawSpan)
    #expect(reader.childCount(of: short) == 1)
  }

  @Test func `stops a walk with the error of the body`() throws {
    struct Stop: Error {}
    try reading("{\"a\":[1,2],\"b\":3}") { reader, root in
      var seen = 0
      #expect(throws: Stop.self) {
        try reader.forEachMember(of: root) { (_, _) throws(Stop) in
          seen += 1
          throw Stop()
        }
      }
      #expect(seen == 1)
    }
  }

  @Test func `traps on a node of an earlier text`() async {
    await #expect(processExitsWith: .failure) {
      var reader = JSONReader()
      _ = try reader.parse([UInt8]("[1,2,3]".utf8).rawSpan)
      _ = try reader.parse([UInt8]("1".utf8).rawSpan)
      _ = reader.kind(of: JSONNode(2))
    }
  }
}

extension String {
  var trimmingSpaces: String {
    let kept = utf8.drop { $0 <= 0x20 }
    return String(decoding: kept.prefix(kept.count - kept.reversed().prefix { $0 <= 0x20 }.count), as: UTF8.self)
  }
}
