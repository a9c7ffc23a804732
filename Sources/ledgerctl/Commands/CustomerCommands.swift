// Why: one person's view and journey, by any identifier of theirs.

import ArgumentParser
import LedgerClient

/// A customer as the command line names one.
enum CustomerName {
  case id(String)
  case identifier(String)

  init(_ text: String) throws(UsageError) {
    if !text.isEmpty, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
      self = .id(text)
    } else if let colon = text.utf8.firstIndex(of: UInt8(ascii: ":")), colon != text.utf8.startIndex, colon != text.utf8.indices.last {
      self = .identifier(text)
    } else {
      throw UsageError(description: "a customer is named by id (17) or by kind:value (email:ana@example.org, dni:ES:12345678Z)")
    }
  }

  /// The ids that it stands for.
  func ids(_ client: LedgerClient) async throws -> [String] {
    switch self {
    case .id(let id): return [id]
    case .identifier(let identifier):
      let ids = try await client.customers(identifier: identifier).map(\.id)
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
  static let configuration = CommandConfiguration(commandName: "customer", abstract: "Show a person's unified view.")

  @OptionGroup var global: GlobalOptions

  @Argument(help: ArgumentHelp("An id, or kind:value.", valueName: "customer"))
  var name: String

  func run() async throws {
    let target =
      switch try CustomerName(name) {
      case .id(let id): LedgerClient.customerTarget(id: id)
      case .identifier(let identifier): LedgerClient.customersTarget(identifier: identifier)
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
  static let configuration = CommandConfiguration(commandName: "journey", abstract: "Show a person's journey, oldest first.")

  @OptionGroup var global: GlobalOptions

  @Option(help: ArgumentHelp("Show at most so many entries.", valueName: "count"))
  var limit: Int?

  @Argument(help: ArgumentHelp("An id, or kind:value.", valueName: "customer"))
  var name: String

  func validate() throws {
    if let limit, limit < 1 { throw ValidationError("--limit is a count of 1 or more") }
  }

  func run() async throws {
    let client = try global.client
    var output = Output()
    let ids = try await CustomerName(name).ids(client)
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
      let response = try await client.retrying("GET", LedgerClient.journeyTarget(id: id, limit: remaining, cursor: cursor))
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
