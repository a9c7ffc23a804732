// Where events are kept that the log did not take, because of their schema or of an id that is taken, until somebody
// corrects, appends or discards them.
//
//   log/quarantine/          made with the first event that is set aside
//     meta      as in every side store (SideStore.swift), and "next" → the next number
//     events    number (u64) → format u8 = 1, reason u8, recorded i64, received i64, sent (u8 flag, i64), door u8, principal,
//               detail, event
//     hashes    keyed hash of the event's canonical form (16 bytes) → number
//     resolved  number (u64) → format u8 = 1, outcome u8 (1 appended, 2 discarded), time i64, principal, position or reason
//
// Invariants:
// - The events of one call are set aside in one commit, all or none, and are on the disk when it returns.
// - The same event is there once, however often it is sent: equal in canonical form (RFC 8785), as in the log.
// - Nothing leaves but by a decision: appended again, or discarded with a reason; the decision stays behind, the event does
//   not.
// - Count and bytes are bounded. A full quarantine refuses; it never drops.

import Bytes
import Files
import JSON
import LMDB
import LedgerCore
import Synchronization

/// The quarantine of a log. Safe to use from any thread; every call but ``status`` blocks its thread.
public final class Quarantine: Sendable {
  /// How much lies in it.
  public struct Status: Equatable, Sendable {
    /// Events.
    public var eventCount = 0
    /// Bytes of these events.
    public var byteCount = 0
  }

  /// How many decisions are kept; older ones are forgotten.
  public static let resolutionCountMax = 10_000

  private struct Store: Sendable {
    let side: SideStore
    let events: Database<UInt64, [UInt8]>
    let hashes: Database<Hash128, UInt64>
    let resolved: Database<UInt64, [UInt8]>

    var environment: Environment { side.environment }
    var meta: Database<String, [UInt8]> { side.own }
  }

  private struct State: Sendable {
    var store: Store?
    /// True after a commit that failed: what is on the disk is confirmed and read before the next one.
    var isUnsettled = false
    var next: UInt64 = 1
    var status = Status()
    /// How many calls of this process have set an event aside: what one of them takes back must be nobody else's.
    var callCounts: [UInt64: Int] = [:]

    mutating func forget(_ event: QuarantinedEvent) {
      status.eventCount -= 1
      status.byteCount -= event.bytes.count
      callCounts[event.number] = nil
    }
  }

  private let path: String
  private let keys: LogKeys
  private let eventCountMax: Int
  private let byteCountMax: Int
  private let clock: @Sendable () -> Timestamp
  // Held while something is written: numbers and sizes follow the commits.
  private let state: Mutex<State>
  private let current: Mutex<Status>

  init(
    path: String, keys: LogKeys, eventCountMax: Int, byteCountMax: Int, clock: @escaping @Sendable () -> Timestamp
  ) throws(QuarantineError) {
    self.path = path
    self.keys = keys
    self.eventCountMax = eventCountMax
    self.byteCountMax = byteCountMax
    self.clock = clock
    var state = State()
    if Files.isDirectory(path) {
      let store = try Self.open(path)
      state.store = store
      try Self.load(store, into: &state)
    }
    current = Mutex(state.status)
    self.state = Mutex(state)
  }

  /// How much lies in it now.
  public var status: Status { current.withLock { $0 } }

  // MARK: Setting aside

  /// Sets events aside, all or none, and returns when they are on the disk.
  ///
  /// - Parameters:
  ///   - events: Events that the log does not take.
  ///   - batch: The request that they came with: its times, door and principal.
  /// - Returns: Their numbers, in the order of `events`; an event that is there already has the number it had. `isNew` says
  ///   which were not.
  /// - Throws: ``QuarantineError/full(eventCountMax:byteCountMax:)``, and what the disk says. Repeating is safe.
  public func add(_ events: [SetAside], of batch: EventBatch) throws(QuarantineError) -> [(number: UInt64, isNew: Bool)] {
    let hashes = events.map { keys.content(of: Self.canonical($0.bytes)) }
    return try state.withLock { (state) throws(QuarantineError) in
      let store = try openStore(&state)
      let before = state
      var added = before
      var numbers: [(number: UInt64, isNew: Bool)] = []
      try transact(store, &state) { (transaction) throws(LMDBError) in
        (added, numbers) = (before, [])
        for (event, hash) in zip(events, hashes) {
          if let number = try transaction.get(store.hashes, hash) {
            numbers.append((number, false))
            added.callCounts[number, default: 0] += 1
            continue
          }
          let number = added.next
          added.next += 1
          added.status.eventCount += 1
          added.status.byteCount += event.bytes.count
          guard added.status.eventCount <= eventCountMax, added.status.byteCount <= byteCountMax else { return false }
          try transaction.put(store.events, number, QuarantineRecord.encode(event, of: batch, recorded: clock()), mode: .append)
          try transaction.put(store.hashes, hash, number)
          numbers.append((number, true))
          added.callCounts[number] = 1
        }
        guard added.next != before.next else { return false }
        try transaction.put(store.meta, "next", Self.bytes(of: added.next))
        return true
      }
      guard added.status.eventCount <= eventCountMax, added.status.byteCount <= byteCountMax else {
        throw .full(eventCountMax: eventCountMax, byteCountMax: byteCountMax)
      }
      publish(added, &state)
      return numbers
    }
  }

  /// Takes back what a call has just set aside, since the rest of its request was refused. What another request has been
  /// told of stays.
  public func withdraw(_ numbers: [UInt64]) throws(QuarantineError) {
    try state.withLock { (state) throws(QuarantineError) in
      let store = try openStore(&state)
      for number in numbers where state.callCounts[number] == 1 { try delete(try event(number, in: store), from: store, &state) }
    }
  }

  /// Takes an event out, and keeps the decision if there is one.
  private func delete(
    _ event: QuarantinedEvent, from store: Store, _ state: inout State, _ resolution: QuarantineResolution? = nil
  ) throws(QuarantineError) {
    let hash = keys.content(of: Self.canonical(event.bytes))
    try transact(store, &state) { (transaction) throws(LMDBError) in
      try transaction.delete(store.events, event.number)
      try transaction.delete(store.hashes, hash)
      if let resolution {
        try transaction.put(store.resolved, event.number, QuarantineRecord.encode(resolution))
        try Self.forgetOldest(store, transaction)
      }
      return true
    }
    var left = state
    left.forget(event)
    publish(left, &state)
  }

  private func publish(_ new: State, _ state: inout State) {
    state = new
    let status = new.status
    current.withLock { $0 = status }
  }

  private static func canonical(_ bytes: [UInt8]) -> [UInt8] {
    var reader = JSONReader()
    do throws(JSONError) {
      return reader.canonicalBytes(of: try reader.parse(bytes.rawSpan))
    } catch {
      return bytes
    }
  }

  // MARK: Looking

  /// Events in the order in which they were set aside.
  ///
  /// - Parameters:
  ///   - number: Begin behind this one; 0: with the first.
  ///   - limit: At most so many.
  public func events(after number: UInt64, limit: Int) throws(QuarantineError) -> [QuarantinedEvent] {
    try rows(\.events, after: number, limit: limit).map { (row) throws(QuarantineError) in
      try QuarantineRecord.decode(row.value, number: row.number, path)
    }
  }

  /// Decisions, in the order of the events' numbers.
  public func resolutions(after number: UInt64, limit: Int) throws(QuarantineError) -> [QuarantineResolution] {
    try rows(\.resolved, after: number, limit: limit).map { (row) throws(QuarantineError) in
      try QuarantineRecord.decodeResolution(row.value, number: row.number, path)
    }
  }

  /// One event.
  ///
  /// - Throws: ``QuarantineError/unknown(_:)``, or ``QuarantineError/resolved(_:)`` if it has left.
  public func event(_ number: UInt64) throws(QuarantineError) -> QuarantinedEvent {
    guard let store = try readableStore() else { throw .unknown(number) }
    return try event(number, in: store)
  }

  /// The store, if it was ever made, as its files show it: reading goes on while the disk takes no writes.
  private func readableStore() throws(QuarantineError) -> Store? {
    try state.withLock { (state) throws(QuarantineError) in
      if state.store == nil, !Files.isDirectory(path) { return nil }
      guard state.isUnsettled, let store = state.store else { return try openStore(&state) }
      try read(store, into: &state)
      state.isUnsettled = true
      return store
    }
  }

  private func rows(
    _ database: any KeyPath<Store, Database<UInt64, [UInt8]>> & Sendable, after number: UInt64, limit: Int
  ) throws(QuarantineError) -> [(number: UInt64, value: [UInt8])] {
    guard let store = try readableStore(), number < .max else { return [] }
    var rows: [(number: UInt64, value: [UInt8])] = []
    do throws(LMDBError) {
      try store.environment.read { (transaction) throws(LMDBError) in
        try transaction.withCursor(store[keyPath: database].handle) { (cursor) throws(LMDBError) in
          var isThere = try cursor.seek(Self.bytes(of: number + 1).rawSpan)
          while isThere, rows.count < limit {
            cursor.withEntry { key, value in rows.append((key.uint64(at: 0), [UInt8](value))) }
            isThere = try cursor.next()
          }
        }
      }
    } catch {
      throw .environment(error)
    }
    return rows
  }

  // MARK: Leaving

  /// Takes an event out, after it was appended or because it is given up. The decision is kept.
  ///
  /// - Throws: ``QuarantineError/unknown(_:)``, or ``QuarantineError/resolved(_:)`` if it has left already.
  public func resolve(
    _ number: UInt64, _ outcome: QuarantineResolution.Outcome, principal: String
  ) throws(QuarantineError) {
    try state.withLock { (state) throws(QuarantineError) in
      guard state.store != nil || Files.isDirectory(path) else { throw .unknown(number) }
      let store = try openStore(&state)
      let resolution = QuarantineResolution(number: number, time: clock(), principal: principal, outcome: outcome)
      try delete(try event(number, in: store), from: store, &state, resolution)
    }
  }

  private func event(_ number: UInt64, in store: Store) throws(QuarantineError) -> QuarantinedEvent {
    let found: (event: [UInt8]?, resolution: [UInt8]?)
    do throws(LMDBError) {
      found = try store.environment.read { (transaction) throws(LMDBError) in
        (try transaction.get(store.events, number), try transaction.get(store.resolved, number))
      }
    } catch {
      throw .environment(error)
    }
    if let event = found.event { return try QuarantineRecord.decode(event, number: number, path) }
    guard let resolution = found.resolution else { throw .unknown(number) }
    throw .resolved(try QuarantineRecord.decodeResolution(resolution, number: number, path))
  }

  private static func forgetOldest(_ store: Store, _ transaction: borrowing WriteTransaction) throws(LMDBError) {
    guard try transaction.count(store.resolved) > resolutionCountMax else { return }
    try transaction.withCursor(store.resolved.handle) { (cursor) throws(LMDBError) in
      if try cursor.first() { try cursor.delete() }
    }
  }

  // MARK: Storing

  /// The store; opened if it is not, and confirmed and read anew if its last commit failed.
  private func openStore(_ state: inout State) throws(QuarantineError) -> Store {
    guard let store = state.store else {
      let store = try Self.open(path)
      try read(store, into: &state)
      return store
    }
    guard state.isUnsettled else { return store }
    do throws(LMDBError) {
      try store.side.confirm()
    } catch {
      throw .environment(error)
    }
    try read(store, into: &state)
    return store
  }

  /// Takes over what the files show.
  private func read(_ store: Store, into state: inout State) throws(QuarantineError) {
    var fresh = State()
    fresh.store = store
    try Self.load(store, into: &fresh)
    fresh.callCounts = state.callCounts
    publish(fresh, &state)
  }

  /// Runs a transaction, and commits it if `body` says so. A full map grows, and `body` runs again. After an error nobody
  /// knows what is on the disk: it is read before the next one.
  private func transact(
    _ store: Store, _ state: inout State, _ body: (borrowing WriteTransaction) throws(LMDBError) -> Bool
  ) throws(QuarantineError) {
    do throws(LMDBError) {
      while true {
        do throws(LMDBError) {
          let transaction = try store.environment.beginWrite()
          guard try body(transaction) else { return transaction.abort() }
          return try transaction.commit()
        } catch {
          guard error.kind == .mapFull else { throw error }
        }
        try store.environment.growMap()
      }
    } catch {
      state.isUnsettled = true
      throw .environment(error)
    }
  }

  private static func open(_ path: String) throws(QuarantineError) -> Store {
    do throws(LogError) {
      let side = try SideStore.openOrMake(path: path)
      return Store(
        side: side, events: try side.table("events", UInt64.self, [UInt8].self),
        hashes: try side.table("hashes", Hash128.self, UInt64.self),
        resolved: try side.table("resolved", UInt64.self, [UInt8].self))
    } catch {
      switch error {
      case .environment(let error): throw .environment(error)
      case .files(let error): throw .files(error.description, isDiskFull: error.isDiskFull)
      default: throw .foreignFormat(path)
      }
    }
  }

  private static func load(_ store: Store, into state: inout State) throws(QuarantineError) {
    var rows: [(number: UInt64, value: [UInt8])] = []
    do throws(LMDBError) {
      try store.environment.read { (transaction) throws(LMDBError) in
        if let next = try transaction.get(store.meta, "next"), next.count == 8 { state.next = next.rawSpan.uint64(at: 0) }
        try transaction.withCursor(store.events.handle) { (cursor) throws(LMDBError) in
          while try cursor.next() { cursor.withEntry { key, value in rows.append((key.uint64(at: 0), [UInt8](value))) } }
        }
      }
    } catch {
      throw .environment(error)
    }
    for row in rows {
      state.status.eventCount += 1
      state.status.byteCount += try QuarantineRecord.decode(row.value, number: row.number, store.environment.path).bytes.count
    }
  }

  private static func bytes(of number: UInt64) -> [UInt8] {
    var writer = ByteWriter(capacity: 8)
    writer.uint64(number)
    return writer.bytes
  }
}

/// How events and decisions are stored; see the head of this file.
private enum QuarantineRecord {
  static func encode(_ event: SetAside, of batch: EventBatch, recorded: Timestamp) -> [UInt8] {
    var writer = ByteWriter(capacity: event.bytes.count + 256)
    writer.uint8(1)
    writer.uint8(event.reason.rawValue)
    writer.int64(recorded.microseconds)
    writer.int64(batch.received.microseconds)
    writer.uint8(batch.sent == nil ? 0 : 1)
    writer.int64(batch.sent?.microseconds ?? 0)
    writer.uint8(batch.door.rawValue)
    writer.string(batch.principal)
    writer.string(event.detail)
    writer.lengthPrefixed(event.bytes)
    return writer.bytes
  }

  static func decode(_ bytes: [UInt8], number: UInt64, _ path: String) throws(QuarantineError) -> QuarantinedEvent {
    do throws(ByteError) {
      var reader = ByteReader(bytes.rawSpan)
      let (format, reasonValue) = (try reader.uint8(), try reader.uint8())
      guard format == 1, let reason = SetAside.Reason(rawValue: reasonValue) else { throw .unknownValue(offset: 0, UInt64(format)) }
      let recorded = Timestamp(microseconds: try reader.int64())
      let received = Timestamp(microseconds: try reader.int64())
      let hasSent = try reader.uint8() == 1
      let sent = Timestamp(microseconds: try reader.int64())
      let doorValue = try reader.uint8()
      guard let door = FrontDoor(rawValue: doorValue) else { throw .unknownValue(offset: reader.offset, UInt64(doorValue)) }
      return QuarantinedEvent(
        number: number, recorded: recorded, received: received, sent: hasSent ? sent : nil, door: door, principal: try reader.string(),
        reason: reason, detail: try reader.string(), bytes: try reader.lengthPrefixedArray())
    } catch {
      throw .foreignFormat(path)
    }
  }

  static func encode(_ resolution: QuarantineResolution) -> [UInt8] {
    var writer = ByteWriter(capacity: 64)
    writer.uint8(1)
    switch resolution.outcome {
    case .appended: writer.uint8(1)
    case .discarded: writer.uint8(2)
    }
    writer.int64(resolution.time.microseconds)
    writer.string(resolution.principal)
    switch resolution.outcome {
    case .appended(let position): writer.uint64(position)
    case .discarded(let reason): writer.string(reason)
    }
    return writer.bytes
  }

  static func decodeResolution(_ bytes: [UInt8], number: UInt64, _ path: String) throws(QuarantineError) -> QuarantineResolution {
    do throws(ByteError) {
      var reader = ByteReader(bytes.rawSpan)
      let (format, outcome) = (try reader.uint8(), try reader.uint8())
      guard format == 1, outcome == 1 || outcome == 2 else { throw .unknownValue(offset: 0, UInt64(format)) }
      let time = Timestamp(microseconds: try reader.int64())
      let principal = try reader.string()
      return QuarantineResolution(
        number: number, time: time, principal: principal,
        outcome: outcome == 1 ? .appended(try reader.uint64()) : .discarded(try reader.string()))
    } catch {
      throw .foreignFormat(path)
    }
  }
}
