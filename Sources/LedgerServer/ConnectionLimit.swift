// When another connection is taken. One that is not waits in the kernel's queue until somebody hangs up.
//
// Invariant: descriptors are left for the log and the projections. Accepting without one fails at once and for ever, which
// keeps an event loop busy with nothing.

import Files
import HummingbirdCore

struct ConnectionLimit: AvailableConnectionsDelegate {
  let countMax: Int
  private var count = 0

  /// Descriptors that are not for connections: a new segment takes three, as does each generation of a projection.
  private static let descriptorReserve = 32

  init(_ countMax: Int) { self.countMax = countMax }

  mutating func connectionOpened() { count += 1 }
  mutating func connectionClosed() { count -= 1 }

  func isAcceptingNewConnections() -> Bool {
    // Somebody must be able to hang up, or nobody would ever be asked again.
    count < countMax && (count == 0 || Descriptors.isRoom(for: Self.descriptorReserve))
  }
}
