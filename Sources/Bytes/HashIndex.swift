// An index into somebody else's array, by hash.
//
// Invariants:
// - A place is found by its hash and by what the owner says of it; which of several it is never depends on their order.
// - There are fewer than 2^32 places.

/// Hash → place in an array that its owner keeps. Open addressing with linear probing; at most three quarters full.
///
/// Half the work of a dictionary: the owner has hashed the key already, and compares keys itself.
public struct HashIndex: Sendable {
  /// The upper half of the hash, and the place + 1; 0 is free.
  @usableFromInline var slots: [UInt64]
  @usableFromInline var mask: Int
  @usableFromInline var count = 0

  /// Empty.
  public init() {
    slots = Array(repeating: 0, count: 64)
    mask = 63
  }

  /// The place whose hash is this and that `isMatch` recognises.
  @inlinable
  public func find(_ hash: UInt64, _ isMatch: (Int) -> Bool) -> Int? {
    let tag = hash & 0xffff_ffff_0000_0000
    var slot = Int(hash >> 32) & mask
    while true {
      let found = slots[slot]
      if found == 0 { return nil }
      if found & 0xffff_ffff_0000_0000 == tag {
        let place = Int(found & 0xffff_ffff) - 1
        if isMatch(place) { return place }
      }
      slot = (slot + 1) & mask
    }
  }

  /// Adds a place that is not there yet.
  @inlinable
  public mutating func insert(_ hash: UInt64, _ place: Int) {
    if 4 * count >= 3 * slots.count { grow() }
    put(hash & 0xffff_ffff_0000_0000 | UInt64(place + 1))
    count += 1
  }

  @inlinable
  mutating func put(_ entry: UInt64) {
    var slot = Int(entry >> 32) & mask
    while slots[slot] != 0 { slot = (slot + 1) & mask }
    slots[slot] = entry
  }

  @usableFromInline
  mutating func grow() {
    let old = slots
    slots = Array(repeating: 0, count: 2 * old.count)
    mask = slots.count - 1
    for entry in old where entry != 0 { put(entry) }
  }

  /// Forgets all places; the memory of a small index is kept.
  public mutating func removeAll() {
    if slots.count > 4_096 {
      self = HashIndex()
    } else {
      for slot in slots.indices { slots[slot] = 0 }
      count = 0
    }
  }
}
