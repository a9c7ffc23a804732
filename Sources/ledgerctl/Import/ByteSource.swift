// Why: an import reads a file, a gzip file or standard input in pieces of bounded size; the readers see only bytes.
//
// Invariants:
// - A file that was cut off (gzip) or cannot be read is an error, never an early end.
// - Memory is bounded by a piece: 256 KiB read, at most 33 MB when a hostile gzip file explodes.

import Foundation
import Zlib

/// Why an input could not be read.
struct InputError: Error, CustomStringConvertible {
  let file: String
  let reason: String
  var description: String { "cannot read \(file): \(reason)" }
}

/// The bytes of an input, piece by piece.
struct ByteSource: ~Copyable {
  private enum Input {
    case file(FileHandle)
    case standardInput
    case bytes(ArraySlice<UInt8>, pieceByteCount: Int)
  }

  private static let pieceByteCount = 256 << 10
  /// Deflate packs at most 1 : 1032, so a piece of a gzip file never becomes more than 33 MB.
  private static let gzipPieceByteCount = 32 << 10

  /// The name for messages and for `{file}`: the base name, without `.gz`.
  let name: String
  private let path: String
  private var input: Input
  private var decoder: GzipDecoder?

  /// Opens a file, or standard input if `path` is `-`. A name that ends in `.gz` is decompressed.
  ///
  /// - Parameter name: What to call it instead of its base name.
  init(path: String, name givenName: String? = nil) throws(InputError) {
    let base = path.split(separator: "/").last.map(String.init) ?? path
    let isGzip = base.lowercased().hasSuffix(".gz")
    let opened = try Self.open(path)
    let gzip = try Self.makeDecoder(path, if: isGzip)
    self.path = path
    name = givenName ?? (path == "-" ? "stdin" : isGzip ? String(base.dropLast(3)) : base)
    input = opened
    decoder = gzip
  }

  private static func open(_ path: String) throws(InputError) -> Input {
    if path == "-" { return .standardInput }
    do {
      return .file(try FileHandle(forReadingFrom: URL(filePath: path)))
    } catch {
      throw InputError(file: path, reason: reason(of: error))
    }
  }

  private static func makeDecoder(_ path: String, if isGzip: Bool) throws(InputError) -> GzipDecoder? {
    guard isGzip else { return nil }
    do throws(ZlibError) {
      return try GzipDecoder()
    } catch {
      throw InputError(file: path, reason: error.description)
    }
  }

  /// Bytes in memory, given out in pieces of a size, for tests.
  init(name: String, bytes: [UInt8], pieceByteCount: Int = .max) {
    self.name = name
    path = name
    input = .bytes(bytes[...], pieceByteCount: pieceByteCount)
    decoder = nil
  }

  /// The next piece, never empty; nil at the end.
  mutating func next() throws(InputError) -> [UInt8]? {
    while true {
      guard let piece = try read() else {
        do throws(ZlibError) { try decoder?.finish() } catch { throw InputError(file: path, reason: error.description) }
        return nil
      }
      if decoder == nil { return piece }
      var output: [UInt8] = []
      do throws(ZlibError) {
        try decoder?.decode(piece, into: &output)
      } catch {
        throw InputError(file: path, reason: error.description)
      }
      if !output.isEmpty { return output }
    }
  }

  private mutating func read() throws(InputError) -> [UInt8]? {
    switch input {
    case .bytes(let bytes, let pieceByteCount):
      input = .bytes(bytes.dropFirst(pieceByteCount), pieceByteCount: pieceByteCount)
      return bytes.isEmpty ? nil : Array(bytes.prefix(pieceByteCount))
    case .standardInput:
      // What is there now, so that a pipe that stays open is read as it is written.
      let data = FileHandle.standardInput.availableData
      return data.isEmpty ? nil : [UInt8](data)
    case .file(let handle):
      do {
        guard let data = try handle.read(upToCount: decoder == nil ? Self.pieceByteCount : Self.gzipPieceByteCount), !data.isEmpty else {
          return nil
        }
        return [UInt8](data)
      } catch {
        throw InputError(file: path, reason: Self.reason(of: error))
      }
    }
  }

  private static func reason(of error: any Error) -> String {
    let error = error as NSError
    if let code = error.userInfo[NSUnderlyingErrorKey] as? NSError { return code.localizedDescription }
    return error.localizedDescription
  }
}
