// What the ledger knows about an event beside its bytes.

/// A place in the whole log: 1 for the first event, gapless. 0 stands for "before the first".
public typealias Position = UInt64

/// How an event came in.
public enum FrontDoor: UInt8, Sendable, CaseIterable {
  /// `POST /v1/events`, structured JSON.
  case http = 1
  /// `POST /v1/events` in CloudEvents' binary mode; the stored bytes are the ledger's own serialisation, version 1.
  case httpBinary = 2
  /// Appended in process: tests and benchmarks.
  case process = 3
  /// The ledger's own facts.
  case ledger = 4
}

/// The envelope of one event.
public struct Envelope: Equatable, Sendable {
  /// When the log took it: never before an earlier event's.
  public var recorded: Timestamp
  /// When its last byte arrived.
  public var received: Timestamp
  /// When it was sent, by the sender's clock, if the sender said.
  public var sent: Timestamp?
  /// The event's place in its stream, from 0.
  public var revision: UInt64
  /// How it came in.
  public var door: FrontDoor
  /// Who sent it, as the socket knows them: `uid:1000`. Not a customer.
  public var principal: String

  /// Joins the parts.
  public init(recorded: Timestamp, received: Timestamp, sent: Timestamp? = nil, revision: UInt64, door: FrontDoor, principal: String) {
    self.recorded = recorded
    self.received = received
    self.sent = sent
    self.revision = revision
    self.door = door
    self.principal = principal
  }
}
