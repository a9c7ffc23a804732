// Why: every refusal has one shape, RFC 9457 problem details, so that a client needs one way to read them.
//
// Invariants:
// - `message` equals `detail`; `type`, `title` and `status` follow from `code`.
// - The order of the members is fixed: type, title, status, detail, code, message, then line, the integers, errors.
// - Details never hold personal data; who makes a problem sees to it.

/// A refusal, as `application/problem+json`.
public struct Problem: Error, Sendable, Equatable {
  /// What is wrong with one event of a batch.
  public struct EventError: Sendable, Equatable {
    /// The event's place in the request, from 0.
    public var index: Int
    /// Its reason.
    public var code: ErrorCode
    /// What happened, for people.
    public var detail: String

    /// Names the event at `index` of the request.
    public init(index: Int, code: ErrorCode, detail: String) {
      self.index = index
      self.code = code
      self.detail = detail
    }
  }

  /// A further number in the answer, such as `expected` and `actual` of a wrong revision.
  public struct Member: Sendable, Equatable {
    /// The member's name; none of the fixed ones.
    public var name: String
    /// Its value.
    public var value: Int64

    /// A member `name` with an integer.
    public init(_ name: String, _ value: Int64) {
      self.name = name
      self.value = value
    }
  }

  /// The reason, for programs.
  public var code: ErrorCode
  /// What happened and what to do, for people; also the answer's `message`.
  public var detail: String
  /// Every bad event of a batch, in the order sent; left out of the answer if empty. The first one's code decides `code`.
  public var errors: [EventError]
  /// The line of an NDJSON stream, from 1, at which it happened.
  public var line: Int?
  /// Further numbers, in this order.
  public var members: [Member]

  /// A refusal with everything it may carry.
  public init(_ code: ErrorCode, _ detail: String, errors: [EventError] = [], line: Int? = nil, members: [Member] = []) {
    self.code = code
    self.detail = detail
    self.errors = errors
    self.line = line
    self.members = members
  }

  /// The answer's body.
  public func encoded() -> [UInt8] {
    var text = JSONText()
    write(to: &text)
    return text.bytes
  }

  func write(to text: inout JSONText) {
    text.object { text in
      text.member("type", code.type)
      text.member("title", code.title)
      text.member("status", Int64(code.status))
      text.member("detail", detail)
      text.member("code", code.rawValue)
      text.member("message", detail)
      if let line { text.member("line", Int64(line)) }
      for member in members { text.member(member.name, member.value) }
      if !errors.isEmpty {
        text.member("errors") { text in
          text.array { text in
            for error in errors {
              text.element { text in
                text.object { text in
                  text.member("index", Int64(error.index))
                  text.member("code", error.code.rawValue)
                  text.member("detail", error.detail)
                }
              }
            }
          }
        }
      }
    }
  }
}
