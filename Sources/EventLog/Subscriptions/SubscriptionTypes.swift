// Subscriptions as their users see them: what is set, what is delivered, how far it is, and what can go wrong.

import Files
public import LMDB
public import LedgerCore

/// What a subscription delivers, and how.
public struct SubscriptionSettings: Equatable, Sendable {
  /// Which events.
  public var filter = EventFilter()
  /// Events that one consumer may have in hand, delivered and not settled.
  public var inFlightCountMax = 100
  /// How long a consumer has for an event before it counts as failed and is delivered again.
  public var acknowledgeWithin = Duration.seconds(30)
  /// How long a failed event waits before it is delivered again, and the later ones of its stream with it.
  public var redeliverAfter = Duration.seconds(1)
  /// After so many failures an event is parked.
  public var failureCountMax = 5

  /// The defaults: everything.
  public init() {}

  /// The limits, for whoever takes settings in.
  public static let inFlightCounts = 1...4_096
  /// See ``acknowledgeWithin``.
  public static let acknowledgeSeconds = 1...3_600
  /// See ``redeliverAfter``.
  public static let redeliverSeconds = 0...3_600
  /// See ``failureCountMax``.
  public static let failureCounts = 1...1_000
  /// Values of all conditions of a filter together.
  public static let filterValueCountMax = 1_000
  /// Bytes of all values of a filter together.
  public static let filterByteCountMax = 64 << 10
}

/// Where a new subscription begins.
public enum SubscriptionStart: Equatable, Sendable {
  /// Behind this position; 0: with the first event.
  case after(Position)
  /// With what is appended from now on.
  case head
}

/// A name that subscriptions and consumers may have: 1 to 128 of the letters A to Z and a to z, digits, `.`, `_`, `-`. So names
/// are equal as `String`s exactly if they are equal as bytes.
public struct SubscriptionName: Hashable, Sendable, CustomStringConvertible {
  /// The name.
  public let description: String

  /// Takes a name; nil if it may not be one.
  public init?(_ text: String) {
    let isName = text.utf8.allSatisfy { byte in
      switch byte {
      case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"): true
      default: false
      }
    }
    guard isName, (1...128).contains(text.utf8.count) else { return nil }
    description = text
  }
}

/// An event on its way to a consumer.
public struct Delivery: Equatable, Sendable {
  /// Where it is in the log.
  public var position: Position
  /// 1 for the first time, one more for each time that it failed before.
  public var number: Int

  /// Joins the parts.
  public init(position: Position, number: Int) {
    self.position = position
    self.number = number
  }
}

/// What a consumer says about events it has in hand.
public enum Settlement: Equatable, Sendable {
  /// They are done, and never come again.
  case acknowledge
  /// They could not be handled; without personal data. They come again, or are parked.
  case fail(reason: String)
  /// They are given back unhandled, which is no failure.
  case release
}

/// Which events a consumer speaks of.
public enum SettledEvents: Equatable, Sendable {
  /// These, whoever has them in hand.
  case positions([Position])
  /// All that this consumer has in hand, up to a position.
  case through(Position)
}

/// What became of a settlement.
public struct SettlementResult: Equatable, Sendable {
  /// How many events it was about; others were not open.
  public var count = 0
  /// How many of them were parked.
  public var parkedCount = 0
  /// Everything up to here is settled.
  public var checkpoint: Position = 0

  /// Joins the parts.
  public init(count: Int = 0, parkedCount: Int = 0, checkpoint: Position = 0) {
    self.count = count
    self.parkedCount = parkedCount
    self.checkpoint = checkpoint
  }
}

/// An event that failed too often, set aside until somebody decides.
public struct ParkedDelivery: Equatable, Sendable {
  /// Where it is in the log.
  public var position: Position
  /// How often it failed.
  public var failureCount: Int
  /// When it was parked.
  public var time: Timestamp
  /// What the consumer said last, or that time ran out.
  public var reason: String
  /// True if it was asked for again and is not settled yet.
  public var isRetried: Bool
}

/// A subscription as it is now.
public struct SubscriptionStatus: Equatable, Sendable {
  /// Its name.
  public var name: SubscriptionName
  /// What it delivers, and how.
  public var settings: SubscriptionSettings
  /// Behind which position it began.
  public var start: Position
  /// When it was made.
  public var created: Timestamp
  /// Everything up to here is settled: acknowledged, parked, or not wanted.
  public var checkpoint: Position
  /// Events that consumers have in hand.
  public var inFlightCount: Int
  /// Events that are parked.
  public var parkedCount: Int
  /// Consumers that have events in hand, by name, with how many.
  public var consumers: [(name: SubscriptionName, inFlightCount: Int)]
  /// Deliveries since the daemon started.
  public var deliveredCount: UInt64
  /// Deliveries of events that had failed before, since the daemon started.
  public var redeliveredCount: UInt64

  /// Compares.
  public static func == (left: Self, right: Self) -> Bool {
    left.name == right.name && left.settings == right.settings && left.start == right.start && left.created == right.created
      && left.checkpoint == right.checkpoint && left.inFlightCount == right.inFlightCount && left.parkedCount == right.parkedCount
      && left.consumers.elementsEqual(right.consumers) { $0 == $1 } && left.deliveredCount == right.deliveredCount
      && left.redeliveredCount == right.redeliveredCount
  }
}

/// Why something could not be done with a subscription.
public enum SubscriptionError: Error, Equatable, Sendable, CustomStringConvertible {
  /// There is none of that name.
  case unknown(SubscriptionName)
  /// There is one of that name with another filter.
  case differs(SubscriptionName)
  /// There are as many as there may be.
  case tooMany(countMax: Int)
  /// As many consumers are at work as may be.
  case tooManyConsumers(countMax: Int)
  /// More calls wait than may.
  case busy
  /// This event is not parked.
  case notParked(Position)
  /// It would begin beyond the head.
  case startBeyondHead(Position, head: Position)
  /// The log cannot be read.
  case log(LogError)
  /// LMDB answered with an error.
  case environment(LMDBError)
  /// The directory could not be made.
  case files(String, isDiskFull: Bool)
  /// The directory was written by another version.
  case foreignFormat(String)
  /// The ledger is shutting down.
  case closed

  /// What happened and what to do.
  public var description: String {
    switch self {
    case .unknown(let name):
      "there is no subscription \(name); ledgerctl subscriptions list shows those that are there, create makes one"
    case .differs(let name):
      "subscription \(name) is there with another filter, which cannot be changed; use another name, or delete it first"
    case .tooMany(let countMax):
      "there are \(countMax) subscriptions, and no more are taken; delete one that nobody uses"
    case .tooManyConsumers(let countMax):
      "\(countMax) consumers have events of this subscription in hand or wait for some; retry when one has left"
    case .busy:
      "too many calls about subscriptions are waiting; retry soon"
    case .notParked(let position):
      "event \(position) is not parked in this subscription"
    case .startBeyondHead(let position, let head):
      "a subscription cannot begin behind position \(position), since the head is \(head); begin at the head"
    case .log(let error):
      error.description
    case .environment(let error):
      "the subscriptions could not be written or read; retry, which is safe (\(error.description))"
    case .files(let detail, _):
      detail
    case .foreignFormat(let path):
      "\(path) has a format that this ledgerd does not know; use the version that wrote it or a newer one"
    case .closed:
      "the ledger is shutting down; retry when it is back"
    }
  }

  /// True if the disk is full.
  public var isDiskFull: Bool {
    switch self {
    case .environment(let error): error.kind == .diskFull
    case .files(_, let isDiskFull): isDiskFull
    default: false
    }
  }
}
