// A customer's id: the position of the event that created it, and which of its participants.
//
// Invariants:
// - Ids sort as customers were created, so the oldest of several has the lowest id.
// - 0 is nobody: the unowned timeline. No event has position 0.

import LedgerCore
import ProjectionEngine

/// A customer's id: `position << 6 | participant`.
struct CustomerID: Hashable, Comparable, Sendable {
  let raw: UInt64

  /// The unit of the unowned timeline.
  static let unowned = CustomerID(raw: 0)
  static let participantBits: UInt64 = 6
  static let positionMax: Position = .max >> participantBits

  init(raw: UInt64) { self.raw = raw }

  /// - Precondition: The position is from 1 to 2^58 − 1, the participant from 0 to 63.
  init(position: Position, participant: Int) {
    precondition((1...CustomerID.positionMax).contains(position) && (0..<Interaction.participantCountMax).contains(participant))
    raw = position << CustomerID.participantBits | UInt64(participant)
  }

  static func < (left: CustomerID, right: CustomerID) -> Bool { left.raw < right.raw }

  var position: Position { raw >> CustomerID.participantBits }
  var participant: UInt64 { raw & (1 << CustomerID.participantBits - 1) }

  /// `17`, or `17-2` for participant 2.
  var text: String { participant == 0 ? String(position) : "\(position)-\(participant)" }

  /// Reads ``text`` back; nil for any other spelling.
  init?(text: String) {
    let parts = Array(text.utf8).split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
    guard parts.count <= 2, let position = CustomerID.number(parts[0]), (1...CustomerID.positionMax).contains(position) else {
      return nil
    }
    var participant: UInt64 = 0
    if parts.count == 2 {
      guard let ordinal = CustomerID.number(parts[1]), (1..<UInt64(Interaction.participantCountMax)).contains(ordinal) else { return nil }
      participant = ordinal
    }
    raw = position << CustomerID.participantBits | participant
  }

  private static func number(_ digits: ArraySlice<UInt8>) -> UInt64? {
    guard let first = digits.first, first != UInt8(ascii: "0"), digits.count <= 20 else { return nil }
    var value: UInt64 = 0
    for digit in digits {
      guard (0x30...0x39).contains(digit) else { return nil }
      let (product, overflow) = value.multipliedReportingOverflow(by: 10)
      let (sum, carry) = product.addingReportingOverflow(UInt64(digit - 0x30))
      guard !overflow, !carry else { return nil }
      value = sum
    }
    return value
  }
}
