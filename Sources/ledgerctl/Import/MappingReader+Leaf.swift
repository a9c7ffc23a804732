// Why: a value of an event, read from the mapping: where it comes from, what is done with it, and in which order.
//
// Invariant: keys that mean nothing for the value's type are refused, so that nobody believes in a mark or a zone that is
// not used.

import Yams

extension MappingReader {
  func template(_ node: Node, _ path: String) throws(MappingError) -> [Mapping.Piece] {
    let bytes = Array(try text(node, path).utf8)
    var pieces: [Mapping.Piece] = []
    var literal: [UInt8] = []
    var index = 0
    while index < bytes.count {
      let byte = bytes[index]
      let isDoubled = index + 1 < bytes.count && bytes[index + 1] == byte
      if (byte == UInt8(ascii: "{") || byte == UInt8(ascii: "}")) && isDoubled {
        literal.append(byte)
        index += 2
        continue
      }
      guard byte == UInt8(ascii: "{") else {
        if byte == UInt8(ascii: "}") { throw failure(node, path, "a } without its {; write }} for the character") }
        literal.append(byte)
        index += 1
        continue
      }
      guard let end = bytes[index...].firstIndex(of: UInt8(ascii: "}")), end > index + 1 else {
        throw failure(node, path, "a { without a name and its }; write {{ for the character")
      }
      if !literal.isEmpty { pieces.append(.literal(literal)) }
      literal = []
      switch String(decoding: bytes[(index + 1)..<end], as: UTF8.self) {
      case "file": pieces.append(.file)
      case "line": pieces.append(.line)
      case let name: pieces.append(.column(name))
      }
      index = end + 1
    }
    if !literal.isEmpty || pieces.isEmpty { pieces.append(.literal(literal)) }
    return pieces
  }

  func leaf(_ node: Node, _ members: [Member], _ path: String, isData: Bool) throws(MappingError) -> Mapping.Node {
    if let constant = members.first(where: { $0.name == "constant" }) {
      if let other = members.first(where: { $0.name != "constant" }) {
        let key = "\(path).\(other.name)"
        guard MappingKeys.leaf.contains(other.name) else { throw unknown(other, key, among: MappingKeys.leaf) }
        throw failure(other.key, key, "a constant stands alone")
      }
      guard isData || constant.value.scalar != nil else {
        throw failure(constant.value, path, "an attribute has one value; objects and lists belong into data")
      }
      return .constant(try self.constant(constant.value, path))
    }
    var leaf = newLeaf(node, path, [])
    for member in members { try read(member, "\(path).\(member.name)", into: &leaf) }
    func refuse(_ names: [String], _ reason: String) throws(MappingError) {
      guard let stray = members.first(where: { names.contains($0.name) }) else { return }
      throw failure(stray.key, "\(path).\(stray.name)", reason)
    }
    if leaf.type != .time { try refuse(["format", "zone"], "is for values of type time") }
    if leaf.type != .decimal && leaf.type != .number {
      try refuse(["decimal-mark", "group-mark"], "is for values of type decimal or number")
    }
    try check(leaf.marks, node, "\(path).group-mark")
    return .leaf(leaf)
  }

  private func read(_ member: Member, _ key: String, into leaf: inout Mapping.Leaf) throws(MappingError) {
    let value = member.value
    switch member.name {
    case "column", "template":
      guard leaf.template.isEmpty else { throw failure(member.key, key, "a value has a column or a template, not both") }
      leaf.template = member.name == "column" ? [.column(try text(value, key))] : try template(value, key)
    case "lookup": leaf.lookup = try lookup(value, key)
    case "map": leaf.map = try map(value, key)
    case "default": leaf.fallback = try template(value, key)
    case "type": leaf.type = try choice(value, key, Mapping.ValueType.self)
    case "format":
      leaf.time.shape = try shape(value, key)
      leaf.time.name = try text(value, key)
    case "zone": leaf.time.zone = try zone(value, key)
    case "decimal-mark":
      leaf.marks.decimal = try decimalMark(value, key)
      leaf.marks.isGiven = true
    case "group-mark":
      leaf.marks.groups = try groupMarks(value, key)
      leaf.marks.isGiven = true
    case "nulls": leaf.nulls = try texts(value, key).map { Array($0.utf8) }
    case "if-null": leaf.nullRule = try choice(value, key, Mapping.NullRule.self)
    case "when": leaf.when = try condition(value, key)
    default: throw unknown(member, key, among: MappingKeys.leaf)
    }
  }

  private func shape(_ node: Node, _ key: String) throws(MappingError) -> TimeFormat.Shape {
    let name = try text(node, key)
    switch TimeFormat.shape(name) {
    case .success(let shape): return shape
    case .failure(let problem):
      let nearest = Suggestion.words(Suggestion.nearest(to: name, among: TimeFormat.names))
      throw failure(
        node, key,
        "\(problem.description)\(nearest); \(TimeFormat.names.joined(separator: ", ")), or \(TimeFormat.directives.joined(separator: " "))")
    }
  }

  private func lookup(_ node: Node, _ key: String) throws(MappingError) -> Mapping.Lookup {
    var found: [String: String] = [:]
    var shape = FileShape()
    for member in try members(node, key) {
      let place = "\(key).\(member.name)"
      switch member.name {
      case "file", "key", "column": found[member.name] = try text(member.value, place)
      default: guard try read(member, place, into: &shape) else { throw unknown(member, place, among: MappingKeys.lookup) }
      }
    }
    guard let file = found["file"], let column = found["key"], let result = found["column"] else {
      throw failure(node, key, "file, key and column are needed")
    }
    try check(shape, node, key + ".")
    return Mapping.Lookup(file: file, key: column, column: result, shape: shape)
  }

  private func map(_ node: Node, _ key: String) throws(MappingError) -> [[UInt8]: [UInt8]?] {
    var map: [[UInt8]: [UInt8]?] = [:]
    for member in try members(node, key) {
      map.updateValue(try nullableText(member.value, "\(key).\(member.name)"), forKey: Array(member.name.utf8))
    }
    return map
  }
}
