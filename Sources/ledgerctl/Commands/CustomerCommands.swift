// Why: one person's view and journey, by any identifier of theirs.

import ArgumentParser
import LedgerClient

/// A customer as the command line names one.
enum CustomerName {
  case id(String)
  case identifier(String)

  init(_ text: String) throws(UsageError) {
    // An id is digits, of a participant digits twice (`17-2`); a value's kind stands before a colon.
    if text.utf8.first.map({ (0x30...0x39).contains($0) }) == true, text.utf8.allSatisfy({ (0x30...0x39).contains($0) || $0 == 0x2D }) {
      self = .id(text)
    } else if let colon = text.utf8.firstIndex(of: UInt8(ascii: ":")), colon != text.utf8.startIndex, colon != text.utf8.indices.last {
      self = .identifier(text)
    } else {
      throw UsageError(description: "a customer is named by id (17) or by kind:value (email:ana@example.org, dni:ES:12345678Z)")
    }
  }

  /// The ids that it stands for.
  func ids(_ client: LedgerClient, atLeast: Int64?) async throws -> [String] {
    switch self {
    case .id(let id): return [id]
    case .identifier(let identifier):
      let target = LedgerClient.customersTarget(identifier: identifier, atLeast: atLeast)
      let ids = try Customer.all(in: try await client.retrying("GET", target).json()).map(\.id)
      if ids.isEmpty { throw Self.nobody }
      return ids
    }
  }

  /// The identifier itself is personal, and not repeated.
  static let nobody = NotFoundError(
    description:
      "no customer has that identifier; look at its kind and spelling, or whether the projection has caught up (ledgerctl projections list)"
  )
}

struct CustomerCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "customer", abstract: "Show a person's unified view.",
    discussion: """
      Examples:
        ledgerctl customer email:ana@example.org
        ledgerctl customer --json dni:ES:12345678Z
        ledgerctl customer --at-least 90 4
      """)

  @OptionGroup var global: GlobalOptions

  @OptionGroup var waiting: WaitOptions

  @Argument(help: ArgumentHelp("An id, or kind:value.", valueName: "customer"))
  var name: String

  func run() async throws {
    let target =
      switch try CustomerName(name) {
      case .id(let id): LedgerClient.customerTarget(id: id, atLeast: waiting.atLeast)
      case .identifier(let identifier): LedgerClient.customersTarget(identifier: identifier, atLeast: waiting.atLeast)
      }
    let response = try await global.client.retrying("GET", target)
    let customers = try Customer.all(in: try response.json())
    var output = Output()
    if global.json { try output.body(response.body) }
    if !global.json {
      for (index, customer) in customers.enumerated() {
        if index > 0 { try output.line("") }
        for line in Outline.lines(customer.json) { try output.line(line) }
      }
    }
    try output.flush()
    if customers.isEmpty { throw CustomerName.nobody }
  }
}

struct JourneyCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "journey", abstract: "Show a person's journey, oldest first.",
    discussion: """
      Examples:
        ledgerctl journey email:ana@example.org
        ledgerctl journey --limit 5 --at-least 90 4
        ledgerctl journey unowned
      """)

  @OptionGroup var global: GlobalOptions

  @OptionGroup var waiting: WaitOptions

  @Option(help: ArgumentHelp("Show at most so many entries.", valueName: "count"))
  var limit: Int?

  @Argument(help: ArgumentHelp("An id, kind:value, or unowned: the events of nobody.", valueName: "customer"))
  var name: String

  func validate() throws {
    if let limit, limit < 1 { throw ValidationError("--limit is a count of 1 or more") }
  }

  func run() async throws {
    let client = try global.client
    var output = Output()
    // The timeline of events that belong to nobody has a name of its own.
    let ids = name == "unowned" ? [name] : try await CustomerName(name).ids(client, atLeast: waiting.atLeast)
    for (index, id) in ids.enumerated() {
      if index > 0 && !global.json { try output.line("") }
      if ids.count > 1 && !global.json { try output.line("customer \(id)") }
      try await show(id, client, &output)
    }
    try output.flush()
  }

  private func show(_ id: String, _ client: LedgerClient, _ output: inout Output) async throws {
    var table = Table(["POSITION", "TIME", "TYPE", "CHANNEL", "CAMPAIGN", "VALUE"])
    var (cursor, remaining): (String?, Int?) = (nil, limit)
    repeat {
      let response = try await client.retrying(
        "GET", LedgerClient.journeyTarget(id: id, limit: remaining, cursor: cursor, atLeast: waiting.atLeast))
      let page = try JourneyPage(try response.json())
      if global.json { try output.body(response.body) }
      for entry in page.entries.prefix(remaining ?? .max) { table.add(Self.cells(entry)) }
      remaining = remaining.map { max(0, $0 - page.entries.count) }
      guard page.next == nil || page.next != cursor else {
        throw ClientError.protocolViolation("the journey's cursor does not move")
      }
      cursor = page.next
    } while cursor != nil && remaining != 0
    if !global.json { for line in table.lines() { try output.line(line) } }
  }

  private static func cells(_ entry: JSONValue) -> [String] {
    let value = entry["value"]
    if let value, value["amount"] == nil { return columns(entry) + [Outline.text(value)] }
    let amount = [value?["amount"], value?["currency"]].map(Outline.text).filter { !$0.isEmpty }.joined(separator: " ")
    return columns(entry) + [amount]
  }

  private static func columns(_ entry: JSONValue) -> [String] {
    ["position", "time", "type", "channel", "campaign"].map { Outline.text(entry[$0]) }
  }
}
