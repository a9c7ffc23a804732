// The JSON-Schema-Test-Suite (Debian's json-schema-test-suite), draft-07: what fails is what the documentation says fails,
// no more and no less.

import Bytes
import Foundation
import JSON
import JSONSchema
import Testing

@Suite struct OfficialSuiteTests {
  static let folder = "/usr/share/json-schema-test-suite/tests/draft7"

  /// One outcome that is not the suite's.
  private func failures(in file: URL, named name: String) throws -> [(line: String, count: Int)] {
    let text = [UInt8](try Data(contentsOf: file))
    var json = JSONReader()
    let root = try json.parse(text.rawSpan)
    var failures: [(line: String, count: Int)] = []
    var count = 0
    json.forEachElement(of: root) { group in
      guard let description = json.member("description", of: group), let schemaNode = json.member("schema", of: group),
        let tests = json.member("tests", of: group)
      else { return }
      let title = json.string(of: description)
      let testCount = json.childCount(of: tests)
      count += testCount
      let schema: JSONSchema
      do throws(JSONSchemaError) {
        schema = try JSONSchema(Array(text[json.textRange(of: schemaNode)]))
      } catch {
        failures.append(("- `\(name)`: *\(title)*: the schema is refused", testCount))
        return
      }
      json.forEachElement(of: tests) { test in
        guard let what = json.member("description", of: test), let data = json.member("data", of: test),
          let valid = json.member("valid", of: test)
        else { return }
        let violation = json.withText(of: data) { schema.check($0) }
        if (violation == nil) != json.bool(of: valid) {
          failures.append(("- `\(name)`: *\(title)*: \(json.string(of: what))", 1))
        }
      }
    }

    return failures
  }



  @Test func `the suite fails exactly where the documentation says so`() throws {
    try #require(FileManager.default.fileExists(atPath: Self.folder), "install Debian's json-schema-test-suite (deploy/install)")
    var found: [String] = []
    var files: [String] = []
    let walk = try #require(FileManager.default.enumerator(atPath: Self.folder))
    for case let name as String in walk where name.hasSuffix(".json") { files.append(name) }
    for name in files.sorted() {
      found += try failures(in: URL(filePath: Self.folder + "/" + name), named: name).map(\.line)
    }
    print(found.joined(separator: "\n"))
    #expect(found.isEmpty)
  }
}
