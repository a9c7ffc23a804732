// Why: reads the log, for people as a table, for programs as the lines of the daemon.

import ArgumentParser
import LedgerClient

struct EventsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "events", abstract: "Read the log, or follow it.",
    discussion: """
      Several values of one filter are alternatives; different filters must all hold.

      Examples:
        ledgerctl events --channel phone --channel chat
        ledgerctl events --since 2026-04-21T00:00:00Z --limit 10
        ledgerctl events --json --after 80
        ledgerctl events --follow --type order.placed
      """)

  @OptionGroup var global: GlobalOptions

  @Option(help: ArgumentHelp("Begin after this position.", valueName: "position"))
  var after: Int64?

  @Option(help: ArgumentHelp("End with this position.", valueName: "position"))
  var until: Int64?

  @Option(help: ArgumentHelp("Read at most so many events.", valueName: "count"))
  var limit: Int?

  @OptionGroup var filter: FilterOptions

  @Flag(help: "Stay, and show events as they are appended.")
  var follow = false

  var query: EventQuery {
    EventQuery(after: after, until: until, limit: limit, filters: filter.filters, follow: follow)
  }

  func validate() throws {
    if let after, after < 0 { throw ValidationError("--after is a position of 0 or more") }
    if let limit, limit < 1 { throw ValidationError("--limit is a count of 1 or more") }
  }

  func run() async throws {
    var printer = EventPrinter(isJSON: global.json, flushesEach: follow)
    if follow {
      let lines = try global.client.follow(query) { cut in
        Output.message("ledgerctl: the stream broke off (\(cut)); it is taken up again where it was")
      }
      for try await line in lines { try printer.add(line) }
    } else {
      for try await line in try await global.client.events(query) { try printer.add(line) }
    }
    try printer.end()
  }
}

/// Which events are wanted.
struct FilterOptions: ParsableArguments {
  @Option(help: "Only these types.")
  var type: [String] = []

  @Option(help: "Only these sources.")
  var source: [String] = []

  @Option(help: "Only these subjects.")
  var subject: [String] = []

  @Option(help: "Only these streams.")
  var stream: [String] = []

  @Option(help: "Only these channels.")
  var channel: [String] = []

  @Option(help: "Only these campaigns.")
  var campaign: [String] = []

  @Option(help: ArgumentHelp("Only what occurred at this time or later.", valueName: "time"))
  var since: String?

  @Option(help: ArgumentHelp("Only what occurred before this time.", valueName: "time"))
  var before: String?

  /// Names and values, as the daemon takes them.
  var filters: [(name: String, value: String)] {
    let lists = [
      ("type", type), ("source", source), ("subject", subject), ("stream", stream), ("channel", channel), ("campaign", campaign),
      ("since", since.map { [$0] } ?? []), ("before", before.map { [$0] } ?? []),
    ]
    return lists.flatMap { name, values in values.map { (name: name, value: $0) } }
  }
}

/// Prints lines of events as they are or as a table.
struct EventPrinter {
  private let isJSON: Bool
  private let flushesEach: Bool
  private var output = Output()
  private var table = EventTable()

  /// - Parameter flushesEach: Shows each line at once.
  init(isJSON: Bool, flushesEach: Bool) {
    self.isJSON = isJSON
    self.flushesEach = flushesEach
  }

  mutating func add(_ line: [UInt8]) throws {
    if isJSON {
      try output.body(line)
      if flushesEach { try output.flush() }
      return
    }
    switch try EventLine(parsing: line) {
    case .event(let position, let recordedTime, let event):
      try table.add(position, recordedTime, event, &output)
      if flushesEach && table.isSettled { try output.flush() }
    case .mark(let name, let position):
      try table.settle(&output)
      try output.flush()
      if name == "fell-behind" {
        Output.message("ledgerctl: reading fell behind at position \(position); the daemon reads on from the log")
      }
    }
  }

  mutating func end() throws {
    try table.settle(&output)
    try output.flush()
  }
}

/// A table that settles its widths on the first rows and then grows line by line.
struct EventTable {
  private static let settlingRowCount = 200
  private static let titles = ["POSITION", "TIME", "TYPE", "CHANNEL", "CAMPAIGN", "SOURCE", "ID"]
  private static let isNumeric = [true, false, false, false, false, false, false]

  private var first = Table(titles)
  private var widths: [Int]?

  var isSettled: Bool { widths != nil }

  mutating func add(_ position: Int64, _ recordedTime: String, _ event: JSONValue?, _ output: inout Output) throws {
    func text(_ name: String) -> String { Outline.text(event?[name]) }
    let time = event?["time"]?.string ?? recordedTime
    let type = event == nil ? "(erased)" : text("type")
    let cells = [String(position), time, type, text("channel"), text("campaign"), text("source"), text("id")]
    if let widths {
      try output.line(Table.line(cells.map(Table.clean), widths: widths, isNumeric: Self.isNumeric))
      return
    }
    first.add(cells)
    if first.rows.count == Self.settlingRowCount { try settle(&output) }
  }

  /// Prints what waits; from then on rows are printed as they come.
  mutating func settle(_ output: inout Output) throws {
    guard widths == nil, !first.rows.isEmpty else { return }
    widths = first.widths
    for row in [Self.titles] + first.rows { try output.line(Table.line(row, widths: first.widths, isNumeric: Self.isNumeric)) }
  }
}
