// Why: reads a mapping's YAML, and says what is wrong with it so that its author finds the place.
//
// Invariants: unknown keys are refused with the nearest known one; every message has the form `file:line: key: what is
// wrong`.

import Yams

/// Reads one mapping.
struct MappingReader {
  /// A key with its value; `key` is the node that holds the name.
  typealias Member = (name: String, key: Node, value: Node)

  let file: String
  /// What the leaves of this mapping begin with: its zone and marks.
  var leafDefault = Mapping.Leaf(path: "", template: [])
  private(set) var warnings: [String] = []

  private init(file: String) { self.file = file }

  /// Reads the YAML text of a mapping.
  ///
  /// - Parameter file: Its name, for messages.
  static func read(_ yaml: String, file: String) throws(MappingError) -> Mapping {
    var reader = MappingReader(file: file)
    let root: Node?
    do {
      root = try Yams.compose(yaml: yaml)
    } catch {
      throw MappingError(description: "\(file)\(words(error))")
    }
    guard let root else { throw MappingError(description: "\(file): the mapping is empty; it needs the key “event”") }
    return try reader.mapping(root)
  }

  private static func words(_ error: any Error) -> String {
    switch error as? YamlError {
    case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _), .composer(_, let problem, let mark, _):
      ":\(mark.line): no valid YAML: \(problem)\(problem.contains("cannot start any token") ? "; YAML is indented with blanks, never tabs" : "")"
    case .duplicatedKeysInMapping(let duplicates, let context):
      ":\(context.mark.line): the key \(duplicates.map { "“\($0)”" }.joined(separator: ", ")) stands twice"
    default: ": no valid YAML: \(error)"
    }
  }

  // MARK: nodes

  /// Where a key stands: `file:line: key`.
  func place(_ node: Node?, _ key: String) -> String { "\(file)\(node?.mark.map { ":\($0.line)" } ?? ""): \(key)" }

  func failure(_ node: Node?, _ key: String, _ reason: String) -> MappingError {
    MappingError(description: "\(place(node, key)): \(reason)")
  }

  mutating func warn(_ node: Node, _ key: String, _ reason: String) { warnings.append(failure(node, key, reason).description) }

  /// What to say of a key that is not known there.
  func unknown(_ member: Member, _ key: String, among known: [String]) -> MappingError {
    let nearest = Suggestion.nearest(to: member.name, among: known)
    return failure(
      member.key, key,
      "unknown key\(Suggestion.words(nearest))\(nearest == nil ? "; one of" : "; known are") \(known.joined(separator: ", "))")
  }

  func members(_ node: Node, _ key: String) throws(MappingError) -> [Member] {
    guard let mapping = node.mapping else { throw failure(node, key, "must hold keys and values") }
    var members: [Member] = []
    for (name, value) in mapping {
      guard let scalar = name.scalar else { throw failure(name, key, "a key must be a text") }
      members.append((name: scalar.string, key: name, value: value))
    }
    return members
  }

  func text(_ node: Node, _ key: String) throws(MappingError) -> String {
    guard let scalar = node.scalar else { throw failure(node, key, "must be a text") }
    return scalar.string
  }

  func texts(_ node: Node, _ key: String) throws(MappingError) -> [String] {
    guard let sequence = node.sequence else { throw failure(node, key, "must be a list of texts") }
    var texts: [String] = []
    for element in sequence { texts.append(try text(element, key)) }
    return texts
  }

  func choice<Choice: RawRepresentable & CaseIterable>(
    _ node: Node, _ key: String, _: Choice.Type
  ) throws(MappingError) -> Choice where Choice.RawValue == String {
    let name = try text(node, key)
    guard let choice = Choice(rawValue: name) else {
      let known = Choice.allCases.map(\.rawValue)
      let nearest = Suggestion.words(Suggestion.nearest(to: name, among: known))
      throw failure(node, key, "“\(name)” is unknown\(nearest); one of \(known.joined(separator: ", "))")
    }
    return choice
  }

  private func delimiter(_ node: Node, _ key: String) throws(MappingError) -> UInt8 {
    let bytes = Array(try text(node, key).utf8)
    guard bytes.count == 1, bytes[0] < 0x80, bytes[0] != 0x0A, bytes[0] != 0x0D, bytes[0] != 0x22 else {
      throw failure(node, key, "must be one ASCII character, no quote and no line end; a tab is \"\\t\" in double quotes")
    }
    return bytes[0]
  }

  func decimalMark(_ node: Node, _ key: String) throws(MappingError) -> UInt8 {
    let bytes = Array(try text(node, key).utf8)
    guard bytes.count == 1, bytes[0] > 0x20, bytes[0] < 0x7F, !(0x30...0x39).contains(bytes[0]), bytes[0] != UInt8(ascii: "-") else {
      throw failure(node, key, "must be one ASCII sign, such as \",\"")
    }
    return bytes[0]
  }

  /// A blank stands for the no-break spaces too: exports mix them.
  func groupMarks(_ node: Node, _ key: String) throws(MappingError) -> [[UInt8]] {
    let text = try text(node, key)
    if text == " " { return [[0x20], Array("\u{A0}".utf8), Array("\u{202F}".utf8)] }
    guard text.unicodeScalars.count == 1, let scalar = text.unicodeScalars.first, scalar.value >= 0x20, scalar != "-",
      !("0"..."9").contains(Character(scalar))
    else { throw failure(node, key, "must be one character, such as \".\"") }
    return [Array(text.utf8)]
  }

  func flag(_ node: Node, _ key: String) throws(MappingError) -> Bool {
    switch try text(node, key) {
    case "true": return true
    case "false": return false
    default: throw failure(node, key, "must be true or false")
    }
  }

  func zone(_ node: Node, _ key: String) throws(MappingError) -> TimeFormat.Zone {
    let name = try text(node, key)
    guard let zone = TimeFormat.zone(name) else {
      throw failure(node, key, "“\(name)” is no zone; UTC, +02:00 or a name such as Europe/Madrid")
    }
    return zone
  }

  // MARK: the top

  private mutating func mapping(_ root: Node) throws(MappingError) -> Mapping {
    var mapping = Mapping()
    var event: Node?
    for member in try members(root, "mapping") {
      let (name, value) = (member.name, member.value)
      switch name {
      case "nulls": mapping.nulls = try texts(value, name).map { Array($0.utf8) }
      case "zone": leafDefault.time.zone = try zone(value, name)
      case "decimal-mark":
        leafDefault.marks.decimal = try decimalMark(value, name)
        leafDefault.marks.isGiven = true
      case "group-mark":
        leafDefault.marks.groups = try groupMarks(value, name)
        leafDefault.marks.isGiven = true
      case "when": mapping.when = try condition(value, name)
      case "event": event = value
      default:
        guard try read(member, name, into: &mapping.shape) else { throw unknown(member, name, among: MappingKeys.mapping) }
      }
    }
    guard let event else { throw failure(root, "event", "is missing") }
    try check(mapping.shape, root, "")
    try check(leafDefault.marks, root, "group-mark")
    mapping.event = try self.event(event)
    mapping.warnings = warnings
    return mapping
  }

  /// Reads a key that says how a file is cut into rows.
  ///
  /// - Returns: whether it is one.
  func read(_ member: Member, _ key: String, into shape: inout FileShape) throws(MappingError) -> Bool {
    let value = member.value
    switch member.name {
    case "format": shape.format = try choice(value, key, FileShape.Format.self)
    case "header": shape.header = try header(value, key)
    case "skip-lines":
      guard let count = Int(try text(value, key)), (0...1_000).contains(count) else {
        throw failure(value, key, "must be a number of lines, 0 to 1000")
      }
      shape.skippedLineCount = count
    case "encoding": shape.encoding = try choice(value, key, TextEncoding.self)
    case "delimiter": shape.delimiter = try delimiter(value, key)
    case "quotes": shape.isQuoted = try flag(value, key)
    case "trim": shape.trims = try flag(value, key)
    default: return false
    }
    return true
  }

  func check(_ shape: FileShape, _ node: Node, _ prefix: String) throws(MappingError) {
    let isDelimited = shape.format == .csv || shape.format == .tsv
    if !isDelimited && shape.delimiter != nil { throw failure(node, prefix + "delimiter", "is for csv and tsv") }
    if !isDelimited && shape.isQuoted != nil { throw failure(node, prefix + "quotes", "is for csv and tsv") }
    if shape.format == .ndjson && shape.header != .firstRecord {
      throw failure(node, prefix + "header", "is not for ndjson: its rows name their columns")
    }
  }

  func check(_ marks: NumberMarks, _ node: Node, _ key: String) throws(MappingError) {
    if marks.groups.contains([marks.decimal]) { throw failure(node, key, "is the decimal mark too") }
  }

  private func header(_ node: Node, _ key: String) throws(MappingError) -> FileShape.Header {
    guard node.sequence != nil else {
      guard try flag(node, key) else { throw failure(node, key, "false needs names: give the list of the columns' names") }
      return .firstRecord
    }
    let names = try texts(node, key)
    guard !names.isEmpty else { throw failure(node, key, "must name at least one column") }
    var seen: Set<[UInt8]> = []
    for name in names where !seen.insert(Array(name.utf8)).inserted { throw failure(node, key, "“\(name)” stands twice") }
    return .names(names)
  }

  // MARK: conditions

  func nullableText(_ node: Node, _ key: String) throws(MappingError) -> [UInt8]? {
    let text = try text(node, key)
    if node.scalar?.style == .plain && (text == "null" || text == "~" || text.isEmpty) { return nil }
    return Array(text.utf8)
  }

  func condition(_ node: Node, _ key: String) throws(MappingError) -> Mapping.Condition {
    var tests: [Mapping.Condition.Test] = []
    for (column, _, value) in try members(node, key) {
      let path = "\(key).\(column)"
      var values = value
      var isNegated = false
      if value.mapping != nil {
        let members = try members(value, path)
        if let stray = members.first(where: { !MappingKeys.test.contains($0.name) }) {
          throw unknown(stray, "\(path).\(stray.name)", among: MappingKeys.test)
        }
        guard members.count == 1 else { throw failure(value, path, "a value, a list, or not: with one of them") }
        values = members[0].value
        isNegated = true
      }
      var texts: [[UInt8]?] = []
      if let sequence = values.sequence {
        for element in sequence { texts.append(try nullableText(element, path)) }
      } else {
        texts.append(try nullableText(values, path))
      }
      tests.append(Mapping.Condition.Test(column: column, values: texts, isNegated: isNegated, place: place(value, path)))
    }
    return Mapping.Condition(tests: tests)
  }
}
