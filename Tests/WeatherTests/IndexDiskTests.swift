// An index whose own disk is full: what waits in memory has a bound, and is written when there is room.

import Bytes
import EventLog
import Foundation
import JSON
import LedgerCore
import Testing

@Suite(.serialized, .enabled(if: Missing.root, "mounting needs root"))
struct IndexDiskTests {
  private func append(_ log: EventLog, _ ids: [String]) async throws -> AppendResult {
    while case .catchingUp = log.appendObstacle { try await Task.sleep(for: .milliseconds(1)) }
    var batch = log.makeBatch(door: .process, principal: "test")
    var reader = JSONReader()
    for id in ids {
      let bytes = Array(WetDaemon.event(id).utf8)
      try batch.add(try reader.parse(bytes.rawSpan), of: reader)
    }
    return try await log.append(batch)
  }

  @Test func `ids that wait for a full index are bounded, and appending goes on when it has room`() async throws {
    let place = try Place(.tmpfs, mebibytes: 64)
    let index = place.data + "/index"
    try FileManager.default.createDirectory(atPath: index, withIntermediateDirectories: true)
    let format = URL(fileURLWithPath: place.data + "/FORMAT")
    try Data("interaction-ledger 1\n".utf8).write(to: format)
    try run("mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", index)
    var options = EventLogOptions()
    options.indexTailCountMax = 500
    let log = try EventLog(directory: place.data, options: options)
    var count = 0
    var refusal: AppendError?
    while refusal == nil, count < 20_000 {
      do {
        _ = try await append(log, (count..<count + 100).map { "event-\($0)" })
        count += 100
      } catch let error as AppendError {
        refusal = error
      }
    }
    #expect(refusal?.description.contains("index of ids cannot be written") == true, "\(refusal?.description ?? "none")")
    // Eight tails of 500, and what was written or is being.
    #expect(count >= 4_000 && count < 8_000, "\(count)")
    #expect(log.head == UInt64(count))
    #expect(try log.event(at: 1).bytes == Array(WetDaemon.event("event-0").utf8))

    try run("mount", "-o", "remount,size=32m", index)
    let end = ContinuousClock.now + .seconds(20)
    var again: AppendResult?
    while again == nil, ContinuousClock.now < end {
      do {
        again = try await append(log, ["event-0", "event-\(count - 1)", "new"])
      } catch is AppendError {
        try await Task.sleep(for: .milliseconds(100))
      }
    }
    #expect(again?.duplicates == 2 && again?.last == UInt64(count + 1))
    log.close()
    let next = try EventLog(directory: place.data, options: options)
    #expect(try await append(next, ["event-0", "event-2000", "event-\(count - 1)", "new"]).duplicates == 4)
    next.close()
    try run("umount", index)
  }
}
