// How a projection answers questions without knowing sockets, and how the server serves it without knowing projections.

/// A question to a projection, as it came over the socket.
public struct QueryRequest: Sendable {
  /// The values of the path's `{names}`.
  public var path: [String: String]
  /// The query parameters, in the order sent; names may repeat.
  public var parameters: [(name: String, value: String)]
  /// The log's id, for the answer's body.
  public var logID: String
  /// The erasure epoch, for the answer's body.
  public var erasureEpoch: UInt64

  /// Makes a request.
  public init(
    path: [String: String] = [:], parameters: [(name: String, value: String)] = [], logID: String = "", erasureEpoch: UInt64 = 0
  ) {
    self.path = path
    self.parameters = parameters
    self.logID = logID
    self.erasureEpoch = erasureEpoch
  }

  /// The first value of a parameter.
  public func first(_ name: String) -> String? { parameters.first { $0.name.utf8.elementsEqual(name.utf8) }?.value }
}

/// Why a question has no answer. Details hold no personal data.
public enum QueryFailure: Error, Equatable, Sendable {
  /// There is no such thing: 404.
  case notFound(String)
  /// The question is malformed: 400.
  case invalid(String)
  /// It was there in an earlier generation: 410.
  case gone(String)
  /// The rows could not be read: 500.
  case storage(RowError)
}

/// One kind of question.
public struct ProjectionQuery: Sendable {
  /// The path below `/v1/`, with names in braces: `customers/{id}/journey`.
  public let path: String
  /// The query parameters that are understood; any other is refused. `atLeast` is the server's own and always allowed.
  public let parameters: [String]
  /// Answers with a JSON body. Runs on a reader thread.
  public let answer: @Sendable (QueryRequest, Snapshot) throws(QueryFailure) -> [UInt8]

  /// Makes a query.
  public init(
    path: String, parameters: [String],
    answer: @escaping @Sendable (QueryRequest, Snapshot) throws(QueryFailure) -> [UInt8]
  ) {
    self.path = path
    self.parameters = parameters
    self.answer = answer
  }
}

/// A committed state of one generation, read within one short transaction. Valid only inside the closure it is given to.
public struct Snapshot {
  let source: any RowSource
  /// The projection's name.
  public let projection: String
  /// The fold version.
  public let version: UInt32
  /// The generation's number.
  public let generation: UInt64
  /// The last position folded.
  public let checkpoint: UInt64

  /// Wraps a source of rows.
  public init(source: any RowSource, projection: String, version: UInt32, generation: UInt64, checkpoint: UInt64) {
    self.source = source
    self.projection = projection
    self.version = version
    self.generation = generation
    self.checkpoint = checkpoint
  }

  /// One row.
  public func row<Key: RowKey, Row: StoredRow>(_ table: TableName<Key, Row>, _ key: Key) throws(QueryFailure) -> Row? {
    do throws(RowError) {
      return try source.decodeRow(table: table, key: key)
    } catch {
      throw .storage(error)
    }
  }

  /// The rows whose encoded keys begin with `prefix`, in key order, from `start` on if given, until `body` answers false.
  public func scan<Key: RowKey, Row: StoredRow>(
    _ table: TableName<Key, Row>, prefix: [UInt8], from start: [UInt8]? = nil,
    _ body: (Key, Row) throws(QueryFailure) -> Bool
  ) throws(QueryFailure) {
    var failure: QueryFailure?
    do throws(RowError) {
      guard let handle = try source.table(named: table.name) else { return }
      try source.scan(table: handle, prefix: prefix, from: start ?? prefix) { (keyBytes, value) throws(RowError) in
        let (key, row) = try table.decode(keyBytes, value)
        do throws(QueryFailure) {
          return try body(key, row)
        } catch {
          failure = error
          return false
        }
      }
    } catch {
      throw .storage(error)
    }
    if let failure { throw failure }
  }
}
