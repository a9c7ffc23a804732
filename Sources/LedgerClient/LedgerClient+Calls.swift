// Why: one method per call of the socket, so that programs speak of events and customers, not of paths.

public import LedgerHTTP

extension LedgerClient {
  /// Appends a batch of events, all or (with `atomic`) in one commit. Repeated as the policy says, which is safe.
  ///
  /// - Parameters:
  ///   - events: 1 to 10,000 events, each a CloudEvent in JSON; 8 MiB together unless the server is set otherwise.
  ///   - receipts: Whether to answer with each event's position.
  /// - Returns: What the server counted, on disk by then.
  /// - Throws: ``ClientError``.
  public func append(_ events: [[UInt8]], atomic: Bool = false, receipts: Bool = false) async throws(ClientError) -> AppendAnswer {
    var body: [UInt8] = [UInt8(ascii: "[")]
    body.reserveCapacity(events.reduce(2) { $0 + $1.count + 1 })
    for (index, event) in events.enumerated() {
      if index > 0 { body.append(UInt8(ascii: ",")) }
      body.append(contentsOf: event)
    }
    body.append(UInt8(ascii: "]"))
    return try await append(batch: body, atomic: atomic, receipts: receipts)
  }

  /// Appends a batch that is a JSON array of CloudEvents already.
  public func append(batch: [UInt8], atomic: Bool = false, receipts: Bool = false) async throws(ClientError) -> AppendAnswer {
    let response = try await retrying(
      "POST", Self.appendTarget(atomic: atomic, receipts: receipts),
      headers: [(name: "content-type", value: MediaType.cloudEventBatch)], body: batch)
    return try AppendAnswer(try response.json())
  }

  /// Sends a batch without waiting for the answer, so that the next one can be made meanwhile.
  ///
  /// - Returns: The answer to come; ``appendAnswer(_:)`` reads it. Not repeated: use ``append(batch:atomic:receipts:)`` then.
  public func startAppend(batch: [UInt8]) async throws(ClientError) -> PendingResponse {
    try await send(
      "POST", Self.appendTarget(atomic: false, receipts: false),
      headers: [(name: "content-type", value: MediaType.cloudEventBatch)], body: batch)
  }

  /// Reads the answer to an append.
  ///
  /// - Throws: ``ClientError/problem(_:)`` if it was refused.
  public static func appendAnswer(_ response: Response) throws(ClientError) -> AppendAnswer {
    if let problem = response.problem { throw .problem(problem) }
    return try AppendAnswer(try response.json())
  }

  /// Appends a stream of CloudEvents, one per line, of any length. Not repeated.
  ///
  /// - Parameter pieces: The bytes of the stream, cut anywhere.
  /// - Throws: ``ClientError``; a `problem` names the line, and what was `accepted` before it. Whatever `pieces` throws.
  public func appendNDJSON<Pieces: AsyncSequence & Sendable>(
    _ pieces: Pieces, receipts: Bool = false
  ) async throws -> AppendAnswer where Pieces.Element == [UInt8] {
    let response = try await upload(
      Self.appendTarget(atomic: false, receipts: receipts),
      headers: [(name: "content-type", value: MediaType.ndjson)], pieces: pieces)
    return try Self.streamedAppendAnswer(response)
  }

  /// Reads the answer to an NDJSON append: its last line counts.
  public static func streamedAppendAnswer(_ response: Response) throws(ClientError) -> AppendAnswer {
    if let problem = response.problem { throw .problem(problem) }
    guard let last = response.body.split(separator: UInt8(ascii: "\n")).last else {
      throw .protocolViolation("an append was answered with nothing")
    }
    let json = try Response(status: 200, headers: [], body: Array(last)).json()
    if let error = json["error"], error != .null {
      var problem = ServerProblem(status: Int(error["status"]?.integer ?? 400), body: error.encoded())
      if json["appended"] != nil { problem.accepted = try AppendAnswer(json) }
      throw .problem(problem)
    }
    return try AppendAnswer(json)
  }

  private static func appendTarget(atomic: Bool, receipts: Bool) -> String {
    var query: [(name: String, value: String)] = []
    if atomic { query.append((name: "atomic", value: "true")) }
    if receipts { query.append((name: "receipts", value: "true")) }
    return target("/v1/events", query)
  }

  /// Reads events; with `follow` the sequence does not end by itself. Each line is for ``EventLine/init(parsing:)``.
  public func events(_ query: EventQuery = EventQuery()) async throws(ClientError) -> ResponseLines {
    try await lines(query.target)
  }

  private func get(_ target: String) async throws(ClientError) -> JSONValue {
    try await retrying("GET", target).json()
  }

  /// The customers to whom an identifier resolves, such as `email:ana@example.org` or `dni:ES:12345678Z`; none if nobody.
  public func customers(identifier: String) async throws(ClientError) -> [Customer] {
    try Customer.all(in: try await get(Self.customersTarget(identifier: identifier)))
  }

  /// One customer.
  public func customer(id: String) async throws(ClientError) -> [Customer] {
    try Customer.all(in: try await get(Self.customerTarget(id: id)))
  }

  /// A page of a customer's journey; `cursor` is the `next` of the page before.
  public func journey(id: String, limit: Int? = nil, cursor: String? = nil) async throws(ClientError) -> JourneyPage {
    try JourneyPage(try await get(Self.journeyTarget(id: id, limit: limit, cursor: cursor)))
  }

  /// Path and query of ``customers(identifier:)``. The answer waits until it reflects `atLeast`.
  public static func customersTarget(identifier: String, atLeast: Int64? = nil) -> String {
    target("/v1/customers", [(name: "identifier", value: identifier)] + waiting(atLeast))
  }

  /// The path of ``customer(id:)``. The answer waits until it reflects `atLeast`.
  public static func customerTarget(id: String, atLeast: Int64? = nil) -> String {
    target("/v1/customers/" + encoded(id), waiting(atLeast))
  }

  private static func waiting(_ position: Int64?) -> [(name: String, value: String)] {
    position.map { [(name: "atLeast", value: String($0))] } ?? []
  }

  /// Path and query of ``journey(id:limit:cursor:)``. The answer waits until it reflects `atLeast`.
  public static func journeyTarget(id: String, limit: Int? = nil, cursor: String? = nil, atLeast: Int64? = nil) -> String {
    var query = waiting(atLeast)
    if let limit { query.append((name: "limit", value: String(limit))) }
    if let cursor { query.append((name: "cursor", value: cursor)) }
    return target(customerTarget(id: id) + "/journey", query)
  }

  /// The state of the log: id, head, sizes.
  public func log() async throws(ClientError) -> JSONValue { try await get("/v1/log") }

  /// The state of every projection.
  public func projections() async throws(ClientError) -> [ProjectionState] {
    try await get("/v1/projections").elements(named: "projections")
      .map { (projection) throws(ClientError) in try ProjectionState(projection) }
  }

  /// Starts to rebuild a projection beside the live one. Not repeated: every call starts a generation.
  ///
  /// - Returns: The number of the new generation.
  public func rebuild(_ name: String) async throws(ClientError) -> Int64 {
    let response = try await request("POST", Self.projectionTarget(name, "rebuild"))
    if let problem = response.problem { throw .problem(problem) }
    return try response.json().integer(named: "generation")
  }

  /// Gives a rebuild up; the live generation goes on.
  ///
  /// - Returns: The generation that goes on answering, if there is one.
  public func cancelRebuild(_ name: String) async throws(ClientError) -> Int64? {
    let response = try await request("DELETE", Self.projectionTarget(name, "rebuild"))
    if let problem = response.problem { throw .problem(problem) }
    return try response.json()["generation"]?.integer
  }

  /// The state digest of a projection.
  public func digest(_ name: String) async throws(ClientError) -> ProjectionDigest {
    try ProjectionDigest(try await get(Self.projectionTarget(name, "digest")))
  }

  /// Path of a call on a projection.
  public static func projectionTarget(_ name: String, _ call: String, atLeast: Int64? = nil) -> String {
    target("/v1/projections/" + encoded(name) + "/" + call, waiting(atLeast))
  }

  /// Whether the daemon is sound (`/healthz`).
  public func isHealthy() async throws(ClientError) -> Bool { try await request("GET", "/healthz").status == 200 }

  /// Whether the daemon takes appends and answers questions (`/readyz`).
  public func isReady() async throws(ClientError) -> Bool { try await request("GET", "/readyz").status == 200 }
}
