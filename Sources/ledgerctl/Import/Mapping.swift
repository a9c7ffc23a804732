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
  /// How the inputs are cut into rows.
  var shape = FileShape()
  /// The texts that mean "no value".
  var nulls: [[UInt8]] = [[]]
  /// Rows that do not fulfil it are skipped, and counted.
  var when = Condition(tests: [])
  /// The CloudEvent, `specversion` included.
  var event = Node.object([])
  /// What is legal and yet likely a mistake, each with file, line and key.
  var warnings: [String] = []

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
    var shape = FileShape()
  }

  /// A value of the event, made of columns.
  struct Leaf {
    /// For messages: `event.data.value.amount`.
    var path: String
    /// For messages about the mapping itself: `orders.yaml:12: event.data.value.amount`.
    var place = ""
    var template: [Piece]
    var lookup: Lookup?
    /// From the column's text to another; a nil is a null.
    var map: [[UInt8]: [UInt8]?]?
    var fallback: [Piece]?
    var type = ValueType.string
    var time = TimeFormat()
    var marks = NumberMarks()
    /// Texts that mean "no value" here, beside those of the whole file.
    var nulls: [[UInt8]] = []
    var nullRule = NullRule.omit
    var when = Condition(tests: [])

    /// For messages: the column that the value comes from, if it is one.
    var columnName: String? { if template.count == 1, case .column(let name) = template[0] { name } else { nil } }
  }

  /// Tests of columns, all of which must hold.
  struct Condition {
    struct Test {
      var column: String
      /// The texts among which the value must be; nil stands for null.
      var values: [[UInt8]?]
      /// Whether it must be none of them instead.
      var isNegated: Bool
      /// For messages: where the test stands in the mapping.
      var place: String
    }

    var tests: [Test]
  }

  /// Every column that the mapping reads, each once, in the order of first use.
  var columns: [String] { columnUses.map(\.name) }

  /// Every column that the mapping reads with the place that reads it first, in that order.
  var columnUses: [(name: String, place: String)] {
    var (found, seen) = ([(name: String, place: String)](), Set<[UInt8]>())
    func add(_ name: String, _ place: String) { if seen.insert(Array(name.utf8)).inserted { found.append((name, place)) } }
    for test in when.tests { add(test.column, test.place) }
    for leaf in leaves {
      for test in leaf.when.tests { add(test.column, test.place) }
      for case .column(let name) in leaf.template + (leaf.fallback ?? []) { add(name, leaf.place) }
    }
    return found
  }

  /// Every lookup, each once.
  var lookups: Set<Lookup> { Set(leaves.compactMap(\.lookup)) }

  /// Whether events depend on the file's name.
  var readsFileName: Bool { leaves.contains { $0.template.contains(.file) || $0.fallback?.contains(.file) == true } }

  /// Every leaf, in the order of the event.
  private var leaves: [Leaf] {
    var found: [Leaf] = []
    func visit(_ node: Node) {
      switch node {
      case .object(let members): for member in members { visit(member.node) }
      case .array(let elements): for element in elements { visit(element) }
      case .constant: break
      case .leaf(let leaf): found.append(leaf)
      }
    }
    visit(event)
    return found
  }
}
