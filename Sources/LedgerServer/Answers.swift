// Small shapes that every route uses: parameters, answers, problems.

import EventLog
import HTTPTypes
import Hummingbird
import LedgerCore
import LedgerHTTP
import NIOCore
import NIOHTTP1
import ProjectionEngine

/// A request's query parameters, checked against what the call understands.
struct Parameters: Sendable {
  let all: [(name: String, value: String)]

  init(_ request: Request, allowed: [String]) throws(Problem) {
    all = request.uri.queryParameters.map { (String($0.key), String($0.value)) }
    for (name, _) in all where !allowed.contains(where: { $0.utf8.elementsEqual(name.utf8) }) {
      let list = allowed.isEmpty ? "none" : allowed.joined(separator: ", ")
      throw Problem(.invalidRequest, "the request has a parameter that this call does not know; it knows: \(list)")
    }
  }

  func first(_ name: String) -> String? { all.first { $0.name.utf8.elementsEqual(name.utf8) }?.value }
  func values(_ name: String) -> [String] { all.filter { $0.name.utf8.elementsEqual(name.utf8) }.map(\.value) }

  func flag(_ name: String) throws(Problem) -> Bool {
    switch first(name) {
    case nil, "false": return false
    case "true", "": return true
    default: throw Problem(.invalidRequest, "parameter \(name) must be true or false")
    }
  }

  func number(_ name: String, _ range: ClosedRange<UInt64> = 0...UInt64(Int64.max)) throws(Problem) -> UInt64? {
    guard let text = first(name) else { return nil }
    // UInt64 would take a sign.
    guard text.utf8.first != UInt8(ascii: "+"), let number = UInt64(text), range.contains(number) else {
      throw Problem(.invalidRequest, "parameter \(name) must be a whole number from \(range.lowerBound) to \(range.upperBound)")
    }
    return number
  }

  func time(_ name: String) throws(Problem) -> Timestamp? {
    guard let text = first(name) else { return nil }
    guard let parsed = Timestamp.parse(text) else {
      throw Problem(.invalidRequest, "parameter \(name) must be RFC 3339, such as 2026-11-21T20:00:00Z; a plus sign is sent as %2B")
    }
    return parsed.timestamp
  }
}

extension HTTPField.Name {
  /// Which generation of a projection answered.
  static let ledgerGeneration = HTTPField.Name(knownName: "Ledger-Generation")

  private init(knownName: String) {
    guard let name = HTTPField.Name(knownName) else { preconditionFailure("\(knownName) is a token") }
    self = name
  }
}

extension Response {
  init(json bytes: [UInt8], status: HTTPResponse.Status = .ok, headers extra: HTTPFields = [:]) {
    var headers = extra
    headers[.contentType] = MediaType.json
    self.init(status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
  }

  init(_ problem: Problem, headers extra: HTTPFields = [:]) {
    var headers = extra
    headers[.contentType] = MediaType.problem
    if problem.code.carriesRetryAfter { headers[.retryAfter] = "1" }
    if problem.code.endsConnection { headers[.connection] = "close" }
    if let challenge = problem.code.challenge { headers[.wwwAuthenticate] = challenge }
    self.init(
      status: .init(code: problem.code.status), headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: problem.encoded())))
  }
}

extension AppendAnswer {
  init(_ result: AppendResult, names: [EventName]) {
    self.init(
      appended: result.appended, duplicates: result.duplicates, erased: result.erased, first: result.first.map { Int64($0) },
      last: result.last.map { Int64($0) }, head: Int64(result.head))
    guard !names.isEmpty else { return }
    receipts = zip(names, result.receipts).map { name, receipt in
      LedgerHTTP.Receipt(source: name.source, id: name.id, position: Int64(receipt.position), duplicate: receipt.isDuplicate)
    }
  }
}

extension AppendError {
  /// What a client is told.
  var problem: Problem {
    switch self {
    case .events(let refusals):
      Problem(
        refusals[0].reason.code, description, errors: refusals.map { .init(index: $0.index, code: $0.reason.code, detail: $0.detail) })
    case .wrongRevision(let expected, let actual):
      Problem(.wrongRevision, description, members: Self.members(expected, actual))
    case .severalStreams: Problem(.invalidRequest, description)
    case .catchingUp(let done, let total):
      Problem(.rebuilding, description, members: [.init("position", Int64(done)), .init("head", Int64(total))])
    case .diskFull: Problem(.diskFull, description)
    case .refused: Problem(.busy, description)
    case .outcomeUnknown: Problem(.outcomeUnknown, description)
    case .closed: Problem(.busy, description)
    }
  }

  private static func members(_ expected: ExpectedRevision, _ actual: UInt64?) -> [Problem.Member] {
    var members: [Problem.Member] = []
    if case .exactly(let revision) = expected { members.append(.init("expected", Int64(revision))) }
    if let actual { members.append(.init("actual", Int64(actual))) }
    return members
  }
}

extension EventRefusal.Reason {
  /// The code that stands for it.
  var code: ErrorCode {
    switch self {
    case .conflict: .idConflict
    case .schema: .schema
    }
  }
}

extension Problem {
  /// The bytes are no request, or its head has more than the limits take.
  static let notHTTP = Problem(.invalidRequest, "the bytes are no HTTP/1.1 request, or its headers are larger than is taken")

  /// The problem that stands for any error a route throws.
  init(_ error: any Error) {
    switch error {
    case let problem as Problem: self = problem
    case let error as AppendError: self = error.problem
    case let error as SubscriptionError: self = error.problem
    case let error as LogError:
      if case .noSuchPosition = error {
        self.init(.notFound, error.description)
      } else {
        self.init(.internal, error.description)
      }
    case let error as QueryFailure:
      switch error {
      case .notFound(let detail): self.init(.notFound, detail)
      case .invalid(let detail): self.init(.invalidRequest, detail)
      case .gone(let detail): self.init(.gone, detail)
      case .storage(let error): self.init(.internal, error.description)
      }
    case let error as EngineError:
      let code: ErrorCode =
        switch error {
        case .unknownProjection, .unknownQuery, .noRebuild: .notFound
        case .rebuilding, .rebuildInProgress, .rebuildRequired: .rebuilding
        case .busy, .stopped: .busy
        case .diskFull: .diskFull
        case .storage: .internal
        }
      self.init(code, error.description)
    case let error as any HTTPResponseError:
      switch error.status {
      case .notFound:
        self.init(.notFound, "there is no such path; GET /v1/log, /v1/events, /v1/customers and /v1/projections are good places to begin")
      case .contentTooLarge: self.init(.batchTooLarge, "the request is too large; split it")
      default: self.init(.invalidRequest, "the request cannot be understood (status \(error.status.code))")
      }
    case is HTTPParserError: self = .notHTTP
    // The client went away while it was sending: nobody reads this.
    case is IOError, is ChannelError: self.init(.invalidRequest, "the connection broke before the request was whole")
    default:
      self.init(.internal, "the request failed for a reason that is in the daemon's log")
    }
  }
}
