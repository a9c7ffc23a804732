// The projections of the product pass the conformance kit on events that collide, merge and arrive late.

import Bytes
import EventLog
import Foundation
import JSON
import LedgerCore
import LedgerTesting
import ProjectionEngine
import Projections
import Testing

struct RealProjectionsTests {
  @Test func `a rebuild in batches of 1, 1,000 and 100,000 gives one digest, and restarts and live following give the same`() async throws {
    let directory = try DaemonProcess.temporaryDirectory()
    defer { #expect(throws: Never.self) { try FileManager.default.removeItem(atPath: directory) } }
    let log = try EventLog(directory: directory + "/data")
    defer { log.close() }
    while log.appendObstacle != nil { try await Task.sleep(for: .milliseconds(1)) }
    let seed = UInt64.random(in: .min ... .max)
    let events = SeededEvents(seed: seed, customerCount: 120)
    let eventCount: UInt64 = 3_000
    var reader = JSONReader()
    // Small groups, as from a channel that sends little by little: blocks of many sizes.
    var next: UInt64 = 0
    while next < eventCount {
      var batch = log.makeBatch(door: .process, principal: "test")
      for index in next..<min(eventCount, next + 1 + next % 23) { try batch.add(try reader.parse(events.event(index).rawSpan), of: reader) }
      next += UInt64(batch.count)
      _ = try await log.append(batch)
    }
    #expect(log.head == eventCount)
    let kit = ConformanceKit(
      log: log, projections: [CustomersProjection(), ChannelsProjection()], directory: directory + "/kit")
    #expect(try await kit.failures(batchEventCounts: [1, 1_000, 100_000]) == [], "seed \(seed)")
  }
}
