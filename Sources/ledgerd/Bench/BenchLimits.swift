// What the machine could do at best: the same bytes without a ledger around them.

import ArgumentParser
import Bytes
import Files
import Foundation
import Glibc
import LMDB
import LedgerCore
import LedgerTesting

struct BenchLimits {
  let generator: SeededEvents
  let eventCount: Int
  let shapes: [BenchShape]
  let place: String

  func measure(_ report: inout BenchReport) throws {
    let events = BenchRequests(generator: generator, first: 0, eventCount: eventCount, batch: 1).events()
    let byteCount = events.reduce(0) { $0 + $1.count }
    let decode = try timed { try decodeAll(events) }
    report.add(
      "bare: validate and index JSON", "events/s", [Double(eventCount) / decode.seconds],
      "\(byteCount / eventCount) bytes an event, one core")
    for size in Set(shapes.map(\.groupEventCount)).sorted(by: >) {
      // A flush a group: small groups take a share of the events.
      let some = Array(events.prefix(min(events.count, size * 3_000)))
      let write = try timed { try writeBare(some, size, place + "/bare.log") }
      report.add("bare: write + fdatasync, groups of \(size)", "events/s", [Double(some.count) / write.seconds])
      let put = try timed { try putBare(some, size, place + "/bare-lmdb") }
      report.add("bare: LMDB commit, groups of \(size)", "events/s", [Double(some.count) / put.seconds])
    }
  }

  private func decodeAll(_ events: [[UInt8]]) throws {
    let event = LoggedEvent()
    let envelope = Envelope(recorded: .earliest, received: .earliest, revision: 0, door: .process, principal: "")
    for bytes in events { try event.read(bytes.rawSpan, position: 1, envelope: envelope) }
  }

  private func groups(_ events: [[UInt8]], _ size: Int, _ body: (Int, [UInt8]) throws -> Void) throws {
    for start in stride(from: 0, to: events.count, by: size) {
      var group: [UInt8] = []
      for event in events[start..<min(start + size, events.count)] { group.append(contentsOf: event) }
      try body(start, group)
    }
  }

  private func writeBare(_ events: [[UInt8]], _ size: Int, _ path: String) throws {
    guard FileManager.default.createFile(atPath: path, contents: nil), let file = FileHandle(forWritingAtPath: path) else {
      throw ValidationError("\(path) cannot be written")
    }
    try groups(events, size) { _, group in
      try file.write(contentsOf: group)
      guard fdatasync(file.fileDescriptor) == 0 else { throw ValidationError("\(path) cannot be flushed: error \(errno)") }
    }
    try file.close()
    try Files.removeTree(path)
  }

  private func putBare(_ events: [[UInt8]], _ size: Int, _ path: String) throws {
    try Files.createDirectory(path)
    let environment = try Environment(path: path, options: .init(mapByteCount: 2 << 30))
    let values = try environment.database("values", UInt64.self, [UInt8].self)
    try groups(events, size) { start, group in
      try environment.ensureRoom(for: group.count)
      try environment.write { (transaction) throws(LMDBError) in
        try transaction.put(values, UInt64(start), group, mode: .append)
      }
    }
    try Files.removeTree(path)
  }
}
