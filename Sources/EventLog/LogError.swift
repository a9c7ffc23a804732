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
    case .locked, .foreignFormat, .networkFileSystem, .keyMissing, .damaged, .noSuchPosition, .closed, .schemas, .quarantine,
      .subscriptions:
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
  /// These events, by their index in the batch, have a (source, id) that is in the log with another content.
  case conflict([Conflict])
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
    case .conflict(let conflicts):
      "\(conflicts.count) of the events have a source and id that are taken by other content; the first is event "
        + "\(conflicts[0].index), whose name is taken \(conflicts[0].place). Send it under a new id"
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

/// An event whose (source, id) is in the log with other content.
public struct Conflict: Equatable, Sendable {
  /// The event's index in the batch, from 0.
  public var index: Int
  /// Where the first one is; nil: earlier in the same batch.
  public var position: Position?
}

extension Conflict {
  /// Where the first one is, in words.
  public var place: String { position.map { "at position \($0)" } ?? "by an earlier event of the same request" }
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
