// What lies in quarantine, and why nothing could be put there.

import Files
public import LMDB
public import LedgerCore

/// An event on its way into quarantine.
public struct SetAside: Sendable {
  /// Why the log did not take it.
  public enum Reason: UInt8, Sendable {
    /// It breaks the schema of its type.
    case schema = 1
    /// Its (source, id) is taken by other content.
    case conflict = 2
  }

  /// The event's index in its request, from 0.
  public var index: Int
  /// Its bytes as they would have been stored.
  public var bytes: [UInt8]
  /// Why.
  public var reason: Reason
  /// Why, in words, without anything that the event says.
  public var detail: String

  /// Joins the parts.
  public init(index: Int, bytes: [UInt8], reason: Reason, detail: String) {
    self.index = index
    self.bytes = bytes
    self.reason = reason
    self.detail = detail
  }
}

/// An event in quarantine.
public struct QuarantinedEvent: Equatable, Sendable {
  /// Its number, from 1; never given out twice.
  public let number: UInt64
  /// When it was set aside.
  public let recorded: Timestamp
  /// When its request came in.
  public let received: Timestamp
  /// The sender's clock, if it said.
  public let sent: Timestamp?
  /// How it came in.
  public let door: FrontDoor
  /// Who sent it.
  public let principal: String
  /// Why the log did not take it.
  public let reason: SetAside.Reason
  /// Why, in words.
  public let detail: String
  /// Its bytes as they would have been stored.
  public let bytes: [UInt8]
}

/// What became of an event that was in quarantine.
public struct QuarantineResolution: Equatable, Sendable {
  /// How it left.
  public enum Outcome: Equatable, Sendable {
    /// It, or what it was corrected to, is in the log at this position.
    case appended(Position)
    /// It was given up, for this reason.
    case discarded(String)
  }

  /// The number it had.
  public let number: UInt64
  /// When it left.
  public let time: Timestamp
  /// Who decided.
  public let principal: String
  /// How it left.
  public let outcome: Outcome
}

/// Why nothing was set aside.
public enum QuarantineError: Error, Equatable, Sendable, CustomStringConvertible {
  /// There would be more events or bytes than the limits allow; nothing of the request was set aside.
  case full(eventCountMax: Int, byteCountMax: Int)
  /// No event has that number.
  case unknown(UInt64)
  /// The event has left.
  case resolved(QuarantineResolution)
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
    case .full(let events, let bytes):
      "the quarantine is full (it takes \(events) events and \(bytes) bytes); nothing was appended or set aside. Have its events "
        + "corrected, appended or discarded (ledgerctl quarantine list), then retry"
    case .unknown(let number):
      "no event in quarantine has the number \(number)"
    case .resolved(let resolution):
      switch resolution.outcome {
      case .appended(let position): "event \(resolution.number) has left quarantine: it was appended, at position \(position)"
      case .discarded: "event \(resolution.number) has left quarantine: it was discarded"
      }
    case .environment(let error):
      "the quarantine could not be written or read; retry with the same ids, which is safe (\(error.description))"
    case .files(let detail, _):
      detail
    case .foreignFormat(let path):
      "\(path) has a format that this ledgerd does not know; use the version that wrote it or a newer one"
    case .closed:
      "the ledger is shutting down; nothing was appended or set aside, retry when it is back"
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
