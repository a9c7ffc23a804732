// Checks a value against a JSON Schema, as far as the schema of mappings uses the language: an unknown keyword is a
// failure, so that the check cannot pass over what it does not understand.
import LedgerClient
import Yams

/// A JSON Schema.
struct SchemaCheck {
  struct UnknownKeyword: Error { let name: String }

  let root: JSONValue
  private static let annotations = ["$schema", "$id", "$defs", "title", "description", "default", "examples"]

  /// Whether a value fulfils the schema.
  func allows(_ value: JSONValue) throws -> Bool { try allows(value, root) }

  private func allows(_ value: JSONValue, _ schema: JSONValue) throws -> Bool {
    if case .bool(let verdict) = schema { return verdict }
    guard case .object(let keywords) = schema else { return false }
    for (keyword, argument) in keywords where !Self.annotations.contains(keyword) {
      guard try holds(keyword, argument, schema, value) else { return false }
    }
    return true
  }

  private func holds(_ keyword: String, _ argument: JSONValue, _ schema: JSONValue, _ value: JSONValue) throws -> Bool {
    let list = argument.array ?? []
    switch keyword {
    case "$ref":
      var target = root
      for name in (argument.string ?? "").dropFirst(2).split(separator: "/") { target = target[String(name)] ?? .bool(false) }
      return try allows(value, target)
    case "type": return (argument.array ?? [argument]).contains { Self.isOfType($0.string ?? "", value) }
    case "enum": return list.contains(value)
    case "const": return argument == value
    case "anyOf": return try list.contains { try allows(value, $0) }
    case "allOf": return try list.allSatisfy { try allows(value, $0) }
    case "oneOf": return try list.count(where: { try allows(value, $0) }) == 1
    case "not": return try !allows(value, argument)
    case "if": return try !allows(value, argument) || allows(value, schema["then"] ?? .bool(true))
    case "then": return true  // with `if`
    case "required": return list.allSatisfy { name in members(value)?.contains { $0.name == name.string } ?? true }
    case "maxProperties": return (members(value)?.count ?? 0) <= argument.integer ?? 0
    case "properties": return try members(value)?.allSatisfy { try allows($0.value, argument[$0.name] ?? .bool(true)) } ?? true
    case "additionalProperties":
      return try members(value)?.allSatisfy { member in
        try schema["properties"]?[member.name] != nil || allows(member.value, argument)
      } ?? true
    case "propertyNames": return try members(value)?.allSatisfy { try allows(.string($0.name), argument) } ?? true
    case "items": return try value.array?.allSatisfy { try allows($0, argument) } ?? true
    case "minItems": return Int64(value.array?.count ?? .max) >= argument.integer ?? 0
    case "uniqueItems": return value.array.map { Set($0.map { $0.encoded() }).count == $0.count } ?? true
    case "pattern":
      guard let text = value.string else { return true }
      return try Regex(argument.string ?? "").firstMatch(in: text) != nil
    case "minLength": return value.string.map { $0.unicodeScalars.count >= argument.integer ?? 0 } ?? true
    case "maxLength": return value.string.map { $0.unicodeScalars.count <= argument.integer ?? 0 } ?? true
    case "minimum": return value.integer.map { $0 >= argument.integer ?? 0 } ?? true
    case "maximum": return value.integer.map { $0 <= argument.integer ?? 0 } ?? true
    default: throw UnknownKeyword(name: keyword)
    }
  }

  private func members(_ value: JSONValue) -> [(name: String, value: JSONValue)]? {
    if case .object(let members) = value { members } else { nil }
  }

  private static func isOfType(_ name: String, _ value: JSONValue) -> Bool {
    switch (name, value) {
    case ("null", .null), ("boolean", .bool), ("number", .number), ("string", .string), ("array", .array), ("object", .object): true
    case ("integer", .number): value.integer != nil
    default: false
    }
  }
}

/// YAML as JSON: unquoted numbers, booleans and nulls are themselves.
func json(ofYAML node: Node) throws -> JSONValue {
  if let sequence = node.sequence { return .array(try sequence.map { try json(ofYAML: $0) }) }
  if let mapping = node.mapping {
    return .object(try mapping.map { (name: $0.key.string ?? "", value: try json(ofYAML: $0.value)) })
  }
  let text = node.scalar?.string ?? ""
  guard node.scalar?.style == .plain else { return .string(text) }
  if text.isEmpty || text == "~" { return .null }
  do {
    let value = try JSONValue(parsing: Array(text.utf8))
    return value.array == nil ? value : .string(text)
  } catch {
    return .string(text)  // no number and no word of JSON's
  }
}
