// What a projection is: a name, a version, a fold, and the questions it answers.
//
// Invariants every projection keeps, and the conformance kit checks:
// - The rows are a function of the events folded so far, in log order, and of nothing else: no clock, no randomness,
//   no dictionary order, no locale, no other projection's files.
// - The rows do not depend on how the events were cut into batches.

public import LedgerCore

/// A fold of the log into rows, and the queries over them. Adding one touches its folder, its tests, its schema and one
/// line in the daemon.
public protocol Projection: Sendable {
  /// The fold's working state: tables, and what it derives from them.
  associatedtype Fold: ProjectionFold

  /// The name in paths and answers: lower-case letters and hyphens.
  var name: String { get }
  /// The fold version. Another version rebuilds beside the live generation.
  var version: UInt32 { get }
  /// What happens when the fold cannot take an event.
  var failurePolicy: FailurePolicy { get }
  /// The questions this projection answers.
  var queries: [ProjectionQuery] { get }

  /// The name of the projection that this one is fed from; nil: it is fed from the log. If there is one, `Fold` must be a
  /// ``DependentFold``.
  var dependsOn: String? { get }

  /// Opens the tables of a new or stored generation.
  func makeFold(rows: RowStore) -> Fold

  /// True if the queries can read rows that were folded by that version. While the live generation is of another version,
  /// and until its successor is ready, questions are answered only if so.
  func canRead(version: UInt32) -> Bool

  /// Visits every unit that has rows in `snapshot`, ascending, from `first` on, until `body` answers false: where a
  /// dependent projection begins.
  func scanUnits(
    in snapshot: Snapshot, from first: UInt64, _ body: (UInt64) throws(QueryFailure) -> Bool
  ) throws(QueryFailure)
}

extension Projection {
  /// Fed from the log.
  public var dependsOn: String? { nil }
  /// Only rows of the present version.
  public func canRead(version: UInt32) -> Bool { version == self.version }
  /// No units.
  public func scanUnits(
    in snapshot: Snapshot, from first: UInt64, _ body: (UInt64) throws(QueryFailure) -> Bool
  ) throws(QueryFailure) {}
  /// Events that cannot be folded are parked.
  public var failurePolicy: FailurePolicy { .park }
}

/// What happens to an event that a fold cannot take.
public enum FailurePolicy: String, Sendable {
  /// It is set aside with its position and reason, and folding goes on.
  case park
  /// The worker stops before it and says so.
  case stop
}

/// The folding half of a projection. It lives on its worker's thread.
public protocol ProjectionFold: AnyObject {
  /// Folds one event into the rows.
  ///
  /// - Parameter event: The event at the position after the last one folded; valid only during the call.
  /// - Throws: ``FoldFailure/poison(_:)`` if the event cannot be folded: the engine goes back to the last commit, parks
  ///   the event and folds the rest, so rows that were already touched do no harm. ``FoldFailure/storage(_:)`` passes on
  ///   what the tables throw.
  func apply(_ event: LoggedEvent) throws(FoldFailure)
}

/// Events made ready for a fold by work that needs no rows. It is done ahead, on another thread, when much waits.
public protocol PreparedEvents: Sendable {
  /// None.
  init()
  /// Prepares one more, behind the others.
  ///
  /// - Parameter event: Valid only during the call.
  mutating func append(_ event: LoggedEvent)
  /// How large the prepared events are, about.
  var byteCount: Int { get }
  /// Forgets them all; keeps the memory.
  mutating func removeAll()
}

/// A fold that takes its events prepared.
public protocol PreparingFold: ProjectionFold {
  /// What it takes.
  associatedtype Prepared: PreparedEvents

  /// Folds one event into the rows; as ``ProjectionFold/apply(_:)``.
  ///
  /// - Parameter index: Of the event among the prepared ones.
  func apply(_ prepared: borrowing Prepared, at index: Int) throws(FoldFailure)
}

extension PreparingFold {
  /// Prepares one event and folds it.
  public func apply(_ event: LoggedEvent) throws(FoldFailure) {
    var prepared = Prepared()
    prepared.append(event)
    try apply(prepared, at: 0)
  }
}

/// The folding half of a projection that is fed from another one: with units instead of events.
///
/// The rows must be a function of what the upstream says about its units now, and of nothing else: a unit may be handed
/// over again when nothing about it changed, several changes may come as one, and a unit that is gone upstream must leave
/// nothing here. So a fold keeps what each unit contributed, takes that back, and adds what it contributes now.
public protocol DependentFold: ProjectionFold {
  /// Looks at one unit again.
  ///
  /// - Parameters:
  ///   - unit: A unit that the upstream marked as changed, or that it has.
  ///   - upstream: The upstream's live generation; valid only during the call.
  /// - Throws: As ``ProjectionFold/apply(_:)``; what is parked is the unit, until it changes again.
  func apply(changed unit: UInt64, upstream: Snapshot) throws(FoldFailure)
}

extension DependentFold {
  /// Never called: the engine feeds units.
  public func apply(_ event: LoggedEvent) throws(FoldFailure) {
    throw .poison("this projection is fed from another one, not from events")
  }
}

/// Why an event was not folded.
public enum FoldFailure: Error, Equatable, Sendable {
  /// The event itself: it will fail again. The reason must hold no personal data.
  case poison(String)
  /// The rows could not be read or written. Not the event's fault.
  case storage(RowError)

  /// What became of reading an upstream: its storage failed, or the unit is one that cannot be folded.
  public init(reading failure: QueryFailure) {
    switch failure {
    case .storage(let error): self = .storage(error)
    case .notFound(let reason), .invalid(let reason), .gone(let reason): self = .poison(reason)
    }
  }
}

/// What can go wrong below the rows.
public enum RowError: Error, Equatable, Sendable, CustomStringConvertible {
  /// A stored row cannot be read as what its table holds: damage, or another fold version.
  case malformedRow(table: String)
  /// The environment answered with an error; the text is its own.
  case environment(String)

  /// What happened, for a log line.
  public var description: String {
    switch self {
    case .malformedRow(let table):
      "a row of table \(table) cannot be read; rebuild the projection"
    case .environment(let message):
      message
    }
  }
}
