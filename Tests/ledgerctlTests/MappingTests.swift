// Why: a mapping decides what history will say; what it makes, and what it refuses, is held here as data.
import Testing

@testable import ledgerctl

private let head = "event:\n  id: \"{file}:{line}\"\n  source: urn:t\n  type: t\n"

/// The events and rejections of a file.
private func events(_ yaml: String, _ text: String, name: String = "t.csv", tables: [Mapping.Lookup: LookupTable] = [:]) throws -> [String]
{
  let mapping = try MappingReader.read(yaml, file: "m.yaml")
  var reader = try RowReader(ByteSource(name: name, bytes: Array(text.utf8)), shape: mapping.shape, columns: mapping.columns)
  var builder = try EventBuilder(mapping, columns: reader.columns, file: reader.name, tables: tables)
  var (row, made) = (Row(), [String]())
  while true {
    do {
      guard try reader.next(&row) else { return made }
      var event: [UInt8] = []
      switch try builder.build(row, into: &event) {
      case .event: made.append(String(decoding: event, as: UTF8.self))
      case .skipped: made.append("skipped")
      }
    } catch let error as RowError {
      made.append("!\(error.line): \(error.reason)")
    }
  }
}

/// The data that one CSV row with the columns a and b becomes.
private func data(_ leaf: String, _ row: String, more: String = "") throws -> String {
  let made = try events(more + head + "  data:\n    x: \(leaf)\n    k: 1\n", "a,b\n\(row)\n")
  let prefix = #"{"specversion":"1.0","id":"t.csv:2","source":"urn:t","type":"t","data":{"#
  guard made[0].hasPrefix(prefix) else { return made[0] }
  return String(made[0].dropFirst(prefix.count).dropLast(2))
}

@Suite struct MappingTests {
  @Test(arguments: [
    (#""{a}""#, "v,", #""x":"v","k":1"#),
    (#""{a}-{b}""#, "v,w", #""x":"v-w","k":1"#),
    (#""{a}-{b}""#, "v,", #""k":1"#),
    (#""{{{a}}}""#, "v,", #""x":"{v}","k":1"#),
    ("literal", "v,", #""x":"literal","k":1"#),
    ("12.50", "v,", #""x":12.50,"k":1"#),
    ("\"12.50\"", "v,", #""x":"12.50","k":1"#),
    ("true", "v,", #""x":true,"k":1"#),
    ("~", "v,", #""x":null,"k":1"#),
    ("[\"{a}\", \"{b}\"]", "v,", #""x":["v"],"k":1"#),
    ("{y: {z: \"{b}\"}}", "v,", #""k":1"#),
    ("{column: a, type: number}", "0.10,", #""x":0.10,"k":1"#),
    (
      "{column: a, type: number}", "123456789012345678901234567890.000000000000000001,",
      #""x":123456789012345678901234567890.000000000000000001,"k":1"#
    ),
    ("{column: a, type: number}", "007,", "!2: column “a”: no number for event.data.x"),
    ("{column: a, type: number}", "NaN,", "!2: column “a”: no number for event.data.x"),
    ("{column: a, type: decimal}", "+07.50,", #""x":"07.50","k":1"#),
    ("{column: a, type: decimal}", ".5,", #""x":"0.5","k":1"#),
    ("{column: a, type: decimal, decimal-mark: \",\", group-mark: \".\"}", "\"-1.234,56\",", #""x":"-1234.56","k":1"#),
    ("{column: a, type: decimal}", "1e5,", "!2: column “a”: no decimal for event.data.x"),
    ("{column: a, type: decimal}", "1.2.3,", "!2: column “a”: no decimal for event.data.x"),
    ("{column: a, type: boolean}", "Yes,", #""x":true,"k":1"#),
    ("{column: a, type: boolean}", "0,", #""x":false,"k":1"#),
    ("{column: a, type: boolean}", "2,", "!2: column “a”: no boolean for event.data.x"),
    ("{column: b, default: none}", "v,", #""x":"none","k":1"#),
    ("{column: b, default: \"{a}\"}", "v,", #""x":"v","k":1"#),
    ("{column: b, if-null: 'null'}", "v,", #""x":null,"k":1"#),
    ("{column: b, if-null: reject}", "v,", "!2: column “b”: no value, and event.data.x needs one"),
    ("{column: b, if-null: skip}", "v,", "skipped"),
    ("{column: a, map: {v: w}}", "v,", #""x":"w","k":1"#),
    ("{column: a, map: {v: ~}, default: d}", "v,", #""k":1"#),
    ("{column: a, map: {w: v}, default: d}", "v,", #""x":"d","k":1"#),
    ("{column: a, map: {w: v}}", "v,", "!2: column “a”: no entry in event.data.x.map, and there is no default"),
    ("{column: a, when: {b: [x, y]}}", "v,y", #""x":"v","k":1"#),
    ("{column: a, when: {b: [x, y]}}", "v,z", #""k":1"#),
    ("{column: a, when: {b: {not: ~}}}", "v,", #""k":1"#),
    ("\"{a}\"", "\"q\"\"\\\t\u{1}é\",", #""x":"q\"\\\t\u0001é","k":1"#),
  ])
  func `a leaf makes JSON of a value, or says what is wrong with it`(leaf: String, row: String, expected: String) throws {
    #expect(try data(leaf, row) == expected)
  }

  @Test(arguments: [
    ("format: \"%Y-%m-%d %H:%M:%S\"", "2024-02-29 23:59:59", "2024-02-29T23:59:59Z"),
    ("format: \"%Y-%m-%d %H:%M:%S\", zone: \"+02:00\"", "2024-01-01 01:00:00", "2023-12-31T23:00:00Z"),
    ("format: \"%d/%m/%y %H:%M\", zone: Europe/Madrid", "1/7/24 12:00", "2024-07-01T10:00:00Z"),
    ("format: \"%d/%m/%y %H:%M\", zone: Europe/Madrid", "31/3/24 03:30", "2024-03-31T01:30:00Z"),
    ("format: \"%d/%m/%y %H:%M\", zone: Europe/Madrid", "27/10/24 02:30", "2024-10-27T00:30:00Z"),
    ("format: \"%d/%m/%y %H:%M\", zone: America/New_York", "1/1/24 20:00", "2024-01-02T01:00:00Z"),
    ("format: \"%Y%m%d\"", "19970101", "1997-01-01T00:00:00Z"),
    ("format: \"%d %b %Y %T.%f%z\"", "05 Mar 2020 01:02:03.0450-0330", "2020-03-05T04:32:03.0450Z"),
    ("format: iso", "2017-01-01T11:53:26Z", "2017-01-01T11:53:26Z"),
    ("format: iso", "2017-01-01", "2017-01-01T00:00:00Z"),
    ("format: iso", "1969-12-31 23:59:59.123456+00:00", "1969-12-31T23:59:59.123456Z"),
    ("format: epoch", "0", "1970-01-01T00:00:00Z"),
    ("format: epoch-ms", "1710325274007", "2024-03-13T10:21:14.007Z"),
    ("format: epoch-ms", "-1", "1969-12-31T23:59:59.999Z"),
    ("format: epoch-us", "253402300799999999", "9999-12-31T23:59:59.999999Z"),
  ])
  func `times of every shape come out in UTC`(format: String, value: String, expected: String) throws {
    #expect(try data("{column: a, type: time, \(format)}", "\(value),") == "\"x\":\"\(expected)\",\"k\":1")
  }

  @Test(arguments: [
    "2023-02-29 00:00:00", "2024-13-01 00:00:00", "2024-01-01 24:00:00", "2024-01-01 00:60:00", "2024-01-01", "2024-01-01 00:00:00Z", "x",
    "0000-00-00 00:00:00",
  ])
  func `what is no time is refused, never rolled over`(value: String) throws {
    let made = try data("{column: a, type: time, format: \"%Y-%m-%d %H:%M:%S\"}", "\(value),")
    #expect(made == "!2: column “a”: no time of the format %Y-%m-%d %H:%M:%S for event.data.x")
  }

  @Test(arguments: [
    ("", "m.yaml: the mapping is empty; it needs the key “event”"),
    ("format: csv\n", "m.yaml:1: event: is missing"),
    ("formt: csv\n", "m.yaml:1: formt: unknown key, did you mean “format”?; known are format, header"),
    ("format: xml\n", "m.yaml:1: format: “xml” is unknown; one of csv, tsv, columns, ndjson"),
    ("header: false\n", "m.yaml:1: header: false needs names"),
    ("encoding: ebcdic\n", "m.yaml:1: encoding: “ebcdic” is unknown; one of utf-8, windows-1252, latin-1"),
    ("event: {source: s, type: t}\n", "m.yaml:1: event.id: is missing"),
    ("event: {id: i, source: s, type: t, Channel: c}\n", "m.yaml:1: event.Channel: a CloudEvents attribute has only"),
    ("event: {id: i, source: s, type: t, channel: {a: b}}\n", "m.yaml:1: event.channel: an attribute has one value"),
    ("event: {id: i, source: s, type: t, specversion: 0.3}\n", "m.yaml:1: event.specversion: must be 1.0"),
    (
      head + "  data:\n    v: {column: a, tipe: number}\n",
      "m.yaml:6: event.data.v.tipe: unknown key, did you mean “type”?; known are column"
    ),
    (head + "  data: {v: {column: a, type: int}}\n", "m.yaml:5: event.data.v.type: “int” is unknown; one of string, number"),
    (head + "  time: {column: a, type: time, format: \"%Q\"}\n", "m.yaml:5: event.time.format: “%Q” is no directive"),
    (head + "  time: {column: a, type: time, format: \"%H\"}\n", "m.yaml:5: event.time.format: “%H” needs year, month and day"),
    (head + "  time: {column: a, type: time, zone: Mars}\n", "m.yaml:5: event.time.zone: “Mars” is no zone"),
    (head + "  time: {column: a, format: iso}\n", "m.yaml:5: event.time.format: is for values of type time"),
    (head + "  subject: \"{a\"\n", "m.yaml:5: event.subject: a { without a name"),
    (head + "  subject: \"a}\"\n", "m.yaml:5: event.subject: a } without"),
    (head + "  subject: {column: a, lookup: {file: f}}\n", "m.yaml:5: event.subject.lookup: file, key and column are needed"),
    (head + "  subject: {column: a, when: {b: {nt: 1}}}\n", "m.yaml:5: event.subject.when.b.nt: unknown key; one of not"),
    (
      head + "  subject: \"{zzz}\"\n",
      "m.yaml:5: event.subject: there is no column “zzz” in t.csv, nor any other that the mapping reads: its first record has 2 fields"
    ),
    (head + "  subject: \"{a}{zzz}\"\n", "m.yaml:5: event.subject: there is no column “zzz” in t.csv; it has a, b"),
    (head + "  subject: \"{A}\"\n", "m.yaml:5: event.subject: there is no column “A” in t.csv, did you mean “a”?"),
    (
      head + "  data:\n    identifiers: {email: {colum: a}}\n",
      "m.yaml:6: event.data.identifiers.email.colum: unknown key, did you mean “column”?"
    ),
    (head + "  data: {v: {columns: a}}\n", "m.yaml:5: event.data.v.columns: unknown key, did you mean “column”?"),
    (head + "  data: {v: {field: a, type: decimal}}\n", "m.yaml:5: event.data.v.field: unknown key; a value needs one of column, template"),
    (head + "  data: {v: {decimal-mark: \",\"}}\n", "m.yaml:5: event.data.v.decimal-mark: a value needs one of column, template, constant"),
    (head + "  data: {identifiers: {email: {kind: a}}}\n", "m.yaml:5: event.data.identifiers.email: must be a value or a list of values"),
    (head + "  data: {identifiers: \"{a}\"}\n", "m.yaml:5: event.data.identifiers: must hold kinds and their values"),
    (head + "  data: {value: {ammount: \"{a}\"}}\n", "m.yaml:5: event.data.value.ammount: unknown key, did you mean “amount”?"),
    (
      head + "  data: {participants: [{part: x, identifers: {email: \"{a}\"}}]}\n",
      "m.yaml:5: event.data.participants[0].identifers: unknown key, did you mean “identifiers”?"
    ),
    (head + "  subject: {column: a, constant: b}\n", "m.yaml:5: event.subject.column: a constant stands alone"),
    (head + "  subject: {constant: [b]}\n", "m.yaml:5: event.subject: an attribute has one value"),
    ("group-mark: \".\"\n" + head, "m.yaml:1: group-mark: is the decimal mark too"),
    ("format: ndjson\ndelimiter: \";\"\n" + head, "m.yaml:1: delimiter: is for csv and tsv"),
    ("format: ndjson\nheader: [a]\n" + head, "m.yaml:1: header: is not for ndjson"),
    (head + "when: {bb: 1, a: 1}\n", "m.yaml:5: when.bb: there is no column “bb” in t.csv; it has a, b"),
    ("event:\n\tid: i\n", "m.yaml:2: no valid YAML: found character that cannot start any token; YAML is indented with blanks"),
    ("event: [\n", "m.yaml:2: no valid YAML: did not find expected node content"),
    ("format: csv\nevent:\n  id: a\n  id: b\n", "m.yaml:3: the key “id” stands twice"),
    ("nulls: x\nevent: {}\n", "m.yaml:1: nulls: must be a list of texts"),
  ])
  func `a mapping that is wrong names the key and its line`(yaml: String, expected: String) {
    let error = #expect(throws: MappingError.self) { try events(yaml, "a,b\n1,2\n") }
    #expect(error?.description.hasPrefix(expected) == true, "\(error?.description ?? "")")
  }

  @Test func `rows that are no rows are named by line, and the others come through`() throws {
    let made = try events(head + "  subject: \"{b}\"\n", "a,b\n1\n1,2,3\n\"x\ny\",4\n")
    #expect(made.count == 3)
    #expect(made[0] == "!2: 1 fields, but 2 columns")
    #expect(made[1] == "!3: 3 fields, but 2 columns")
    #expect(made[2].contains(#""id":"t.csv:4""#) && made[2].contains(#""subject":"4""#))
  }

  @Test func `nulls, trim, names for columns and a filter of rows work together`() throws {
    let yaml = "header: [a, b]\nnulls: [\"\", NA]\ntrim: true\nwhen: {a: {not: [x, ~]}}\n" + head + "  subject: \"{b}\"\n"
    let made = try events(yaml, " p , NA\nx,1\n NA ,1\nq, r \n")
    #expect(made[0] == #"{"specversion":"1.0","id":"t.csv:1","source":"urn:t","type":"t"}"#)
    #expect(made[1] == "skipped" && made[2] == "skipped")
    #expect(made[3] == #"{"specversion":"1.0","id":"t.csv:4","source":"urn:t","type":"t","subject":"r"}"#)
  }

  @Test func `NDJSON rows give nested columns, and their numbers as they are`() throws {
    let yaml =
      "format: ndjson\n" + head + "  data: {n: {column: a.b, type: number}, s: \"{a.b}\", j: {column: a, type: json}, t: \"{c}\"}\n"
    let made = try events(yaml, "{\"a\":{\"b\":1.500},\"c\":null}\n\n[1]\n{\"a\":\n{\"c\":\"é\"}\n", name: "t.ndjson")
    #expect(
      made[0] == #"{"specversion":"1.0","id":"t.ndjson:1","source":"urn:t","type":"t","data":{"n":1.500,"s":"1.500","j":{"b":1.500}}}"#)
    #expect(made[1] == "!3: no JSON object")
    #expect(made[2].hasPrefix("!4: no JSON: "))
    #expect(made[3] == #"{"specversion":"1.0","id":"t.ndjson:5","source":"urn:t","type":"t","data":{"t":"é"}}"#)
  }

  @Test func `a value is looked up in a second file`() throws {
    let yaml = head + "  subject: {column: a, lookup: {file: l.csv, key: k, column: v}}\n"
    let mapping = try MappingReader.read(yaml, file: "m.yaml")
    let lookup = try #require(mapping.lookups.first)
    let table = try LookupTable(lookup, source: ByteSource(name: "l.csv", bytes: Array("k,v\n1,one\n2,two\n".utf8)))
    let made = try events(yaml, "a,b\n2,\n3,\n", tables: [lookup: table])
    #expect(made[0].contains(#""subject":"two""#))
    #expect(made[1] == "!3: column “a”: not to be found in l.csv, and event.subject has no default")
    #expect(throws: InputError.self) {
      try LookupTable(lookup, source: ByteSource(name: "l.csv", bytes: Array("k,v\n1,a\n1,b\n".utf8)))
    }
    #expect(throws: InputError.self) {
      try LookupTable(lookup, source: ByteSource(name: "l.csv", bytes: Array("k,w\n".utf8)))
    }
  }

  @Test func `names that are nearly ones of the ledger give a warning, and are taken as they are`() throws {
    let mapping = try MappingReader.read(head + "  chanel: web\n  data: {identifer: 1, mine: 2}\n", file: "m.yaml")
    #expect(
      mapping.warnings.map { String($0.prefix(60)) } == [
        "m.yaml:5: event.chanel: did you mean “channel”? It is taken ", "m.yaml:6: event.data.identifer: did you mean “identifiers”? ",
      ])
  }

  @Test func `a constant is itself, whatever it looks like`() throws {
    let made = try data("{constant: {column: \"{a}\", list: [1, ~, \"2\"]}}", "v,")
    #expect(made == #""x":{"column":"{a}","list":[1,null,"2"]},"k":1"#)
  }

  @Test func `marks and zone of the mapping hold for all its values, and a value may say otherwise`() throws {
    let more = "decimal-mark: \",\"\ngroup-mark: \".\"\nzone: Europe/Madrid\n"
    #expect(try data("{column: a, type: number}", "\"1.234,50\",", more: more) == #""x":1234.50,"k":1"#)
    #expect(
      try data("{column: a, type: decimal, decimal-mark: \".\", group-mark: \",\"}", "\"1,234.50\",", more: more) == #""x":"1234.50","k":1"#
    )
    #expect(try data("{column: a, type: time}", "2024-07-01 12:00,", more: more) == #""x":"2024-07-01T10:00:00Z","k":1"#)
    #expect(try data("{column: a, type: time, zone: UTC}", "2024-07-01 12:00,", more: more) == #""x":"2024-07-01T12:00:00Z","k":1"#)
    #expect(try data("{column: a, nulls: [\"0000-00-00\"], type: time}", "0000-00-00,") == #""k":1"#)
    #expect(try data("{column: a, type: json}", "\"{\"\"y\"\": [1]}\",") == #""x":{"y":[1]},"k":1"#)
    #expect(try data("{column: a, type: json}", "{y,") == "!2: column “a”: no JSON for event.data.x")
  }

  @Test func `an id that is missing is never left out`() throws {
    let made = try events("event: {id: \"{a}\", source: s, type: t}\n", "a,b\n,1\n")
    #expect(made == ["!2: column “a”: no value, and event.id needs one"])
  }
}
