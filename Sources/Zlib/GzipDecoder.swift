// Why: exports and request bodies come compressed; this file is the one door to zlib's `inflate`.
//
// Invariants:
// - A `z_stream` lives at one address from `inflateInit2` to `inflateEnd`; the decoder owns both and cannot be copied.
// - Output never exceeds `outputByteCountMax`, so a small hostile input cannot fill the memory.
// - A stream that stops in the middle of a member is an error when it is finished, never a short file.
// - Nothing is decoded after an error: the first one is final.
import CZlib

/// What is wrong with a compressed stream.
public enum ZlibError: Error, Equatable, Sendable {
  /// The bytes are no gzip stream, or one that was damaged. `reason` is zlib's own word for it.
  case corrupt(reason: String)
  /// The input ended inside a gzip member: the file was cut off.
  case truncated
  /// The stream holds more than the caller allows.
  case outputTooLarge(byteCountMax: Int)
  /// zlib could not get its memory (about 40 KiB).
  case outOfMemory
}

extension ZlibError: CustomStringConvertible {
  /// What happened, and what to do.
  public var description: String {
    switch self {
    case .corrupt(let reason): "not a sound gzip stream (\(reason)); get the file again"
    case .truncated: "the gzip stream ends too early; the file was cut off, get it again"
    case .outputTooLarge(let byteCountMax): "the gzip stream holds more than the \(byteCountMax) bytes that are allowed here"
    case .outOfMemory: "zlib found no memory"
    }
  }
}

/// Decodes a gzip stream (RFC 1952) piece by piece, also one of several concatenated members, as `cat a.gz b.gz` makes.
///
/// Not for random access, and not for zlib or raw deflate streams: those are refused as corrupt.
@safe public struct GzipDecoder: ~Copyable {
  private let stream: UnsafeMutablePointer<z_stream>
  private let outputByteCountMax: Int
  private var outputByteCount = 0
  private var memberIsOpen = false
  private var sawMember = false
  private var failure: ZlibError?

  /// Starts a stream.
  ///
  /// - Parameter outputByteCountMax: The most that the whole stream may hold; without it there is no limit.
  /// - Throws: ``ZlibError/outOfMemory``.
  public init(outputByteCountMax: Int = .max) throws(ZlibError) {
    unsafe stream = .allocate(capacity: 1)
    unsafe stream.initialize(to: z_stream())
    self.outputByteCountMax = outputByteCountMax
    let code = unsafe ledger_inflateInit2(stream, 15 + 16)
    guard code == Z_OK else {
      throw .outOfMemory
    }
  }

  deinit {
    unsafe inflateEnd(stream)
    unsafe stream.deallocate()
  }

  /// Decodes the next piece of the stream and appends what it holds to `output`.
  ///
  /// The cost is linear in both; 64 KiB of input never make more than about 66 MB of output.
  ///
  /// - Throws: ``ZlibError``; the decoder repeats the same error from then on. What was appended before it is sound as
  ///   far as it goes, but its checksum was not seen.
  public mutating func decode(_ input: [UInt8], into output: inout [UInt8]) throws(ZlibError) {
    if let failure { throw failure }
    do throws(ZlibError) {
      try inflate(input, into: &output)
    } catch {
      failure = error
      throw error
    }
  }

  /// Tells the decoder that the input has ended.
  ///
  /// - Throws: ``ZlibError/truncated`` if that is in the middle of a member, or before the first one.
  public mutating func finish() throws(ZlibError) {
    if let failure { throw failure }
    guard sawMember, !memberIsOpen else { throw .truncated }
  }

  private mutating func inflate(_ input: [UInt8], into output: inout [UInt8]) throws(ZlibError) {
    let blockByteCount = 64 << 10
    var consumed = 0
    while true {
      if consumed == input.count && !memberIsOpen { return }
      if !memberIsOpen {
        guard unsafe inflateReset(stream) == Z_OK else { throw .corrupt(reason: "reset refused") }
        memberIsOpen = true
        sawMember = true
      }
      let start = output.count
      let room = min(blockByteCount, outputByteCountMax - outputByteCount)
      // One byte of room is kept even at the limit, so that a stream of exactly the limit can end.
      let window = max(room, 1)
      output.append(contentsOf: repeatElement(0, count: window))
      var (code, left, free) = (Z_OK, UInt32(0), UInt32(0))
      unsafe input.withUnsafeBufferPointer { source in
        unsafe output.withUnsafeMutableBufferPointer { target in
          unsafe stream.pointee.next_in = UnsafeMutablePointer(mutating: source.baseAddress.map { unsafe $0 + consumed })
          unsafe stream.pointee.avail_in = UInt32(clamping: input.count - consumed)
          unsafe stream.pointee.next_out = target.baseAddress.map { unsafe $0 + start }
          unsafe stream.pointee.avail_out = UInt32(window)
          code = unsafe CZlib.inflate(stream, Z_NO_FLUSH)
          left = unsafe stream.pointee.avail_in
          free = unsafe stream.pointee.avail_out
        }
      }
      consumed = input.count - Int(left)
      let made = window - Int(free)
      output.removeLast(window - made)
      outputByteCount += made
      guard outputByteCount <= outputByteCountMax else {
        output.removeLast(made)
        throw .outputTooLarge(byteCountMax: outputByteCountMax)
      }
      switch code {
      case Z_STREAM_END: memberIsOpen = false
      case Z_OK, Z_BUF_ERROR:
        // No input left and room to spare: zlib holds nothing back.
        if left == 0 && free > 0 { return }
      case Z_MEM_ERROR: throw .outOfMemory
      default: throw .corrupt(reason: reason())
      }
    }
  }

  private func reason() -> String {
    guard let message = unsafe stream.pointee.msg else { return "unknown data" }
    return unsafe String(cString: message)
  }
}
