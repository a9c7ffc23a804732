// Why: an import reads a file, a compressed file or standard input in pieces of bounded size; the readers see only bytes.
//
// Invariants:
// - A file that was cut off (gzip, zstd) or cannot be read is an error, never an early end.
// - What a file is, its first bytes decide, not its name: a pipe has none. Only the name for `{file}` loses its suffix.
// - Memory is bounded by a piece: 256 KiB read, at most 33 MB when a hostile gzip file explodes and 134 MB when a zstd file
//   does.

import Files
import Foundation
import Zlib
import Zstd

/// Why an input could not be read, or a file beside it not be written.
struct InputError: Error, CustomStringConvertible {
  let file: String
  let reason: String
  var isWriting = false
  var description: String { "cannot \(isWriting ? "write" : "read") \(file): \(reason)" }
}

/// The bytes of an input, piece by piece.
struct ByteSource: ~Copyable {
  private enum Input {
    case file(FileHandle)
    case standardInput
    case bytes(ArraySlice<UInt8>, pieceByteCount: Int)
  }

  private static let pieceByteCount = 256 << 10
  /// Deflate packs at most 1 : 1032, so 32 KiB of a gzip file never become more than 33 MB.
  private static let gzipStepByteCount = 32 << 10
  /// A zstd block of 4 bytes stands for up to 128 KiB, so 4 KiB of a file never become more than 134 MB.
  private static let zstdStepByteCount = 4 << 10
  private static let zstdStepOutputByteCountMax = 256 << 20

  /// The name for messages and for `{file}`: the base name, without `.gz` or `.zst`.
  let name: String
  /// The bytes in the file, compressed if it is; nil if nobody knows.
  let byteCount: Int?
  /// How many of them were read.
  private(set) var readByteCount = 0
  private let path: String
  private var input: Input
  private var gzip: GzipDecoder?
  private var zstd: StreamDecompressor?
  /// Bytes that were read and not yet given out: all of them when looking at the first ones, a compressed rest later.
  private var pending: ArraySlice<UInt8> = []
  private var isRecognised = false

  /// Opens a file, or standard input if `path` is `-`. Gzip and zstd are decompressed.
  ///
  /// - Parameter name: What to call it instead of its base name.
  init(path: String, name givenName: String? = nil) throws(InputError) {
    self.path = path
    name = givenName ?? Self.name(of: path)
    if path == "-" {
      input = .standardInput
      byteCount = nil
    } else {
      let opened = try Self.open(path)
      input = .file(opened.handle)
      byteCount = opened.byteCount
    }
  }

  /// The name of a file for `{file}`: its base name without `.gz` or `.zst`; `stdin` for `-`.
  static func name(of path: String) -> String {
    if path == "-" { return "stdin" }
    let base = path.split(separator: "/").last.map(String.init) ?? path
    for suffix in [".gz", ".zst"] where base.lowercased().hasSuffix(suffix) && base.count > suffix.count {
      return String(base.dropLast(suffix.count))
    }
    return base
  }

  private static func open(_ path: String) throws(InputError) -> (handle: FileHandle, byteCount: Int?) {
    do {
      if Files.isDirectory(path) {
        throw InputError(file: path, reason: "it is a directory; name the files in it")
      }
      let handle = try FileHandle(forReadingFrom: URL(filePath: path))
      return (handle, byteCount(of: handle))
    } catch let error as InputError {
      throw error
    } catch {
      throw InputError(file: path, reason: reason(of: error))
    }
  }

  /// The size of a file; nil of a pipe.
  ///
  /// - Throws: ``InputError`` if it cannot be read.
  static func byteCount(ofFile path: String) throws(InputError) -> Int? { try open(path).byteCount }

  /// The size of an open file; nil of a pipe, in which nobody can seek.
  private static func byteCount(of handle: FileHandle) -> Int? {
    do {
      let end = try handle.seekToEnd()
      try handle.seek(toOffset: 0)
      return end > 0 ? Int(end) : nil
    } catch {
      return nil
    }
  }

  /// Bytes in memory, given out in pieces of a size, for tests.
  init(name: String, bytes: [UInt8], pieceByteCount: Int = .max) {
    self.name = name
    byteCount = bytes.count
    path = name
    input = .bytes(bytes[...], pieceByteCount: pieceByteCount)
  }

  /// The next piece, never empty; nil at the end.
  mutating func next() throws(InputError) -> [UInt8]? {
    if !isRecognised { try recognise() }
    while true {
      if !isCompressed {
        if !pending.isEmpty {
          defer { pending = [] }
          return Array(pending)
        }
        return try read()
      }
      if pending.isEmpty {
        guard let piece = try read() else {
          try finishDecoding()
          return nil
        }
        pending = piece[...]
      }
      let output = try decode()
      if !output.isEmpty { return output }
    }
  }

  /// Moves on by a number of bytes of the content without giving them out: jumps in a plain file, reads elsewhere.
  ///
  /// - Parameter offset: Where to, counted from the beginning; must not lie before what was given out.
  /// - Parameter given: How many bytes were given out so far.
  /// - Returns: What was read beyond `offset`.
  mutating func skip(to offset: Int, given: Int) throws(InputError) -> [UInt8] {
    if !isRecognised { try recognise() }
    if !isCompressed, case .file(let handle) = input, let byteCount, offset <= byteCount {
      do {
        try handle.seek(toOffset: UInt64(offset))
      } catch {
        throw InputError(file: path, reason: Self.reason(of: error))
      }
      pending = []
      readByteCount = offset
      return []
    }
    var given = given
    while given < offset {
      guard let piece = try next() else {
        throw InputError(file: path, reason: "it has \(given) bytes, fewer than were read of it before; is it another file?")
      }
      given += piece.count
      if given > offset { return Array(piece.suffix(given - offset)) }
    }
    return []
  }

  private mutating func recognise() throws(InputError) {
    isRecognised = true
    var first: [UInt8] = []
    while first.count < 4, let piece = try read() { first += piece }
    pending = first[...]
    switch FileSignature(first) {
    case .gzip:
      do throws(ZlibError) { gzip = try GzipDecoder() } catch { throw InputError(file: path, reason: error.description) }
    case .zstd: zstd = StreamDecompressor(windowLogMax: 27)
    case .other(let advice): throw InputError(file: path, reason: advice)
    case nil:
      let suffix = [".gz", ".zst"].first { path.lowercased().hasSuffix($0) }
      if let suffix, isFile {
        throw InputError(file: path, reason: "its name ends in \(suffix), but its content is not of that kind; get the file again")
      }
    }
  }

  private var isFile: Bool { if case .file = input { true } else { false } }

  private var isCompressed: Bool { gzip != nil || zstd != nil }

  private mutating func decode() throws(InputError) -> [UInt8] {
    var output: [UInt8] = []
    let step = Array(pending.prefix(gzip != nil ? Self.gzipStepByteCount : Self.zstdStepByteCount))
    pending = pending.dropFirst(step.count)
    do throws(ZlibError) { try gzip?.decode(step, into: &output) } catch { throw InputError(file: path, reason: error.description) }
    do throws(ZstdError) {
      let isWhole = try zstd?.decompress(step, into: &output, byteCountMax: Self.zstdStepOutputByteCountMax)
      precondition(isWhole != false, "4 KiB of zstd hold at most 134 MB")
    } catch {
      throw InputError(file: path, reason: "not a sound zstd stream (\(error.name)); get the file again")
    }
    return output
  }

  private mutating func finishDecoding() throws(InputError) {
    do throws(ZlibError) { try gzip?.finish() } catch { throw InputError(file: path, reason: error.description) }
    if zstd?.isAtFrameEnd == false {
      throw InputError(file: path, reason: "the zstd stream ends too early; the file was cut off, get it again")
    }
  }

  private mutating func read() throws(InputError) -> [UInt8]? {
    switch input {
    case .bytes(let bytes, let pieceByteCount):
      input = .bytes(bytes.dropFirst(pieceByteCount), pieceByteCount: pieceByteCount)
      readByteCount += min(bytes.count, pieceByteCount)
      return bytes.isEmpty ? nil : Array(bytes.prefix(pieceByteCount))
    case .standardInput:
      // What is there now, so that a pipe that stays open is read as it is written.
      let data = FileHandle.standardInput.availableData
      readByteCount += data.count
      return data.isEmpty ? nil : [UInt8](data)
    case .file(let handle):
      do {
        guard let data = try handle.read(upToCount: Self.pieceByteCount), !data.isEmpty else { return nil }
        readByteCount += data.count
        return [UInt8](data)
      } catch {
        throw InputError(file: path, reason: Self.reason(of: error))
      }
    }
  }

  /// What the system says, in words.
  static func reason(of error: any Error) -> String {
    let error = error as NSError
    let cause = error.userInfo[NSUnderlyingErrorKey] as? NSError ?? error
    let words = cause.localizedDescription
    let frame = "The operation could not be completed. "
    return words.hasPrefix(frame) ? String(words.dropFirst(frame.count)) : words
  }
}

/// What the first bytes of a file say about it.
enum FileSignature: Equatable {
  case gzip
  case zstd
  /// A kind that is not read; what to do about it.
  case other(advice: String)

  /// Nil if the bytes are none of those known: text, one hopes.
  init?(_ bytes: [UInt8]) {
    func starts(_ signature: [UInt8]) -> Bool { bytes.starts(with: signature) }
    if starts([0x1F, 0x8B]) {
      self = .gzip
    } else if starts([0x28, 0xB5, 0x2F, 0xFD]) || (bytes.dropFirst().starts(with: [0x2A, 0x4D, 0x18]) && bytes[0] & 0xF0 == 0x50) {
      self = .zstd  // a frame, or a skippable frame as pzstd begins with
    } else if starts([0x50, 0x4B, 0x03, 0x04]) {
      self = .other(advice: "it is a ZIP archive or a spreadsheet; unpack it, or save the sheet as CSV")
    } else if starts(Array("BZh".utf8)) {
      self = .other(advice: "it is compressed with bzip2; use `bzip2 -dc FILE | ledgerctl import --name NAME … -`")
    } else if starts([0xFD, 0x37, 0x7A, 0x58]) {
      self = .other(advice: "it is compressed with xz; use `xz -dc FILE | ledgerctl import --name NAME … -`")
    } else if starts(Array("PAR1".utf8)) {
      self = .other(advice: "it is a Parquet file; write it as CSV or NDJSON first")
    } else if starts([0xFF, 0xFE]) || starts([0xFE, 0xFF]) || Self.alternatesWithZero(bytes) {
      self = .other(advice: "it is UTF-16; use `iconv -f UTF-16 -t UTF-8 FILE | ledgerctl import --name NAME … -`")
    } else {
      return nil
    }
  }
  /// ASCII in UTF-16 without a byte order mark.
  private static func alternatesWithZero(_ bytes: [UInt8]) -> Bool {
    guard bytes.count >= 4 else { return false }
    let isZero = bytes.prefix(4).map { $0 == 0 }
    return isZero == [true, false, true, false] || isZero == [false, true, false, true]
  }
}
