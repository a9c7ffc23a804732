// Why: reads a mapping's YAML, and says what is wrong with it so that its author finds the place.
//
// Invariants: unknown keys are refused; every message has the form `file:line: key: what is wrong`.

import Yams

/// Reads one mapping.
struct MappingReader {
  let file: String

  /// Reads the YAML text of a mapping.
  ///
  /// - Parameter file: Its name, for messages.
  static func read(_ yaml: String, file: String) throws(MappingError) -> Mapping {
    let reader = MappingReader(file: file)
    let root: Node?
    do {
      root = try Yams.compose(yaml: yaml)
    } catch {
      throw MappingError(description: "\(file): no valid YAML: \(error)")
    }
    guard let root else { throw MappingError(description: "\(file): the mapping is empty; it needs the key “event”") }
    return try reader.mapping(root)
  }

  private func failure(_ node: Node?, _ key: String, _ reason: String) -> MappingError {
    let line = node?.mark.map { ":\($0.line)" } ?? ""
    return MappingError(description: "\(file)\(line): \(key): \(reason)")
  }

  private func members(_ node: Node, _ key: String) throws(MappingError) -> [(name: String, value: Node)] {
    guard let mapping = node.mapping else { throw failure(node, key, "must hold keys and values") }
    var members: [(name: String, value: Node)] = []
    for (name, value) in mapping {
      guard let scalar = name.scalar else { throw failure(name, key, "a key must be a text") }
      members.append((name: scalar.string, value: value))
    }
    return members
  }

  private func text(_ node: Node, _ key: String) throws(MappingError) -> String {
    guard let scalar = node.scalar else { throw failure(node, key, "must be a text") }
    return scalar.string
  }

  private func texts(_ node: Node, _ key: String) throws(MappingError) -> [String] {
    guard let sequence = node.sequence else { throw failure(node, key, "must be a list of texts") }
    var texts: [String] = []
    for element in sequence { texts.append(try text(element, key)) }
    return texts
  }

  private func choice<Choice: RawRepresentable & CaseIterable>(
    _ node: Node, _ key: String, _: Choice.Type
  ) throws(MappingError) -> Choice where Choice.RawValue == String {
    let name = try text(node, key)
    guard let choice = Choice(rawValue: name) else {
      throw failure(node, key, "“\(name)” is unknown; one of \(Choice.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    return choice
  }

  private func byte(_ node: Node, _ key: String) throws(MappingError) -> UInt8 {
    let bytes = Array(try text(node, key).utf8)
    guard bytes.count == 1, bytes[0] < 0x80, bytes[0] != 0x0A, bytes[0] != 0x22 else {
      throw failure(node, key, "must be one ASCII character, no quote and no line feed")
    }
    return bytes[0]
  }

  private func flag(_ node: Node, _ key: String) throws(MappingError) -> Bool {
    switch try text(node, key) {
    case "true": return true
    case "false": return false
    default: throw failure(node, key, "must be true or false")
    }
  }

  private func mapping(_ root: Node) throws(MappingError) -> Mapping {
    var mapping = Mapping()
    var delimiter: UInt8?
    var event: Node?
    for (name, value) in try members(root, "mapping") {
      switch name {
      case "format": mapping.format = try choice(value, name, Mapping.Format.self)
      case "encoding": mapping.encoding = try choice(value, name, Mapping.Encoding.self)
      case "header": mapping.header = try header(value)
      case "delimiter": delimiter = try byte(value, name)
      case "trim": mapping.trims = try flag(value, name)
      case "nulls": mapping.nulls = try texts(value, name).map { Array($0.utf8) }
      case "when": mapping.when = try condition(value, name)
      case "event": event = value
      default:
        throw failure(value, name, "unknown key; one of format, header, encoding, delimiter, trim, nulls, when, event")
      }
    }
    guard let event else { throw failure(root, "event", "is missing") }
    mapping.delimiter = delimiter ?? (mapping.format == .tsv ? 0x09 : UInt8(ascii: ","))
    mapping.event = try self.event(event)
    return mapping
  }

  private func header(_ node: Node) throws(MappingError) -> Mapping.Header {
    if node.sequence != nil { return .names(try texts(node, "header")) }
    guard try flag(node, "header") else { throw failure(node, "header", "false needs names: give the list of the columns' names") }
    return .firstRecord
  }

  private func event(_ node: Node) throws(MappingError) -> Mapping.Node {
    var members: [(name: String, node: Mapping.Node)] = [("specversion", .constant(Array(#""1.0""#.utf8)))]
    for (name, value) in try self.members(node, "event") {
      let path = "event.\(name)"
      if name == "specversion" {
        guard try text(value, path) == "1.0" else { throw failure(value, path, "must be 1.0") }
        continue
      }
      let isName = name.utf8.allSatisfy { (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) }
      guard isName, !name.isEmpty else { throw failure(value, path, "a CloudEvents attribute has only lower-case letters and digits") }
      var attribute = try self.node(value, path, isData: name == "data")
      if ["id", "source", "type"].contains(name), case .leaf(var leaf) = attribute, leaf.nullRule == .omit {
        leaf.nullRule = .reject
        attribute = .leaf(leaf)
      }
      if name != "data" {
        switch attribute {
        case .object, .array: throw failure(value, path, "an attribute has one value; objects and lists belong into data")
        case .constant, .leaf: break
        }
      }
      members.append((name, attribute))
    }
    for name in ["id", "source", "type"] where !members.contains(where: { $0.name == name }) {
      throw failure(node, "event.\(name)", "is missing")
    }
    return .object(members)
  }

  private func node(_ node: Node, _ path: String, isData: Bool) throws(MappingError) -> Mapping.Node {
    if let scalar = node.scalar {
      if isData, scalar.style == .plain, let constant = Self.plainConstant(scalar.string) { return .constant(constant) }
      let pieces = try template(node, path)
      return .leaf(Mapping.Leaf(path: path, template: pieces))
    }
    if let sequence = node.sequence {
      var elements: [Mapping.Node] = []
      for (index, element) in sequence.enumerated() { elements.append(try self.node(element, "\(path)[\(index)]", isData: isData)) }
      return .array(elements)
    }
    let members = try self.members(node, path)
    if members.contains(where: { $0.name == "column" || $0.name == "template" }) { return .leaf(try leaf(node, members, path)) }
    var object: [(name: String, node: Mapping.Node)] = []
    for (name, value) in members { object.append((name, try self.node(value, "\(path).\(name)", isData: isData))) }
    return .object(object)
  }

  /// Unquoted numbers, booleans and nulls in `data` are themselves.
  private static func plainConstant(_ text: String) -> [UInt8]? {
    if ["true", "false", "null"].contains(text) { return Array(text.utf8) }
    if text == "~" || text.isEmpty { return Array("null".utf8) }
    return JSONToken.isNumber(Array(text.utf8)[...]) ? Array(text.utf8) : nil
  }

  private func template(_ node: Node, _ path: String) throws(MappingError) -> [Mapping.Piece] {
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

  private func leaf(_ node: Node, _ members: [(name: String, value: Node)], _ path: String) throws(MappingError) -> Mapping.Leaf {
    var leaf = Mapping.Leaf(path: path, template: [])
    for (name, value) in members {
      let key = "\(path).\(name)"
      switch name {
      case "column", "template":
        guard leaf.template.isEmpty else { throw failure(value, key, "a value has a column or a template, not both") }
        leaf.template = name == "column" ? [.column(try text(value, key))] : try template(value, key)
      case "lookup": leaf.lookup = try lookup(value, key)
      case "map": leaf.map = try map(value, key)
      case "default": leaf.fallback = try template(value, key)
      case "type": leaf.type = try choice(value, key, Mapping.ValueType.self)
      case "format": leaf.time.shape = try shape(value, key)
      case "zone":
        let zone = try text(value, key)
        guard let known = TimeFormat.zone(zone) else {
          throw failure(value, key, "“\(zone)” is no zone; UTC, +02:00 or a name such as Europe/Madrid")
        }
        leaf.time.zone = known
      case "decimal-mark": leaf.decimalMark = try byte(value, key)
      case "group-mark": leaf.groupMark = try byte(value, key)
      case "if-null": leaf.nullRule = try choice(value, key, Mapping.NullRule.self)
      case "when": leaf.when = try condition(value, key)
      default:
        throw failure(
          value, key,
          "unknown key; one of column, template, lookup, map, default, type, format, zone, decimal-mark, group-mark, if-null, when")
      }
    }
    if leaf.type != .time, let stray = members.first(where: { $0.name == "format" || $0.name == "zone" }) {
      throw failure(stray.value, "\(path).\(stray.name)", "is for values of type time")
    }
    if leaf.type != .decimal, let stray = members.first(where: { $0.name.hasSuffix("-mark") }) {
      throw failure(stray.value, "\(path).\(stray.name)", "is for values of type decimal")
    }
    return leaf
  }

  private func shape(_ node: Node, _ key: String) throws(MappingError) -> TimeFormat.Shape {
    switch TimeFormat.shape(try text(node, key)) {
    case .success(let shape): return shape
    case .failure(let directive):
      let reason = directive.text.isEmpty ? "needs year, month and day" : "“\(directive.text)” is no directive that is known"
      throw failure(node, key, "\(reason); iso, epoch, epoch-ms, epoch-us, or %Y %y %m %b %d %H %M %S %f %z %F %T")
    }
  }

  private func lookup(_ node: Node, _ key: String) throws(MappingError) -> Mapping.Lookup {
    var found: [String: String] = [:]
    for (name, value) in try members(node, key) {
      guard ["file", "key", "column"].contains(name) else {
        throw failure(value, "\(key).\(name)", "unknown key; file, key and column are needed")
      }
      found[name] = try text(value, "\(key).\(name)")
    }
    guard let file = found["file"], let column = found["key"], let result = found["column"] else {
      throw failure(node, key, "file, key and column are needed")
    }
    return Mapping.Lookup(file: file, key: column, column: result)
  }

  private func map(_ node: Node, _ key: String) throws(MappingError) -> [[UInt8]: [UInt8]?] {
    var map: [[UInt8]: [UInt8]?] = [:]
    for (name, value) in try members(node, key) {
      map.updateValue(try nullableText(value, "\(key).\(name)"), forKey: Array(name.utf8))
    }
    return map
  }

  private func nullableText(_ node: Node, _ key: String) throws(MappingError) -> [UInt8]? {
    let text = try text(node, key)
    if node.scalar?.style == .plain && (text == "null" || text == "~" || text.isEmpty) { return nil }
    return Array(text.utf8)
  }

  private func condition(_ node: Node, _ key: String) throws(MappingError) -> Mapping.Condition {
    var tests: [Mapping.Condition.Test] = []
    for (column, value) in try members(node, key) {
      let path = "\(key).\(column)"
      var values = value
      var isNegated = false
      if value.mapping != nil {
        let members = try members(value, path)
        guard members.count == 1, members[0].name == "not" else { throw failure(value, path, "a value, a list, or not: with one of them") }
        values = members[0].value
        isNegated = true
      }
      var texts: [[UInt8]?] = []
      if let sequence = values.sequence {
        for element in sequence { texts.append(try nullableText(element, path)) }
      } else {
        texts.append(try nullableText(values, path))
      }
      tests.append(Mapping.Condition.Test(column: column, values: texts, isNegated: isNegated))
    }
    return Mapping.Condition(tests: tests)
  }
}
