// The JSON-Schema-Test-Suite (Debian's json-schema-test-suite), draft-07 with its optional tests: what fails is what
// Reference/JSONSchema.md says fails, no more and no less.

import Bytes
import Foundation
import JSON
import JSONSchema
import Testing

/// The folder with `Package.swift`.
let packageRoot = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

@Suite struct OfficialSuiteTests {
  static let folder = "/usr/share/json-schema-test-suite/tests/draft7"

  /// How a file of the suite went: how many tests it has, and a line for each that went another way.
  private func outcome(of file: String) throws -> (count: Int, failures: [String]) {
    let text = [UInt8](try Data(contentsOf: URL(filePath: Self.folder + "/" + file)))
    var json = JSONReader()
    let root = try json.parse(text.rawSpan)
    var failures: [String] = []
    var count = 0
    json.forEachElement(of: root) { group in
      guard let description = json.member("description", of: group), let schemaNode = json.member("schema", of: group),
        let tests = json.member("tests", of: group)
      else {
        Issue.record("\(file) has another form")
        return
      }
      let title = "- `\(file)`: *\(json.string(of: description))*: "
      count += json.childCount(of: tests)
      let schema: JSONSchema
      do throws(JSONSchemaError) {
        schema = try JSONSchema(Array(text[json.textRange(of: schemaNode)]))
      } catch {
        failures.append(title + "the schema is refused")
        return
      }
      json.forEachElement(of: tests) { test in
        guard let what = json.member("description", of: test), let data = json.member("data", of: test),
          let valid = json.member("valid", of: test)
        else {
          Issue.record("\(file) has a test of another form")
          return
        }
        let violation = json.withText(of: data) { schema.check($0) }
        if (violation == nil) != json.bool(of: valid) { failures.append(title + json.string(of: what)) }
      }
    }
    return (count, failures)
  }

  @Test func `the suite fails exactly where the documentation says so`() throws {
    let walk = try #require(
      FileManager.default.enumerator(atPath: Self.folder), "Debian's json-schema-test-suite is missing; deploy/install installs it")
    let files = walk.compactMap { $0 as? String }.filter { $0.hasSuffix(".json") }.sorted()
    try #require(files.count > 50, "\(Self.folder) is not the suite; deploy/install installs it")
    var found: [String] = []
    var count = 0
    for file in files {
      let outcome = try outcome(of: file)
      found += outcome.failures
      count += outcome.count
    }
    #expect(count > 500)
    let page = packageRoot.appending(path: "Sources/Documentation/InteractionLedger.docc/Reference/JSONSchema.md")
    let documented = try String(contentsOf: page, encoding: .utf8).split(separator: "\n").map(String.init).filter { $0.hasPrefix("- `") }
    for line in found where !documented.contains(line) { Issue.record("this fails and is not documented: \(line)") }
    for line in documented where !found.contains(line) { Issue.record("this is documented to fail and passes: \(line)") }
  }
}
