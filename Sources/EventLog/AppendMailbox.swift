// How an event loop has many appends under way without a promise, a task or a wake-up for each: the appender lays the
// answers of a group into a mailbox and wakes its owner once.

import Synchronization

/// Answers of appends, waiting for their owner. Safe to use from any thread.
public final class AppendMailbox: Sendable {
  /// What became of one append.
  public struct Answer: Sendable {
    /// The token that its sender gave it.
    public let token: UInt64
    /// As ``EventLog/append(_:expected:)`` answers.
    public let result: Result<AppendResult, AppendError>
  }

  private let answers = Mutex<[Answer]>([])
  private let onAnswers: @Sendable () -> Void

  /// - Parameter onAnswers: Called on the appender's thread after each group that left answers here (or at once, on the
  ///   sender's, if appends are refused): it has the owner call ``takeAll()``, and returns soon.
  public init(onAnswers: @escaping @Sendable () -> Void) { self.onAnswers = onAnswers }

  /// Takes every answer out, in the order in which they came.
  public func takeAll() -> [Answer] {
    answers.withLock { answers in
      defer { answers = [] }
      return answers
    }
  }

  func put(_ answer: Answer) { answers.withLock { $0.append(answer) } }
  func wake() { onAnswers() }
}
