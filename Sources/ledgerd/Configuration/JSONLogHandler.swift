// Log lines for machines: one object of JSON a line, on standard error, whole lines only.

import Foundation
import JSON
import LedgerCore
import Logging
import Threads

/// Writes log lines as JSON.
struct JSONLogHandler: LogHandler {
  private let label: String
  private let write: @Sendable ([UInt8]) -> Void
  var metadata: Logger.Metadata = [:]
  var metadataProvider: Logger.MetadataProvider?
  var logLevel = Logger.Level.info

  /// - Parameter write: Takes one line with its end, in one call.
  init(label: String, write: @escaping @Sendable ([UInt8]) -> Void = Self.toStandardError) {
    self.label = label
    self.write = write
  }

  private static func toStandardError(_ line: [UInt8]) {
    do {
      try FileHandle.standardError.write(contentsOf: Data(line))
    } catch {
      // Whoever read the log has gone; the daemon goes on without.
    }
  }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    var all = metadata
    if let provided = metadataProvider?.get() { all.merge(provided) { $1 } }
    if let given = event.metadata { all.merge(given) { $1 } }
    if let error = event.error { all["error"] = "\(error)" }
    var writer = JSONWriter()
    writer.beginObject()
    writer.member("time", Timestamp(microseconds: WallClock.microseconds()).rfc3339)
    writer.member("level", event.level.rawValue)
    writer.member("logger", label)
    writer.member("message", "\(event.message)")
    if !all.isEmpty {
      writer.key("metadata")
      writer.beginObject()
      for (key, value) in all.sorted(by: { $0.key < $1.key }) {
        writer.key(key)
        writer.string("\(value)")
      }
      writer.endObject()
    }
    writer.endObject()
    writer.endLine()
    write(writer.bytes)
  }
}
