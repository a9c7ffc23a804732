// Why: the way into a ledger for Swift programs; every call of the socket, typed, over one kept-alive connection.
//
// Invariants:
// - Requests go out in the order of the calls to `send`, on one connection, pipelined; a broken one is replaced.
// - Streams (followed events, NDJSON uploads) have connections of their own, so that they hold nobody up.
// - Nothing is repeated behind the caller's back unless repeating is safe: reads, and appends, whose ids make it so.

import LedgerHTTP
import NIOCore
import NIOHTTP1
import NIOPosix

/// How often and how patiently a call is repeated.
public struct RetryPolicy: Sendable {
  /// Attempts in all, at least 1.
  public var attemptCountMax: Int
  /// The wait before the second attempt; each later one doubles.
  public var delayFirst: Duration
  /// The longest wait, also if the server asks for more.
  public var delayMax: Duration

  /// By default: 8 attempts, from 50 ms to 10 s apart, about half a minute in all.
  public init(attemptCountMax: Int = 8, delayFirst: Duration = .milliseconds(50), delayMax: Duration = .seconds(10)) {
    self.attemptCountMax = attemptCountMax
    self.delayFirst = delayFirst
    self.delayMax = delayMax
  }

  /// One attempt.
  public static let never = RetryPolicy(attemptCountMax: 1)

  /// The wait after attempt number `attempt` (from 1) failed: backoff, or `Retry-After` if that is longer, at most `delayMax`.
  func delay(afterAttempt attempt: Int, retryAfterSeconds: Int?) -> Duration {
    let backoff = delayFirst * (1 << min(attempt - 1, 20))
    let asked = Duration.seconds(retryAfterSeconds ?? 0)
    return min(max(backoff, asked), delayMax)
  }
}

/// A client of one ledger daemon. Safe to share between tasks.
public actor LedgerClient {
  /// Where the daemon listens.
  public nonisolated let endpoint: Endpoint
  private let token: String?
  private let retry: RetryPolicy
  private let answerTimeout: Duration?
  private let group: any EventLoopGroup
  private var connection: Connection?
  private var connecting: Task<Result<Connection, ClientError>, Never>?
  private var exchangeCount = 0
  private var wasConnected = false

  /// A client; connects with the first call.
  ///
  /// - Parameters:
  ///   - token: The bearer token, for TCP.
  ///   - retry: How appends and reads are repeated when the daemon is busy or the connection breaks.
  ///   - answerTimeout: How long an answer may take to begin (not to end); without it, for ever. Uploads are exempt.
  public init(
    _ endpoint: Endpoint, token: String? = nil, retry: RetryPolicy = RetryPolicy(), answerTimeout: Duration? = .seconds(120)
  ) {
    self.endpoint = endpoint
    self.token = token
    self.retry = retry
    self.answerTimeout = answerTimeout
    self.group = MultiThreadedEventLoopGroup.singleton
  }

  /// Closes the connection; calls under way fail. A later call opens a new one.
  public func close() async {
    guard let closing = connection else { return }
    connection = nil
    await closing.close()
  }

  // MARK: requests

  /// Sends a request and waits for the whole answer, whatever its status. Not repeated.
  ///
  /// - Parameters:
  ///   - target: Path and query, percent-encoded; see ``target(_:_:)``.
  /// - Throws: ``ClientError``, all but `problem`.
  public func request(
    _ method: String, _ target: String, headers: [(name: String, value: String)] = [], body: [UInt8] = []
  ) async throws(ClientError) -> Response {
    try await send(method, target, headers: headers, body: body).collect()
  }

  /// Sends a request and returns as soon as it is on its way, so that several can be under way on the connection.
  ///
  /// - Throws: ``ClientError/unreachable(endpoint:reason:)``; whatever happens later is thrown by `collect()`.
  public func send(
    _ method: String, _ target: String, headers: [(name: String, value: String)] = [], body: [UInt8] = []
  ) async throws(ClientError) -> PendingResponse {
    let connection = try await usableConnection()
    var head = head(method, target, headers)
    if !body.isEmpty || method == "POST" { head.headers.replaceOrAdd(name: "content-length", value: String(body.count)) }
    return connection.start(head, body: body, id: nextExchange(), timeout: answerTimeout)
  }

  /// Sends a read or an append until it succeeds, is refused for good, or the policy's attempts are used up.
  ///
  /// Repeated are: a lost connection, 429 and 503, and nobody there if this client was connected before: a daemon that
  /// went away may come back, one that was never there is reported at once.
  ///
  /// - Returns: An answer of status 200.
  public func retrying(
    _ method: String, _ target: String, headers: [(name: String, value: String)] = [], body: [UInt8] = []
  ) async throws(ClientError) -> Response {
    var attempt = 1
    while true {
      let failure: ClientError
      do throws(ClientError) {
        let response = try await request(method, target, headers: headers, body: body)
        guard let problem = response.problem else { return response }
        failure = .problem(problem)
      } catch {
        failure = error
      }
      guard attempt < retry.attemptCountMax, mayPass(failure) else { throw failure }
      try await pause(afterAttempt: attempt, failure)
      attempt += 1
    }
  }

  /// Whether waiting may help.
  private func mayPass(_ failure: ClientError) -> Bool {
    switch failure {
    case .unreachable: wasConnected
    case .connectionLost: true
    case .problem(let problem): problem.status == 503 || problem.status == 429
    case .protocolViolation: false
    }
  }

  private func pause(afterAttempt attempt: Int, _ failure: ClientError) async throws(ClientError) {
    var retryAfterSeconds: Int?
    if case .problem(let problem) = failure { retryAfterSeconds = problem.retryAfterSeconds }
    do {
      try await Task.sleep(for: retry.delay(afterAttempt: attempt, retryAfterSeconds: retryAfterSeconds))
    } catch {
      throw failure  // cancelled while waiting: what failed is the better news
    }
  }

  /// Reads an answer line by line, on a connection of its own.
  ///
  /// - Throws: ``ClientError/problem(_:)`` if the server refuses.
  public func lines(_ target: String) async throws(ClientError) -> ResponseLines {
    let connection = try await Connection.connect(to: endpoint, group: group)
    let request = head("GET", target, [(name: "accept", value: MediaType.ndjson)])
    let pending = connection.start(request, body: [], id: nextExchange(), timeout: answerTimeout)
    do {
      let head = try await pending.head.get()
      if head.status == .ok { return ResponseLines(body: pending.body, connection: connection) }
    } catch {
      connection.channel.close(promise: nil)
      throw Endpoint.failure(of: error)
    }
    let response = try await pending.collect()
    await connection.close()
    throw .problem(response.problem ?? ServerProblem(status: response.status, body: response.body))
  }

  /// Sends a request whose body comes piece by piece, on a connection of its own, and waits for the answer.
  ///
  /// A server that answers before it has read everything ends the upload.
  ///
  /// - Throws: ``ClientError``, all but `problem`, and whatever `pieces` throws.
  public func upload<Pieces: AsyncSequence & Sendable>(
    _ target: String, headers: [(name: String, value: String)] = [], pieces: Pieces
  ) async throws -> Response where Pieces.Element == [UInt8] {
    let connection = try await Connection.connect(to: endpoint, group: group)
    var head = head("POST", target, headers)
    head.headers.replaceOrAdd(name: "transfer-encoding", value: "chunked")
    let pending = connection.start(head, body: nil, id: nextExchange(), timeout: nil)
    let sending = Task<(any Error)?, Never>(name: "ledger upload") {
      do {
        for try await piece in pieces where !piece.isEmpty { try await connection.write(piece) }
        try await connection.endBody()
        return nil
      } catch {
        // The input failed: the server must not take half of it for the whole.
        if !(error is ChannelError) && !(error is IOError) { await connection.close() }
        return error
      }
    }
    do {
      let response = try await pending.collect()
      sending.cancel()
      await connection.close()
      return response
    } catch {
      sending.cancel()
      connection.channel.close(promise: nil)
      if case .connectionLost = error, let cause = await sending.value, !(cause is ChannelError), !(cause is IOError) { throw cause }
      throw error
    }
  }

  // MARK: connection

  private func nextExchange() -> Int {
    exchangeCount += 1
    return exchangeCount
  }

  private func head(_ method: String, _ target: String, _ headers: [(name: String, value: String)]) -> HTTPRequestHead {
    var all = HTTPHeaders()
    all.add(name: "host", value: endpoint.host)
    if let token { all.add(name: "authorization", value: "Bearer \(token)") }
    for header in headers { all.add(name: header.name, value: header.value) }
    return HTTPRequestHead(version: .http1_1, method: HTTPMethod(rawValue: method), uri: target, headers: all)
  }

  private func usableConnection() async throws(ClientError) -> Connection {
    if let connection, connection.isActive { return connection }
    if connecting == nil {
      connecting = Task(name: "ledger connect") { [endpoint, group] in
        do throws(ClientError) {
          return .success(try await Connection.connect(to: endpoint, group: group))
        } catch {
          return .failure(error)
        }
      }
    }
    guard let attempt = connecting else { throw .unreachable(endpoint: endpoint.description, reason: "cancelled") }
    let result = await attempt.value
    if connecting == attempt { connecting = nil }
    let made = try result.get()
    connection = made
    wasConnected = true
    return made
  }

  /// Path and query of a request: `target("/v1/events", [("type", "a b")])` is `/v1/events?type=a%20b`.
  public static func target(_ path: String, _ query: [(name: String, value: String)] = []) -> String {
    if query.isEmpty { return path }
    return path + "?" + query.map { encoded($0.name) + "=" + encoded($0.value) }.joined(separator: "&")
  }

  /// A text as it may stand in a path or a query (RFC 3986; the colon stays, being legal in both).
  public static func encoded(_ text: String) -> String {
    let digits = Array("0123456789ABCDEF".utf8)
    var bytes: [UInt8] = []
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
        UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"), UInt8(ascii: ":"):
        bytes.append(byte)
      default:
        bytes.append(contentsOf: [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]])
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
