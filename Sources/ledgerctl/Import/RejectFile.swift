// Why: a bad row is never dropped in silence; it goes here, with its line and the reason, to be corrected and imported.
//
// Invariants:
// - One JSON object per line, `{"file","line","reason","row"}`, in the order of the input; `row` is the record as it stood
//   in the file (`rowBase64` if that is no UTF-8). What `flush` returned after is in the file.
// - It holds the rows themselves and so personal data: it is readable for its owner only, whoever made it.

import Foundation
import LedgerClient

/// A row that did not become an event.
struct Reject {
  var file: String
  var line: Int
  var reason: String
  var row: [UInt8]
  /// Whether the ledger refused it, as opposed to the mapping.
  var isRefusal = false
}

/// The file for rejected rows.
struct RejectFile {
  private let handle: FileHandle
  private let path: String
  private var buffer: [UInt8] = []
  /// The bytes in the file.
  private(set) var byteCount: Int

  /// Opens the file.
  ///
  /// - Parameter keptByteCount: How much of what is there belongs to this import, which goes on; 0 replaces the file.
  init(path: String, keptByteCount: Int = 0) throws(InputError) {
    self.path = path
    do {
      let files = FileManager.default
      if !files.fileExists(atPath: path), !files.createFile(atPath: path, contents: nil, attributes: [.posixPermissions: 0o600]) {
        throw CocoaError(.fileWriteNoPermission)
      }
      let attributes = try files.attributesOfItem(atPath: URL(filePath: path).resolvingSymlinksInPath().path)
      let isRegular = attributes[.type] as? FileAttributeType == .typeRegular
      if isRegular { try files.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path) }
      handle = try FileHandle(forWritingTo: URL(filePath: path))
      guard isRegular else {
        byteCount = 0
        return
      }
      byteCount = min(keptByteCount, Int(try handle.seekToEnd()))
      try handle.truncate(atOffset: UInt64(byteCount))
      try handle.seek(toOffset: UInt64(byteCount))
    } catch {
      throw InputError(
        file: path, reason: "\(ByteSource.reason(of: error)); the rejected rows go there, name another file with --rejects", isWriting: true
      )
    }
  }

  mutating func add(_ reject: Reject) {
    var members: [(name: String, value: JSONValue)] = [
      (name: "file", value: .string(reject.file)), (name: "line", value: .number(String(reject.line))),
      (name: "reason", value: .string(reject.reason)),
    ]
    if let text = String(validating: reject.row, as: UTF8.self) {
      members.append((name: "row", value: .string(text)))
    } else {
      members.append((name: "rowBase64", value: .string(Data(reject.row).base64EncodedString())))
    }
    buffer += JSONValue.object(members).encoded() + [0x0A]
  }

  /// Writes what was added.
  mutating func flush() throws(InputError) {
    if buffer.isEmpty { return }
    do {
      try handle.write(contentsOf: Data(buffer))
    } catch {
      throw InputError(
        file: path,
        reason: "\(ByteSource.reason(of: error)); make room or name another file with --rejects, and run the same command again",
        isWriting: true)
    }
    byteCount += buffer.count
    buffer.removeAll(keepingCapacity: true)
  }
}
