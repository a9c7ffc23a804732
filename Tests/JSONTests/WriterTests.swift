// Why this file exists: the writer's bytes are part of what crosses the socket and of what is stored.

import Bytes
import JSON
import Testing

@Suite struct `A writer` {
  func written(_ body: (inout JSONWriter) -> Void) -> String {
    var writer = JSONWriter()
    body(&writer)
    return String(decoding: writer.bytes, as: UTF8.self)
  }

  @Test func `puts commas and colons where they belong`() {
    let text = written {
      $0.beginObject()
      $0.member("appended", 2)
      $0.key("list")
      $0.beginArray()
      $0.int(-1 as Int8)
      $0.uint(UInt64.max)
      $0.beginObject()
      $0.endObject()
      $0.beginArray()
      $0.endArray()
      $0.null()
      $0.raw(Array("{\"a\":1}".utf8))
      $0.endArray()
      $0.key("ñ" as String)
      $0.bool(true)
      $0.key(bytes: Array("b".utf8))
      $0.raw(Array("[]".utf8).rawSpan)
      $0.member("no", false)
      $0.member("none", orNull: nil as UInt64?)
      $0.member("some", orNull: "x")
      $0.member("d", 0.5)
      $0.member("u", 7 as UInt64)
      $0.member("utf8", utf8: Array("é".utf8).rawSpan)
      $0.member("raw", raw: Array("null".utf8).rawSpan)
      $0.endObject()
    }
    #expect(
      text == #"{"appended":2,"list":[-1,18446744073709551615,{},[],null,{"a":1}],"ñ":true,"b":[],"no":false,"none":null,"#
        + #""some":"x","d":0.5,"u":7,"utf8":"é","raw":null}"#)
  }

  @Test func `escapes what must be escaped and no more`() {
    #expect(written { $0.string("") } == "\"\"")
    #expect(
      written { $0.string("a\"b\\c/d\u{8}\u{9}\u{A}\u{C}\u{D}\u{0}\u{1F}\u{7F}é😀") }
        == "\"a\\\"b\\\\c/d\\b\\t\\n\\f\\r\\u0000\\u001f\u{7F}é😀\"")
    #expect(written { $0.string(utf8: Array("\n".utf8)) } == "\"\\n\"")
    #expect(written { $0.member("a\n", "") } == "\"a\\n\":\"\"")
  }

  @Test func `writes every integer and double`() {
    #expect(written { $0.int(Int64.min) } == "-9223372036854775808")
    #expect(written { $0.int(0) } == "0")
    #expect(written { $0.double(1e21) } == "1e+21")
    #expect(written { $0.double(-0.1) } == "-0.1")
    #expect(written { $0.double(100) } == "100")
  }

  @Test func `writes lines of their own and starts again`() {
    var writer = JSONWriter()
    for n in 1...2 {
      writer.beginArray()
      writer.int(n)
      writer.endArray()
      writer.endLine()
    }
    #expect(writer.bytes == Array("[1]\n[2]\n".utf8))
    writer.removeAll()
    writer.null()
    #expect(writer.bytes == Array("null".utf8))
  }

  @Test func `traps on an end without a beginning`() async {
    await #expect(processExitsWith: .failure) {
      var writer = JSONWriter()
      writer.endObject()
    }
  }

  @Test(arguments: [21, 22] as [UInt64])
  func `writes what a reader reads back`(seed: UInt64) throws {
    var random = SeededGenerator(state: seed)
    let generator = RandomJSON(depthMax: 5)
    var reader = JSONReader()
    for round in 0..<300 {
      let tree = generator.tree(&random, depth: 0)
      var writer = JSONWriter()
      write(tree, &writer)
      let root = try reader.parse(writer.bytes.rawSpan)
      #expect(Tree(reader, root, stepwise: true) == tree, "seed \(seed), round \(round)")
    }
  }

  private func write(_ tree: Tree, _ writer: inout JSONWriter) {
    switch tree {
    case .null: writer.null()
    case .bool(let value): writer.bool(value)
    case .number(let text): writer.raw(Array(text.utf8))
    case .string(let utf8): writer.string(utf8: utf8)
    case .array(let elements):
      writer.beginArray()
      for element in elements { write(element, &writer) }
      writer.endArray()
    case .object(let names, let values):
      writer.beginObject()
      for (name, value) in zip(names, values) {
        writer.key(bytes: name)
        write(value, &writer)
      }
      writer.endObject()
    }
  }
}
