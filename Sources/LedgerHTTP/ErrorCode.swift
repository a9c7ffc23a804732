// Why: a program that meets a refusal branches on one stable word; this file is the list of those words.
//
// Invariants:
// - A raw value, once released, keeps its meaning and its status for ever; clients are written against both.
// - An append is never refused with 413, 408, 410 or a redirect: real clients drop or retry for ever on them.
// - Exactly the refusals that may end by waiting carry `Retry-After`.

/// The stable, machine-readable reason of a refusal: the member `code` of an `application/problem+json` answer.
///
/// A body of a media type that the call does not know is answered as ``invalidRequest`` (400).
public enum ErrorCode: String, Sendable, CaseIterable {
  /// The body is not valid JSON: NaN, trailing text, lone surrogates, raw control characters among it.
  case invalidJSON = "invalid-json"
  /// JSON, but no valid CloudEvent: missing or wrong attributes, duplicate names at the top level.
  case invalidEvent = "invalid-event"
  /// One event has more bytes than the ledger takes.
  case eventTooLarge = "event-too-large"
  /// The request has more events or more bytes than one append may have.
  case batchTooLarge = "batch-too-large"
  /// The batch holds no event.
  case emptyBatch = "empty-batch"
  /// A parameter, a header or the media type of the request is wrong.
  case invalidRequest = "invalid-request"
  /// The caller has not said, by a token that is known, who they are.
  case unauthorized
  /// The caller may not do this, or the type is the ledger's own.
  case forbidden
  /// There is no such thing.
  case notFound = "not-found"
  /// The path exists, the method on it does not.
  case methodNotAllowed = "method-not-allowed"
  /// The same (source, id) is in the log with other contents.
  case idConflict = "id-conflict"
  /// There is a subscription of that name with another filter.
  case subscriptionExists = "subscription-exists"
  /// It was there once and is not any more; the answer names its successors.
  case gone
  /// The stream is not at the expected revision: another writer was first.
  case wrongRevision = "wrong-revision"
  /// The event breaks the schema of its type.
  case schema
  /// The caller sends faster than it may.
  case rateLimited = "rate-limited"
  /// A defect of the server.
  case `internal` = "internal"
  /// The queue is full.
  case busy
  /// The request did not come in within its time; the connection ends. Nothing of it was appended, but the whole lines of a
  /// stream.
  case tooSlow = "too-slow"
  /// Events were to be set aside, and the quarantine has no room; nothing was appended or set aside.
  case quarantineFull = "quarantine-full"
  /// The disk is full; reading goes on.
  case diskFull = "disk-full"
  /// An index or a projection is being rebuilt.
  case rebuilding
  /// The position asked for was not reached in time.
  case notYet = "not-yet"
  /// The commit failed in a way that does not tell whether it happened: retry with the same ids.
  case outcomeUnknown = "outcome-unknown"

  /// The HTTP status it is answered with.
  public var status: Int {
    switch self {
    case .invalidJSON, .invalidEvent, .eventTooLarge, .batchTooLarge, .emptyBatch, .invalidRequest: 400
    case .unauthorized: 401
    case .forbidden: 403
    case .notFound: 404
    case .methodNotAllowed: 405
    case .idConflict, .subscriptionExists: 409
    case .gone: 410
    case .wrongRevision: 412
    case .schema: 422
    case .rateLimited: 429
    case .internal: 500
    case .busy, .tooSlow, .quarantineFull, .diskFull, .rebuilding, .notYet, .outcomeUnknown: 503
    }
  }

  /// The member `title`: a short name for people, the same for every occurrence.
  public var title: String {
    switch self {
    case .invalidJSON: "Invalid JSON"
    case .invalidEvent: "Invalid event"
    case .eventTooLarge: "Event too large"
    case .batchTooLarge: "Batch too large"
    case .emptyBatch: "Empty batch"
    case .invalidRequest: "Invalid request"
    case .unauthorized: "Unauthorized"
    case .forbidden: "Forbidden"
    case .notFound: "Not found"
    case .methodNotAllowed: "Method not allowed"
    case .idConflict: "Id conflict"
    case .subscriptionExists: "Subscription exists"
    case .gone: "Gone"
    case .wrongRevision: "Wrong revision"
    case .schema: "Schema violation"
    case .rateLimited: "Too many requests"
    case .internal: "Internal error"
    case .busy: "Busy"
    case .tooSlow: "Too slow"
    case .quarantineFull: "Quarantine full"
    case .diskFull: "Disk full"
    case .rebuilding: "Rebuilding"
    case .notYet: "Not yet"
    case .outcomeUnknown: "Outcome unknown"
    }
  }

  /// The member `type`: a URN, since there is no page to point at.
  public var type: String { "urn:interaction-ledger:error:" + rawValue }

  /// Whether the answer carries a `Retry-After` header: waiting may help.
  public var carriesRetryAfter: Bool { status == 429 || status == 503 }

  /// Whether the connection ends with the answer: where the request ends is not known.
  public var endsConnection: Bool { self == .tooSlow }

  /// The value of the answer's `WWW-Authenticate` header, if it has one (RFC 9110 §11.6.1, RFC 6750).
  public var challenge: String? { self == .unauthorized ? "Bearer realm=\"ledgerd\"" : nil }
}
