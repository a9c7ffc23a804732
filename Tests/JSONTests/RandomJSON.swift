// Why this file exists: random JSON values with random spelling (white space, escapes, numbers of any size), and the
// value that a reader must see in them.

import JSON

/// A JSON value as a tree, for comparison only.
indirect enum Tree: Equatable {
  case null
  case bool(Bool)
  case number(String)
  case string([UInt8])
  case array([Tree])
  case object([[UInt8]], [Tree])

  /// Reads a tree back through the reader's nodes; `walk` chooses between the two ways to visit children.
  init(_ reader: borrowing JSONReader, _ node: JSONNode, stepwise: Bool) {
    switch reader.kind(of: node) {
    case .null: self = .null
    case .bool: self = .bool(reader.bool(of: node) ?? false)
    case .number: self = .number(reader.string(of: node))
    case .string: self = .string(reader.bytes(of: node))
    case .array:
      var elements: [Tree] = []
      if stepwise {
        var child = reader.firstChild(of: node)
        while let element = child {
          elements.append(Tree(reader, element, stepwise: true))
          child = reader.next(after: element, in: node)
        }
      } else {
        reader.forEachElement(of: node) { elements.append(Tree(reader, $0, stepwise: false)) }
      }
      self = .array(elements)
    case .object:
      var (names, values): ([[UInt8]], [Tree]) = ([], [])
      if stepwise {
        var child = reader.firstChild(of: node)
        while let key = child {
          let value = reader.value(ofKey: key)
          names.append(reader.bytes(of: key))
          values.append(Tree(reader, value, stepwise: true))
          child = reader.next(after: value, in: node)
        }
      } else {
        reader.forEachMember(of: node) { key, value in
          names.append(reader.bytes(of: key))
          values.append(Tree(reader, value, stepwise: false))
        }
      }
      self = .object(names, values)
    }
  }
}

struct RandomJSON {
  var depthMax: Int

  func text(_ random: inout SeededGenerator) -> [UInt8] {
    spelled(tree(&random, depth: 0), &random)
  }

  func tree(_ random: inout SeededGenerator, depth: Int) -> Tree {
    switch Int.random(in: 0..<(depth < depthMax ? 8 : 5), using: &random) {
    case 0: return .null
    case 1: return .bool(Bool.random(using: &random))
    case 2: return .number(number(&random))
    case 3, 4: return .string(string(&random))
    case 5: return .array((0..<Int.random(in: 0...5, using: &random)).map { _ in tree(&random, depth: depth + 1) })
    default:
      let count = Int.random(in: 0...5, using: &random)
      return .object((0..<count).map { _ in string(&random) }, (0..<count).map { _ in tree(&random, depth: depth + 1) })
    }
  }

  private func number(_ random: inout SeededGenerator) -> String {
    func digits(_ most: Int) -> String {
      (0..<Int.random(in: 1...most, using: &random)).map { _ in String(Int.random(in: 0...9, using: &random)) }.joined()
    }
    var text = Bool.random(using: &random) ? "-" : ""
    text += Bool.random(using: &random) ? "0" : String(Int.random(in: 1...9, using: &random)) + digits(30)
    if Bool.random(using: &random) { text += "." + digits(25) }
    if Bool.random(using: &random) { text += ["e", "E", "e+", "E-"][Int.random(in: 0..<4, using: &random)] + digits(4) }
    return text
  }

  private func string(_ random: inout SeededGenerator) -> [UInt8] {
    let scalars: [Unicode.Scalar] = [
      "a", "b", "z", " ", "\"", "\\", "/", "\0", "\n", "\u{1F}", "ñ", "é", "\u{301}", "€", "\u{FFFF}", "😀", "𝄞",
    ]
    let count = Int.random(in: 0...20, using: &random)
    return (0..<count).flatMap { _ in Array(String(scalars[Int.random(in: 0..<scalars.count, using: &random)]).utf8) }
  }

  /// The text of a tree, spelled at random.
  func spelled(_ tree: Tree, _ random: inout SeededGenerator) -> [UInt8] {
    func space() -> [UInt8] {
      (0..<max(0, Int.random(in: -3...2, using: &random))).map { _ in [0x20, 0x09, 0x0A, 0x0D][Int.random(in: 0..<4, using: &random)] }
    }
    func quoted(_ utf8: [UInt8]) -> [UInt8] {
      var text = "\""
      for scalar in String(decoding: utf8, as: UTF8.self).unicodeScalars {
        if scalar.value >= 0x20, scalar != "\"", scalar != "\\", Int.random(in: 0..<4, using: &random) > 0 {
          text.unicodeScalars.append(scalar)
        } else if scalar == "\n", Bool.random(using: &random) {
          text += "\\n"
        } else {
          for unit in String(scalar).utf16 {
            let hexadecimal = String(unit, radix: 16, uppercase: Bool.random(using: &random))
            text += "\\u" + String(repeating: "0", count: 4 - hexadecimal.count) + hexadecimal
          }
        }
      }
      return Array((text + "\"").utf8)
    }
    let inner: [UInt8]
    switch tree {
    case .null: inner = Array("null".utf8)
    case .bool(let value): inner = Array((value ? "true" : "false").utf8)
    case .number(let text): inner = Array(text.utf8)
    case .string(let utf8): inner = quoted(utf8)
    case .array(let elements):
      let list = elements.map { spelled($0, &random) }.joined(separator: [UInt8(ascii: ",")])
      inner = [UInt8(ascii: "[")] + space() + Array(list) + [UInt8(ascii: "]")]
    case .object(let names, let values):
      let members = zip(names, values).map { space() + quoted($0) + space() + [UInt8(ascii: ":")] + spelled($1, &random) }
      inner = [UInt8(ascii: "{")] + space() + Array(members.joined(separator: [UInt8(ascii: ",")])) + [UInt8(ascii: "}")]
    }
    return space() + inner + space()
  }
}
