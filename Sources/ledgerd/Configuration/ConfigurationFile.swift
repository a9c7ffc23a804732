// A YAML file of settings, and one of tokens: read so that every mistake is told with its file and line.
//
// Invariants:
// - Nothing unknown is passed over: a mistyped key would be a setting that silently is not set.
// - What is wrong is collected, not the first thing only; no message holds a token or its hash, wherever they were put.

import Files
import LedgerCore
import LedgerServer
import Yams

/// One thing that is wrong with a configuration.
struct ConfigurationError: Error, Equatable, CustomStringConvertible {
  /// Where: `FILE:LINE`, a flag or a variable; nil: it is about the whole.
  var place: String?
  /// What is wrong, and how to mend it.
  var message: String

  var description: String { place.map { "\($0): \(message)" } ?? message }
}

/// Whom an entry of the list `access` is about, and what they may do.
struct AccessEntry: Equatable, Sendable {
  enum Subject: Equatable, Sendable {
    case user(String)
    case group(String)
  }
  var subject: Subject
  var roles: Roles
  /// nil: every source.
  var sources: [String]?
  /// Where it stands, for messages.
  var place: String

  var scope: SourceScope { sources.map { SourceScope(prefixes: $0) } ?? .all }
}

/// One value of a file.
struct FileValue: Equatable {
  var name: String
  var text: String
  var line: Int
}

/// Reads the nodes of one file.
struct ConfigurationReader {
  let path: String
  private(set) var errors: [ConfigurationError] = []

  init(path: String) { self.path = path }

  /// What a file of settings says.
  mutating func settings(_ yaml: String) -> (values: [FileValue], access: [AccessEntry]) {
    var values: [FileValue] = []
    var access: [AccessEntry] = []
    for (key, value) in members(root(yaml), "a file of settings") {
      if key.string == "access" {
        access = entries(value, "access").compactMap { accessEntry($0) }
        continue
      }
      guard let setting = Setting.named(key.string) else {
        let near = nearest(to: key.string, among: Setting.all.map(\.name) + ["access"])
        fail(key.mark, "there is no setting \(shown(key.string))\(near); ledgerd config reference lists them all")
        continue
      }
      guard let text = text(value, setting) else { continue }
      values.append(FileValue(name: setting.name, text: text, line: line(value.mark)))
    }
    return (values, access)
  }

  /// What a file of tokens says.
  mutating func tokens(_ yaml: String) -> [Access.Token] {
    var tokens: [Access.Token] = []
    for (key, value) in members(root(yaml), "a file of tokens") {
      guard key.string == "tokens" else {
        fail(key.mark, "there is no key \(shown(key.string)) in a file of tokens; its one key is tokens")
        continue
      }
      for entry in entries(value, "tokens") {
        guard let token = token(entry) else { continue }
        if tokens.contains(where: { $0.name.utf8.elementsEqual(token.name.utf8) }) {
          fail(entry.mark, "there is a token \(token.name) already; give each its own name")
        }
        tokens.append(token)
      }
    }
    return tokens
  }

  // MARK: Entries

  private mutating func accessEntry(_ node: Node) -> AccessEntry? {
    var subjects: [AccessEntry.Subject] = []
    var (roles, sources) = (Roles?.none, [String]?.none)
    let errorCount = errors.count
    for (key, value) in members(node, "an entry of access") {
      switch key.string {
      case "user": subjects += texts(value, "user", isList: false).map { .user($0) }
      case "group": subjects += texts(value, "group", isList: false).map { .group($0) }
      case "roles": roles = self.roles(value)
      case "sources": sources = texts(value, "sources", isList: true)
      default: fail(key.mark, unknown(key.string, ["user", "group", "roles", "sources"]))
      }
    }
    if subjects.count != 1 { fail(node.mark, "an entry of access names one user or one group, by name or number") }
    if roles == nil { fail(node.mark, "an entry of access needs roles: a list of \(Self.roleNames), which may be empty") }
    guard errors.count == errorCount, let roles else { return nil }
    return AccessEntry(subject: subjects[0], roles: roles, sources: sources, place: place(node.mark))
  }

  private mutating func token(_ node: Node) -> Access.Token? {
    var (name, digest, roles, sources) = (String?.none, [UInt8]?.none, Roles?.none, [String]?.none)
    let errorCount = errors.count
    for (key, value) in members(node, "an entry of tokens") {
      switch key.string {
      case "name":
        name = texts(value, "name", isList: false).first
        if let name, !TokenFile.isName(name) { fail(value.mark, TokenFile.nameRule) }
      case "sha256":
        digest = texts(value, "sha256", isList: false).first.flatMap { TokenFile.bytes(hexadecimal: $0) }
        if digest == nil { fail(value.mark, "sha256 must be the 64 hexadecimal digits of the token's SHA-256") }
      case "roles": roles = self.roles(value)
      case "sources": sources = texts(value, "sources", isList: true)
      default: fail(key.mark, unknown(key.string, ["name", "sha256", "roles", "sources"]))
      }
    }
    for (key, isMissing) in [("name", name == nil), ("sha256", digest == nil), ("roles", roles == nil)]
    where isMissing && errors.count == errorCount {
      fail(node.mark, "an entry of tokens needs \(key)")
    }
    guard errors.count == errorCount, let name, let digest, let roles else { return nil }
    return Access.Token(name: name, digest: digest, roles: roles, sources: sources.map { SourceScope(prefixes: $0) } ?? .all)
  }

  private mutating func roles(_ node: Node) -> Roles {
    var roles: Roles = []
    for name in texts(node, "roles", isList: true) {
      if let known = Roles.byName.first(where: { $0.name == name }) {
        roles.insert(known.role)
      } else {
        fail(node.mark, "there is no role \(shown(name)); the roles are \(Self.roleNames)")
      }
    }
    return roles
  }

  static let roleNames = Roles.byName.map(\.name).joined(separator: ", ")

  // MARK: Nodes

  private mutating func root(_ yaml: String) -> Node? {
    do {
      return try Yams.compose(yaml: yaml)
    } catch let error as YamlError {
      switch error {
      case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _), .composer(_, let problem, let mark, _):
        fail(mark, "no valid YAML: \(problem)")
      case .duplicatedKeysInMapping(let keys, let context):
        fail(context.mark, "\(keys.sorted().map(shown).joined(separator: ", ")) is set more than once; keep one")
      // Its words may quote the file.
      default: fail(nil, "no valid YAML; write it as UTF-8")
      }
    } catch {
      fail(nil, "no valid YAML; write it as UTF-8")
    }
    return nil
  }

  /// The keys and values of a mapping; an empty file has none.
  private mutating func members(_ node: Node?, _ what: String) -> [(key: Node.Scalar, value: Node)] {
    guard let node, node.null == nil else { return [] }
    guard let mapping = node.mapping else {
      fail(node.mark, "\(what) holds keys and values")
      return []
    }
    var members: [(key: Node.Scalar, value: Node)] = []
    for (key, value) in mapping {
      if let scalar = key.scalar { members.append((scalar, value)) } else { fail(key.mark, "a key must be a text") }
    }
    return members
  }

  private mutating func entries(_ node: Node, _ key: String) -> [Node] {
    if node.null != nil { return [] }
    guard let sequence = node.sequence else {
      fail(node.mark, "\(key) must be a list")
      return []
    }
    return Array(sequence)
  }

  private mutating func texts(_ node: Node, _ key: String, isList: Bool) -> [String] {
    if !isList {
      guard let scalar = node.scalar, !scalar.string.isEmpty else {
        fail(node.mark, "\(key) must be one text")
        return []
      }
      return [scalar.string]
    }
    guard let sequence = node.sequence, sequence.allSatisfy({ $0.scalar != nil }) else {
      fail(node.mark, "\(key) must be a list of texts, such as [one, two]")
      return []
    }
    return sequence.compactMap { $0.scalar?.string }
  }

  private mutating func text(_ node: Node, _ setting: Setting) -> String? {
    if setting.isList, node.sequence != nil { return texts(node, setting.name, isList: true).joined(separator: ",") }
    guard let scalar = node.scalar else {
      fail(node.mark, "\(setting.name) must be one value, \(setting.range)")
      return nil
    }
    guard node.null == nil || !scalar.string.isEmpty else {
      fail(node.mark, "\(setting.name) has no value; give \(setting.range), or remove the line")
      return nil
    }
    return scalar.string
  }

  // MARK: Places

  private mutating func fail(_ mark: Mark?, _ message: String) {
    errors.append(ConfigurationError(place: place(mark), message: message))
  }

  private func place(_ mark: Mark?) -> String { mark.map { "\(path):\($0.line)" } ?? path }

  private func line(_ mark: Mark?) -> Int { mark?.line ?? 0 }

  private func unknown(_ key: String, _ known: [String]) -> String {
    "there is no key \(shown(key)) here\(nearest(to: key, among: known)); the keys are \(known.joined(separator: ", "))"
  }
}

/// A word of a file, for messages. What is longer than any word that belongs there may be a token in the wrong place.
private func shown(_ word: String) -> String { word.utf8.count <= 40 ? word : "of \(word.utf8.count) bytes" }

/// " (did you mean …?)", if something is near.
func nearest(to name: String, among known: [String]) -> String {
  let ranked = known.map { ($0, distance($0, name)) }.min { $0.1 < $1.1 }
  guard let (best, distance) = ranked, distance <= max(2, name.count / 3) else { return "" }
  return " (did you mean \(best)?)"
}

/// Levenshtein's distance: how many letters to insert, remove or replace.
private func distance(_ one: String, _ other: String) -> Int {
  let (one, other) = (Array(one.utf8), Array(other.utf8))
  var row = Array(0...other.count)
  for (index, letter) in one.enumerated() {
    var diagonal = row[0]
    row[0] = index + 1
    for (column, second) in other.enumerated() {
      let replaced = diagonal + (letter == second ? 0 : 1)
      diagonal = row[column + 1]
      row[column + 1] = min(replaced, row[column] + 1, row[column + 1] + 1)
    }
  }
  return row[other.count]
}
