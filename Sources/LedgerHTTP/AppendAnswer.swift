// Why: the answer to an append is the promise that the events are on disk; both ends share its shape.
//
// Invariants:
// - `first` and `last` are nil exactly when nothing was appended.
// - `appended + duplicates + erased + quarantined` is the number of events in the request.
// - The order of the members is fixed: appended, duplicates, erased, quarantined, first, last, head, receipts, quarantine, done,
//   error. The two of quarantine are there only if the request asked for it.

/// What became of one event of an append.
public struct Receipt: Sendable, Equatable {
  /// The event's source.
  public var source: String
  /// The event's id.
  public var id: String
  /// Where it is in the log, from 1.
  public var position: Int64
  /// Whether it was there before this request.
  public var duplicate: Bool

  /// The receipt of the event (`source`, `id`).
  public init(source: String, id: String, position: Int64, duplicate: Bool) {
    self.source = source
    self.id = id
    self.position = position
    self.duplicate = duplicate
  }
}

/// What was set aside instead of being appended.
public struct QuarantineReceipt: Sendable, Equatable {
  /// The event's place in the request, from 0.
  public var index: Int
  /// The event's source.
  public var source: String
  /// The event's id.
  public var id: String
  /// Its number in quarantine.
  public var number: Int64
  /// Why the log did not take it: ``ErrorCode/schema`` or ``ErrorCode/idConflict``.
  public var code: ErrorCode
  /// Why, for people.
  public var detail: String

  /// The receipt of the event (`source`, `id`).
  public init(index: Int, source: String, id: String, number: Int64, code: ErrorCode, detail: String) {
    self.index = index
    self.source = source
    self.id = id
    self.number = number
    self.code = code
    self.detail = detail
  }
}

/// The answer to `POST /v1/events`: what it counts is on disk.
public struct AppendAnswer: Sendable, Equatable {
  /// How many events were new.
  public var appended: Int
  /// How many were in the log already.
  public var duplicates: Int
  /// How many had been erased, and stay so.
  public var erased: Int
  /// The first position given out by this request; nil if nothing was appended.
  public var first: Int64?
  /// The last position given out by this request; nil if nothing was appended.
  public var last: Int64?
  /// The last durable position of the log.
  public var head: Int64
  /// One per event in the order sent, if they were asked for.
  public var receipts: [Receipt]?
  /// How many events were set aside; nil if the request did not ask for that (`onInvalid=quarantine`).
  public var quarantined: Int?
  /// One per event that was set aside, if receipts were asked for, too.
  public var quarantine: [QuarantineReceipt]?

  /// An answer with everything it may carry.
  public init(
    appended: Int, duplicates: Int, erased: Int, first: Int64?, last: Int64?, head: Int64, receipts: [Receipt]? = nil
  ) {
    self.appended = appended
    self.duplicates = duplicates
    self.erased = erased
    self.first = first
    self.last = last
    self.head = head
    self.receipts = receipts
  }

  /// How a line of a streamed answer stands to the stream.
  public enum StreamEnd: Sendable, Equatable {
    /// More may follow: `done` is left out.
    case open
    /// The last line: `"done":true`.
    case done
    /// The last line: `"error":{…}`; what came before it stands.
    case failed(Problem)
  }

  /// The answer's body, or one line (without its line feed) of a streamed answer.
  public func encoded(end: StreamEnd = .open) -> [UInt8] {
    var text = JSONText()
    text.object { text in
      text.member("appended", Int64(appended))
      text.member("duplicates", Int64(duplicates))
      text.member("erased", Int64(erased))
      if let quarantined { text.member("quarantined", Int64(quarantined)) }
      text.member("first", first)
      text.member("last", last)
      text.member("head", head)
      if let receipts { Self.write(receipts, to: &text) }
      if let quarantine { Self.write(quarantine, to: &text) }
      switch end {
      case .open: break
      case .done: text.member("done", true)
      case .failed(let problem): text.member("error") { problem.write(to: &$0) }
      }
    }
    return text.bytes
  }

  private static func write(_ receipts: [QuarantineReceipt], to text: inout JSONText) {
    text.member("quarantine") { text in
      text.array { text in
        for receipt in receipts {
          text.element { text in
            text.object { text in
              text.member("index", Int64(receipt.index))
              text.member("source", receipt.source)
              text.member("id", receipt.id)
              text.member("number", receipt.number)
              text.member("code", receipt.code.rawValue)
              text.member("detail", receipt.detail)
            }
          }
        }
      }
    }
  }

  private static func write(_ receipts: [Receipt], to text: inout JSONText) {
    text.member("receipts") { text in
      text.array { text in
        for receipt in receipts {
          text.element { text in
            text.object { text in
              text.member("source", receipt.source)
              text.member("id", receipt.id)
              text.member("position", receipt.position)
              text.member("duplicate", receipt.duplicate)
            }
          }
        }
      }
    }
  }
}
