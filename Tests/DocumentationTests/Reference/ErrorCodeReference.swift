// The page about error codes, made of the codes of the program and the explanations here.

import LedgerHTTP

/// Makes the page.
struct ErrorCodeReference {
  /// The codes that the contract says are answered; the program knows more, for later.
  let answered: Set<String>

  /// The page.
  func page() throws(PageError) -> String {
    var lines = [Self.opening]
    for code in ErrorCode.allCases where answered.contains(code.rawValue) {
      guard let (meaning, remedy) = Self.texts[code.rawValue] else {
        throw PageError(description: "the code \(code.rawValue) is new: explain it in ErrorCodeReference.texts")
      }
      lines.append("| `\(code.rawValue)` | \(code.status)\(code.carriesRetryAfter ? ", wait" : "") | \(meaning) | \(remedy) |")
    }
    let later = ErrorCode.allCases.filter { !answered.contains($0.rawValue) }
    if !later.isEmpty {
      let names = later.map { "`\($0.rawValue)` (\($0.status))" }.joined(separator: ", ")
      lines += ["", "Kept for later, and not answered by this version as far as `Schemas/openapi.yaml` says: \(names)."]
    }
    return lines.joined(separator: "\n") + "\n"
  }

  private static let opening = """
    # Error codes

    Every refusal has a code for programs. What it means, and what to do.

    ## Overview

    An error is `application/problem+json` (RFC 9457). Branch on `code`, which keeps its meaning; show `detail` to people:

    ```sh
    curl -s --unix-socket ledger.sock 'http://localhost/v1/events?limit=none' | jq
    ```
    ```json
    {
      "type": "urn:interaction-ledger:error:invalid-request",
      "title": "Invalid request",
      "status": 400,
      "detail": "…
      "code": "invalid-request",
      "message": "…
    }
    ```

    `message` equals `detail`. No text holds personal data. A refused batch has `errors` with the `index` of each bad event; a refused NDJSON stream has the `line`, and the counts of what
    was appended before it, which stands. A request that is answered with “wait” has `Retry-After` in seconds: send the same bytes again then. An append is never refused
    with a redirect, 408, 410 or 413, since clients drop events or repeat for ever on them.

    ## Codes

    | code | status | meaning | what to do |
    |---|---|---|---|
    """

  /// What a code means, and what to do.
  static let texts: [String: (meaning: String, remedy: String)] = [
    "invalid-json": (
      "not valid JSON: NaN, text after the end, half a surrogate pair, raw control characters",
      "mend the program that writes it"
    ),
    "invalid-event": (
      "JSON, but no CloudEvent: an attribute is missing or wrong, or a name stands twice at the top",
      "mend the event; `detail` names the attribute"
    ),
    "event-too-large": (
      "an event with more bytes than the daemon takes",
      "send a reference to the large thing, or raise the daemon's limit"
    ),
    "batch-too-large": (
      "more events or bytes than one request may have",
      "split the batch, or stream NDJSON"
    ),
    "empty-batch": (
      "a batch without events",
      "send nothing when there is nothing"
    ),
    "invalid-request": (
      "a parameter, header or content type that is unknown or cannot be read",
      "`detail` names it; parameters are never ignored"
    ),
    "unauthorized": (
      "the door asks for a token, and there is none or a wrong one",
      "send `Authorization: Bearer …` with a token that the daemon knows"
    ),
    "forbidden": (
      "not allowed to this caller, or a type `ledger.*` from outside",
      "ask an admin; use the call that writes such events"
    ),
    "not-found": (
      "no such position, customer, projection or path",
      "look at the spelling, or whether the projection has got there (`atLeast`)"
    ),
    "method-not-allowed": (
      "the path is there, the method on it is not",
      "`Allow` lists those that are"
    ),
    "id-conflict": (
      "(`source`, `id`) is in the log with other content",
      "never retry: give the other event an id of its own; often an id or time was made when sending"
    ),
    "subscription-exists": (
      "there is a subscription of that name with another filter",
      "take another name, or delete the old one first"
    ),
    "gone": (
      "it was there once",
      "the answer names what came after it"
    ),
    "wrong-revision": (
      "the stream is not at the expected revision: another writer was first",
      "read the stream again, decide again"
    ),
    "schema": (
      "the event breaks the schema of its type",
      "mend the event"
    ),
    "rate-limited": (
      "the caller sends faster than it may",
      "send again after the time named"
    ),
    "internal": (
      "a defect of the daemon",
      "look into its log; report it"
    ),
    "busy": (
      "the queue is full, or the daemon is starting or stopping",
      "send again after the time named; nothing was appended"
    ),
    "too-slow": (
      "the request did not come in within its time; nothing was appended but the whole lines of a stream, and the connection ends",
      "send it again, faster or in smaller parts"
    ),
    "quarantine-full": (
      "the quarantine holds as much as it may; nothing was appended",
      "look through the quarantine: correct or discard what lies there"
    ),
    "disk-full": (
      "no room on the disk; nothing was appended, reading goes on",
      "send again; make room"
    ),
    "rebuilding": (
      "the index or the projection is not ready, or is being rebuilt already",
      "ask again after the time named"
    ),
    "not-yet": (
      "the projection did not reach `atLeast` in time",
      "ask again; look at its lag"
    ),
    "outcome-unknown": (
      "the commit failed, and the events may or may not be on disk",
      "send the same bytes again: what is there is a duplicate"
    ),
  ]
}
