// The directory of one projection: `<generation>/` for each generation, `live` naming the one that answers, `building`
// naming the one that is being rebuilt.
//
// Invariants:
// - A pointer file is replaced atomically and carries a checksum; a pointer that is torn or missing loses nothing, since
//   every generation is a fold of a prefix of the log: the one that got furthest is taken.
// - A generation's number is not used again while another generation is there.

import Bytes
import Files

/// Where a projection's generations lie.
struct GenerationStore: Sendable {
  let directory: String

  enum Pointer: String {
    /// The generation that answers.
    case live
    /// The generation that is being filled beside it.
    case building
  }

  func path(of number: UInt64) -> String { directory + "/" + String(number) }

  /// The number in a pointer file; nil if the file is missing or torn, or the generation is not there.
  func read(_ pointer: Pointer) throws(FileError) -> UInt64? {
    guard let bytes = try Files.readIfPresent(directory + "/" + pointer.rawValue) else { return nil }
    let parts = String(decoding: bytes, as: UTF8.self).split(separator: " ")
    guard parts.count == 2, let number = UInt64(parts[0]) else { return nil }
    guard bytes == Self.contents(number), Files.isDirectory(path(of: number)) else { return nil }
    return number
  }

  func write(_ pointer: Pointer, _ number: UInt64?) throws(FileError) {
    let path = directory + "/" + pointer.rawValue
    if let number {
      try Files.writeAtomically(Self.contents(number), to: path)
    } else {
      try Files.removeTree(path)
    }
  }

  private static func contents(_ number: UInt64) -> [UInt8] {
    let text = String(number)
    return Array("\(text) \(hexadecimal(XXH3.hash64(Array(text.utf8).rawSpan)))\n".utf8)
  }

  /// The generations that have a directory, ascending.
  func numbers() throws(FileError) -> [UInt64] {
    try Files.list(directory).compactMap { UInt64($0) }.sorted()
  }

  /// Makes a directory for a new generation.
  func create() throws(FileError) -> UInt64 {
    let number = (try numbers().last ?? 0) + 1
    try Files.createDirectory(path(of: number))
    return number
  }

  func remove(_ number: UInt64) throws(FileError) {
    try Files.removeTree(path(of: number))
  }
}
