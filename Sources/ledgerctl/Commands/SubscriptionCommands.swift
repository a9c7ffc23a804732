// Why: whoever runs the ledger sees which consumer is how far, and decides about events that none could handle.

import ArgumentParser
import LedgerClient
import LedgerHTTP

struct SubscriptionsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "subscriptions", abstract: "Make subscriptions, consume them, and decide about parked events.",
    discussion: """
      A subscription remembers how far its consumers are: what they acknowledge never comes again, what they do not \
      comes again. An event that failed too often is parked.

      Examples:
        ledgerctl subscriptions create mailer --type order.placed --start head
        ledgerctl subscriptions list
        ledgerctl subscriptions consume mailer --acknowledge
        ledgerctl subscriptions acknowledge mailer 17 18
        ledgerctl subscriptions parked mailer
        ledgerctl subscriptions retry mailer --all
        ledgerctl subscriptions skip mailer --all
        ledgerctl subscriptions delete mailer
      """,
    subcommands: [List.self, Create.self, Delete.self, Consume.self, Acknowledge.self, Parked.self, Retry.self, Skip.self],
    defaultSubcommand: List.self)

  @OptionGroup var global: GlobalOptions

  struct NameArgument: ParsableArguments {
    @Argument(help: ArgumentHelp("The subscription.", valueName: "name"))
    var name: String
  }

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List subscriptions and how far they are.")

    @OptionGroup var global: GlobalOptions

    func run() async throws {
      let response = try await global.client.retrying("GET", "/v1/subscriptions")
      var output = Output()
      if global.json {
        try output.body(response.body)
      } else {
        var table = Table(["NAME", "CHECKPOINT", "LAG", "IN FLIGHT", "PARKED", "CONSUMERS", "FILTER"])
        for row in try response.json()["subscriptions"]?.array ?? [] {
          let filter = row["filter"].map { String(decoding: $0.encoded(), as: UTF8.self) } ?? ""
          let consumers = (row["consumers"]?.array ?? []).compactMap { $0["name"]?.string }.joined(separator: " ")
          table.add(
            ["name", "checkpoint", "lagEvents", "inFlight", "parked"].map { Outline.text(row[$0]) } + [
              consumers, filter == "{}" ? "everything" : filter,
            ])
        }
        for line in table.lines() { try output.line(line) }
      }
      try output.flush()
    }
  }

  struct Create: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "create", abstract: "Make a subscription, or change how one delivers.",
      discussion: "One that is there keeps its place; its filter cannot be changed.")

    @OptionGroup var global: GlobalOptions
    @OptionGroup var target: NameArgument

    @Option(help: ArgumentHelp("Where it begins: beginning, head, or the position to begin behind.", valueName: "place"))
    var start: String?

    @OptionGroup var filter: FilterOptions

    @Option(help: ArgumentHelp("Events that one consumer may have in hand. (default: 100)", valueName: "count"))
    var maxInFlight: Int?

    @Option(help: ArgumentHelp("How long a consumer has for an event. (default: 30)", valueName: "seconds"))
    var acknowledgeWithin: Int?

    @Option(help: ArgumentHelp("How long a failed event waits. (default: 1)", valueName: "seconds"))
    var redeliverAfter: Int?

    @Option(help: ArgumentHelp("After so many failures an event is parked. (default: 5)", valueName: "count"))
    var maxFailures: Int?

    func run() async throws {
      var options = SubscriptionOptions()
      options.start = start
      options.filters = filter.filters
      options.maxInFlight = maxInFlight
      options.acknowledgeWithinSeconds = acknowledgeWithin
      options.redeliverAfterSeconds = redeliverAfter
      options.maxFailures = maxFailures
      let json = try await global.client.putSubscription(target.name, options)
      var output = Output()
      if global.json {
        try output.body(json.encoded())
      } else {
        let what = json["created"]?.bool == true ? "made" : "is there"
        try output.line("\(target.name): \(what), at position \(Outline.text(json["checkpoint"]))")
      }
      try output.flush()
    }
  }

  struct Delete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "delete", abstract: "Remove a subscription, with its place and its parked events. The log stays.")

    @OptionGroup var global: GlobalOptions
    @OptionGroup var target: NameArgument

    func run() async throws {
      try await global.client.deleteSubscription(target.name)
      var output = Output()
      if global.json {
        try output.body(JSONValue.object([("name", .string(target.name)), ("deleted", .bool(true))]).encoded())
      } else {
        try output.line("\(target.name): deleted")
      }
      try output.flush()
    }
  }

  struct Consume: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "consume", abstract: "Take events that wait, and print them.",
      discussion: """
        With --acknowledge they are done once they are printed; without, they come again when their time is up, or are \
        acknowledged with ledgerctl subscriptions acknowledge.
        """)

    @OptionGroup var global: GlobalOptions
    @OptionGroup var target: NameArgument

    @Option(help: "Who takes them; two that work side by side have two names.")
    var consumer = "default"

    @Option(help: ArgumentHelp("Take at most so many.", valueName: "count"))
    var limit = 100

    @Option(help: ArgumentHelp("Wait so long if there are none, at most 60.", valueName: "seconds"))
    var wait = 0

    @Flag(help: "Acknowledge them once they are printed.")
    var acknowledge = false

    func run() async throws {
      let client = try global.client
      let call = LedgerClient.subscriptionTarget(
        target.name, "fetch",
        [(name: "consumer", value: consumer), (name: "limit", value: String(limit)), (name: "wait", value: String(wait))])
      let response = try await client.request("POST", call)
      if let problem = response.problem { throw ClientError.problem(problem) }
      var printer = EventPrinter(isJSON: global.json, flushesEach: false)
      var positions: [Int64] = []
      for line in response.body.split(separator: UInt8(ascii: "\n")) {
        try printer.add(Array(line))
        positions.append(try DeliveredEvent(parsing: Array(line)).position)
      }
      try printer.end()
      if acknowledge, !positions.isEmpty { try await client.settle(target.name, consumer: consumer, .positions(positions)) }
    }
  }

  struct Acknowledge: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "acknowledge", abstract: "Say that events are done: they never come again.")

    @OptionGroup var global: GlobalOptions
    @OptionGroup var target: NameArgument

    @Option(help: "Who has them in hand; counts with --through.")
    var consumer = "default"

    @Option(help: ArgumentHelp("All that the consumer has in hand up to this position.", valueName: "position"))
    var through: Int64?

    @Argument(help: ArgumentHelp("Their positions.", valueName: "position"))
    var positions: [Int64] = []

    func validate() throws {
      if (through == nil) == positions.isEmpty { throw ValidationError("give positions or --through") }
    }

    func run() async throws {
      let result = try await global.client.settle(
        target.name, consumer: consumer, through.map { .through($0) } ?? .positions(positions))
      var output = Output()
      if global.json {
        let members = [("acknowledged", String(result.count)), ("checkpoint", String(result.checkpoint))]
        try output.body(JSONValue.object(members.map { ($0.0, .number($0.1)) }).encoded())
      } else {
        try output.line("\(target.name): \(result.count) acknowledged, everything done up to position \(result.checkpoint)")
      }
      try output.flush()
    }
  }

  struct Parked: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "parked", abstract: "List events that failed too often.")

    @OptionGroup var global: GlobalOptions
    @OptionGroup var target: NameArgument

    func run() async throws {
      let client = try global.client
      var table = Table(["POSITION", "FAILURES", "TIME", "RETRIED", "REASON"])
      var output = Output()
      var cursor: Int64 = 0
      while true {
        let response = try await client.retrying(
          "GET",
          LedgerClient.subscriptionTarget(
            target.name, "parked", [(name: "after", value: String(cursor)), (name: "limit", value: "1000")]))
        if global.json { try output.body(response.body) }
        let json = try response.json()
        for row in json["parked"]?.array ?? [] {
          table.add(["position", "failures", "time", "retried", "reason"].map { Outline.text(row[$0]) })
        }
        guard let next = json["next"]?.integer, next > cursor else { break }
        cursor = next
      }
      if !global.json { for line in table.lines() { try output.line(line) } }
      try output.flush()
    }
  }

  struct ParkedOptions: ParsableArguments {
    @Flag(help: "All that are parked.")
    var all = false

    @Argument(help: ArgumentHelp("Their positions.", valueName: "position"))
    var positions: [Int64] = []

    func validate() throws {
      if all == !positions.isEmpty { throw ValidationError("give positions or --all") }
    }

    func send(_ call: String, _ word: String, _ name: String, _ global: GlobalOptions) async throws {
      let body: JSONValue =
        all ? .object([("all", .bool(true))]) : .object([("positions", .array(positions.map { .number(String($0)) }))])
      let json = try await global.client.subscriptionCall("POST", LedgerClient.subscriptionTarget(name, "parked/" + call), body)
      var output = Output()
      if global.json { try output.body(json.encoded()) } else { try output.line("\(name): \(Outline.text(json[word])) \(word)") }
      try output.flush()
    }
  }

  struct Retry: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "retry", abstract: "Deliver parked events again, as if they were new.")

    @OptionGroup var global: GlobalOptions
    @OptionGroup var target: NameArgument
    @OptionGroup var options: ParkedOptions

    func run() async throws { try await options.send("retry", "retried", target.name, global) }
  }

  struct Skip: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "skip", abstract: "Give parked events up for this subscription. They stay in the log.")

    @OptionGroup var global: GlobalOptions
    @OptionGroup var target: NameArgument
    @OptionGroup var options: ParkedOptions

    func run() async throws { try await options.send("skip", "skipped", target.name, global) }
  }
}
