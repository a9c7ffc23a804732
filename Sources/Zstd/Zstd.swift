// Compression with libzstd, for blocks of a known size. Contexts are owned: one thread uses one.

import CZstd

/// An error of libzstd.
public struct ZstdError: Error, Equatable, Sendable, CustomStringConvertible {
  /// libzstd's name for it.
  public let name: String
  /// What was being done.
  public let operation: String
  /// What happened.
  public var description: String { "\(operation): \(name)" }

  init(name: String, operation: String) {
    self.name = name
    self.operation = operation
  }

  init(code: Int, operation: String) {
    self.init(name: unsafe String(cString: ZSTD_getErrorName(code)), operation: operation)
  }
}

/// Compresses (`ZSTD_CCtx`).
@safe public struct Compressor: ~Copyable {
  private let context: OpaquePointer

  /// Makes a context (`ZSTD_createCCtx`).
  public init() {
    guard let context = unsafe ZSTD_createCCtx() else { preconditionFailure("no memory for a zstd context") }
    unsafe self.context = context
  }

  deinit { unsafe ZSTD_freeCCtx(context) }

  /// Appends the compressed form of `bytes`, one frame with its content size.
  ///
  /// - Parameter level: Negative levels are the fast ones; 1 to 19 compress better.
  public mutating func compress(_ bytes: RawSpan, level: Int, into output: inout [UInt8]) throws(ZstdError) {
    let bound = ZSTD_compressBound(bytes.byteCount)
    var code = 0
    let frame = unsafe [UInt8](unsafeUninitializedCapacity: bound) { target, count in
      code = unsafe bytes.withUnsafeBytes { source in
        unsafe ZSTD_compressCCtx(context, target.baseAddress, bound, source.baseAddress, source.count, Int32(level))
      }
      count = ZSTD_isError(code) == 0 ? code : 0
    }
    guard ZSTD_isError(code) == 0 else { throw ZstdError(code: code, operation: "ZSTD_compressCCtx") }
    if output.isEmpty { output = frame } else { output += frame }
  }
}

/// Decompresses (`ZSTD_DCtx`).
@safe public struct Decompressor: ~Copyable {
  private let context: OpaquePointer

  /// Makes a context (`ZSTD_createDCtx`).
  public init() {
    guard let context = unsafe ZSTD_createDCtx() else { preconditionFailure("no memory for a zstd context") }
    unsafe self.context = context
  }

  deinit { unsafe ZSTD_freeDCtx(context) }

  /// Replaces `output` by the content of one frame.
  ///
  /// - Parameter byteCount: How long the content must be; anything else is an error, so a damaged size cannot ask for
  ///   memory.
  public mutating func decompress(_ frame: RawSpan, byteCount: Int, into output: inout [UInt8]) throws(ZstdError) {
    if output.count > byteCount {
      output.removeLast(output.count - byteCount)
    } else if output.count < byteCount {
      output.append(contentsOf: repeatElement(0, count: byteCount - output.count))
    }
    let written = unsafe output.withUnsafeMutableBytes { target in
      unsafe frame.withUnsafeBytes { source in
        unsafe ZSTD_decompressDCtx(context, target.baseAddress, target.count, source.baseAddress, source.count)
      }
    }
    guard ZSTD_isError(written) == 0 else { throw ZstdError(code: written, operation: "ZSTD_decompressDCtx") }
    guard written == byteCount else {
      throw ZstdError(name: "the content has \(written) bytes instead of \(byteCount)", operation: "ZSTD_decompressDCtx")
    }
  }
}

/// The library's version, such as 10504 for 1.5.4.
public var zstdVersionNumber: Int { Int(ZSTD_versionNumber()) }

/// Decompresses a stream of frames piece by piece (`ZSTD_DStream`).
@safe public struct StreamDecompressor: ~Copyable {
  private let context: OpaquePointer
  /// True between frames, and before the first.
  public private(set) var isAtFrameEnd = true

  /// Makes a context (`ZSTD_createDCtx`).
  ///
  /// - Parameter windowLogMax: Frames that ask for a window of more than 2 to this many bytes are refused. Strangers get
  ///   8 MiB; 27 (128 MiB, zstd's own bound) reads what `zstd --long` writes.
  public init(windowLogMax: Int = 23) {
    guard let context = unsafe ZSTD_createDCtx() else { preconditionFailure("no memory for a zstd context") }
    unsafe self.context = context
    unsafe ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, Int32(windowLogMax))
  }

  deinit { unsafe ZSTD_freeDCtx(context) }

  /// Appends what a piece of the stream holds.
  ///
  /// - Parameter byteCountMax: How much may be appended at most.
  /// - Returns: False if there is more than that; the stream is then given up.
  public mutating func decompress(_ piece: [UInt8], into output: inout [UInt8], byteCountMax: Int) throws(ZstdError) -> Bool {
    var consumed = 0
    var produced = 0
    var chunk = [UInt8](repeating: 0, count: 128 << 10)
    var code = 0
    while true {
      var written = 0
      unsafe piece.withUnsafeBytes { source in
        unsafe chunk.withUnsafeMutableBytes { target in
          var input = unsafe ZSTD_inBuffer(src: source.baseAddress, size: source.count, pos: consumed)
          var result = unsafe ZSTD_outBuffer(dst: target.baseAddress, size: target.count, pos: 0)
          code = unsafe ZSTD_decompressStream(context, &result, &input)
          consumed = unsafe input.pos
          written = unsafe result.pos
        }
      }
      guard ZSTD_isError(code) == 0 else { throw ZstdError(code: code, operation: "ZSTD_decompressStream") }
      isAtFrameEnd = code == 0
      produced += written
      guard produced <= byteCountMax else { return false }
      output.append(contentsOf: chunk[..<written])
      // A full chunk may have left something inside of the context.
      if consumed == piece.count, written < chunk.count { return true }
    }
  }
}
