// Threads that answer questions: a read blocks on page faults, which neither an event loop nor the cooperative pool bears.
//
// Invariants:
// - The queue is bounded; a job that does not fit is refused at once.
// - A job runs at most once, and not after it was cancelled.

import Threads

/// A bounded pool of named threads.
final class ReaderPool: Sendable {
  private struct State {
    var jobs: [@Sendable () -> Void] = []
    var first = 0
    var isStopping = false
    var threads: [NamedThread] = []
  }
  private let state = Monitor(State())
  private let queueCountMax: Int

  init(threadCount: Int, queueCountMax: Int) {
    precondition(threadCount > 0 && queueCountMax > 0, "a pool has a thread and room for a job")
    self.queueCountMax = queueCountMax
    let threads = (0..<threadCount).map { index in
      NamedThread(name: "reader-\(index)") { [state] in Self.run(state) }
    }
    state.withLock { $0.threads = threads }
  }

  /// Queues a job; false if the queue is full or the pool stopped.
  func submit(_ job: @escaping @Sendable () -> Void) -> Bool {
    state.signal { state in
      guard !state.isStopping, state.jobs.count - state.first < queueCountMax else { return false }
      state.jobs.append(job)
      return true
    }
  }

  /// Lets the queued jobs run, then ends the threads.
  func stop() {
    let threads = state.signal { state in
      state.isStopping = true
      defer { state.threads = [] }
      return state.threads
    }
    for thread in threads { thread.join() }
  }

  private static func run(_ state: Monitor<State>) {
    while true {
      let job: (@Sendable () -> Void)?? = state.wait { state in
        if state.first < state.jobs.count {
          let job = state.jobs[state.first]
          state.first += 1
          if state.first == state.jobs.count {
            state.jobs.removeAll(keepingCapacity: true)
            state.first = 0
          } else if state.first >= 1_024 {
            state.jobs.removeFirst(state.first)
            state.first = 0
          }
          return .some(job)
        }
        return state.isStopping ? .some(nil) : nil
      }
      guard case .some(.some(let run)) = job else { return }
      run()
    }
  }
}
