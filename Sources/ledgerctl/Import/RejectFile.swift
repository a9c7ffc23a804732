// Why: a bad row is never dropped in silence; it goes here, with its line and the reason, to be corrected and imported.
//
// Invariants: one JSON object per line, `{"file","line","reason","fields"}`; the file is complete when `close` returns.
// It holds the rows themselves and so personal data: it is created readable for its owner only.

import Foundation
import LedgerClient

/// The file for rejected rows.
struct RejectFile {
  private let handle: FileHandle
  private let path: String
  private var buffer: [UInt8] = []

  /// Creates the file; an existing one is replaced.
  init(path: String) throws(InputError) {
    self.path = path
    let made = FileManager.default.createFile(atPath: path, contents: nil, attributes: [.posixPermissions: 0o600])
    guard made, let handle = FileHandle(forWritingAtPath: path) else {
      throw InputError(file: path, reason: "the file for rejected rows cannot be written")
    }
    self.handle = handle
  }

  mutating func add(file: String, line: Int, reason: String, fields: JSONValue) throws(InputError) {
    let record = JSONValue.object([
      (name: "file", value: .string(file)), (name: "line", value: .number(String(line))), (name: "reason", value: .string(reason)),
      (name: "fields", value: fields),
    ])
    buffer += record.encoded() + [0x0A]
    if buffer.count > 64 << 10 { try flush() }
  }

  mutating func close() throws(InputError) { try flush() }

  private mutating func flush() throws(InputError) {
    do {
      try handle.write(contentsOf: Data(buffer))
      buffer.removeAll(keepingCapacity: true)
    } catch {
      throw InputError(file: path, reason: "the rejected rows cannot be written: \(error.localizedDescription)")
    }
  }
}
