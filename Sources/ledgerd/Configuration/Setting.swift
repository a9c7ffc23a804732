// One setting: declared once, and from that its flag, its variable, its key in the file, its checks and its place in the
// reference follow.
//
// Invariants:
// - A setting's texts are the same in file, environment and flags.
// - A message says the setting, what is wrong, the range and the unit.

/// Why a text is no value of a setting.
struct InvalidValue: Error {
  /// Follows the setting's name: "must be from 1 to 5 seconds, not 0".
  let reason: String
}

/// What a number counts.
enum Unit: String, Sendable {
  case bytes, seconds, events, rows, attributes, kinds, people, positions, connections, threads, questions, units, changes

  /// A number with its unit: `64 KiB`, `60 seconds`.
  func text(_ number: Int) -> String {
    guard self == .bytes else { return "\(Self.grouped(number)) \(rawValue)" }
    for (suffix, shift) in Self.suffixes where number != 0 && number % (1 << shift) == 0 { return "\(number >> shift) \(suffix)" }
    return "\(Self.grouped(number)) bytes"
  }

  /// Reads a number; bytes may carry KiB, MiB or GiB.
  func number(_ text: String) -> Int? {
    if self == .bytes {
      for (suffix, shift) in Self.suffixes where text.hasSuffix(suffix) {
        let digits = text.dropLast(suffix.count).filter { $0 != " " }
        guard digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(digits) else { return nil }
        let (result, overflows) = number.multipliedReportingOverflow(by: 1 << shift)
        return overflows ? nil : result
      }
    }
    guard text.utf8.first != UInt8(ascii: "+") else { return nil }
    return Int(text)
  }

  private static let suffixes = [("GiB", 30), ("MiB", 20), ("KiB", 10)]

  /// 1000000 is 1,000,000.
  private static func grouped(_ number: Int) -> String {
    var digits = String(number.magnitude)
    var groups: [String] = []
    while digits.count > 3 {
      groups.insert(String(digits.suffix(3)), at: 0)
      digits.removeLast(3)
    }
    return (number < 0 ? "-" : "") + ([digits] + groups).joined(separator: ",")
  }
}

/// One setting.
struct Setting: Sendable {
  /// Which part of the daemon it is about.
  enum Section: String, CaseIterable, Sendable {
    case places = "Places"
    case access = "Access"
    case logging = "Logging"
    case limits = "Limits on events and requests"
    case appending = "Appending and storage"
    case schemas = "Schemas and quarantine"
    case projections = "Projections"
  }

  /// Its key in the file, and its flag without the dashes.
  let name: String
  let section: Section
  /// Stands for the value in the help.
  let placeholder: String
  /// What values there are, in words.
  let range: String
  /// The unit, if it has one.
  let unit: Unit?
  /// What it is for.
  let help: String
  /// True if a file may give a list.
  let isList: Bool
  /// The value as a file would give it; nil: not set.
  let read: @Sendable (Configuration) -> String?
  /// Sets the value.
  let write: @Sendable (inout Configuration, String) throws(InvalidValue) -> Void

  /// Its flag.
  var flag: String { "--" + name }
  /// Its variable in the environment.
  var variable: String { "LEDGER_" + name.uppercased().split(separator: "-").joined(separator: "_") }

  /// The default, as the reference shows it.
  var defaultText: String {
    guard let text = read(Configuration()) else { return "not set" }
    return unit.flatMap { unit in unit.number(text).map { unit.text($0) } } ?? text
  }
}

extension Setting {
  typealias Path<Value> = any WritableKeyPath<Configuration, Value> & Sendable

  /// A whole number.
  static func number<Number: FixedWidthInteger & Sendable>(
    _ name: String, _ section: Section, _ path: Path<Number>, _ unit: Unit, _ range: ClosedRange<Int>, multipleOf step: Int = 1,
    _ help: String
  ) -> Setting {
    let bounds = bounds(unit, range) + (step == 1 ? "" : ", a multiple of \(step)")
    return Setting(
      name: name, section: section, placeholder: unit == .bytes ? "BYTES" : unit == .seconds ? "SECONDS" : "COUNT", range: bounds,
      unit: unit, help: help, isList: false, read: { String($0[keyPath: path]) },
      write: { (configuration, text) throws(InvalidValue) in
        guard let number = unit.number(text), range.contains(number), number % step == 0 else {
          throw InvalidValue(reason: "must be a whole number \(bounds), not \(text)")
        }
        configuration[keyPath: path] = Number(number)
      })
  }

  private static func bounds(_ unit: Unit, _ range: ClosedRange<Int>) -> String {
    unit == .bytes
      ? "from \(unit.text(range.lowerBound)) to \(unit.text(range.upperBound))"
      : "from \(range.lowerBound) to \(unit.text(range.upperBound))"
  }

  /// A text that is not empty, or nothing.
  static func text(_ name: String, _ section: Section, _ path: Path<String?>, placeholder: String, range: String, _ help: String) -> Setting
  {
    Setting(
      name: name, section: section, placeholder: placeholder, range: range, unit: nil, help: help, isList: false,
      read: { $0[keyPath: path] },
      write: { (configuration, text) throws(InvalidValue) in
        configuration[keyPath: path] = try filled(text, range)
      })
  }

  /// A text that is not empty.
  static func text(_ name: String, _ section: Section, _ path: Path<String>, placeholder: String, range: String, _ help: String) -> Setting
  {
    Setting(
      name: name, section: section, placeholder: placeholder, range: range, unit: nil, help: help, isList: false,
      read: { $0[keyPath: path] },
      write: { (configuration, text) throws(InvalidValue) in
        configuration[keyPath: path] = try filled(text, range)
      })
  }

  private static func filled(_ text: String, _ range: String) throws(InvalidValue) -> String {
    guard !text.isEmpty else { throw InvalidValue(reason: "is empty; give \(range), or leave it out") }
    return text
  }

  /// One of a few words.
  static func choice<Choice: RawRepresentable & CaseIterable & Sendable>(
    _ name: String, _ section: Section, _ path: Path<Choice>, placeholder: String, _ help: String
  ) -> Setting where Choice.RawValue == String {
    let words = Choice.allCases.map(\.rawValue)
    let list = words.dropLast().joined(separator: ", ") + " or " + (words.last ?? "")
    return Setting(
      name: name, section: section, placeholder: placeholder, range: list, unit: nil, help: help, isList: false,
      read: { $0[keyPath: path].rawValue },
      write: { (configuration, text) throws(InvalidValue) in
        guard let choice = Choice(rawValue: text) else { throw InvalidValue(reason: "must be \(list), not \(text)") }
        configuration[keyPath: path] = choice
      })
  }

  /// True or false.
  static func flag(_ name: String, _ section: Section, _ path: Path<Bool>, _ help: String) -> Setting {
    Setting(
      name: name, section: section, placeholder: "true|false", range: "true or false", unit: nil, help: help, isList: false,
      read: { String($0[keyPath: path]) },
      write: { (configuration, text) throws(InvalidValue) in
        guard let value = Bool(text) else { throw InvalidValue(reason: "must be true or false, not \(text)") }
        configuration[keyPath: path] = value
      })
  }

  /// Several texts; with commas between them where there are no lists.
  static func list(_ name: String, _ section: Section, _ path: Path<[String]>, placeholder: String, range: String, _ help: String)
    -> Setting
  {
    Setting(
      name: name, section: section, placeholder: placeholder, range: range, unit: nil, help: help, isList: true,
      read: { $0[keyPath: path].isEmpty ? nil : $0[keyPath: path].joined(separator: ",") },
      write: { (configuration, text) throws(InvalidValue) in
        let parts = text.split(separator: ",").map { String($0.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed()) }
        guard !parts.isEmpty, parts.allSatisfy({ !$0.isEmpty }) else {
          throw InvalidValue(reason: "is empty; give \(range), or leave it out")
        }
        configuration[keyPath: path] = parts
      })
  }
}
