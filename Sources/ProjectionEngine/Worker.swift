// The thread that folds one generation. Live following and rebuilding are this one loop; a rebuild only has larger
// batches, and takes over when it has caught up.
//
// Invariants:
// - The thread stands still only between batches, with everything committed.
// - A failure never ends the thread: it is shown, and tried again after a pause that doubles up to a bound.
// - An event that cannot be folded is met alone: the batch is folded again up to it, then it is set aside (`park`) or the
//   worker stops before it (`stop`).

import EventLog
import LedgerCore
import Synchronization
import Threads

/// Why a worker has to try again, or cannot.
struct WorkerFailure: Error {
  let kind: StorageFailure.Kind
  let text: String

  init(_ kind: StorageFailure.Kind, _ text: String) {
    self.kind = kind
    self.text = text
  }
  init(_ failure: StorageFailure) { self.init(failure.kind, failure.text) }
  init(_ error: LogError) { self.init(.passing, error.description) }
}

final class Worker: Sendable {
  enum Role {
    case live
    case rebuild(UInt64)
  }

  /// Done on the worker's thread between two batches, with its session if it has one.
  typealias Command = @Sendable (Session?) -> Void

  struct Control {
    var isPaused = false
    /// Held while another generation takes over, or for good if this one cannot go on.
    var isHeld = false
    var isEnding = false
    /// The thread stands still between batches.
    var isIdle = false
    var hasEnded = false
    /// True when the first try to open the generation is over.
    var hasOpened = false
    /// True after ``Worker/wake()`` and the like: a failed or stopped worker tries again.
    var isWoken = false
    var commands: [Command] = []
    var progress = Progress()
  }

  struct Progress {
    var state = ProjectionState.starting
    var position: Position = 0
    var lastRecorded: Timestamp?
    var foldedCount: UInt64 = 0
    var eventsPerSecond = 0.0
  }

  let slot: Slot
  let role: Role
  let control = Monitor(Control())
  private let interrupt = Atomic(false)
  private let thread = Mutex<NamedThread?>(nil)

  init(slot: Slot, role: Role) {
    self.slot = slot
    self.role = role
  }

  // MARK: - From other threads

  func start() {
    thread.withLock { thread in
      // What is folded can wait; who appends, waits. On a busy machine folding takes what appending leaves over.
      thread = NamedThread(name: "fold-\(slot.name)", niceness: 10) { [self] in
        WorkerLoop(self).run()
        let left = control.signal { control in
          control.hasEnded = true
          control.isIdle = true
          control.hasOpened = true
          defer { control.commands = [] }
          return control.commands
        }
        for command in left { command(nil) }
      }
    }
  }

  /// Makes the thread look at its orders soon.
  func nudge() {
    interrupt.store(true, ordering: .releasing)
    slot.context.log.wakeWaiters()
    slot.context.pulse.signal { $0 += 1 }
  }

  func setPaused(_ isPaused: Bool) {
    control.signal { control in
      control.isPaused = isPaused
      control.isWoken = true
    }
    nudge()
  }

  func setHeld(_ isHeld: Bool) {
    control.signal { control in
      control.isHeld = isHeld
      control.isWoken = true
    }
    nudge()
  }

  func end() {
    control.signal { $0.isEnding = true }
    nudge()
  }

  /// Waits until the thread stands still; it was told to before. The nudge is repeated, since the log forgets a wake-up
  /// that nobody waited for.
  func waitUntilIdle() {
    while control.wait(timeout: .milliseconds(20), { $0.isIdle || $0.hasEnded ? true : nil }) == nil { nudge() }
  }

  func waitUntilOpened() {
    _ = control.wait { $0.hasOpened ? true : nil }
  }

  /// Waits for the thread to end. Once.
  func join() {
    while control.wait(timeout: .milliseconds(20), { $0.hasEnded ? true : nil }) == nil { nudge() }
    thread.withLock { $0.take() }?.join()
  }

  /// Has something done between batches; false if the worker has ended.
  func submit(_ command: @escaping Command) -> Bool {
    let isTaken: Bool = control.signal { control in
      guard !control.hasEnded else { return false }
      control.commands.append(command)
      return true
    }
    nudge()
    return isTaken
  }

  var progress: Progress { control.withLock { $0.progress } }

  // MARK: - From its own thread

  func takeInterrupt() { interrupt.store(false, ordering: .releasing) }
  var isInterrupted: Bool { interrupt.load(ordering: .acquiring) }
  var isEnding: Bool { control.withLock { $0.isEnding } }
}
