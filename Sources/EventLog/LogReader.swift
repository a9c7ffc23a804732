// Reads the log in order. One block at a time is checked, decompressed and copied out of LMDB, so no transaction is open
// while events are handed out.

import Bytes
public import LedgerCore

/// A reader with a place in the log. It belongs to one thread at a time.
public final class LogReader {
  private let store: LogStore
  private var block: DecodedBlock
  /// The last position handed out; the next one comes next.
  public private(set) var position: Position

  init(store: LogStore, after position: Position) {
    self.store = store
    self.position = position
    block = DecodedBlock(logSeed: store.id.seed)
  }

  /// True if the block that holds a position is decoded: reading there does not touch the disk.
  public func holdsBlock(of position: Position) -> Bool { block.contains(position) }

  /// Goes on after another position.
  public func seek(after position: Position) { self.position = position }

  /// Hands out events in order, until `maxCount` have been, or `last` has been, or the head has, or `body` answers false
  /// (that event counts as handed out).
  ///
  /// - Parameter body: Gets the position, the envelope and the bytes as stored, which are valid during the call.
  /// - Returns: How many events were handed out.
  public func read(
    maxCount: Int, through last: Position, _ body: (Position, Envelope, RawSpan) -> Bool
  ) throws(LogError) -> Int {
    let end = min(last, store.head)
    var count = 0
    while count < maxCount, position < end {
      if !block.contains(position + 1) { try store.load(position + 1, into: &block) }
      guard let header = block.header else { return count }
      let stop = min(header.last, end)
      while count < maxCount, position < stop {
        let entry = block.entry(at: position + 1)
        position += 1
        count += 1
        guard block.withBytes(of: entry, { body(position, entry.envelope, $0) }) else { return count }
      }
    }
    return count
  }

  /// The index's way of catching up: events with their hashes and the chain.
  func readHashed(
    from chain: UInt64, _ hasher: inout EventHasher, _ event: LoggedEvent, maxCount: Int,
    _ body: (Position, StoredEntry, EventHashesWithChain) -> Void
  ) throws(LogError) -> UInt64 {
    var chain = chain
    var count = 0
    let end = store.head
    while count < maxCount, position < end {
      if !block.contains(position + 1) { try store.load(position + 1, into: &block) }
      let entry = block.entry(at: position + 1)
      let step = try hasher.chain(chain, position + 1, entry, block, event)
      position += 1
      count += 1
      chain = step.chain
      body(position, entry, step)
    }
    return chain
  }
}

typealias EventHashesWithChain = (chain: UInt64, id: Hash128, stream: Hash128)
