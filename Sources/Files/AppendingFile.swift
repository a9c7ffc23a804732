// A file that several processes add records to: what one call adds is never torn by another's (`O_APPEND`, open(2)).

import Glibc

/// A file that is only added to.
public final class AppendingFile: Sendable {
  private let file: Int32
  private let path: String

  /// Opens the file, and creates it (0600) if it is not there.
  public init(_ path: String) throws(FileError) {
    let file = unsafe open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    guard file >= 0 else { throw FileError("open", path) }
    self.file = file
    self.path = path
  }

  deinit { close(file) }

  /// Adds bytes at the end, in one call of `write`. Not synced.
  public func append(_ bytes: [UInt8]) throws(FileError) {
    let count = unsafe bytes.withUnsafeBytes { unsafe write(file, $0.baseAddress, $0.count) }
    guard count == bytes.count else { throw FileError("write", path, code: count < 0 ? errno : ENOSPC) }
  }
}
