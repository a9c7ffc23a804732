// Why: a wrong byte in a decompressed export becomes a wrong event for ever.
import Testing
import Zlib

@Suite struct GzipDecoderTests {
  /// `printf 'hello\n' | gzip -n`
  private let hello: [UInt8] = [
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0xe7, 0x02, 0x00, 0x20, 0x30,
    0x3a, 0x36, 0x06, 0x00, 0x00, 0x00,
  ]

  private func decode(_ pieces: [[UInt8]], limit: Int = .max) throws -> String {
    var decoder = try GzipDecoder(outputByteCountMax: limit)
    var output: [UInt8] = []
    for piece in pieces { try decoder.decode(piece, into: &output) }
    try decoder.finish()
    return String(decoding: output, as: UTF8.self)
  }

  @Test func `one member decodes whole and byte by byte`() throws {
    #expect(try decode([hello]) == "hello\n")
    #expect(try decode(hello.map { [$0] }) == "hello\n")
  }

  @Test func `concatenated members are one stream`() throws {
    #expect(try decode([hello + hello, hello]) == "hello\nhello\nhello\n")
  }

  @Test(arguments: [0, 1, 9, 12, 20, 25]) func `a stream that was cut off says so`(count: Int) {
    #expect(throws: ZlibError.truncated) { try decode([Array(hello.prefix(count))]) }
  }

  @Test func `rubbish is refused, also after a member and in the checksum`() {
    #expect(throws: ZlibError.self) { try decode([Array("hello, I am no gzip".utf8)]) }
    #expect(throws: ZlibError.self) { try decode([hello + [1, 2, 3, 4]]) }
    var damaged = hello
    damaged[20] ^= 1
    #expect(throws: ZlibError.self) { try decode([damaged]) }
  }

  @Test func `the limit is exact and counts all members`() throws {
    #expect(try decode([hello + hello], limit: 12) == "hello\nhello\n")
    #expect(throws: ZlibError.outputTooLarge(byteCountMax: 11)) { try decode([hello + hello], limit: 11) }
    #expect(throws: ZlibError.outputTooLarge(byteCountMax: 0)) { try decode([hello], limit: 0) }
  }

  @Test func `the first error is final`() throws {
    var decoder = try GzipDecoder()
    var output: [UInt8] = []
    #expect(throws: ZlibError.self) { try decoder.decode([0, 0, 0, 0], into: &output) }
    var later: [UInt8] = []
    #expect(throws: ZlibError.self) { try decoder.decode(hello, into: &later) }
    #expect(throws: ZlibError.self) { try decoder.finish() }
    #expect(later.isEmpty)
  }
}
