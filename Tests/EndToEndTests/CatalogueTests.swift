// The catalogue under Schemas/events: every example is a whole event that a strict daemon takes, every rule of every schema
// can be broken, and the sample follows it.

import Bytes
import Foundation
import JSON
import LedgerClient
import LedgerHTTP
import LedgerTesting
import Testing

private let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
private let catalogue = root.appending(path: "Schemas/events").path

/// A schema of the catalogue.
private struct CatalogueSchema: Sendable {
  let type: String
  let json: JSONValue

  static func all() throws -> [CatalogueSchema] {
    try FileManager.default.contentsOfDirectory(atPath: catalogue).sorted().map { name in
      #expect(name.hasSuffix(".json"), "\(name) is no schema of a type")
      let text = try Data(contentsOf: URL(filePath: catalogue + "/" + name))
      return CatalogueSchema(type: String(name.dropLast(5)), json: try JSONValue(parsing: [UInt8](text)))
    }
  }

  var examples: [JSONValue] { json["examples"]?.array ?? [] }
}

extension JSONValue {
  /// With another value for a member, or without it.
  fileprivate func replacing(_ name: String, _ value: JSONValue?) -> JSONValue {
    guard case .object(let members) = self else { return self }
    let others = members.filter { $0.name != name }
    return .object(value.map { others + [(name: name, value: $0)] } ?? others)
  }
}

@Suite(.serialized, .timeLimit(.minutes(3))) struct CatalogueTests {
  private static func withStrictDaemon(_ body: (DaemonProcess) async throws -> Void) async throws {
    let directory = try DaemonProcess.temporaryDirectory()
    let daemon = try DaemonProcess(
      executable: DaemonProcess.executableOfThisBuild(), directory: directory,
      arguments: ["--schemas", catalogue, "--strict-schemas", "true"])
    try await daemon.waitUntilReady()
    try await body(daemon)
    try await daemon.stop()
    try FileManager.default.removeItem(atPath: directory)
  }

  @Test func `every schema has examples that are whole events of its type, told apart by their ids`() throws {
    var names: Set<String> = []
    for schema in try CatalogueSchema.all() {
      #expect(!schema.examples.isEmpty, "\(schema.type) has no example")
      #expect(schema.json["title"]?.string?.isEmpty == false, "\(schema.type) has no title")
      for example in schema.examples {
        #expect(example["type"]?.string == schema.type)
        for name in ["time", "channel", "audience"] { #expect(example[name]?.string != nil, "\(schema.type): an example has no \(name)") }
        let isNew = names.insert("\(example["source"]?.string ?? "") \(example["id"]?.string ?? "")").inserted
        #expect(isNew, "\(schema.type): an id twice")
      }
    }
  }

  @Test(arguments: [
    "web", "app", "push", "email", "search", "print", "social", "sms", "whatsapp", "chat", "phone", "store", "device", "airport", "kiosk",
    "inflight", "backoffice",
  ])
  func `every channel is in the catalogue`(channel: String) throws {
    #expect(try CatalogueSchema.all().contains { $0.examples.contains { $0["channel"]?.string == channel } })
  }

  @Test(arguments: ["order.", "case.", "consent.", "identity.", "ad.", "device.", "call.", "payment."])
  func `every area is in the catalogue`(prefix: String) throws {
    #expect(try CatalogueSchema.all().contains { $0.type.hasPrefix(prefix) })
  }

  @Test func `what several schemas define is the same in all of them`() throws {
    var seen: [String: (type: String, text: [UInt8])] = [:]
    for schema in try CatalogueSchema.all() {
      guard case .object(let definitions)? = schema.json["definitions"] else { continue }
      for (name, value) in definitions {
        let text = value.encoded()
        #expect(seen[name, default: (schema.type, text)].text == text, "\(name) differs in \(schema.type) and \(seen[name]?.type ?? "")")
        seen[name] = seen[name] ?? (schema.type, text)
      }
    }
    #expect(Set(seen.keys) == ["identifierValue", "identifiers", "participants", "money"])
  }

  @Test func `a strict daemon takes every example, names with accents among them, and gives it back as it was`() async throws {
    let examples = try CatalogueSchema.all().flatMap(\.examples).map { $0.encoded() }
    #expect(examples.contains { String(decoding: $0, as: UTF8.self).contains("Íñigo Núñez Ordóñez") })
    try await Self.withStrictDaemon { daemon in
      let answer = try await daemon.client.append(examples)
      #expect(answer.appended == examples.count)
      let lines = try await daemon.body("/v1/events").split(separator: UInt8(ascii: "\n"))
      for (line, example) in zip(lines, examples) {
        #expect(try JSONValue(parsing: Array(line))["event"]?.encoded() == example)
      }
      #expect(lines.count == examples.count)
    }
  }

  @Test func `the airline's sample follows the catalogue`() async throws {
    let sample = [UInt8](try Data(contentsOf: root.appending(path: "deploy/sample/airline.ndjson")))
    try await Self.withStrictDaemon { daemon in
      let answer = try await daemon.client.request(
        "POST", "/v1/events?atomic=true", headers: [(name: "content-type", value: MediaType.ndjson)], body: sample)
      #expect(answer.status == 200, "\(String(decoding: answer.body, as: UTF8.self))")
      #expect(try answer.json()["appended"]?.integer == 90)
    }
  }

  @Test func `each schema refuses an example that is spoilt`() async throws {
    let schemas = try CatalogueSchema.all()
    try await Self.withStrictDaemon { daemon in
      for schema in schemas {
        let example = try #require(schema.examples.first)
        let data = try #require(example["data"])
        var spoilt: [(what: String, data: JSONValue)] = [
          ("data is a text", .string("x")), ("content is a list", data.replacing("content", .array([]))),
          ("an amount has a comma", data.replacing("value", .object([("amount", .string("1,5")), ("currency", .string("EUR"))]))),
          ("a currency is a word", data.replacing("cost", .object([("amount", .number("1")), ("currency", .string("euro"))]))),
          ("an identifier is an object", data.replacing("identifiers", .object([("email", .object([]))]))),
          (
            "both forms of persons",
            data.replacing("participants", .array([.object([("identifiers", .object([("a", .string("b"))]))])]))
              .replacing("identifiers", .object([("a", .string("b"))]))
          ),
        ]
        if schema.json["anyOf"] != nil { spoilt.append(("nobody", data.replacing("identifiers", nil).replacing("participants", nil))) }
        for name in schema.json["required"]?.array?.compactMap(\.string) ?? [] { spoilt.append(("no \(name)", data.replacing(name, nil))) }
        for name in schema.json["properties"]?["content"]?["required"]?.array?.compactMap(\.string) ?? [] {
          let content = data["content"]?.replacing(name, nil)
          spoilt.append(("no content.\(name)", data.replacing("content", content)))
        }
        for (what, data) in spoilt {
          let response = try await daemon.client.request(
            "POST", "/v1/events", headers: [(name: "content-type", value: MediaType.cloudEvent)],
            body: example.replacing("data", data).encoded())
          #expect(response.status == 422, "\(schema.type): \(what) was answered with \(response.status)")
        }
      }
      #expect(try await daemon.client.log()["head"]?.integer == 0)
    }
  }
}
