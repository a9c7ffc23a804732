// Why: editors believe the schema, the command believes the reader, and users believe the pages; the three must agree.
import Foundation
import LedgerClient
import Testing
import Yams

@testable import ledgerctl

private let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
private let catalog = "Sources/Documentation/InteractionLedger.docc/"

private func schema() throws -> SchemaCheck {
  SchemaCheck(root: try JSONValue(parsing: Array(try Data(contentsOf: root.appending(path: "Schemas/import-mapping.schema.json")))))
}

private func names(_ value: JSONValue?) -> [String] {
  if case .object(let members)? = value { members.map(\.name) } else { [] }
}

/// The fenced blocks of a language on a page.
private func blocks(_ language: String, on page: String) throws -> [String] {
  let text = try String(contentsOf: root.appending(path: catalog + page), encoding: .utf8)
  return text.components(separatedBy: "```\(language)\n").dropFirst().compactMap { $0.components(separatedBy: "```").first }
}

/// The events of a file, made by a mapping.
private func events(_ yaml: String, _ text: String, name: String, tables: [Mapping.Lookup: LookupTable] = [:]) throws -> [String] {
  let mapping = try MappingReader.read(yaml, file: "m.yaml")
  #expect(mapping.warnings.isEmpty)
  var reader = try RowReader(ByteSource(name: name, bytes: Array(text.utf8)), shape: mapping.shape, columns: mapping.columns)
  var builder = try EventBuilder(mapping, columns: reader.columns, file: reader.name, tables: tables)
  var (row, made) = (Row(), [String]())
  while try reader.next(&row) {
    var event: [UInt8] = []
    _ = try builder.build(row, into: &event)
    made.append(String(decoding: event, as: UTF8.self))
  }
  return made
}

@Suite struct MappingSchemaTests {
  @Test func `the schema and the reader know the same keys and the same choices`() throws {
    let root = try schema().root
    let definitions = try #require(root["$defs"])
    #expect(names(root["properties"]).sorted() == MappingKeys.mapping.sorted())
    #expect(names(definitions["value"]?["properties"]).sorted() == MappingKeys.leaf.sorted())
    #expect(names(definitions["lookup"]?["properties"]).sorted() == MappingKeys.lookup.sorted())
    func choices(_ value: JSONValue?) -> [String] { value?["enum"]?.array?.compactMap(\.string) ?? [] }
    let value = definitions["value"]?["properties"]
    #expect(choices(root["properties"]?["format"]) == FileShape.Format.allCases.map(\.rawValue))
    #expect(choices(root["properties"]?["encoding"]) == TextEncoding.allCases.map(\.rawValue))
    #expect(choices(value?["type"]) == Mapping.ValueType.allCases.map(\.rawValue))
    #expect(choices(value?["if-null"]) == Mapping.NullRule.allCases.map(\.rawValue))
  }

  @Test func `every listed key is one that the reader reads`() {
    func message(_ yaml: String) -> String {
      do {
        _ = try MappingReader.read(yaml, file: "m.yaml")
        return ""
      } catch {
        return "\(error)"
      }
    }
    let event = "event: {id: i, source: s, type: t, data: {x: {column: a, "
    // The value is wrong for every key, so an answer that is not "unknown key" shows that the key was looked at.
    for key in MappingKeys.mapping { #expect(!message("\(key): {zz: {zz: zz}}\n").contains("unknown key, ")) }
    for key in MappingKeys.leaf { #expect(!message(event + "\(key): {zz: {zz: zz}}}}}\n").contains("x.\(key): unknown key")) }
    for key in MappingKeys.lookup {
      #expect(!message(event + "lookup: {\(key): {zz: zz}}}}}\n").contains("lookup.\(key): unknown key"))
    }
    #expect(message(event + "lookup: {zz: zz}}}}\n").contains("lookup.zz: unknown key"))
  }

  @Test(
    arguments: [
      ("event: {id: i, source: s, type: t}", true),
      ("event: {id: 1, source: s, type: true, specversion: 1.0, data: {a: [1, ~, \"{b}\", {c: {}}]}}", true),
      ("event: {id: i, source: s}", false),
      ("format: csv", false),
      ("formt: csv\nevent: {id: i, source: s, type: t}", false),
      ("format: xml\nevent: {id: i, source: s, type: t}", false),
      ("header: false\nevent: {id: i, source: s, type: t}", false),
      ("header: []\nevent: {id: i, source: s, type: t}", false),
      ("header: [a, a]\nevent: {id: i, source: s, type: t}", false),
      ("skip-lines: -1\nevent: {id: i, source: s, type: t}", false),
      ("skip-lines: 1001\nevent: {id: i, source: s, type: t}", false),
      ("delimiter: ab\nevent: {id: i, source: s, type: t}", false),
      ("delimiter: \"\\t\"\nquotes: false\nevent: {id: i, source: s, type: t}", true),
      ("quotes: maybe\nevent: {id: i, source: s, type: t}", false),
      ("decimal-mark: \",\"\ngroup-mark: \" \"\nevent: {id: i, source: s, type: t}", true),
      ("group-mark: \"7\"\nevent: {id: i, source: s, type: t}", false),
      ("when: {a: 1, b: [x, ~], c: {not: ~}}\nevent: {id: i, source: s, type: t}", true),
      ("when: {a: {nt: 1}}\nevent: {id: i, source: s, type: t}", false),
      ("event: {id: i, source: s, type: t, Channel: c}", false),
      ("event: {id: i, source: s, type: t, channel: {a: b}}", false),
      ("event: {id: i, source: s, type: t, channel: [a]}", false),
      ("event: {id: i, source: s, type: t, data: {x: {column: a, template: b}}}", false),
      ("event: {id: i, source: s, type: t, data: {x: {column: a, colum: b}}}", false),
      ("event: {id: i, source: s, type: t, data: {x: {constant: {column: {a: b}}}}}", true),
      ("event: {id: i, source: s, type: t, data: {x: {constant: 1, type: number}}}", false),
      ("event: {id: i, source: s, type: t, data: {x: {column: a, type: int}}}", false),
      ("event: {id: i, source: s, type: t, data: {x: {column: a, format: iso}}}", false),
      ("event: {id: i, source: s, type: t, data: {x: {column: a, type: time, zone: UTC}}}", true),
      ("event: {id: i, source: s, type: t, data: {x: {column: a, type: string, group-mark: \".\"}}}", false),
      ("event: {id: i, source: s, type: t, data: {x: {column: a, lookup: {file: f, key: k}}}}", false),
      ("event: {id: i, source: s, type: t, data: {x: {column: a, lookup: {file: f, key: k, column: c, delimiter: \";\"}}}}", true),
      ("event: {id: i, source: s, type: t, data: {x: {column: a, lookup: {file: f, key: k, column: c, colum: d}}}}", false),
      ("event: {id: i, source: s, type: t, data: {x: {column: a, map: {a: b, c: ~, d: 1}, default: e, nulls: [\"0\"]}}}", true),
      ("event: {id: i, source: s, type: t, data: {x: {column: a, map: {a: {b: c}}}}}", false),
    ] as [(String, Bool)])
  func `what one refuses, the other refuses`(yaml: String, isGood: Bool) throws {
    let node = try #require(try Yams.compose(yaml: yaml))
    #expect(try schema().allows(json(ofYAML: node)) == isGood)
    if isGood {
      #expect(throws: Never.self) { try MappingReader.read(yaml, file: "m.yaml") }
    } else {
      #expect(throws: MappingError.self) { try MappingReader.read(yaml, file: "m.yaml") }
    }
  }

  @Test func `the mappings on the page are good, and make what the page says`() throws {
    let page = "How-to/import-files.md"
    let mappings = try blocks("yaml", on: page)
    #expect(mappings.count == 7)
    for yaml in mappings {
      let node = try #require(try Yams.compose(yaml: yaml))
      #expect(try schema().allows(json(ofYAML: node)), "\(yaml)")
    }
    let orders = try events(mappings[0], try blocks("csv", on: page)[0], name: "orders.csv")
    #expect(
      orders == [
        #"{"specversion":"1.0","id":"order/1001","source":"urn:shop:web","type":"order.placed","time":"2026-11-21T19:05:00Z","#
          + #""channel":"web","data":{"identifiers":{"user_id":"77","email":"Ana@Example.org"},"value":{"amount":"1234.56","currency":"EUR"}}}"#,
        #"{"specversion":"1.0","id":"order/1002","source":"urn:shop:web","type":"order.placed","time":"2026-11-21T19:07:00Z","#
          + #""channel":"web","data":{"identifiers":{"user_id":"78"},"value":{"amount":"9.90","currency":"EUR"}}}"#,
      ])
    let bad = #expect(throws: RowError.self) {
      try events(mappings[0], "order;customer;mail;placed;total\n\n1002;78;;21.11.2026 20:07;9.90\n", name: "orders.csv")
    }
    let reject = try JSONValue(parsing: Array(try #require(try blocks("json", on: page).first).utf8))
    #expect(bad?.reason == reject["reason"]?.string && bad.map { Int64($0.line) } == reject["line"]?.integer)
  }

  /// Rows of the form of each data set, made up.
  @Test func `the mappings for public data make the events that were compared`() throws {
    let mappings = try blocks("yaml", on: "How-to/import-files.md")
    func first(_ index: Int, _ text: String, _ name: String, tables: [Mapping.Lookup: LookupTable] = [:]) throws -> JSONValue {
      try JSONValue(parsing: Array(try #require(try events(mappings[index], text, name: name, tables: tables).last).utf8))
    }
    let click = try first(
      1,
      "user_id,session_id,event,timestamp,platform,acquisition_channel,user_cohort,user_lifecycle\n"
        + "u1,s1,home,2024-01-04 11:45:38,tablet,email,2024-01,new\n", "ecom.csv")
    #expect(click["id"]?.string == "ecom.csv:2" && click["type"]?.string == "web.home" && click["time"]?.string == "2024-01-04T11:45:38Z")
    let basket = try first(
      2,
      "household_id,basket_id,store_id,ts,lines,quantity,sales_value,retail_disc,coupon_disc,coupon_match_disc\n"
        + "9,31,3,2017-01-01T11:53:26Z,1,1,0.5,0.0,0.0,0.0\n", "baskets.csv")
    #expect(basket["data"]?["value"]?["amount"]?.string == "0.5")
    let mailing = try MappingReader.read(mappings[3], file: "m.yaml")
    var tables: [Mapping.Lookup: LookupTable] = [:]
    let descriptions = "campaign_id,campaign_type,start_date,end_date\n7,Type B,2017-03-03 00:00:00,2017-04-09 00:00:00\n"
    #expect(mailing.lookups.count == 2)
    for lookup in mailing.lookups {
      tables[lookup] = try LookupTable(lookup, source: ByteSource(name: lookup.file, bytes: Array(descriptions.utf8)))
    }
    let sent = try first(3, "campaign_id,household_id\n7,9\n", "campaigns.csv", tables: tables)
    #expect(sent["time"]?.string == "2017-03-03T00:00:00Z" && sent["data"]?["kind"]?.string == "Type B")
    let redeemed = try first(4, "household_id,coupon_upc,campaign_id,redemption_date\n9,51,7,2017-03-04 00:00:00\n", "c.csv")
    #expect(redeemed["id"]?.string == "redemption/9/51/7/2017-03-04 00:00:00")
    let disc = try first(5, " customer_id  date number_of_cds  dollar_value \r\n 00001 19970101  1   11.77\r\n", "CDNOW_master.txt")
    #expect(disc["time"]?.string == "1997-01-01T00:00:00Z" && disc["data"]?["discs"] == .number("1"))
    let person = try first(
      6,
      "rec_id, given_name, surname, street_number, address_1, address_2, suburb, postcode, state, date_of_birth, soc_sec_id\n"
        + "rec-1-org, , waller, 6, some street, some house, a town, 4011, wa, 19081209, 6988048\n", "dataset1.csv")
    #expect(
      person["data"]?["identifiers"]?.encoded() == Array(#"{"soc_sec_id":"6988048","surname_birth_postcode":"waller|19081209|4011"}"#.utf8))
  }
}
