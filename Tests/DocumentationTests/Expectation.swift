// Compares what a page says with what was printed: strict, but for what cannot be the same twice.

import Foundation

/// The page's numbers for things that differ from run to run, and what stood in their place.
struct Expectation {
  /// When the page's run began; what it prints about the present is later.
  let start: Date
  private var found: [String: String] = [:]

  init(start: Date) { self.start = start }

  /// What differs, for people; nil if nothing does.
  mutating func difference(expected: String, actual: String) -> String? {
    let (wanted, got) = (Self.lines(expected), Self.lines(actual))
    var index = 0
    for (number, line) in wanted.enumerated() {
      if line == "…" {
        guard number + 1 < wanted.count else { return nil }
        while index < got.count, !matches(wanted[number + 1], got[index]) { index += 1 }
        continue
      }
      guard index < got.count else { return "this is missing:\n  \(line)" }
      guard matches(line, got[index]) else { return "the page says\n  \(line)\nand there was\n  \(got[index])" }
      index += 1
    }
    return index < got.count ? "the page does not have\n  \(got[index])" : nil
  }

  /// Lines without blanks at their ends, runs of blanks as one, and no empty lines at the end.
  private static func lines(_ text: String) -> [String] {
    var lines = text.split(separator: "\n", omittingEmptySubsequences: false)
      .map { $0.split(whereSeparator: { $0 == " " || $0 == "\t" }).joined(separator: " ") }
    while lines.last?.isEmpty == true { lines.removeLast() }
    return lines
  }

  private mutating func matches(_ expected: String, _ actual: String) -> Bool {
    if expected == actual { return true }
    var (rest, isOpen, learnt) = (Substring(actual), false, found)
    // Pieces between the ellipses, each a list of plain text and of what varies.
    for (number, piece) in expected.split(separator: "…", omittingEmptySubsequences: false).enumerated() {
      isOpen = number > 0
      guard !piece.isEmpty else { continue }
      var from = rest.startIndex
      while true {
        if let end = prefixEnd(of: rest[from...], matching: piece, &learnt) {
          rest = rest[end...]
          isOpen = false
          break
        }
        guard isOpen, from < rest.endIndex else { return false }
        from = rest.index(after: from)
      }
    }
    guard rest.isEmpty || isOpen else { return false }
    found = learnt
    return true
  }

  /// Where `piece` ends in `text`, which must begin with it.
  private func prefixEnd(of text: Substring, matching piece: Substring, _ learnt: inout [String: String]) -> String.Index? {
    var (want, have, now) = (piece, text, learnt)
    while !want.isEmpty {
      if let (varying, kind) = Self.varying(at: want) {
        guard let (actual, actualKind) = Self.varying(at: have), kind == actualKind else { return nil }
        if varying != actual {
          switch kind {
          case .hexadecimal:
            guard now[String(varying), default: String(actual)] == actual else { return nil }
          case .moment:
            guard let moment = Self.moment(actual), moment > start.addingTimeInterval(-1), moment < Date(timeIntervalSinceNow: 1) else {
              return nil
            }
          }
        }
        if kind == .hexadecimal { now[String(varying)] = String(actual) }
        want = want.dropFirst(varying.count)
        have = have.dropFirst(actual.count)
      } else {
        guard want.first == have.first else { return nil }
        want = want.dropFirst()
        have = have.dropFirst()
      }
    }
    learnt = now
    return have.startIndex
  }

  private enum Kind { case hexadecimal, moment }

  /// What varies, if `text` begins with such a thing.
  private static func varying(at text: Substring) -> (Substring, Kind)? {
    let digits = text.prefix { $0.isASCII && $0.isHexDigit && !$0.isUppercase }
    if digits.count == 32 { return (digits, .hexadecimal) }
    guard digits.count == 4 else { return nil }
    let stamp = text.prefix { $0.isASCII && ($0.isNumber || "-T:.Z".contains($0)) }
    return moment(stamp) == nil ? nil : (stamp, .moment)
  }

  /// A moment as the ledger writes them.
  private static func moment(_ text: Substring) -> Date? {
    guard text.hasSuffix("Z"), text.count >= 20 else { return nil }
    // Whole seconds are enough to tell the present from the past.
    do { return try Date(String(text.prefix(19)) + "Z", strategy: .iso8601) } catch { return nil }
  }
}
