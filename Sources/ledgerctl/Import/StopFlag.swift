// Why: Ctrl-C during an import means "settle what is under way and remember the place", not "drop everything".
//
// Invariants: the first signal sets the flag; the second ends the program at once, as it would have without us.

import Foundation
import Synchronization
import UnixSignals

/// Whether somebody wants the import to stop.
final class StopFlag: Sendable {
  private let flag = Atomic<Bool>(false)

  var isSet: Bool { flag.load(ordering: .relaxed) }

  func set() { flag.store(true, ordering: .relaxed) }

  /// Sets the flag at SIGINT or SIGTERM, as long as the task runs.
  func watchSignals() -> Task<Void, Never> {
    Task(name: "import signals") {
      for await signal in await UnixSignalsSequence(trapping: .sigint, .sigterm) {
        if isSet { Foundation.exit(ExitStatus.stopped.rawValue) }
        set()
        Output.message("\nledgerctl: \(signal): stopping when what is under way is settled; once more to leave at once")
      }
    }
  }
}
