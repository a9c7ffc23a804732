// The generator: what it makes is what the ledger takes, is varied, and is the same everywhere.

import Bytes
import JSON
import LedgerCore
import LedgerTesting
import Testing

struct SeededEventsTests {
  @Test func `events are those of every other machine`() {
    let events = SeededEvents(seed: 42, customerCount: 100)
    var bytes: [UInt8] = []
    for index in 0..<UInt64(1_000) { events.append(index: index, to: &bytes) }
    #expect(XXH3.hash128(bytes.rawSpan).hex == "6535f5f8e8b47df9a6be28b01aa07d87")
  }

  @Test func `events are about 500 bytes, each one different, and tell their index`() {
    let events = SeededEvents(seed: 1, customerCount: 1_000)
    var seen: Set<[UInt8]> = []
    var byteCount = 0
    for index in 0..<UInt64(5_000) {
      let event = events.event(index)
      #expect(SeededEvents.index(ofEvent: event.rawSpan) == index)
      byteCount += event.count
      seen.insert(event)
    }
    #expect(seen.count == 5_000)
    #expect((450...550).contains(byteCount / 5_000))
    #expect(SeededEvents(seed: 2, customerCount: 1_000).event(17) != events.event(17))
    #expect(SeededEvents.index(ofEvent: Array("{}".utf8).rawSpan) == nil)
  }

  @Test func `events are CloudEvents on several channels with every kind of identifier, partly out of order`() throws {
    let events = SeededEvents(seed: 3, customerCount: 50)
    let event = LoggedEvent()
    let time = Timestamp(microseconds: 0)
    let envelope = Envelope(recorded: time, received: time, revision: 0, door: .process, principal: "test")
    var channels: Set<[UInt8]> = []
    var types: Set<[UInt8]> = []
    var kinds: Set<String> = []
    var (lateCount, valueCount, traitCount, unownedCount) = (0, 0, 0, 0)
    var previous = Timestamp.earliest
    let (first, last) = (try occurred(events, 0), try occurred(events, SeededEvents.eventCountPerYear - 1))
    #expect(last.microseconds - first.microseconds > 360 * 86_400_000_000)
    for index in 0..<UInt64(2_000) {
      try event.read(events.event(index).rawSpan, position: index + 1, envelope: envelope)
      if let channel = event.attributes.channel { channels.insert(event.json.bytes(of: channel)) }
      types.insert(event.json.bytes(of: event.attributes.type))
      let interaction = Interaction(of: event)
      for participant in interaction.participants {
        for identifier in participant.identifiers { kinds.insert(String(decoding: identifier.kind, as: UTF8.self)) }
        traitCount += participant.traits.count
        if participant.identifiers.isEmpty { unownedCount += 1 }
      }
      if interaction.value != nil { valueCount += 1 }
      if event.occurred < previous { lateCount += 1 }
      previous = event.occurred
    }
    #expect(channels.count >= 9)
    #expect(types.count >= 12)
    #expect(kinds == ["cookie", "device", "email", "phone", "user_id"])
    #expect(lateCount > 100 && lateCount < 700)
    #expect(valueCount > 100)
    #expect(traitCount > 200)
    #expect(unownedCount > 20)
  }

  private func occurred(_ events: SeededEvents, _ index: UInt64) throws -> Timestamp {
    let event = LoggedEvent()
    let time = Timestamp(microseconds: 0)
    try event.read(
      events.event(index).rawSpan, position: 1,
      envelope: Envelope(recorded: time, received: time, revision: 0, door: .process, principal: "test"))
    return event.occurred
  }
}
