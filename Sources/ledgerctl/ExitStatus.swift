// Why: scripts branch on the exit code; one place decides it.
//
// Invariant: 0 done, 1 failed, 2 usage, 3 unreachable, 4 refused, 5 not found, 6 done but for
// rejected rows, 130 stopped by a signal; released codes keep their meaning.

import ArgumentParser
import LedgerClient

/// What the program tells its caller.
enum ExitStatus: Int32 {
  case done = 0
  case failed = 1
  case usage = 2
  case unreachable = 3
  case refused = 4
  case notFound = 5
  /// Everything was read, and some rows were set aside.
  case rejects = 6
  /// Stopped by a signal, when what was under way was settled.
  case stopped = 130

  /// The code for an error that ended a command.
  init(_ error: any Error) {
    switch error {
    case let error as ClientError: self.init(client: error)
    case let error as ImportError: self = error.isRefusal ? .refused : .failed
    case is MappingError, is UsageError: self = .usage
    case is RejectsError: self = .rejects
    case is ImportStopped: self = .stopped
    case is NotFoundError: self = .notFound
    default: self = .failed
    }
  }

  private init(client error: ClientError) {
    switch error {
    case .unreachable: self = .unreachable
    case .connectionLost, .protocolViolation: self = .failed
    case .problem(let problem):
      switch problem.status {
      case 404, 410: self = .notFound
      case 400..<500: self = .refused
      default: self = .failed
      }
    }
  }
}

/// The command line, or a file it names, cannot mean anything.
struct UsageError: Error, CustomStringConvertible { let description: String }

/// There is no such thing in the ledger.
struct NotFoundError: Error, CustomStringConvertible { let description: String }

/// The daemon answered, but not with what was asked for.
struct FailedError: Error, CustomStringConvertible { let description: String }

/// An import read everything and set some rows aside; said on standard output already.
struct RejectsError: Error {}
