// What the doors of one event loop share: requests are handed to the log once per turn of the loop, and their answers
// come back once per group.
//
// Invariants:
// - Everything here happens on the one event loop; only the mailbox is touched from outside.
// - What is handed over in one turn is handed over in the order in which it came.

import Bytes
import EventLog
import FoundationEssentials
import LedgerCore
import LedgerHTTP
import NIOCore

/// What one event loop's doors have under way.
final class AppendLoop {
  let log: EventLog
  let limits: ServerLimits
  /// How often a door looks whether its client is too slow: no limit is shorter.
  let checkInterval: TimeAmount
  let readers = ReaderPool()
  private let eventLoop: any EventLoop
  private var mailbox: AppendMailbox?

  /// Parsed in this turn, not handed over yet.
  private var waiting: [(batch: EventBatch, token: UInt64)] = []
  private var isHandOverDue = false
  /// Who sent what is under way: token → door. Tokens count up, so a ring of the open ones would do; few are open.
  private var senders: [UInt64: AppendDoor] = [:]
  private var nextToken: UInt64 = 0

  /// True while the log's queue is full.
  private(set) var isFull = false
  private var stopped: [AppendDoor] = []

  private var dateSecond: Int64 = .min
  private var dateText: [UInt8] = []

  init(log: EventLog, limits: ServerLimits, eventLoop: any EventLoop) {
    self.log = log
    self.limits = limits
    checkInterval = .seconds(Int64(min(limits.idleSeconds, limits.headSecondsMax, limits.bodySecondsMax)))
    self.eventLoop = eventLoop
    let own = NIOLoopBound(Weak(self), eventLoop: eventLoop)
    mailbox = AppendMailbox { eventLoop.execute { own.value.object?.takeAnswers() } }
  }

  private final class Weak {
    weak var object: AppendLoop?
    init(_ object: AppendLoop) { self.object = object }
  }

  // MARK: Handing over

  /// Takes a parsed request; its answer comes to ``AppendDoor/take(_:of:)`` under the token.
  func submit(_ batch: EventBatch, from door: AppendDoor) -> UInt64 {
    nextToken += 1
    senders[nextToken] = door
    waiting.append((batch, nextToken))
    if !isHandOverDue {
      isHandOverDue = true
      // Runs when the loop has seen to every socket of this turn.
      let own = NIOLoopBound(self, eventLoop: eventLoop)
      eventLoop.execute { own.value.handOver() }
    }
    return nextToken
  }

  private func handOver() {
    isHandOverDue = false
    guard let mailbox, !waiting.isEmpty else { return }
    log.append(waiting, to: mailbox)
    waiting.removeAll(keepingCapacity: true)
    let own = NIOLoopBound(self, eventLoop: eventLoop)
    let loop = eventLoop
    isFull = !log.hasRoom { loop.execute { own.value.goOn() } }
  }

  /// Remembers a door that has stopped for want of room.
  func whenRoom(_ door: AppendDoor) { stopped.append(door) }

  private func goOn() {
    isFull = false
    let doors = stopped
    stopped = []
    for door in doors { door.goOnWithRoom() }
  }

  // MARK: Answers

  private func takeAnswers() {
    guard let mailbox else { return }
    var doors: [AppendDoor] = []
    for answer in mailbox.takeAll() {
      guard let door = senders.removeValue(forKey: answer.token) else { preconditionFailure("an answer to a request that is not open") }
      if door.take(answer.result, of: answer.token) { doors.append(door) }
    }
    for door in doors { door.endOfAnswers() }
  }

  /// The time as HTTP writes it (RFC 9110 §5.6.7), made once a second.
  func httpDate() -> [UInt8] {
    let second = Int64(Date.now.timeIntervalSince1970)
    if second != dateSecond {
      dateSecond = second
      dateText = HTTPDate.bytes(Timestamp(microseconds: second * 1_000_000))
    }
    return dateText
  }
}

/// `Sat, 21 Nov 2026 20:00:00 GMT` (RFC 9110 §5.6.7).
enum HTTPDate {
  private static let weekdays = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"].map { Array($0.utf8) }
  private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"].map { Array($0.utf8) }

  /// Of a time after 1970.
  static func bytes(_ time: Timestamp) -> [UInt8] {
    // 2026-11-21T20:00:00Z
    let text = time.rfc3339Bytes
    let day = time.microseconds / 86_400_000_000
    let month = Int(text[5] & 15) * 10 + Int(text[6] & 15)
    var out: [UInt8] = []
    // 1970-01-01 was a Thursday.
    out += weekdays[Int(day % 7)]
    out += ", ".utf8
    out += text[8..<10]
    out += " ".utf8
    out += months[month - 1]
    out += " ".utf8
    out += text[0..<4]
    out += " ".utf8
    out += text[11..<19]
    out += " GMT".utf8
    return out
  }
}
