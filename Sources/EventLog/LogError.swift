// What the world can do to a log.

public import Files
public import LMDB
public import LedgerCore

/// Why a log could not be opened or read.
public enum LogError: Error, Equatable, Sendable, CustomStringConvertible {
  /// Another process has the directory.
  case locked(String)
  /// The directory was written by a newer version, or is something else.
  case foreignFormat(String)
  /// The directory lies on a network file system of this type.
  case networkFileSystem(String)
  /// A key file is missing or has the wrong length.
  case keyMissing(String)
  /// Stored bytes are not what was written: the first position concerned, and what is wrong.
  case damaged(position: Position, String)
  /// There is no such position: the head is given.
  case noSuchPosition(Position, head: Position)
  /// The log was made with segments of another size; nil: of more positions than are set, it is not known how many.
  case otherSegmentSize(found: UInt64?, configured: UInt64)
  /// The log has been closed.
  case closed
  /// LMDB answered with an error.
  case environment(LMDBError)
  /// The file system answered with an error.
  case files(FileError)
  /// The schemas cannot be read.
  case schemas(SchemaError)
  /// The quarantine cannot be read.
  case quarantine(QuarantineError)
  /// The subscriptions cannot be read.
  indirect case subscriptions(SubscriptionError)

  /// True if the disk, and not what is on it, is at fault: trying again later may work.
  var mayPass: Bool {
    switch self {
    case .environment(let error): ![.corrupted, .foreignFile, .badSize, .keyExists, .alreadyOpen].contains(error.kind)
    case .files: true
    case .locked, .foreignFormat, .networkFileSystem, .keyMissing, .damaged, .noSuchPosition, .otherSegmentSize, .closed, .schemas,
      .quarantine, .subscriptions:
      false
    }
  }

  /// What happened, where, and what to do.
  public var description: String {
    switch self {
    case .locked(let path):
      "another ledgerd has \(path) open; stop it or use another directory"
    case .foreignFormat(let detail):
      detail
    case .networkFileSystem(let type):
      "the data directory lies on a network file system (\(type)), where a durable log cannot be kept; use a local disk"
    case .keyMissing(let path):
      "the key \(path) is missing or damaged while the log has events; restore it from a backup of keys/"
    case .damaged(let position, let detail):
      "the log is damaged at position \(position): \(detail); check the disk and restore the log from a backup"
    case .noSuchPosition(let position, let head):
      "position \(position) is not in the log, whose head is \(head)"
    case .otherSegmentSize(let found?, let configured):
      "the log's segments have \(found) positions, and segment-positions says \(configured); set it to \(found), which this ledger was made with"
    case .otherSegmentSize(nil, let configured):
      "the log's first segment holds more positions than segment-positions says (\(configured)); set it to what this ledger was made with, "
        + "or leave it out if that was the default"
    case .closed:
      "the log is closed"
    case .environment(let error):
      error.description
    case .files(let error):
      error.description
    case .schemas(let error):
      error.description
    case .quarantine(let error):
      error.description
    case .subscriptions(let error):
      error.description
    }
  }
}

/// Why nothing was appended.
public enum AppendError: Error, Equatable, Sendable, CustomStringConvertible {
  /// These events of the batch are not taken, in the batch's order.
  case events([EventRefusal])
  /// The stream is not where the caller thought it was. nil stands for "no such stream".
  case wrongRevision(expected: ExpectedRevision, actual: UInt64?)
  /// The events of the request belong to more than one stream, so one expected revision means nothing.
  case severalStreams
  /// The index catches up with the log first.
  case catchingUp(done: Position, of: Position)
  /// The disk is full: nothing was changed.
  case diskFull(String)
  /// The log refused, and nothing was changed.
  case refused(String)
  /// The commit failed, and the disk does not say whether the events are in the log: that is known when it answers again.
  /// Repeating with the same ids is safe.
  case outcomeUnknown(String)
  /// The log is closing.
  case closed

  /// What happened and what to do.
  public var description: String {
    switch self {
    case .events(let refusals):
      "event \(refusals[0].index): \(refusals[0].detail)\(refusals.count > 1 ? " (and \(refusals.count - 1) more)" : ""); nothing was appended"
    case .wrongRevision(let expected, let actual):
      "wrong expected revision \(expected): the stream is at \(actual.map(String.init) ?? "no event yet"); read it again and retry"
    case .severalStreams:
      "an expected revision needs a request whose events all belong to one stream"
    case .catchingUp(let done, let total):
      "the index is catching up with the log, at \(done) of \(total); retry soon"
    case .diskFull(let detail):
      "the disk is full, nothing was appended; make room and retry (\(detail))"
    case .refused(let detail):
      "nothing was appended; retry (\(detail))"
    case .outcomeUnknown(let detail):
      "the commit failed and its outcome is unknown; retry with the same ids, which is safe (\(detail))"
    case .closed:
      "the ledger is shutting down; nothing was appended, retry when it is back"
    }
  }
}

/// An event that the log does not take, and why.
public struct EventRefusal: Equatable, Sendable {
  /// Why.
  public enum Reason: Equatable, Sendable {
    /// Its (source, id) is in the log with other content: where the first one is; nil: earlier in the same batch.
    case conflict(Position?)
    /// It breaks the schema of its type, and is not in the log from before: in words, without a value.
    case schema(String)
  }

  /// The event's index in the batch, from 0.
  public var index: Int
  /// Why.
  public var reason: Reason

  /// Joins the parts.
  public init(index: Int, reason: Reason) {
    self.index = index
    self.reason = reason
  }

  /// Why, in words.
  public var detail: String {
    switch reason {
    case .conflict(let position?): "its source and id are taken by other content at position \(position); send it under a new id"
    case .conflict(nil): "an earlier event of the same request has its source and id with other content; send it under a new id"
    case .schema(let breach): breach
    }
  }
}

/// What a caller says about the stream it appends to.
public enum ExpectedRevision: Equatable, Sendable, CustomStringConvertible {
  /// Nothing.
  case any
  /// The stream has no event yet.
  case noStream
  /// The stream's last revision.
  case exactly(UInt64)

  /// For messages.
  public var description: String {
    switch self {
    case .any: "any"
    case .noStream: "none"
    case .exactly(let revision): "\(revision)"
    }
  }
}
