// Why: a mapping says, in YAML, which event a row becomes. This file holds what can be said; `MappingReader` reads it.
//
// Invariants:
// - A mapping is checked whole before the first row is read; an error names the key and its line.
// - The event is a function of the row, the file's name and the line, so importing twice appends nothing.

/// What is wrong with a mapping: names file, line and key.
struct MappingError: Error, Equatable, CustomStringConvertible {
  let description: String
}

/// How the rows of a file become events.
struct Mapping {
  enum Format: String, CaseIterable { case csv, tsv, ndjson }

  enum Encoding: String, CaseIterable {
    case utf8 = "utf-8"
    case latin1 = "latin-1"
  }

  enum Header: Equatable {
    case firstRecord
    case names([String])
  }

  var format = Format.csv
  var header = Header.firstRecord
  var encoding = Encoding.utf8
  /// The byte between fields: a comma, a tab for TSV, or what the mapping says.
  var delimiter = UInt8(ascii: ",")
  /// Whether blanks around values are cut off.
  var trims = false
  /// The texts that mean "no value".
  var nulls: [[UInt8]] = [[]]
  /// Rows that do not fulfil it are skipped, and counted.
  var when = Condition(tests: [])
  /// The CloudEvent, `specversion` included.
  var event = Node.object([])

  /// A part of the event.
  indirect enum Node {
    case object([(name: String, node: Node)])
    case array([Node])
    /// The same JSON text in every event.
    case constant([UInt8])
    case leaf(Leaf)
  }

  /// A piece of a template.
  enum Piece: Equatable {
    case literal([UInt8])
    case column(String)
    case file
    case line
  }

  /// What becomes of a value that is null.
  enum NullRule: String, CaseIterable { case omit, null, reject, skip }

  enum ValueType: String, CaseIterable { case string, number, decimal, boolean, time, json }

  /// Where a value is looked up: the row of `file` whose `key` is the value; its `column` is the result.
  struct Lookup: Hashable {
    var file: String
    var key: String
    var column: String
  }

  /// A value of the event, made of columns.
  struct Leaf {
    /// For messages: `event.data.value.amount`.
    var path: String
    var template: [Piece]
    var lookup: Lookup?
    /// From the column's text to another; a nil is a null.
    var map: [[UInt8]: [UInt8]?]?
    var fallback: [Piece]?
    var type = ValueType.string
    var time = TimeFormat()
    /// The decimal mark of a `decimal`.
    var decimalMark = UInt8(ascii: ".")
    /// The mark between groups of digits of a `decimal`, if any.
    var groupMark: UInt8?
    var nullRule = NullRule.omit
    var when = Condition(tests: [])
  }

  /// Tests of columns, all of which must hold.
  struct Condition {
    struct Test {
      var column: String
      /// The texts among which the value must be; nil stands for null.
      var values: [[UInt8]?]
      /// Whether it must be none of them instead.
      var isNegated: Bool
    }

    var tests: [Test]
  }

  /// Every column that the mapping reads, each once, in the order of first use.
  var columns: [String] {
    var found: [String] = []
    func add(_ name: String) { if !found.contains(where: { $0.utf8.elementsEqual(name.utf8) }) { found.append(name) } }
    func visit(_ pieces: [Piece]) { for case .column(let name) in pieces { add(name) } }
    func visit(_ node: Node) {
      switch node {
      case .object(let members): for member in members { visit(member.node) }
      case .array(let elements): for element in elements { visit(element) }
      case .constant: break
      case .leaf(let leaf):
        for test in leaf.when.tests { add(test.column) }
        visit(leaf.template)
        visit(leaf.fallback ?? [])
      }
    }
    for test in when.tests { add(test.column) }
    visit(event)
    return found
  }

  /// Every lookup, each once.
  var lookups: Set<Lookup> {
    var found: Set<Lookup> = []
    func visit(_ node: Node) {
      switch node {
      case .object(let members): for member in members { visit(member.node) }
      case .array(let elements): for element in elements { visit(element) }
      case .constant: break
      case .leaf(let leaf): if let lookup = leaf.lookup { found.insert(lookup) }
      }
    }
    visit(event)
    return found
  }
}
