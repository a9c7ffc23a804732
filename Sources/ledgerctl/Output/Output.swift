// Why: results go to standard output in big writes, and a reader that goes away (`| head`) ends the program quietly.

import Foundation

/// Standard output, buffered.
struct Output {
  /// The reader of the output has gone.
  struct Closed: Error {}

  private var buffer: [UInt8] = []

  mutating func write(_ bytes: [UInt8]) throws {
    buffer.append(contentsOf: bytes)
    if buffer.count > 64 << 10 { try flush() }
  }

  mutating func line(_ text: String) throws { try write(Array(text.utf8) + [0x0A]) }

  /// A body of an answer, with a line feed at its end.
  mutating func body(_ bytes: [UInt8]) throws { try write(bytes.last == 0x0A ? bytes : bytes + [0x0A]) }

  mutating func flush() throws {
    if buffer.isEmpty { return }
    do {
      try FileHandle.standardOutput.write(contentsOf: Data(buffer))
    } catch {
      throw Closed()
    }
    buffer.removeAll(keepingCapacity: true)
  }

  /// A message to standard error.
  static func message(_ text: String) {
    FileHandle.standardError.write(Data((text + "\n").utf8))
  }

  /// A message that the next one overwrites; for terminals only.
  static func progress(_ text: String) {
    FileHandle.standardError.write(Data(("\r\u{1B}[K" + text).utf8))
  }

  /// Whether standard error is a terminal.
  static var showsProgress: Bool { isatty(STDERR_FILENO) == 1 }
}
