// The directory that holds everything: its layout, its lock, its format and its secrets.

import Bytes
import Files
import LedgerCore

enum DataDirectory {
  static let formatName = "interaction-ledger"
  static let format = 1

  /// Makes sure the directory is ours, of this format, on a local disk and nobody else's, and creates what is missing.
  static func prepare(_ path: String) throws(LogError) -> FileLock {
    try files { () throws(FileError) in try Files.createDirectory(path) }
    if let type = try files({ () throws(FileError) in try Files.networkFileSystem(of: path) }) { throw .networkFileSystem(type) }
    let lock = try takeLock(path)
    try checkFormat(path)
    try files { () throws(FileError) in
      try Files.createDirectory(path + "/log")
      try Files.createDirectory(path + "/keys")
      // Names that a killed daemon made and had not synced yet are seen like all others, and must last like them.
      for directory in [path, path + "/log", path + "/keys"] { try Files.sync(directory: directory) }
    }
    return lock
  }

  private static func files<R>(_ body: () throws(FileError) -> R) throws(LogError) -> R {
    do throws(FileError) {
      return try body()
    } catch {
      throw .files(error)
    }
  }

  private static func takeLock(_ path: String) throws(LogError) -> FileLock {
    do throws(FileError) {
      return try FileLock(path + "/LOCK")
    } catch {
      if error.isLocked { throw .locked(path) }
      throw .files(error)
    }
  }

  private static func checkFormat(_ path: String) throws(LogError) {
    let file = path + "/FORMAT"
    guard Files.exists(file) else {
      // A start that was cut off leaves the lock, and perhaps what `writeAtomically` had not yet renamed.
      let others = try files { () throws(FileError) in try Files.list(path).filter { $0 != "LOCK" && $0 != "FORMAT.new" } }
      guard others.isEmpty else { throw .foreignFormat("\(path) holds something else than a ledger; use an empty directory") }
      return try files { () throws(FileError) in try Files.writeAtomically(Array("\(formatName) \(format)\n".utf8), to: file) }
    }
    let text = String(decoding: try files { () throws(FileError) in try Files.read(file, byteCountMax: 256) }, as: UTF8.self)
    let words = text.split(whereSeparator: \.isWhitespace)
    guard words.count >= 2, words[0] == formatName, let number = Int(words[1]) else {
      throw .foreignFormat("\(file) is not a ledger's; use another directory or restore it from a backup")
    }
    guard number <= format else {
      throw .foreignFormat("\(path) has format \(number), this ledgerd knows up to \(format); use the version that wrote it or a newer one")
    }
  }

  /// The key of the hashes. Made with a new log; without it an old log cannot tell what it has.
  static func secret(in path: String, isNewLog: Bool) throws(LogError) -> [UInt8] {
    let file = path + "/keys/hash.key"
    do throws(FileError) {
      if isNewLog, !Files.exists(file) { try Files.writeAtomically(randomBytes(16), to: file) }
      let secret = try Files.read(file, byteCountMax: 64)
      if secret.count == 16 { return secret }
    } catch {
      if !error.isMissing { throw .files(error) }
    }
    throw .keyMissing(file)
  }
}
