// The page about the calls, made of `Schemas/openapi.yaml`.

import Foundation
import Yams

/// The contract, as far as pages are made of it.
struct Contract {
  let root: Node

  init(yaml: String) throws {
    guard let root = try Yams.compose(yaml: yaml) else { throw PageError(description: "openapi.yaml is empty") }
    self.root = root
  }

  /// What a `$ref` points at, else the node itself.
  func resolved(_ node: Node) throws -> Node {
    guard let reference = node["$ref"]?.string, reference.hasPrefix("#/") else { return node }
    var found = root
    for name in reference.dropFirst(2).split(separator: "/") {
      guard let next = found[String(name)] else { throw PageError(description: "openapi.yaml has no \(reference)") }
      found = next
    }
    return found
  }

  /// The paths with their methods, in capitals.
  var methods: [(path: String, methods: [String])] {
    (root["paths"]?.mapping ?? [:]).map { path, item in
      let names = item.mapping?.keys.compactMap(\.string) ?? []
      return (path.string ?? "", names.filter { Contract.methods.contains($0) }.map { $0.uppercased() })
    }
  }

  static let methods = ["get", "put", "post", "patch", "delete"]

  /// The codes that answers can have.
  var codes: [String] { root["components"]?["schemas"]?["Problem"]?["properties"]?["code"]?["enum"]?.array().compactMap(\.string) ?? [] }

  /// The codes of the table in the description, with their status.
  var describedCodes: [(code: String, status: Int)] {
    (root["info"]?["description"]?.string ?? "").matches(of: #/\| `([a-z-]+)` \| ([0-9]+) \|/#)
      .compactMap { match in Int(match.output.2).map { (String(match.output.1), $0) } }
  }
}

/// Makes the page.
struct HTTPReference {
  let contract: Contract
  private var lines: [String] = []

  init(_ contract: Contract) { self.contract = contract }

  /// The page.
  mutating func page() throws -> String {
    let description = contract.root["info"]?["description"]?.string ?? ""
    let opening = description.components(separatedBy: "\n\n").prefix { !$0.contains("| code |") }.joined(separator: "\n\n")
    lines = [
      "# HTTP", "", "Every call, its parameters and its answers.", "", "## Overview", "",
      opening.replacing(#/ Every error is `application.problem.json`[^.]*:$/#, with: ""), "",
      "Errors are `application/problem+json`; <doc:ErrorCodes> has every code. The bodies of requests and answers are described in `Schemas/openapi.yaml`, of which this page is made.",
      "",
    ]
    for (path, item) in contract.root["paths"]?.mapping ?? [:] {
      for method in Contract.methods {
        if let call = item[method] { try add(call, method: method.uppercased(), path: path.string ?? "", shared: item["parameters"]) }
      }
    }
    return lines.joined(separator: "\n") + "\n"
  }

  private mutating func add(_ call: Node, method: String, path: String, shared: Node?) throws {
    lines += ["## \(method) \(path)", "", Self.sentence(call["summary"]?.string ?? ""), ""]
    if let text = call["description"]?.string { lines += [Self.oneLine(text), ""] }
    let parameters = try ((shared?.array() ?? []) + (call["parameters"]?.array() ?? [])).map { try contract.resolved($0) }
    if !parameters.isEmpty {
      lines += ["| parameter | in | meaning |", "|---|---|---|"]
      for parameter in parameters {
        let schema = try parameter["schema"].map { try contract.resolved($0) }
        let need = parameter["required"]?.bool == true && parameter["in"]?.string != "path" ? "Needed." : ""
        let words = [Self.oneLine(parameter["description"]?.string ?? ""), Self.values(schema), need].filter { !$0.isEmpty }
        lines.append(
          "| `\(parameter["name"]?.string ?? "")` | \(parameter["in"]?.string ?? "") | \(words.joined(separator: " ").replacing("|", with: "\\|")) |"
        )
      }
      lines.append("")
    }
    if let body = call["requestBody"]?["content"]?.mapping {
      lines += ["Bodies: " + body.keys.compactMap(\.string).map { "`\($0)`" }.joined(separator: ", ") + ".", ""]
    }
    lines += ["| status | answer |", "|---|---|"]
    for (status, node) in call["responses"]?.mapping ?? [:] where status.string != "default" {
      let response = try contract.resolved(node)
      let types = (response["content"]?.mapping?.keys.compactMap(\.string) ?? []).filter { $0 != "application/problem+json" }.map {
        "`\($0)`"
      }
      let words = [Self.oneLine(response["description"]?.string ?? ""), types.isEmpty ? "" : types.joined(separator: ", ") + "."]
      lines.append("| \(status.string ?? "") | \(words.filter { !$0.isEmpty }.joined(separator: " ").replacing("|", with: "\\|")) |")
    }
    lines.append("")
  }

  private static func sentence(_ text: String) -> String { text.hasSuffix(".") ? text : text + "." }

  private static func oneLine(_ text: String) -> String {
    text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
  }

  /// What a value may be, in words.
  private static func values(_ schema: Node?) -> String {
    guard let schema else { return "" }
    var words: [String] = []
    let choices = schema["enum"]?.array() ?? schema["const"].map { [$0] } ?? []
    if !choices.isEmpty { words.append(choices.compactMap(\.string).map { "`\($0)`" }.joined(separator: ", ")) }
    switch (schema["minimum"]?.string, schema["maximum"]?.string) {
    case (let least?, let most?): words.append("\(least) to \(most)")
    case (let least?, nil): words.append("\(least) or more")
    case (nil, let most?): words.append("at most \(most)")
    case (nil, nil): break
    }
    if schema["format"]?.string == "date-time" { words.append("a time as in RFC 3339") }
    if schema["type"]?.string == "array" { words.append("may be given several times") }
    if schema["type"]?.string == "boolean" { words.append("`true` or `false`") }
    if let value = schema["default"]?.string { words.append("default `\(value)`") }
    let text = words.joined(separator: "; ")
    return text.isEmpty ? "" : text.prefix(1).uppercased() + text.dropFirst() + "."
  }
}
