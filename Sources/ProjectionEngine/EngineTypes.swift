// What goes into the engine and what it says about itself.

public import Bytes
public import LedgerCore

/// How an engine works. The defaults suit a daemon.
public struct EngineOptions: Sendable {
  /// Events in one batch while following the log.
  public var liveBatchEventCountMax = 20_000
  /// Events in one batch while catching up: a rebuild, or the first stretch after a start.
  public var rebuildBatchEventCountMax = 250_000
  /// Units in one batch of a projection that depends on another; its upstream is read in one transaction meanwhile.
  public var dependentBatchUnitCountMax = 2_000
  /// Rows held in memory by one worker. A batch ends when it is reached.
  public var cachedRowCountMax = 2_000_000
  /// Bytes of new rows held in memory by one worker, beside the cached ones. A batch ends when it is reached.
  public var waitingByteCountMax = 256 << 20
  /// Changed units kept for dependents that lag; beyond it the oldest go, and such a dependent starts again.
  public var changeCountMax: UInt64 = 10_000_000
  /// The size a generation's map starts with, in bytes; it doubles when needed.
  public var mapByteCount = 256 << 20
  /// Room made sure of before each batch, in bytes; a batch that needs more is folded again after the map has grown.
  public var batchByteCountReserve = 32 << 20
  /// Threads that answer questions.
  public var readerCount = 4
  /// Questions that may wait for a reader; one more is ``EngineError/busy``.
  public var readerQueueCountMax = 1_024
  /// The pause after a first failure; it doubles up to ``retryDelayMax``.
  public var retryDelayMin: Duration = .milliseconds(100)
  /// The longest pause between two tries: how much later than the disk a projection is well again.
  public var retryDelayMax: Duration = .seconds(3)
  /// The engine behaves as if the log ended here: for tests, and to see a digest as of a position.
  public var positionMax: Position = .max
  /// Commits do not wait for the disk: for tests.
  public var isVolatile = false
  /// The time now, for lag in seconds only. Nothing that is stored depends on it.
  public var now: @Sendable () -> Timestamp

  /// The defaults.
  public init(now: @escaping @Sendable () -> Timestamp) { self.now = now }
}

/// Why the engine did not do what was asked.
public enum EngineError: Error, Equatable, Sendable, CustomStringConvertible {
  /// There is no such projection.
  case unknownProjection(String)
  /// The projection answers no such question.
  case unknownQuery(String)
  /// The rows are of another fold version, or there are none yet; a rebuild is under way. Ask again later.
  case rebuilding(String)
  /// Too many questions wait. Ask again later.
  case busy
  /// The engine was stopped.
  case stopped
  /// A rebuild is under way already.
  case rebuildInProgress(String)
  /// There is no rebuild to cancel.
  case noRebuild(String)
  /// The rebuild cannot be cancelled: the live generation cannot be folded any further.
  case rebuildRequired(String)
  /// There is no room for it; the text is the files'. Make room and ask again.
  case diskFull(String)
  /// The files answered with an error; the text is theirs.
  case storage(String)

  /// What happened and what to do.
  public var description: String {
    switch self {
    case .unknownProjection(let name): "there is no projection \(name); see the list of projections"
    case .unknownQuery(let path): "there is no question \(path)"
    case .rebuilding(let name): "projection \(name) is being rebuilt; try again when it has caught up"
    case .busy: "too many questions are waiting; try again"
    case .stopped: "the engine was stopped"
    case .rebuildInProgress(let name): "projection \(name) is being rebuilt already; wait until that rebuild is done"
    case .noRebuild(let name): "projection \(name) is not being rebuilt"
    case .rebuildRequired(let name): "projection \(name) needs this rebuild: its live generation cannot go on"
    case .diskFull(let text): "the disk is full; make room and try again (\(text))"
    case .storage(let text): text
    }
  }

  init(_ failure: WorkerFailure) {
    self = failure.kind == .diskFull ? .diskFull(failure.text) : .storage(failure.text)
  }
  init(_ failure: StorageFailure) { self.init(WorkerFailure(failure)) }
}

/// What a worker is doing.
public enum ProjectionState: Equatable, Sendable {
  /// Opening its generation.
  case starting
  /// Behind the log, and folding.
  case catchingUp
  /// At the head, following.
  case live
  /// Told to wait.
  case paused
  /// The live generation waits for the rebuild that replaces it.
  case rebuilding
  /// It will not go on by itself: an event that cannot be folded under the policy `stop`, or files of a newer program.
  case stopped(String)
  /// Something failed; it is tried again.
  case failed(String)
}

/// How far a rebuild is.
public struct RebuildProgress: Equatable, Sendable {
  /// The generation being filled.
  public var generation: UInt64
  /// What its worker is doing.
  public var state: ProjectionState
  /// The last position folded.
  public var position: Position
  /// Events (or units, for a dependent projection) folded since its worker started.
  public var foldedCount: UInt64
  /// Events folded per second, lately.
  public var eventsPerSecond: Double
  /// Seconds until it is caught up, at that rate; nil: unknown.
  public var secondsLeft: Double?
}

/// One projection, as seen from outside.
public struct ProjectionStatus: Equatable, Sendable {
  /// The name.
  public var name: String
  /// The fold version of the program.
  public var version: UInt32
  /// The fold version of the live generation; nil: there is none yet.
  public var liveVersion: UInt32?
  /// The live generation; nil: there is none yet.
  public var generation: UInt64?
  /// What its worker is doing.
  public var state: ProjectionState
  /// The last position folded.
  public var position: Position
  /// The log's head.
  public var head: Position
  /// Events not yet folded.
  public var lagEventCount: UInt64
  /// While behind: seconds since the newest folded event was recorded; 0 when caught up.
  public var lagSeconds: Double
  /// Events set aside.
  public var parkedCount: UInt64
  /// Rows stored.
  public var rowCount: Int64
  /// Events (or units, for a dependent projection) folded since the worker started.
  public var foldedCount: UInt64
  /// Events folded per second, lately.
  public var eventsPerSecond: Double
  /// Seconds until it is caught up, at that rate; nil: unknown or caught up.
  public var secondsLeft: Double?
  /// The rebuild under way, if any.
  public var rebuild: RebuildProgress?
  /// The live generation's files; nil: it is not open.
  public var storage: StorageSizes?
}

/// Sizes of a generation's environment.
public struct StorageSizes: Equatable, Sendable {
  /// Bytes of the file that have ever been used.
  public var usedByteCount: Int
  /// Bytes of the map that are not used yet; it doubles when there are too few.
  public var mapRoomByteCount: Int
  /// Transactions committed since the oldest open reader began; 0: none is open.
  public var oldestReaderTransactionCount: Int
}

/// The digest of a generation at a position.
public struct DigestReport: Equatable, Sendable {
  /// The projection.
  public var projection: String
  /// The fold version.
  public var version: UInt32
  /// The generation.
  public var generation: UInt64
  /// The last position folded.
  public var position: Position
  /// How many rows there are.
  public var rowCount: Int64
  /// The digest.
  public var digest: Hash128
  /// The digest as 32 hexadecimal digits.
  public var hex: String { digest.hex }
}

/// An event that a fold could not take.
public struct ParkedEvent: Equatable, Sendable {
  /// Its position; for a projection that depends on another: the unit.
  public var position: UInt64
  /// Why, without personal data.
  public var reason: String

  /// Joins the parts.
  public init(position: UInt64, reason: String) {
    self.position = position
    self.reason = reason
  }
}

/// The answer to a question.
public struct Answer: Equatable, Sendable {
  /// JSON.
  public var body: [UInt8]
  /// The generation that answered.
  public var generation: UInt64
  /// The last position it had folded.
  public var checkpoint: Position

  /// Joins the parts.
  public init(body: [UInt8], generation: UInt64, checkpoint: Position) {
    self.body = body
    self.generation = generation
    self.checkpoint = checkpoint
  }
}

/// Something worth a log line. Holds no personal data.
public struct EngineEvent: Sendable {
  /// What happened.
  public enum Kind: String, Sendable {
    /// A worker's state changed; `detail` is the new state.
    case stateChanged = "state-changed"
    /// A generation was begun.
    case generationBegun = "generation-begun"
    /// A generation was given up; `detail` says why.
    case generationDiscarded = "generation-discarded"
    /// A rebuilt generation answers now.
    case switched
    /// An event was set aside; `detail` is the reason.
    case parked
    /// A map was enlarged.
    case mapGrown = "map-grown"
  }
  /// What happened.
  public var kind: Kind
  /// The projection.
  public var projection: String
  /// The generation, if there is one.
  public var generation: UInt64?
  /// The position it is about.
  public var position: Position
  /// More, for people.
  public var detail: String
  /// True if somebody should look at it.
  public var isWarning: Bool
}
