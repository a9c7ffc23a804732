// Why: a caller decides by the kind of failure: start the daemon, mend the request, retry, or report a defect.
//
// Invariant: one case per decision. Only `ServerProblem` comes from a server that understood the request.

public import LedgerHTTP

/// A refusal, as the server worded it (RFC 9457).
public struct ServerProblem: Sendable, Equatable {
  /// The HTTP status.
  public var status: Int
  /// The stable code; empty if the answer carried no problem document. ``LedgerHTTP/ErrorCode`` lists the known ones.
  public var code: String
  /// What happened, for people.
  public var detail: String
  /// The header `Retry-After`, in seconds.
  public var retryAfterSeconds: Int?
  /// The line of an NDJSON append, from 1.
  public var line: Int?
  /// Every bad event of a batch.
  public var errors: [EventProblem]
  /// What an NDJSON append had stored before it failed; it stands.
  public var accepted: AppendAnswer?
  /// The answer's body.
  public var body: [UInt8]

  /// What is wrong with one event of a batch.
  public struct EventProblem: Sendable, Equatable {
    /// Its place in the request, from 0.
    public var index: Int
    /// Its code.
    public var code: String
    /// What happened.
    public var detail: String

    /// What is wrong with the event at `index`.
    public init(index: Int, code: String, detail: String) {
      self.index = index
      self.code = code
      self.detail = detail
    }
  }

  /// The code, if it is one that this client knows.
  public var knownCode: ErrorCode? { ErrorCode(rawValue: code) }

  /// Reads a refusal. Never fails: a body that is no problem document gives an empty code and a general detail.
  public init(status: Int, retryAfterSeconds: Int? = nil, body: [UInt8]) {
    self.status = status
    self.retryAfterSeconds = retryAfterSeconds
    self.body = body
    do throws(JSONSyntaxError) {
      let json = try JSONValue(parsing: body)
      code = json["code"]?.string ?? ""
      detail = json["detail"]?.string ?? json["message"]?.string ?? "the server answered with status \(status) and no detail"
      line = json["line"]?.integer.map(Int.init)
      errors = (json["errors"]?.array ?? []).compactMap { error in
        guard let index = error["index"]?.integer else { return nil }
        return EventProblem(index: Int(index), code: error["code"]?.string ?? "", detail: error["detail"]?.string ?? "")
      }
    } catch {
      code = ""
      detail = "the server answered with status \(status) and no problem document"
      errors = []
    }
  }
}

/// Why a call failed.
public enum ClientError: Error, Sendable, Equatable {
  /// Nobody answers at the endpoint; nothing was sent.
  case unreachable(endpoint: String, reason: String)
  /// The connection broke after the request was sent: it may or may not have been carried out.
  case connectionLost(reason: String)
  /// The server refused.
  case problem(ServerProblem)
  /// The server's answer is not what this client understands.
  case protocolViolation(String)
}

extension ClientError: CustomStringConvertible {
  /// What happened, and what to do.
  public var description: String {
    switch self {
    case .unreachable(let endpoint, let reason):
      "no ledger daemon answers at \(endpoint) (\(reason)); start ledgerd, or name its socket"
    case .connectionLost(let reason):
      "the connection to the daemon broke before the answer came (\(reason)); it is not known whether the request was carried out, "
        + "and repeating it with the same ids is safe"
    case .problem(let problem):
      (problem.code.isEmpty ? problem.detail : "\(problem.detail) (\(problem.code))")
        + (problem.retryAfterSeconds.map { "; try again in \($0) s" } ?? "")
    case .protocolViolation(let reason):
      "the answer is not one of a ledger daemon (\(reason)); look which program listens there, and at its version"
    }
  }
}
