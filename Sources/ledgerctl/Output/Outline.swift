// Why: views hold what folds put there, and folds change; an answer is shown whole, whatever its members are.
//
// Invariant: nothing of the answer is left out but `null`; order is the server's.

import LedgerClient

/// Shows JSON for people.
enum Outline {
  /// The lines of an object: scalars as `name  value`, lists of objects as tables, the rest indented.
  static func lines(_ json: JSONValue, indent: String = "") -> [String] {
    guard case .object(let members) = json else { return [indent + text(json)] }
    var lines: [String] = []
    let width = members.filter { $0.value != .null && isShort($0.value) }.map { Table.width($0.name) }.max() ?? 0
    for (name, value) in members {
      if value == .null { continue }
      let label = Table.clean(name)
      if isShort(value) {
        let padding = String(repeating: " ", count: max(0, width - Table.width(label)))
        lines.append(indent + label + padding + "  " + text(value))
        continue
      }
      lines.append(indent + label)
      if let table = table(value) {
        lines += table.lines().map { indent + "  " + $0 }
      } else if let elements = value.array {
        for element in elements { lines += self.lines(element, indent: indent + "  ") }
      } else {
        lines += self.lines(value, indent: indent + "  ")
      }
    }
    return lines
  }

  /// A value on one line: the text of a string, the JSON of anything else.
  static func text(_ json: JSONValue?) -> String {
    switch json {
    case nil, .null?: ""
    case .string(let text)?: Table.clean(text)
    case let json?: Table.clean(String(decoding: json.encoded(), as: UTF8.self))
    }
  }

  private static func isShort(_ json: JSONValue) -> Bool {
    switch json {
    case .object(let members): members.isEmpty
    case .array(let elements): elements.allSatisfy { if case .object = $0 { false } else { true } }
    default: true
    }
  }

  /// A list of objects, or an object of objects, as a table; its columns are the members in order of first appearance.
  private static func table(_ json: JSONValue) -> Table? {
    var rows: [(label: String?, members: [(name: String, value: JSONValue)])] = []
    switch json {
    case .array(let elements):
      for element in elements {
        guard case .object(let members) = element else { return nil }
        rows.append((nil, members))
      }
    case .object(let entries):
      for (name, value) in entries {
        guard case .object(let members) = value else { return nil }
        rows.append((name, members))
      }
    default: return nil
    }
    var titles: [String] = []
    for row in rows { for member in row.members where !titles.contains(member.name) { titles.append(member.name) } }
    let isLabelled = rows.contains { $0.label != nil }
    var table = Table((isLabelled ? [""] : []) + titles)
    for row in rows {
      let cells = titles.map { title in text(row.members.first { $0.name == title }?.value) }
      table.add((isLabelled ? [row.label ?? ""] : []) + cells)
    }
    return table
  }
}
