// The bytes that cross the socket in a benchmark, made before the clock runs: seeded events as HTTP requests, and the same
// events as Redis commands.

import Bytes
import LedgerTesting
import NIOCore

/// Seeded events cut into requests of equal size.
struct BenchRequests {
  let generator: SeededEvents
  /// The index of the first event: runs that must not meet each other's ids begin elsewhere.
  let first: UInt64
  let eventCount: Int
  let batch: Int

  /// Batches (or single events) for `POST /v1/events`.
  func ledger() -> [ByteBuffer] {
    requests { events in
      var body: [UInt8] = []
      if batch == 1 {
        generator.append(index: events.lowerBound, to: &body)
      } else {
        for index in events {
          body.append(UInt8(ascii: body.isEmpty ? "[" : ","))
          generator.append(index: index, to: &body)
        }
        body.append(UInt8(ascii: "]"))
      }
      let type = batch == 1 ? "application/cloudevents+json" : "application/cloudevents-batch+json"
      var buffer = ByteBuffer(
        string: "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: \(type)\r\nContent-Length: \(body.count)\r\n\r\n")
      buffer.writeBytes(body)
      return buffer
    }
  }

  /// `XADD` of the same bytes, as many in one write as there are events in a request.
  func redis(stream: String) -> [ByteBuffer] {
    requests { events in
      var buffer = ByteBuffer()
      for index in events {
        let event = generator.event(index)
        buffer.writeString(
          "*5\r\n$4\r\nXADD\r\n$\(stream.utf8.count)\r\n\(stream)\r\n$1\r\n*\r\n$1\r\ne\r\n$\(event.count)\r\n")
        buffer.writeBytes(event)
        buffer.writeString("\r\n")
      }
      return buffer
    }
  }

  /// The events alone, for the bare limits.
  func events() -> [[UInt8]] { (0..<UInt64(eventCount)).map { generator.event(first + $0) } }

  private func requests(_ make: (Range<UInt64>) -> ByteBuffer) -> [ByteBuffer] {
    stride(from: first, to: first + UInt64(eventCount), by: batch).map { start in
      make(start..<min(start + UInt64(batch), first + UInt64(eventCount)))
    }
  }
}
