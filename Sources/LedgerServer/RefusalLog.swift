// What is refused for lack of rights is seen by the operator: counted always, logged as often as a person can read.
//
// Invariant: a line holds a principal, a user id, a route's pattern, a code and a detail that names no value: no personal data.

import LedgerHTTP
import Logging
import Synchronization

/// Logs refusals: of each (principal, route, code) the first in a window, of all of them a bounded number.
final class RefusalLog: Sendable {
  /// How long the same refusal is not logged again.
  static let window = Duration.seconds(10)
  /// Lines in one window, whoever is refused what.
  static let linesPerWindowMax = 64

  private struct Kind: Hashable {
    let principal: String
    let route: String
    let code: ErrorCode
  }

  private struct State {
    var windowStart: ContinuousClock.Instant?
    var logged: Set<Kind> = []
    var silentCount = 0
    var count: UInt64 = 0
  }

  private let state = Mutex(State())
  private let logger: Logger
  private let now: @Sendable () -> ContinuousClock.Instant

  init(logger: Logger, now: @escaping @Sendable () -> ContinuousClock.Instant = { .now }) {
    self.logger = logger
    self.now = now
  }

  /// Refusals so far, logged or not.
  var count: UInt64 { state.withLock { $0.count } }

  /// Counts a refusal, and logs it unless the like was logged just now.
  func report(_ problem: Problem, _ principal: Principal, route: String) {
    let kind = Kind(principal: principal.name, route: route, code: problem.code)
    let moment = now()
    let silent: Int? = state.withLock { state in
      state.count += 1
      if state.windowStart.map({ moment - $0 >= Self.window }) ?? true {
        state.windowStart = moment
        state.logged = []
      }
      guard state.logged.count < Self.linesPerWindowMax, state.logged.insert(kind).inserted else {
        state.silentCount += 1
        return nil
      }
      defer { state.silentCount = 0 }
      return state.silentCount
    }
    guard let silent else { return }
    var metadata: Logger.Metadata = [
      "principal": "\(principal.name)", "route": "\(route)", "code": "\(problem.code.rawValue)", "reason": "\(problem.detail)",
    ]
    if let user = principal.user { metadata["uid"] = "\(user)" }
    if silent > 0 { metadata["unlogged"] = "\(silent)" }
    logger.warning("refused", metadata: metadata)
  }
}
