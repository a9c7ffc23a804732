// Events on their way to the log: checked, hashed and laid side by side on the connection's thread, so that the one
// appender thread has as little as possible left to do.

import Bytes
public import JSON
public import LedgerCore

/// Checked events of one request, in order. Immutable and cheap to hand between threads: one buffer, one table.
public struct EventBatch: Sendable {
  struct Item: Sendable {
    var start: Int
    var end: Int
    var id: Hash128
    var stream: Hash128
  }

  var bytes: [UInt8] = []
  var items: [Item] = []
  /// How events break the schema of their type, by their indexes: what is in the log already is a duplicate all the same,
  /// so the appender decides.
  private(set) var breaches: [Int: String] = [:]
  /// When the request's last byte came in.
  public let received: Timestamp
  /// The sender's clock, if it said.
  public let sent: Timestamp?
  /// How it came in.
  public let door: FrontDoor
  /// Who sent it.
  public let principal: String
  /// Whose events the sender may append.
  public let sources: SourceScope

  private let limits: EventLimits
  private let schemas: SchemaSnapshot
  private var hasher: EventHasher

  init(
    keys: LogKeys, limits: EventLimits, schemas: SchemaSnapshot, received: Timestamp, sent: Timestamp?, door: FrontDoor, principal: String,
    sources: SourceScope
  ) {
    self.limits = limits
    self.schemas = schemas
    hasher = EventHasher(keys: keys)
    self.received = received
    self.sent = sent
    self.door = door
    self.principal = principal
    self.sources = sources
  }

  /// How many events there are.
  public var count: Int { items.count }
  /// Bytes of all events as they will be stored.
  public var byteCount: Int { bytes.count }

  func withBytes<R, E: Error>(of item: Item, _ body: (RawSpan) throws(E) -> R) throws(E) -> R {
    try body(bytes.rawSpan.slice(item.start..<item.end))
  }

  /// The first events of it, as a batch of their own.
  public func prefix(_ count: Int) -> EventBatch {
    var batch = self
    batch.items.removeLast(items.count - count)
    batch.breaches = breaches.filter { $0.key < count }
    batch.bytes.removeLast(bytes.count - (batch.items.last?.end ?? 0))
    return batch
  }

  /// The batch without some of its events, given by their indexes.
  public func removing(_ indexes: Set<Int>) -> EventBatch {
    var batch = self
    batch.bytes.removeAll(keepingCapacity: true)
    batch.items.removeAll(keepingCapacity: true)
    batch.breaches = [:]
    for (index, var item) in items.enumerated() where !indexes.contains(index) {
      let start = batch.bytes.count
      batch.bytes += bytes[item.start..<item.end]
      (item.start, item.end) = (start, batch.bytes.count)
      batch.breaches[batch.items.count] = breaches[index]
      batch.items.append(item)
    }
    return batch
  }

  /// An event's bytes as they will be stored.
  public func eventBytes(at index: Int) -> [UInt8] { Array(bytes[items[index].start..<items[index].end]) }

  /// The events that break the schema of their type, in order; those of them that are in the log are duplicates.
  public var schemaBreaches: [EventRefusal] {
    breaches.sorted { $0.key < $1.key }.map { EventRefusal(index: $0.key, reason: .schema($0.value)) }
  }

  /// Checks one event and adds it.
  ///
  /// It is kept as it was sent, but for line breaks and tabs between tokens, which become spaces: one event is one line.
  /// An event that breaks the schema of its type is added, too: if it is in the log, from before the schema, it is a
  /// duplicate. If it is not, the log refuses the batch; see ``schemaBreaches``.
  ///
  /// - Parameter event: The event's node in `json`.
  /// - Returns: Its attributes, valid as long as the reader's text.
  /// - Throws: ``EventError``; the batch is then as it was.
  @discardableResult
  public mutating func add(_ event: JSONNode, of json: borrowing JSONReader) throws(EventError) -> EventAttributes {
    let range = json.textRange(of: event)
    guard range.count <= limits.eventByteCountMax else {
      throw EventError(.tooLarge, "the event has \(range.count) bytes; at most \(limits.eventByteCountMax) are taken")
    }
    let attributes = try EventAttributes(of: event, in: json, limits: limits)
    guard door == .ledger || !attributes.isLedgerFact(in: json) else {
      throw EventError(.forbidden, "types that begin with \"ledger.\" are written by the ledger itself")
    }
    guard sources == .all || json.withString(of: attributes.source, { sources.covers($0) }) else {
      throw EventError(.forbidden, "the sender may not append events of this source; an administrator gives prefixes of sources")
    }
    let breach = door == .ledger ? nil : schemas.breach(attributes, of: json)
    let hashes = hasher.hashes(of: attributes, json)
    let start = bytes.count
    let control = json.withText(of: event) { text in
      bytes.append(text)
      return text.firstControlByte()
    }
    if let control {
      for index in start + control..<bytes.count where bytes[index] < 0x20 { bytes[index] = 0x20 }
    }
    if let breach { breaches[items.count] = breach }
    items.append(Item(start: start, end: bytes.count, id: hashes.id, stream: hashes.stream))
    return attributes
  }
}

/// Computes the keyed hashes of events.
struct EventHasher: Sendable {
  let keys: LogKeys
  private var scratch = ByteWriter(capacity: 256)

  init(keys: LogKeys) { self.keys = keys }

  /// The hashes of an event's (source, id) and of its stream.
  mutating func hashes(of attributes: EventAttributes, _ json: borrowing JSONReader) -> (id: Hash128, stream: Hash128) {
    let source = json.bytes(of: attributes.source)
    let id = json.withString(of: attributes.id) { keys.id(source: source.rawSpan, id: $0, scratch: &scratch) }
    let stream: Hash128
    if let name = attributes.stream {
      stream = json.withString(of: name) { keys.stream(named: $0, scratch: &scratch) }
    } else if let subject = attributes.subject {
      stream = json.withString(of: subject) { keys.stream(source: source.rawSpan, subject: $0, scratch: &scratch) }
    } else {
      stream = keys.stream(source: source.rawSpan, subject: [UInt8]().rawSpan, scratch: &scratch)
    }
    return (id, stream)
  }

  /// The chain after a stored event, with the event's hashes.
  mutating func chain(
    _ previous: UInt64, _ position: Position, _ entry: StoredEntry, _ block: borrowing DecodedBlock, _ event: LoggedEvent
  ) throws(LogError) -> (chain: UInt64, id: Hash128, stream: Hash128) {
    do throws(EventError) {
      try block.withBytes(of: entry) { (bytes) throws(EventError) in
        try event.read(bytes, position: position, envelope: entry.envelope)
      }
    } catch {
      throw .damaged(position: position, error.message)
    }
    let (id, stream) = hashes(of: event.attributes, event.json)
    return (keys.chain(previous, recorded: entry.envelope.recorded, id: id), id, stream)
  }
}

/// What became of one event of a batch.
public struct Receipt: Equatable, Sendable {
  /// Joins the parts.
  public init(position: Position, isDuplicate: Bool) {
    self.position = position
    self.isDuplicate = isDuplicate
  }

  /// Where it is in the log: its own position, or the first one's if it is a duplicate.
  public var position: Position
  /// True if it was there already.
  public var isDuplicate: Bool
}

/// What became of a batch.
public struct AppendResult: Equatable, Sendable {
  /// How many events are new in the log.
  public var appended: Int
  /// How many were there already.
  public var duplicates: Int
  /// How many were there and have been erased since. (No event is erased yet.)
  public var erased: Int
  /// The first position given out.
  public var first: Position?
  /// The last position given out.
  public var last: Position?
  /// The log's head, with this batch in it.
  public var head: Position
  /// One for each event, in the order sent.
  public var receipts: [Receipt]
}
