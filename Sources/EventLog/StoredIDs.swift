// What the index's file can have: almost every id that is looked up is new, and looking for it in the B-tree was two fifths of
// the appender's time.
//
// Invariants:
// - Whatever is in the file is in the filters, or there are no filters: an id that the log has is never taken for a new one.
//   Entries come in when a tail is frozen, before it is written, and are never taken out.
// - An index that was there before is read once, by a thread of its own, in short transactions; until then, and if it cannot
//   be read, every look-up asks the file. What is frozen meanwhile is kept until the filters are taken over.
// - Used by the appender thread, but for what the reading thread hands over.

import Bytes
import LMDB
import Threads

final class StoredIDs {
  private struct Filters: Sendable {
    var ids = KeyFilter()
    var streams = KeyFilter()
  }

  private enum Reading: Sendable {
    case underWay
    case done(Filters)
    /// The file could not be read, or holds too much for a filter.
    case givenUp
  }

  private var filters: Filters?
  private var reading: Monitor<Reading>?
  private var thread: NamedThread?
  private let isEnding = Monitor(false)
  /// What was frozen since reading began.
  private var frozenMeanwhile: [IndexTail] = []

  /// Rows read in one transaction.
  private static let sliceCount = 20_000

  /// - Parameter isEmpty: Nothing is in the file.
  init(_ environment: Environment, ids: DatabaseHandle, streams: DatabaseHandle, isEmpty: Bool) {
    if isEmpty {
      filters = Filters()
      return
    }
    let reading = Monitor(Reading.underWay)
    self.reading = reading
    thread = NamedThread(name: "ledger-ids", niceness: 10) { [isEnding] in
      let found = Self.read(environment, ids, streams, isEnding)
      reading.signal { $0 = found.map { .done($0) } ?? .givenUp }
    }
  }

  /// False: the file has no such id.
  func mayHave(id: Hash128) -> Bool { filters?.ids.mayContain(id.low) ?? true }

  /// False: the file has no such stream.
  func mayHave(stream: Hash128) -> Bool { filters?.streams.mayContain(stream.low) ?? true }

  /// Notes what is about to be written. Takes over what has been read, if it has been.
  func freeze(_ tail: IndexTail) {
    if let reading {
      frozenMeanwhile.append(tail)
      switch reading.withLock({ $0 }) {
      case .underWay: return
      case .givenUp: filters = nil
      case .done(let read): filters = read
      }
      self.reading = nil
      let tails = frozenMeanwhile
      frozenMeanwhile = []
      for tail in tails { add(tail) }
    } else {
      add(tail)
    }
  }

  /// The file has been emptied.
  func clear() {
    end()
    reading = nil
    frozenMeanwhile = []
    filters = Filters()
  }

  /// Ends the reading thread.
  func end() {
    isEnding.signal { $0 = true }
    thread?.join()
    thread = nil
  }

  private func add(_ tail: IndexTail) {
    guard filters != nil else { return }
    var fits = true
    for id in tail.ids.keys where filters?.ids.insert(id.low) == false { fits = false }
    for stream in tail.streams.keys where filters?.streams.insert(stream.low) == false { fits = false }
    if !fits { filters = nil }
  }

  // MARK: The reading thread

  private static func read(
    _ environment: Environment, _ ids: DatabaseHandle, _ streams: DatabaseHandle, _ isEnding: Monitor<Bool>
  ) -> Filters? {
    var filters = Filters()
    do throws(LMDBError) {
      guard try read(environment, ids, into: &filters.ids, isEnding),
        try read(environment, streams, into: &filters.streams, isEnding)
      else { return nil }
    } catch {
      // The appender meets the same error where it matters; without filters it only asks more often.
      return nil
    }
    return filters
  }

  /// - Returns: False if it ended early, or there are too many keys.
  private static func read(
    _ environment: Environment, _ table: DatabaseHandle, into filter: inout KeyFilter, _ isEnding: Monitor<Bool>
  ) throws(LMDBError) -> Bool {
    var last: [UInt8] = []
    while !isEnding.withLock({ $0 }) {
      var count = 0
      var fits = true
      var end = last
      var slice = filter
      filter = KeyFilter()
      try environment.read { (transaction) throws(LMDBError) in
        try transaction.withCursor(table) { (cursor) throws(LMDBError) in
          var isThere = last.isEmpty ? try cursor.first() : try cursor.seek(last.rawSpan)
          while isThere, count < sliceCount {
            cursor.withKey { key in
              if key.byteCount == 16 { fits = slice.insert(key.uint64(at: 8)) && fits }
              end = [UInt8](key)
            }
            count += 1
            isThere = try cursor.next()
          }
        }
      }
      filter = slice
      guard fits else { return false }
      // The next slice begins with this one's last key, which is counted twice and does no harm.
      if count < sliceCount { return true }
      last = end
    }
    return false
  }
}
