// Unified customers, their journeys and the identity graph below them, in one environment: a merge moves all at once.

public import ProjectionEngine

/// The projection `customers` (DESIGN §7, SEMANTICS §2).
public struct CustomersProjection: Projection {
  private let limits: MatchLimits

  /// Makes the projection. Other limits than SEMANTICS' are for tests: a fold version has one set.
  public init(limits: MatchLimits = MatchLimits()) { self.limits = limits }

  /// `customers`.
  public var name: String { "customers" }
  /// The fold version. Raise it when the meaning of a row changes, also by utf8proc's Unicode tables.
  public var version: UInt32 { 2 }
  /// Views, one customer, journeys, identity.
  public var queries: [ProjectionQuery] { CustomerQueries.all }

  /// Opens the tables.
  public func makeFold(rows: RowStore) -> CustomersFold { CustomersFold(rows: rows, limits: limits) }
}
