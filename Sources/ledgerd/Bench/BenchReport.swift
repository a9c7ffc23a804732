// What a benchmark tells: figures by name, each the median of its rounds, with ratios between them; as text while it runs,
// or as one JSON object at the end.

import Foundation

/// The figures of one run.
struct BenchReport {
  /// One figure.
  struct Figure {
    var name: String
    var unit: String
    /// As measured, in order.
    var rounds: [Double]
    /// More about it, for people.
    var note: String

    var median: Double { BenchReport.median(rounds) }
  }

  private(set) var figures: [Figure] = []
  /// Printed as it comes, or kept for ``json()``.
  let isJSON: Bool

  static func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    guard !sorted.isEmpty else { return 0 }
    return sorted.count % 2 == 1 ? sorted[sorted.count / 2] : (sorted[sorted.count / 2 - 1] + sorted[sorted.count / 2]) / 2
  }

  /// Says what comes next.
  func heading(_ text: String) { if !isJSON { say(text) } }

  /// Written at once, also into a pipe: a run takes minutes.
  private func say(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }

  mutating func add(_ name: String, _ unit: String, _ rounds: [Double], _ note: String = "") {
    let figure = Figure(name: name, unit: unit, rounds: rounds, note: note)
    figures.append(figure)
    guard !isJSON else { return }
    let all = rounds.count > 1 ? "  [" + rounds.map(Self.short).joined(separator: " ") + "]" : ""
    say("  " + name.padding(toLength: 46, withPad: " ", startingAt: 0) + " " + Self.long(figure.median) + " " + unit + all + "  " + note)
  }

  /// A ratio of two figures' medians.
  mutating func ratio(_ name: String, of first: String, to second: String) {
    guard let above = median(of: first), let below = median(of: second), below > 0 else { return }
    add(name, "×", [above / below])
  }

  func median(of name: String) -> Double? { figures.last { $0.name == name }?.median }

  /// All figures as one object: name → {unit, median, rounds}.
  func json() throws -> String {
    let members = figures.map { figure in
      (figure.name, ["unit": figure.unit, "median": figure.median, "rounds": figure.rounds, "note": figure.note] as [String: Any])
    }
    let object = Dictionary(members) { _, last in last }
    let data = try JSONSerialization.data(withJSONObject: object, options: [.prettyPrinted, .sortedKeys])
    return String(decoding: data, as: UTF8.self)
  }

  private static func long(_ value: Double) -> String { String(format: value < 100 ? "%12.3f" : "%12.0f", value) }
  private static func short(_ value: Double) -> String { String(format: value < 100 ? "%.3f" : "%.0f", value) }
}
