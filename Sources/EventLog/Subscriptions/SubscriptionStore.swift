// How subscriptions lie on the disk.
//
//   log/subscriptions/          made with the first subscription
//     meta           as in every side store (SideStore.swift), and "next" → the next subscription's number
//     subscriptions  name → format u8 = 1, number u64, created i64, start u64, in-flight count u32, acknowledge-within and
//                    redeliver-after i64 (ns), failure count u32, filter
//     checkpoints    number (u64) → position: everything up to there is settled, but for rows that say otherwise
//     rows           number (u64), position (u64) → 1: settled, above the checkpoint; 2, count u32: failed so often, not
//                    settled; 3, count u32, time i64, isRetried u8, reason: parked
//
// Invariants:
// - A subscription's changes and its checkpoint are committed together: after a crash an event is settled if and only if
//   that was on the disk.
// - Numbers are never given out twice: a new subscription of an old name finds nothing of it.

import Bytes
import Files
import LMDB
import LedgerCore

/// What is kept of one event of a subscription.
enum SubscriptionRow: Equatable, Sendable {
  case settled
  case failed(count: Int)
  case parked(ParkedDelivery)

  var bytes: [UInt8] {
    var writer = ByteWriter(capacity: 32)
    switch self {
    case .settled:
      writer.uint8(1)
    case .failed(let count):
      writer.uint8(2)
      writer.uint32(UInt32(count))
    case .parked(let parked):
      writer.uint8(3)
      writer.uint32(UInt32(parked.failureCount))
      writer.int64(parked.time.microseconds)
      writer.uint8(parked.isRetried ? 1 : 0)
      writer.string(parked.reason)
    }
    return writer.bytes
  }

  init(_ bytes: [UInt8], position: Position) throws(ByteError) {
    var reader = ByteReader(bytes.rawSpan)
    let kind = try reader.uint8()
    switch kind {
    case 1: self = .settled
    case 2: self = .failed(count: Int(try reader.uint32()))
    case 3:
      let (count, time, isRetried) = (try reader.uint32(), try reader.int64(), try reader.uint8() == 1)
      self = .parked(
        ParkedDelivery(
          position: position, failureCount: Int(count), time: Timestamp(microseconds: time), reason: try reader.string(),
          isRetried: isRetried))
    default: throw .unknownValue(offset: 0, UInt64(kind))
    }
  }
}

/// What is kept of a subscription itself.
struct SubscriptionRecord: Equatable, Sendable {
  var number: UInt64
  var created: Timestamp
  var start: Position
  var settings: SubscriptionSettings

  var bytes: [UInt8] {
    var writer = ByteWriter(capacity: 128)
    writer.uint8(1)
    writer.uint64(number)
    writer.int64(created.microseconds)
    writer.uint64(start)
    writer.uint32(UInt32(settings.inFlightCountMax))
    writer.int64(settings.acknowledgeWithin.nanoseconds)
    writer.int64(settings.redeliverAfter.nanoseconds)
    writer.uint32(UInt32(settings.failureCountMax))
    for time in [settings.filter.since, settings.filter.before] {
      writer.uint8(time == nil ? 0 : 1)
      writer.int64(time?.microseconds ?? 0)
    }
    writer.count(settings.filter.conditions.count)
    for condition in settings.filter.conditions {
      writer.string(condition.attribute.rawValue)
      writer.count(condition.values.count)
      for value in condition.values { writer.lengthPrefixed(value) }
    }
    return writer.bytes
  }

  init(number: UInt64, created: Timestamp, start: Position, settings: SubscriptionSettings) {
    self.number = number
    self.created = created
    self.start = start
    self.settings = settings
  }

  init(_ bytes: [UInt8]) throws(ByteError) {
    var reader = ByteReader(bytes.rawSpan)
    let format = try reader.uint8()
    guard format == 1 else { throw .unknownValue(offset: 0, UInt64(format)) }
    number = try reader.uint64()
    created = Timestamp(microseconds: try reader.int64())
    start = try reader.uint64()
    settings = SubscriptionSettings()
    settings.inFlightCountMax = Int(try reader.uint32())
    settings.acknowledgeWithin = .nanoseconds(try reader.int64())
    settings.redeliverAfter = .nanoseconds(try reader.int64())
    settings.failureCountMax = Int(try reader.uint32())
    let hasSince = try reader.uint8() == 1
    let since = Timestamp(microseconds: try reader.int64())
    let hasBefore = try reader.uint8() == 1
    let before = Timestamp(microseconds: try reader.int64())
    settings.filter.since = hasSince ? since : nil
    settings.filter.before = hasBefore ? before : nil
    for _ in 0..<(try reader.count(max: EventFilter.Attribute.allCases.count)) {
      let at = reader.offset
      guard let attribute = EventFilter.Attribute(rawValue: try reader.string()) else { throw .unknownValue(offset: at, 0) }
      var values: [[UInt8]] = []
      for _ in 0..<(try reader.count(max: SubscriptionSettings.filterValueCountMax)) { values.append(try reader.lengthPrefixedArray()) }
      settings.filter.conditions.append(EventFilter.Condition(attribute, values))
    }
  }
}

/// A subscription as it lies on the disk.
struct StoredSubscription: Sendable {
  let name: SubscriptionName
  let record: SubscriptionRecord
  let checkpoint: Position
  let rows: [(position: Position, row: SubscriptionRow)]
}

struct SubscriptionStore: Sendable {
  private let side: SideStore
  private let subscriptions: Database<String, [UInt8]>
  private let checkpoints: Database<UInt64, UInt64>
  private let rows: Database<[UInt8], [UInt8]>

  private var environment: Environment { side.environment }
  private var meta: Database<String, [UInt8]> { side.own }

  /// Opens the directory, and makes it if it is not there.
  init(path: String) throws(SubscriptionError) {
    do throws(LogError) {
      side = try SideStore.openOrMake(path: path)
      subscriptions = try side.table("subscriptions", String.self, [UInt8].self)
      checkpoints = try side.table("checkpoints", UInt64.self, UInt64.self)
      rows = try side.table("rows", [UInt8].self, [UInt8].self)
    } catch {
      switch error {
      case .environment(let error): throw .environment(error)
      case .files(let error): throw .files(error.description, isDiskFull: error.isDiskFull)
      default: throw .foreignFormat(path)
      }
    }
  }

  private static func key(_ number: UInt64, _ position: Position) -> [UInt8] {
    var writer = ByteWriter(capacity: 16)
    writer.uint64(number)
    writer.uint64(position)
    return writer.bytes
  }

  // MARK: Reading

  /// All subscriptions with everything that is kept of them.
  func load() throws(SubscriptionError) -> [StoredSubscription] {
    var named: [(name: [UInt8], bytes: [UInt8])] = []
    do throws(LMDBError) {
      try environment.read { (transaction) throws(LMDBError) in
        try transaction.withCursor(subscriptions.handle) { (cursor) throws(LMDBError) in
          while try cursor.next() { cursor.withEntry { key, value in named.append(([UInt8](key), [UInt8](value))) } }
        }
      }
    } catch {
      throw .environment(error)
    }
    var found: [StoredSubscription] = []
    for (name, bytes) in named {
      guard let name = SubscriptionName(String(decoding: name, as: UTF8.self)) else { throw .foreignFormat(environment.path) }
      let record: SubscriptionRecord
      do throws(ByteError) {
        record = try SubscriptionRecord(bytes)
      } catch {
        throw .foreignFormat(environment.path)
      }
      let checkpoint: Position
      do throws(LMDBError) {
        checkpoint = try environment.read { (transaction) throws(LMDBError) in
          try transaction.get(checkpoints, record.number) ?? record.start
        }
      } catch {
        throw .environment(error)
      }
      found.append(
        StoredSubscription(
          name: name, record: record, checkpoint: checkpoint, rows: try rows(of: record.number, after: 0, limit: .max) { _ in true }))
    }
    return found
  }

  /// Rows of a subscription, in the order of their positions.
  func rows(
    of number: UInt64, after position: Position, limit: Int, _ isWanted: (SubscriptionRow) -> Bool
  ) throws(SubscriptionError) -> [(position: Position, row: SubscriptionRow)] {
    var found: [(Position, SubscriptionRow)] = []
    guard position < .max else { return [] }
    var failure: ByteError?
    do throws(LMDBError) {
      try environment.read { (transaction) throws(LMDBError) in
        try transaction.withCursor(rows.handle) { (cursor) throws(LMDBError) in
          var isThere = try cursor.seek(Self.key(number, position + 1).rawSpan)
          while isThere, found.count < limit, failure == nil {
            let isOwn = cursor.withEntry { key, value in
              guard key.byteCount == 16, key.uint64(at: 0) == number else { return false }
              do throws(ByteError) {
                let row = try SubscriptionRow([UInt8](value), position: key.uint64(at: 8))
                if isWanted(row) { found.append((key.uint64(at: 8), row)) }
              } catch {
                failure = error
              }
              return true
            }
            guard isOwn else { return }
            isThere = try cursor.next()
          }
        }
      }
    } catch {
      throw .environment(error)
    }
    guard failure == nil else { throw .foreignFormat(environment.path) }
    return found
  }

  /// The row of one event, if there is one.
  func row(of number: UInt64, at position: Position) throws(SubscriptionError) -> SubscriptionRow? {
    guard position > 0 else { return nil }
    guard let found = try rows(of: number, after: position - 1, limit: 1, { _ in true }).first, found.position == position else {
      return nil
    }
    return found.row
  }

  // MARK: Writing

  /// Runs a transaction and commits it. A full map grows, and `body` runs again.
  private func transact(_ body: (borrowing WriteTransaction) throws(LMDBError) -> Void) throws(SubscriptionError) {
    do throws(LMDBError) {
      while true {
        do throws(LMDBError) {
          let transaction = try environment.beginWrite()
          try body(transaction)
          return try transaction.commit()
        } catch {
          guard error.kind == .mapFull else { throw error }
        }
        try environment.growMap()
      }
    } catch {
      throw .environment(error)
    }
  }

  /// Stores a new subscription under a number of its own.
  func create(_ name: SubscriptionName, created: Timestamp, start: Position, _ settings: SubscriptionSettings) throws(SubscriptionError)
    -> SubscriptionRecord
  {
    var record = SubscriptionRecord(number: 0, created: created, start: start, settings: settings)
    try transact { (transaction) throws(LMDBError) in
      let next = try transaction.get(meta, "next")
      record.number = next.map { $0.count == 8 ? $0.rawSpan.uint64(at: 0) : 0 } ?? 1
      var writer = ByteWriter(capacity: 8)
      writer.uint64(record.number + 1)
      try transaction.put(meta, "next", writer.bytes)
      try transaction.put(subscriptions, name.description, record.bytes)
      try transaction.put(checkpoints, record.number, start)
    }
    return record
  }

  /// Stores other settings.
  func update(_ name: SubscriptionName, _ record: SubscriptionRecord) throws(SubscriptionError) {
    try transact { (transaction) throws(LMDBError) in try transaction.put(subscriptions, name.description, record.bytes) }
  }

  /// Removes a subscription with everything that is kept of it.
  func delete(_ name: SubscriptionName, _ record: SubscriptionRecord) throws(SubscriptionError) {
    let positions = try rows(of: record.number, after: 0, limit: .max) { _ in true }.map(\.position)
    try transact { (transaction) throws(LMDBError) in
      try transaction.delete(subscriptions, name.description)
      try transaction.delete(checkpoints, record.number)
      for position in positions { try transaction.delete(rows, Self.key(record.number, position)) }
    }
  }

  /// Stores what has changed in several subscriptions, in one commit.
  func save(_ all: [(number: UInt64, checkpoint: Position, rows: [Position: SubscriptionRow?])]) throws(SubscriptionError) {
    try transact { (transaction) throws(LMDBError) in
      for changed in all {
        try transaction.put(checkpoints, changed.number, changed.checkpoint)
        for (position, row) in changed.rows {
          let key = Self.key(changed.number, position)
          if let row { try transaction.put(rows, key, row.bytes) } else { try transaction.delete(rows, key) }
        }
      }
    }
  }
}
