// A hash over rows in their order: unlike the engine's digest, it is computed by other means.

import Bytes
import Synchronization

/// Hashes rows one after the other.
final class RowHash: Sendable {
  private let state = Mutex(Hash128(high: 0, low: 0))

  func add(_ table: String, _ key: RawSpan, _ value: RawSpan) {
    var writer = ByteWriter(capacity: 64)
    writer.string(table)
    writer.lengthPrefixed(key)
    writer.lengthPrefixed(value)
    state.withLock { hash in
      writer.uint64(hash.high)
      hash = XXH3.hash128(writer.bytes.rawSpan, seed: hash.low)
    }
  }

  var value: Hash128 { state.withLock { $0 } }
}
