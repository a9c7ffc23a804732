// Why: the tree of an event in a mapping: which of its objects are values, and which are objects of the event.
//
// Invariants:
// - An object with `column`, `template` or `constant` is a value; one that looks like a value and has none of them is a
//   mistake and is refused, never taken as data.
// - `id`, `source` and `type` are never left out: a row without them is rejected.

import Bytes
import Yams

extension MappingReader {
  mutating func event(_ node: Node) throws(MappingError) -> Mapping.Node {
    var members: [(name: String, node: Mapping.Node)] = [("specversion", .constant(Array(#""1.0""#.utf8)))]
    for member in try self.members(node, "event") {
      let (name, value) = (member.name, member.value)
      let path = "event.\(name)"
      if name == "specversion" {
        guard try text(value, path) == "1.0" else { throw failure(value, path, "must be 1.0") }
        continue
      }
      let isName = name.utf8.allSatisfy { (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) }
      guard isName, !name.isEmpty else {
        throw failure(member.key, path, "a CloudEvents attribute has only lower-case letters and digits")
      }
      if !MappingKeys.attributes.contains(name), let nearest = Suggestion.nearest(to: name, among: MappingKeys.attributes) {
        warn(member.key, path, "did you mean “\(nearest)”? It is taken as an attribute of your own")
      }
      members.append((name, name == "data" ? try data(value, path) : try attribute(name, value, path)))
    }
    for name in ["id", "source", "type"] where !members.contains(where: { $0.name == name }) {
      throw failure(node, "event.\(name)", "is missing")
    }
    return .object(members)
  }

  private func attribute(_ name: String, _ value: Node, _ path: String) throws(MappingError) -> Mapping.Node {
    var attribute = try node(value, path, isData: false)
    if ["id", "source", "type"].contains(name), case .leaf(var leaf) = attribute, leaf.nullRule == .omit || leaf.nullRule == .null {
      leaf.nullRule = .reject
      attribute = .leaf(leaf)
    }
    switch attribute {
    case .object, .array: throw failure(value, path, "an attribute has one value; objects and lists belong into data")
    case .constant, .leaf: return attribute
    }
  }

  /// `data`, and in it what the ledger interprets.
  private mutating func data(_ node: Node, _ path: String) throws(MappingError) -> Mapping.Node {
    let data = try self.node(node, path, isData: true)
    guard case .object(let nodes) = data, node.mapping != nil else { return data }
    for (member, made) in zip(try members(node, path), nodes) {
      let place = "\(path).\(member.name)"
      if !MappingKeys.profile.contains(member.name), let nearest = Suggestion.nearest(to: member.name, among: MappingKeys.profile) {
        warn(member.key, place, "did you mean “\(nearest)”? It is taken as data that the ledger does not interpret")
      }
      switch (member.name, made.node) {
      case ("identifiers", let identifiers): try check(identifiers: identifiers, member.value, place)
      case ("value", .object), ("cost", .object): try check(names: MappingKeys.money, member.value, place)
      case ("participants", .array(let participants)):
        for (index, participant) in participants.enumerated() {
          guard let value = member.value.sequence?[index], case .object(let parts) = participant else { continue }
          try check(names: MappingKeys.participant, value, "\(place)[\(index)]")
          for part in parts where part.name == "identifiers" {
            guard let identifiers = value["identifiers"] else { continue }
            try check(identifiers: part.node, identifiers, "\(place)[\(index)].identifiers")
          }
        }
      default: break
      }
    }
    return data
  }

  /// Every identifier is a value or a list of values.
  private func check(identifiers: Mapping.Node, _ node: Node, _ path: String) throws(MappingError) {
    guard case .object(let kinds) = identifiers else {
      if case .constant = identifiers { return }
      throw failure(node, path, "must hold kinds and their values, such as email: \"{email}\"")
    }
    for kind in kinds {
      var values = [kind.node]
      if case .array(let list) = kind.node { values = list }
      for value in values {
        guard case .object = value else { continue }
        throw failure(node[kind.name] ?? node, "\(path).\(kind.name)", "must be a value or a list of values: {column: …} or \"{…}\"")
      }
    }
  }

  /// A name that is nearly one of `names` is a mistake; others are data.
  private func check(names: [String], _ node: Node, _ path: String) throws(MappingError) {
    for member in try members(node, path) where !names.contains(member.name) {
      guard let nearest = Suggestion.nearest(to: member.name, among: names) else { continue }
      throw failure(member.key, "\(path).\(member.name)", "unknown key, did you mean “\(nearest)”?")
    }
  }

  private func node(_ node: Node, _ path: String, isData: Bool) throws(MappingError) -> Mapping.Node {
    if let scalar = node.scalar {
      if isData, scalar.style == .plain, let constant = Self.plainConstant(scalar.string) { return .constant(constant) }
      return .leaf(newLeaf(node, path, try template(node, path)))
    }
    if let sequence = node.sequence {
      var elements: [Mapping.Node] = []
      for (index, element) in sequence.enumerated() { elements.append(try self.node(element, "\(path)[\(index)]", isData: isData)) }
      return .array(elements)
    }
    let members = try self.members(node, path)
    if members.contains(where: { Self.sources.contains($0.name) }) { return try leaf(node, members, path, isData: isData) }
    try refuseLookalike(members, path)
    var object: [(name: String, node: Mapping.Node)] = []
    for member in members { object.append((member.name, try self.node(member.value, "\(path).\(member.name)", isData: isData))) }
    return .object(object)
  }

  /// What a value can come from.
  private static let sources = ["column", "template", "constant"]

  /// Refuses an object of the event that was most likely meant as a value: a source misspelt, or keys without a source.
  private func refuseLookalike(_ members: [Member], _ path: String) throws(MappingError) {
    let mend = "; if it is data and no value, write constant: {…} around it"
    for member in members {
      if let nearest = Suggestion.nearest(to: member.name, among: Self.sources) {
        throw failure(member.key, "\(path).\(member.name)", "unknown key, did you mean “\(nearest)”?" + mend)
      }
      let isTyped = member.name == "type" && member.value.string.flatMap { Mapping.ValueType(rawValue: $0) } != nil
      guard
        isTyped || ["decimal-mark", "group-mark", "if-null"].contains(member.name) || member.value["file"] != nil && member.name == "lookup"
      else { continue }
      let stray = members.first { !MappingKeys.leaf.contains($0.name) }
      throw failure(
        (stray ?? member).key, "\(path).\(stray?.name ?? member.name)",
        (stray == nil ? "a value needs" : "unknown key; a value needs") + " one of column, template, constant" + mend)
    }
  }

  /// Unquoted numbers, booleans and nulls in `data` are themselves.
  private static func plainConstant(_ text: String) -> [UInt8]? {
    if ["true", "false", "null"].contains(text) { return Array(text.utf8) }
    if text == "~" || text.isEmpty { return Array("null".utf8) }
    return JSONToken.isNumber(Array(text.utf8).rawSpan) ? Array(text.utf8) : nil
  }

  /// YAML as JSON, nothing in it a template.
  func constant(_ node: Node, _ path: String) throws(MappingError) -> [UInt8] {
    var bytes: [UInt8] = []
    if let scalar = node.scalar {
      if scalar.style == .plain, let constant = Self.plainConstant(scalar.string) { return constant }
      return JSONToken.string(scalar.string)
    }
    if let sequence = node.sequence {
      for element in sequence { bytes += (bytes.isEmpty ? "" : ",").utf8 + (try constant(element, path)) }
      return [UInt8(ascii: "[")] + bytes + [UInt8(ascii: "]")]
    }
    for member in try members(node, path) {
      if !bytes.isEmpty { bytes.append(UInt8(ascii: ",")) }
      bytes += JSONToken.string(member.name)
      bytes.append(UInt8(ascii: ":"))
      bytes += try constant(member.value, "\(path).\(member.name)")
    }
    return [UInt8(ascii: "{")] + bytes + [UInt8(ascii: "}")]
  }

  func newLeaf(_ node: Node, _ path: String, _ template: [Mapping.Piece]) -> Mapping.Leaf {
    var leaf = leafDefault
    leaf.path = path
    leaf.place = place(node, path)
    leaf.template = template
    return leaf
  }
}
