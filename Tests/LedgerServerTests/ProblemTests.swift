// What a client is told of errors that no request can bring about at will: a full disk, an unknown outcome, a defect.

import EventLog
import LedgerHTTP
import ProjectionEngine
import Testing

@testable import LedgerServer

private struct Surprise: Error {}

private let rows: [(error: any Error, status: Int, code: String)] = [
  (AppendError.diskFull("ENOSPC"), 503, "disk-full"), (AppendError.outcomeUnknown("EIO"), 503, "outcome-unknown"),
  (AppendError.catchingUp(done: 3, of: 9), 503, "rebuilding"), (AppendError.refused("EIO"), 503, "busy"), (AppendError.closed, 503, "busy"),
  (AppendError.severalStreams, 400, "invalid-request"), (AppendError.wrongRevision(expected: .noStream, actual: 4), 412, "wrong-revision"),
  (LogError.noSuchPosition(9, head: 3), 404, "not-found"),
  (LogError.damaged(position: 3, "checksum"), 500, "internal"), (LogError.closed, 500, "internal"),
  (EngineError.unknownProjection("x"), 404, "not-found"), (EngineError.rebuilding("x"), 503, "rebuilding"),
  (EngineError.rebuildInProgress("x"), 503, "rebuilding"), (EngineError.busy, 503, "busy"),
  (EngineError.diskFull("ENOSPC"), 503, "disk-full"), (EngineError.stopped, 503, "busy"),
  (EngineError.storage("x"), 500, "internal"), (QueryFailure.notFound("x"), 404, "not-found"),
  (QueryFailure.invalid("x"), 400, "invalid-request"),
  (QueryFailure.gone("x"), 410, "gone"), (Surprise(), 500, "internal"),
]

@Test(arguments: rows.indices) func `an error has its code and status, and Retry-After where waiting may help`(_ index: Int) {
  let row = rows[index]
  let problem = Problem(row.error)
  #expect(problem.code.rawValue == row.code)
  #expect(problem.code.status == row.status)
  #expect(!problem.detail.isEmpty)
  #expect(problem.code.carriesRetryAfter == (row.status == 503))
}

@Test func `progress and revisions are numbers beside the text`() {
  func numbers(_ error: AppendError) -> [String] { error.problem.members.map { "\($0.name) \($0.value)" } }
  #expect(numbers(.catchingUp(done: 3, of: 9)) == ["position 3", "head 9"])
  #expect(numbers(.wrongRevision(expected: .exactly(2), actual: 4)) == ["expected 2", "actual 4"])
  #expect(numbers(.wrongRevision(expected: .exactly(2), actual: nil)) == ["expected 2"])
}

@Test func `a defect is told without its details`() {
  #expect(!Problem(Surprise()).detail.contains("Surprise"))
}
