// From the log into a fold: straight, or prepared ahead on a thread of its own where much waits to be folded.
//
// Invariants:
// - A fold sees the same events in the same order either way.
// - What is prepared ahead is bounded: ``EventFeed/readyCountMax`` chunks.
// - A pump is used on its worker's thread; only prepared chunks cross to it.

import EventLog
import LedgerCore
import Threads

/// Which events to fold.
struct Stretch {
  /// The last event folded.
  var after: Position
  /// The last one that may be folded.
  var through: Position
  var countMax: Int
  /// An event to set aside instead of folding it.
  var parking: ParkedEvent?
}

/// What was folded.
struct Pumped {
  /// How many events, set aside or not.
  var count = 0
  /// When the last of them was recorded.
  var lastRecorded: Timestamp?
  var parked: [ParkedEvent] = []
}

/// Why pumping ended early.
enum PumpFailure: Error {
  case fold(FoldFailure, at: Position)
  case unreadable(String, at: Position)
  case log(LogError)
}

protocol EventPump: AnyObject {
  /// Folds a stretch of the log.
  ///
  /// - Parameter goesOn: Asked after each event; false ends the stretch there.
  func pump(_ stretch: Stretch, _ goesOn: (Position) -> Bool) throws(PumpFailure) -> Pumped
}

func makePump(for fold: any ProjectionFold, of log: EventLog, name: String) -> any EventPump {
  func open<Fold: PreparingFold>(_ fold: Fold) -> any EventPump { PreparingPump(fold, log, name) }
  if let preparing = fold as? any PreparingFold { return open(preparing) }
  return StraightPump(fold, log)
}

/// Reads an event, folds it.
final class StraightPump: EventPump {
  private let fold: any ProjectionFold
  private let reader: LogReader
  private let event = LoggedEvent()

  init(_ fold: any ProjectionFold, _ log: EventLog) {
    self.fold = fold
    reader = log.makeReader(after: 0)
  }

  func pump(_ stretch: Stretch, _ goesOn: (Position) -> Bool) throws(PumpFailure) -> Pumped {
    var failed: PumpFailure?
    var pumped = Pumped()
    reader.seek(after: stretch.after)
    do throws(LogError) {
      pumped.count = try reader.read(maxCount: stretch.countMax, through: stretch.through) { position, envelope, bytes in
        pumped.lastRecorded = envelope.recorded
        if let parking = stretch.parking, parking.position == position {
          pumped.parked.append(parking)
          return true
        }
        do throws(EventError) {
          try event.read(bytes, position: position, envelope: envelope)
        } catch {
          failed = .unreadable(error.message, at: position)
          return false
        }
        do throws(FoldFailure) {
          try fold.apply(event)
        } catch {
          failed = .fold(error, at: position)
          return false
        }
        return goesOn(position)
      }
    } catch {
      throw .log(error)
    }
    if let failed { throw failed }
    return pumped
  }
}

/// Folds chunks of prepared events.
final class PreparingPump<Fold: PreparingFold>: EventPump {
  private let fold: Fold
  private let log: EventLog
  private let name: String
  private var preparer: ChunkPreparer<Fold.Prepared>
  private var feed: EventFeed<Fold.Prepared>?
  private var chunk = PreparedChunk<Fold.Prepared>()

  init(_ fold: Fold, _ log: EventLog, _ name: String) {
    self.fold = fold
    self.log = log
    self.name = name
    preparer = ChunkPreparer(log)
  }

  func pump(_ stretch: Stretch, _ goesOn: (Position) -> Bool) throws(PumpFailure) -> Pumped {
    var pumped = Pumped()
    var position = stretch.after
    while pumped.count < stretch.countMax, position < stretch.through {
      if chunk.place(of: position + 1) == nil { try load(after: position, through: stretch.through) }
      guard var place = chunk.place(of: position + 1) else {
        guard let reason = chunk.failure, chunk.isEmpty else { return pumped }
        guard let parking = stretch.parking, parking.position == position + 1 else { throw .unreadable(reason, at: position + 1) }
        pumped.parked.append(parking)
        pumped.count += 1
        position += 1
        guard goesOn(position) else { return pumped }
        continue
      }
      while place < chunk.count, pumped.count < stretch.countMax, position < stretch.through {
        position = chunk.positions[place]
        if let parking = stretch.parking, parking.position == position {
          pumped.parked.append(parking)
        } else {
          do throws(FoldFailure) {
            try fold.apply(chunk.prepared, at: place)
          } catch {
            throw .fold(error, at: position)
          }
        }
        pumped.count += 1
        pumped.lastRecorded = chunk.recorded[place]
        place += 1
        guard goesOn(position) else { return pumped }
      }
    }
    return pumped
  }

  /// Few events are prepared here and now; for many it is worth to wake another thread.
  private func load(after position: Position, through last: Position) throws(PumpFailure) {
    do throws(LogError) {
      guard last - position > UInt64(PreparedChunk<Fold.Prepared>.countMax) else {
        return try preparer.fill(&chunk, after: position, through: last)
      }
      let feed = self.feed ?? EventFeed(log, name: name)
      self.feed = feed
      try feed.next(&chunk, after: position, through: last)
    } catch {
      throw .log(error)
    }
  }
}

/// Consecutive events, prepared.
struct PreparedChunk<Prepared: PreparedEvents>: Sendable {
  static var countMax: Int { 256 }
  static var byteCountMax: Int { 1 << 20 }

  var prepared = Prepared()
  /// Ascending.
  var positions: [Position] = []
  var recorded: [Timestamp] = []
  /// Why the event behind these could not be read.
  var failure: String?

  var count: Int { positions.count }
  var isEmpty: Bool { positions.isEmpty }

  /// Where the event of a position is, if it is here.
  func place(of position: Position) -> Int? {
    guard let first = positions.first, position >= first else { return nil }
    let place = Int(position - first)
    return place < positions.count && positions[place] == position ? place : nil
  }

  /// True if the event behind `position` is its first, or the one that could not be read.
  func begins(after position: Position) -> Bool { positions.first.map { $0 == position + 1 } ?? (failure != nil) }

  mutating func removeAll() {
    prepared.removeAll()
    positions.removeAll(keepingCapacity: true)
    recorded.removeAll(keepingCapacity: true)
    failure = nil
  }
}

/// Fills chunks from the log, on one thread.
struct ChunkPreparer<Prepared: PreparedEvents> {
  private let reader: LogReader
  private let event = LoggedEvent()

  init(_ log: EventLog) { reader = log.makeReader(after: 0) }

  /// Replaces what a chunk holds by the events after a position, up to `last` or until the chunk is full.
  mutating func fill(_ chunk: inout PreparedChunk<Prepared>, after position: Position, through last: Position) throws(LogError) {
    chunk.removeAll()
    reader.seek(after: position)
    var next = consume chunk
    defer { chunk = next }
    next.failure = nil
    _ = try reader.read(maxCount: PreparedChunk<Prepared>.countMax, through: last) { position, envelope, bytes in
      do throws(EventError) {
        try event.read(bytes, position: position, envelope: envelope)
      } catch {
        next.failure = error.message
        return false
      }
      next.prepared.append(event)
      next.positions.append(position)
      next.recorded.append(envelope.recorded)
      return next.prepared.byteCount < PreparedChunk<Prepared>.byteCountMax
    }
  }
}
