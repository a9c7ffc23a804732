// Why: a consumer reads the log for years; daemons restart and connections break meanwhile, which is not its business.
//
// Invariants:
// - Lines come in the order of the log, each event once: after a cut it goes on behind the last position it has handed out,
//   of an event or of a mark.
// - It ends when the query's `limit` or `until` is reached, and else never by itself; a refusal is thrown.

import LedgerHTTP

extension LedgerClient {
  /// Follows the log over cuts and restarts: each line is for ``EventLine/init(parsing:)``.
  ///
  /// - Parameters:
  ///   - query: What to follow; `follow` need not be set.
  ///   - retry: How patiently it connects again. Attempts count from the last line that came. By default it never gives up.
  ///   - onCut: Told why the stream broke off, each time before it is taken up again.
  /// - Note: If nobody is there at first, that is thrown, not waited for.
  public nonisolated func follow(
    _ query: EventQuery, retry: RetryPolicy = RetryPolicy(attemptCountMax: .max),
    onCut: @escaping @Sendable (ClientError) -> Void = { _ in }
  ) -> FollowedEvents {
    FollowedEvents(client: self, query: query, retry: retry, onCut: onCut)
  }
}

/// A followed log, line by line, over cuts. Iterate once.
public struct FollowedEvents: AsyncSequence, Sendable {
  /// A line without its line feed.
  public typealias Element = [UInt8]
  /// Lines fail with ``ClientError``.
  public typealias Failure = ClientError

  let client: LedgerClient
  let query: EventQuery
  let retry: RetryPolicy
  let onCut: @Sendable (ClientError) -> Void

  /// Starts following.
  public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(self) }

  /// The reader of the lines.
  public struct AsyncIterator: AsyncIteratorProtocol {
    private let followed: FollowedEvents
    private var query: EventQuery
    private var lines: ResponseLines.AsyncIterator?
    private var wasConnected = false
    private var attemptCount = 0
    private var isOver = false

    /// The position behind which it would begin again.
    public var position: Int64 { query.after ?? 0 }

    fileprivate init(_ followed: FollowedEvents) {
      self.followed = followed
      query = followed.query
      query.follow = true
    }

    /// The next line, or nil when `limit` or `until` is reached.
    public mutating func next() async throws(ClientError) -> [UInt8]? {
      while !isOver {
        let failure: ClientError
        do throws(ClientError) {
          if lines == nil {
            lines = try await followed.client.events(query).makeAsyncIterator()
            wasConnected = true
          }
          if let line = try await lines?.next() {
            attemptCount = 0
            try take(line)
            return line
          }
          failure = .connectionLost(reason: "the daemon ended the stream")
        } catch {
          failure = error
        }
        lines = nil
        try await pause(after: failure)
      }
      return nil
    }

    private mutating func take(_ line: [UInt8]) throws(ClientError) {
      switch try EventLine(place: line) {
      case .event(let position, _, _):
        query.after = position
        if let limit = query.limit {
          query.limit = limit - 1
          isOver = limit <= 1
        }
        isOver = isOver || query.until.map { position >= $0 } ?? false
      case .mark(let name, let position):
        query.after = position
        isOver = name == "caught-up" && query.until.map { position >= $0 } ?? false
      }
    }

    private mutating func pause(after failure: ClientError) async throws(ClientError) {
      attemptCount += 1
      var seconds: Int?
      switch failure {
      case .unreachable: guard wasConnected else { throw failure }
      case .connectionLost: break
      case .problem(let problem):
        guard problem.status == 503 || problem.status == 429 else { throw failure }
        seconds = problem.retryAfterSeconds
      case .protocolViolation: throw failure
      }
      guard attemptCount < followed.retry.attemptCountMax, !Task.isCancelled else { throw failure }
      followed.onCut(failure)
      do {
        try await Task.sleep(for: followed.retry.delay(afterAttempt: attemptCount, retryAfterSeconds: seconds))
      } catch {
        throw failure  // cancelled while waiting: what failed is the better news
      }
    }
  }
}

extension EventLine {
  /// Reads what a line is and where it stands, and the event not: a follower that hands lines on need not parse them.
  init(place line: [UInt8]) throws(ClientError) {
    let start = Array(#"{"position":"#.utf8)
    guard line.starts(with: start) else {
      self = try EventLine(parsing: line)
      return
    }
    var position: Int64 = 0
    var index = start.count
    while index < line.count, index < start.count + 18, case 0x30...0x39 = line[index] {
      position = position * 10 + Int64(line[index] - 0x30)
      index += 1
    }
    guard index > start.count, index < line.count, line[index] == UInt8(ascii: ",") else {
      throw .protocolViolation("a line does not begin with a position")
    }
    self = .event(position: position, recordedTime: "", event: nil)
  }
}
