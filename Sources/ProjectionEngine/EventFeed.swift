// A thread that reads the log ahead of a fold and prepares what it reads.
//
// Invariants:
// - Ready chunks follow each other without a gap from where the fold asked; when it asks for another place, what is ready
//   or under way is thrown away.
// - The thread waits while enough is ready, and ends with its owner.
// - Chunks change hands by the dozen: two threads that wake each other for each chunk end up taking turns on one core.

import EventLog
import LedgerCore
import Threads

/// Prepared chunks of the log, a few ahead of whoever takes them.
final class EventFeed<Prepared: PreparedEvents> {
  typealias Chunk = PreparedChunk<Prepared>
  static var readyCountMax: Int { 16 }

  private struct State: Sendable {
    /// Raised when the fold asks for another place.
    var turn = 0
    /// The last position that is ready.
    var position: Position = 0
    /// How far to read.
    var last: Position = 0
    var ready: [Chunk] = []
    var spare: [Chunk] = []
    var failure: LogError?
    /// The event after `position` cannot be read; the last ready chunk is empty and says why.
    var isBlocked = false
    var isEnding = false

    mutating func turn(to position: Position) {
      turn += 1
      spare.append(contentsOf: ready)
      ready.removeAll()
      self.position = position
      failure = nil
      isBlocked = false
    }

    var isWorking: Bool { ready.count < EventFeed.readyCountMax && position < last && failure == nil && !isBlocked }
  }

  private let state = Monitor(State())
  private let thread: NamedThread
  /// Taken and not folded yet, the next one last.
  private var taken: [Chunk] = []
  /// Folded, and not given back yet.
  private var used: [Chunk] = []

  init(_ log: EventLog, name: String) {
    thread = NamedThread(name: "ahead-\(name)", niceness: 10) { [state] in EventFeed.run(state, log) }
  }

  deinit {
    state.signal { $0.isEnding = true }
    thread.join()
  }

  /// Exchanges `chunk` for the one that begins after a position. Waits until it is ready.
  func next(_ chunk: inout Chunk, after position: Position, through last: Position) throws(LogError) {
    used.append(chunk)
    chunk = Chunk()
    if let next = taken.last, next.begins(after: position) {
      chunk = taken.removeLast()
      return
    }
    used.append(contentsOf: taken)
    taken.removeAll(keepingCapacity: true)
    try take(after: position, through: last)
    if !taken.isEmpty { chunk = taken.removeLast() }
  }

  /// Takes all that is ready, and gives back what was used.
  private func take(after position: Position, through last: Position) throws(LogError) {
    state.signal { [used] state in
      state.spare.append(contentsOf: used)
      state.last = last
      // Nothing more comes after an event that cannot be read: who asks again wants to see it again.
      let isNext = state.ready.first?.begins(after: position) ?? (state.position == position && !state.isBlocked)
      if !isNext { state.turn(to: position) }
    }
    used.removeAll(keepingCapacity: true)
    let answer: Result<[Chunk], LogError>? = state.wait { state in
      if !state.ready.isEmpty {
        defer { state.ready = [] }
        return .success(state.ready.reversed())
      }
      // It is tried again when the fold asks again.
      return state.failure.take().map { .failure($0) }
    }
    // The thread may stand still because enough was ready.
    state.signal { _ in }
    if let answer { taken = try answer.get() }
  }

  private static func run(_ state: Monitor<State>, _ log: EventLog) {
    var preparer = ChunkPreparer<Prepared>(log)
    while true {
      let order: (turn: Int, position: Position, last: Position, chunk: Chunk)?? = state.wait { state in
        if state.isEnding { return .some(nil) }
        guard state.isWorking else { return nil }
        return .some((state.turn, state.position, state.last, state.spare.popLast() ?? Chunk()))
      }
      guard case .some(.some(let order)) = order else { return }
      var chunk = order.chunk
      var failure: LogError?
      do throws(LogError) {
        try preparer.fill(&chunk, after: order.position, through: order.last)
      } catch {
        failure = error
      }
      state.signal { [chunk, failure] state in
        guard state.turn == order.turn else { return state.spare.append(chunk) }
        if let failure {
          state.failure = failure
        } else {
          state.isBlocked = chunk.failure != nil && chunk.isEmpty
          state.position = chunk.positions.last ?? state.position
          state.ready.append(chunk)
        }
      }
    }
  }
}
