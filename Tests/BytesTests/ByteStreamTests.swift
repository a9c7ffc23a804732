// `ByteWriter` and `ByteReader` are one alphabet: what one writes the other reads, and stored bytes that are cut off or
// changed are a typed error, never a trap.

import Bytes
import Testing

/// SplitMix64, so that a failure repeats.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var word = state
    word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
    word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
    return word ^ (word >> 31)
  }
}

/// A value of the alphabet.
enum Letter: Equatable {
  case uint8(UInt8)
  case uint16(UInt16)
  case uint32(UInt32)
  case uint64(UInt64)
  case int64(Int64)
  case sortable(Int64)
  case varint(UInt64)
  case zigzag(Int64)
  case count(Int)
  case bytes([UInt8])
  case string(String)
  case raw([UInt8])

  static func random(_ generator: inout SeededGenerator) -> Letter {
    // A shift makes short numbers as likely as long ones.
    let word = generator.next() >> UInt64.random(in: 0...63, using: &generator)
    let signed = Int64(bitPattern: Bool.random(using: &generator) ? word : ~word)
    let bytes = (0..<Int.random(in: 0...40, using: &generator)).map { _ in UInt8.random(in: 0...255, using: &generator) }
    switch Int.random(in: 0...11, using: &generator) {
    case 0: return .uint8(UInt8(truncatingIfNeeded: word))
    case 1: return .uint16(UInt16(truncatingIfNeeded: word))
    case 2: return .uint32(UInt32(truncatingIfNeeded: word))
    case 3: return .uint64(word)
    case 4: return .int64(signed)
    case 5: return .sortable(signed)
    case 6: return .varint(word)
    case 7: return .zigzag(signed)
    case 8: return .count(Int(word & 0x7fff_ffff))
    case 9: return .bytes(bytes)
    case 10: return .string(String(repeating: "ñé🛬", count: bytes.count))
    default: return .raw(bytes)
    }
  }

  func write(to writer: inout ByteWriter) {
    switch self {
    case .uint8(let value): writer.uint8(value)
    case .uint16(let value): writer.uint16(value)
    case .uint32(let value): writer.uint32(value)
    case .uint64(let value): writer.uint64(value)
    case .int64(let value): writer.int64(value)
    case .sortable(let value): writer.sortableInt64(value)
    case .varint(let value): writer.varint(value)
    case .zigzag(let value): writer.zigzag(value)
    case .count(let value): writer.count(value)
    case .bytes(let value): writer.lengthPrefixed(value)
    case .string(let value): writer.string(value)
    case .raw(let value): writer.raw(value)
    }
  }

  /// Reads a letter of the same kind.
  func read(from reader: inout ByteReader) throws(ByteError) -> Letter {
    switch self {
    case .uint8: return .uint8(try reader.uint8())
    case .uint16: return .uint16(try reader.uint16())
    case .uint32: return .uint32(try reader.uint32())
    case .uint64: return .uint64(try reader.uint64())
    case .int64: return .int64(try reader.int64())
    case .sortable: return .sortable(try reader.sortableInt64())
    case .varint: return .varint(try reader.varint())
    case .zigzag: return .zigzag(try reader.zigzag())
    case .count: return .count(try reader.count())
    case .bytes: return .bytes(try reader.lengthPrefixedArray())
    case .string: return .string(try reader.string())
    case .raw(let value):
      let span = try reader.bytes(value.count)
      return .raw([UInt8](span))
    }
  }
}

/// Reads letters of the given kinds; the error, if any.
private func read(_ letters: [Letter], from bytes: [UInt8]) -> (read: [Letter], isAtEnd: Bool, error: ByteError?) {
  var reader = ByteReader(bytes.rawSpan)
  var result: [Letter] = []
  do throws(ByteError) {
    for letter in letters { result.append(try letter.read(from: &reader)) }
  } catch {
    return (result, reader.isAtEnd, error)
  }
  return (result, reader.isAtEnd, nil)
}

private func varint(_ bytes: [UInt8]) throws(ByteError) -> UInt64 {
  var reader = ByteReader(bytes.rawSpan)
  return try reader.varint()
}

@Suite struct ByteStreamTests {
  @Test(arguments: 1...50 as ClosedRange<UInt64>)
  func `what is written is read back, in order and to the end`(seed: UInt64) {
    var generator = SeededGenerator(state: seed)
    let letters = (0..<40).map { _ in Letter.random(&generator) }
    var writer = ByteWriter()
    for letter in letters { letter.write(to: &writer) }
    let result = read(letters, from: writer.bytes)
    #expect(result.error == nil, "seed \(seed)")
    #expect(result.read == letters, "seed \(seed)")
    #expect(result.isAtEnd, "seed \(seed)")
  }

  @Test(arguments: 1...20 as ClosedRange<UInt64>)
  func `bytes cut off anywhere are a truncation, and what stood before it is read`(seed: UInt64) {
    var generator = SeededGenerator(state: seed)
    let letters = (0..<12).map { _ in Letter.random(&generator) }
    var writer = ByteWriter()
    for letter in letters { letter.write(to: &writer) }
    for length in 0..<writer.count {
      let result = read(letters, from: Array(writer.bytes[..<length]))
      guard case .truncated(let offset, let needed, let available)? = result.error else {
        // A tail of empty raw bytes needs nothing, so only then may a shorter text be enough.
        Issue.record("seed \(seed), length \(length): \(String(describing: result.error))")
        return
      }
      #expect(offset + available == length && needed > available, "seed \(seed), length \(length)")
      #expect(result.read == Array(letters[..<result.read.count]), "seed \(seed), length \(length)")
    }
  }

  @Test(arguments: 1...200 as ClosedRange<UInt64>)
  func `random bytes are read or refused, never trapped on`(seed: UInt64) {
    var generator = SeededGenerator(state: seed)
    let letters = (0..<20).map { _ in Letter.random(&generator) }
    let bytes = (0..<64).map { _ in UInt8.random(in: 0...255, using: &generator) }
    let result = read(letters, from: bytes)
    #expect(result.error != nil || result.read.count == letters.count)
  }

  @Test func `a reader that starts behind the end is truncated`() {
    #expect(throws: ByteError.truncated(offset: 9, needed: 1, available: -1)) {
      let bytes = [UInt8](repeating: 0, count: 8)
      var reader = ByteReader(bytes.rawSpan, at: 9)
      _ = try reader.uint8()
    }
  }

  @Test func `a negative length is a truncation`() {
    #expect(throws: ByteError.truncated(offset: 0, needed: -1, available: 8)) {
      let bytes = [UInt8](repeating: 0, count: 8)
      var reader = ByteReader(bytes.rawSpan)
      _ = try reader.bytes(-1)
    }
  }

  @Test(
    arguments: [
      (0, 1), (0x7f, 1), (0x80, 2), (0x3fff, 2), (0x4000, 3), (UInt64(UInt32.max), 5), (UInt64.max >> 1, 9), (UInt64.max, 10),
    ] as [(UInt64, Int)])
  func `a varint takes a byte for seven bits`(value: UInt64, byteCount: Int) throws {
    var writer = ByteWriter()
    writer.varint(value)
    #expect(writer.count == byteCount)
    #expect(try varint(writer.bytes) == value)
  }

  @Test func `a varint has at most ten bytes and 64 bits`() throws {
    let full = [UInt8](repeating: 0xff, count: 9)
    #expect(try varint(full + [1]) == .max)
    #expect(throws: ByteError.malformedVarint(offset: 0)) { try varint(full + [2]) }
    #expect(throws: ByteError.malformedVarint(offset: 0)) { try varint(full + [0x81, 0]) }
    #expect(throws: ByteError.malformedVarint(offset: 0)) { try varint([UInt8](repeating: 0x80, count: 11)) }
    #expect(throws: ByteError.truncated(offset: 9, needed: 1, available: 0)) { try varint(full) }
  }

  @Test func `a count over its limit is malformed`() {
    var writer = ByteWriter()
    writer.count(257)
    let bytes = writer.bytes
    #expect(throws: ByteError.malformedVarint(offset: 0)) {
      var reader = ByteReader(bytes.rawSpan)
      _ = try reader.count(max: 256)
    }
    var huge = ByteWriter()
    huge.varint(.max)
    let hugeBytes = huge.bytes
    #expect(throws: ByteError.malformedVarint(offset: 0)) {
      var reader = ByteReader(hugeBytes.rawSpan)
      _ = try reader.lengthPrefixedArray()
    }
  }

  @Test func `a length that promises more than there is does not ask for memory`() {
    var writer = ByteWriter()
    writer.count(Int(Int32.max))
    let bytes = writer.bytes
    #expect(throws: ByteError.truncated(offset: 5, needed: Int(Int32.max), available: 0)) {
      var reader = ByteReader(bytes.rawSpan)
      _ = try reader.string()
    }
  }

  @Test func `sortable integers sort as their bytes do`() {
    var generator = SeededGenerator(state: 11)
    var values: [Int64] = [.min, .min + 1, -256, -255, -1, 0, 1, 255, 256, .max - 1, .max]
    for _ in 0..<500 { values.append(Int64(bitPattern: generator.next()) >> Int64.random(in: 0...60, using: &generator)) }
    let byBytes = values.map { value in
      var writer = ByteWriter()
      writer.sortableInt64(value)
      return ByteString(writer.bytes)
    }.sorted()
    let back = byBytes.map { key -> Int64? in
      var reader = ByteReader(key.bytes.rawSpan)
      do throws(ByteError) { return try reader.sortableInt64() } catch { return nil }
    }
    #expect(back == values.sorted())
  }

  @Test func `fixed integers are big-endian`() {
    var writer = ByteWriter(capacity: 4)
    writer.uint16(0x0102)
    writer.uint32(0x0304_0506)
    writer.uint64(0x0708_090a_0b0c_0d0e)
    writer.int64(-2)
    #expect(writer.bytes == Array(1...14) + [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe])
    writer.patch(uint64: 0x1111_2222_3333_4444, at: 2)
    #expect(writer.bytes[1...10] == [0x02, 0x11, 0x11, 0x22, 0x22, 0x33, 0x33, 0x44, 0x44, 0x0b])
    let bytes = writer.bytes
    let read = [UInt64(bytes.rawSpan.uint16(at: 0)), UInt64(bytes.rawSpan.uint32(at: 2)), bytes.rawSpan.uint64(at: 2)]
    #expect(read == [0x0102, 0x1111_2222, 0x1111_2222_3333_4444])
    writer.removeAll()
    #expect(writer.count == 0)
  }

  @Test func `malformed UTF-8 is repaired`() throws {
    let bytes: [UInt8] = [2, 0x61, 0xff]
    var reader = ByteReader(bytes.rawSpan)
    #expect(try reader.string() == "a\u{fffd}")
  }
}
