import Bytes
import EventLog
import Files
import Foundation
import JSON
import LedgerCore
import Testing

/// A directory of its own for each test, removed when the test lets go of it.
final class TemporaryDirectory: Sendable {
  let path: String

  init() {
    path = FileManager.default.temporaryDirectory.appendingPathComponent("ledger-test-\(UUID().uuidString)").path
  }

  deinit {
    do {
      try FileManager.default.removeItem(atPath: path)
    } catch CocoaError.fileNoSuchFile {
    } catch {
      print("could not remove \(path): \(error)")
    }
  }
}

/// One event's text.
func event(
  _ id: String, source: String = "urn:test", type: String = "page.viewed", subject: String? = nil, stream: String? = nil,
  data: String? = nil
) -> String {
  var text = #"{"specversion":"1.0","id":"\#(id)","source":"\#(source)","type":"\#(type)""#
  if let subject { text += #","subject":"\#(subject)""# }
  if let stream { text += #","stream":"\#(stream)""# }
  if let data { text += #","data":\#(data)"# }
  return text + "}"
}

/// A log whose appends and reads are texts: tests are data through it.
struct LogUnderTest {
  let log: EventLog

  init(_ directory: TemporaryDirectory, segmentPositionCount: UInt64 = 1 << 24, configure: (inout EventLogOptions) -> Void = { _ in })
    throws
  {
    var options = EventLogOptions()
    options.mapByteCount = 1 << 20
    options.segmentPositionCount = segmentPositionCount
    configure(&options)
    log = try EventLog(directory: directory.path, options: options)
  }

  func batch(_ events: [String]) throws -> EventBatch {
    var batch = log.makeBatch(door: .process, principal: "test")
    for text in events { try batch.addText(text) }
    return batch
  }

  /// Appends, waiting until the index has caught up.
  @discardableResult
  func append(_ events: [String], expected: ExpectedRevision = .any) async throws -> AppendResult {
    while case .catchingUp = log.appendObstacle { try await Task.sleep(for: .milliseconds(1)) }
    return try await log.append(try batch(events), expected: expected)
  }

  /// What the log has, as texts.
  func read(after: Position = 0, maxCount: Int = .max) throws -> [(position: Position, envelope: Envelope, text: String)] {
    var found: [(Position, Envelope, String)] = []
    _ = try log.makeReader(after: after).read(maxCount: maxCount, through: .max) { position, envelope, bytes in
      found.append((position, envelope, String(utf8: bytes)))
      return true
    }
    return found
  }
}

extension EventBatch {
  /// Adds one event given as a text.
  mutating func addText(_ text: String) throws {
    var reader = JSONReader()
    let bytes = Array(text.utf8)
    let root = try reader.parse(bytes.rawSpan)
    try add(root, of: reader)
  }
}
