// Why: whoever waits for a large file wants to know how long.
//
// Invariants: one line of at most 79 characters, redrawn at most five times a second; nothing but counts is shown; without
// the size of the inputs there is no bar and no time left, never a guess.

/// The line that tells how far an import is.
struct ImportProgress {
  private static let barWidth = 20
  /// The bytes of all inputs together; nil if one of them is a pipe.
  private let byteCount: Int?
  private let clock = ContinuousClock()
  private let start: ContinuousClock.Instant
  private var shown: ContinuousClock.Instant?
  /// The bytes of the inputs that are done.
  private var doneByteCount = 0
  /// The bytes with which this run began: those that an earlier one had read.
  private var startByteCount: Int?

  init(byteCount: Int?) {
    self.byteCount = byteCount
    start = clock.now
  }

  /// Adds an input that was read to its end.
  mutating func finish(byteCount: Int) { doneByteCount += byteCount }

  /// The line, if it is time for one.
  mutating func line(rows: Int, readByteCount: Int) -> String? {
    let now = clock.now
    if let shown, now - shown < .milliseconds(200) { return nil }
    shown = now
    let bytes = doneByteCount + readByteCount
    if startByteCount == nil { startByteCount = bytes }
    return Self.line(
      rows: rows, bytes: bytes, newBytes: bytes - (startByteCount ?? 0), of: byteCount, seconds: Self.seconds(now - start))
  }

  static func seconds(_ duration: Duration) -> Double {
    Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
  }

  static func line(rows: Int, bytes: Int, newBytes: Int, of byteCount: Int?, seconds: Double) -> String {
    let rate = seconds > 0.2 ? ", \(Int(Double(rows) / seconds)) rows/s" : ""
    guard let byteCount, byteCount > 0 else { return "\(rows) rows, \(size(bytes))\(rate)" }
    let share = min(1, Double(bytes) / Double(byteCount))
    let filled = Int(share * Double(barWidth))
    let bar = String(repeating: "#", count: filled) + String(repeating: "-", count: barWidth - filled)
    var left = ""
    if newBytes > 0, seconds > 1, bytes <= byteCount {
      left = ", " + time(Double(byteCount - bytes) * seconds / Double(newBytes)) + " left"
    }
    return "[\(bar)] \(Int(share * 100)) % of \(size(byteCount)), \(rows) rows\(rate)\(left)"
  }

  private static func time(_ seconds: Double) -> String {
    let seconds = Int(seconds.rounded(.up))
    if seconds < 60 { return "\(seconds) s" }
    if seconds < 3_600 { return "\(seconds / 60) min \(seconds % 60) s" }
    return "\(seconds / 3_600) h \(seconds / 60 % 60) min"
  }

  private static func size(_ byteCount: Int) -> String {
    for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] where byteCount >= unit {
      let tenths = byteCount * 10 / unit
      return tenths >= 1_000 ? "\(tenths / 10) \(name)" : "\(tenths / 10).\(tenths % 10) \(name)"
    }
    return "\(byteCount) B"
  }
}
