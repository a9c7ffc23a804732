// Why: most commands ask the daemon and show its answer, as it came with `--json` and for people without; some do so for
// several things one after another. Here it is done once.
//
// Invariant: what was done before a failure is shown before the failure is told.

import LedgerClient

extension GlobalOptions {
  /// Shows an answer: the body as it came, or the lines that are made of it.
  func show(_ response: Response, _ lines: (JSONValue) throws -> [String]) throws {
    var output = Output()
    try write(response, lines, to: &output)
    try output.flush()
  }

  /// Asks a question, repeated while the daemon is away or busy, and shows the answer.
  func show(_ target: String, _ lines: (JSONValue) throws -> [String]) async throws {
    try show(try await client.retrying("GET", target), lines)
  }

  /// Sends something for each of several things, in their order, and shows the answers: a line each.
  func showEach<Item>(
    _ items: [Item], _ send: (LedgerClient, Item) async throws -> Response, _ line: (Item, JSONValue) throws -> String
  ) async throws {
    let client = try client
    var output = Output()
    for item in items {
      let response: Response
      do {
        response = try await send(client, item)
      } catch {
        try output.flush()
        throw error
      }
      try write(response, { json in [try line(item, json)] }, to: &output)
    }
    try output.flush()
  }

  private func write(_ response: Response, _ lines: (JSONValue) throws -> [String], to output: inout Output) throws {
    if json { return try output.body(response.body) }
    for line in try lines(try response.json()) { try output.line(line) }
  }
}

extension LedgerClient {
  /// Sends an order once: whether to repeat it is for whoever gave it.
  ///
  /// - Throws: ``ClientError``, a refusal among it.
  func once(_ method: String, _ target: String) async throws(ClientError) -> Response {
    let response = try await request(method, target)
    if let problem = response.problem { throw .problem(problem) }
    return response
  }
}

extension JSONValue {
  /// Its JSON, as a line.
  var line: String { String(decoding: encoded(), as: UTF8.self) }
}
