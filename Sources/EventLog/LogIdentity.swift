// Which log this is, and which state of it: what the index and every projection store beside what they derived.

public import LedgerCore
import Bytes

/// A log's identity: sixteen random bytes, made when it is created.
public struct LogID: Hashable, Sendable {
  /// The sixteen bytes.
  public let bytes: [UInt8]

  /// Takes sixteen bytes.
  public init(bytes: [UInt8]) {
    precondition(bytes.count == 16, "a log id has 16 bytes")
    self.bytes = bytes
  }

  /// Sixteen new random bytes.
  static func random() -> LogID { LogID(bytes: randomBytes(16)) }

  /// 32 lower-case hexadecimal digits.
  public var hex: String { hexadecimal(bytes.rawSpan.uint64(at: 0)) + hexadecimal(bytes.rawSpan.uint64(at: 8)) }

  var seed: UInt64 { XXH3.hash64(bytes.rawSpan) }
}

/// A state of a log: derived data that hold another mark than the log does belong to another history.
public struct LogMark: Equatable, Sendable {
  /// Which log.
  public var logID: LogID
  /// The last position taken in.
  public var position: Position
  /// The chain's value there.
  public var chain: UInt64

  /// Joins the parts.
  public init(logID: LogID, position: Position, chain: UInt64) {
    self.logID = logID
    self.position = position
    self.chain = chain
  }
}

/// Bytes from the system's generator.
func randomBytes(_ count: Int) -> [UInt8] {
  var generator = SystemRandomNumberGenerator()
  var bytes: [UInt8] = []
  // Each number is a call of the kernel.
  while bytes.count < count {
    let number = generator.next()
    for shift in stride(from: 0, to: 64, by: 8) where bytes.count < count {
      bytes.append(UInt8(truncatingIfNeeded: number >> UInt64(shift)))
    }
  }
  return bytes
}

/// The keyed hashes that stand for ids and streams, and the chain. The secret lies under `keys/`: with it gone, hashes
/// that stay behind after an erasure name nobody.
struct LogKeys: Sendable {
  private let hash: SipHash

  init(secret: [UInt8]) { hash = SipHash(key: secret) }

  /// The hash of (source, id). The first byte separates the domains; the length keeps ("a", "bc") from ("ab", "c").
  func id(source: RawSpan, id: RawSpan, scratch: inout ByteWriter) -> Hash128 {
    scratch.removeAll()
    scratch.uint8(1)
    scratch.lengthPrefixed(source)
    scratch.raw(id)
    return hash.hash128(scratch.bytes.rawSpan)
  }

  /// The hash of a named stream.
  func stream(named name: RawSpan, scratch: inout ByteWriter) -> Hash128 {
    scratch.removeAll()
    scratch.uint8(2)
    scratch.raw(name)
    return hash.hash128(scratch.bytes.rawSpan)
  }

  /// The hash of the stream of one (source, subject); no subject is an empty one, which CloudEvents does not allow.
  func stream(source: RawSpan, subject: RawSpan, scratch: inout ByteWriter) -> Hash128 {
    scratch.removeAll()
    scratch.uint8(3)
    scratch.lengthPrefixed(source)
    scratch.raw(subject)
    return hash.hash128(scratch.bytes.rawSpan)
  }

  /// The hash of an event's canonical form, which names it in quarantine.
  func content(of canonical: [UInt8]) -> Hash128 {
    var writer = ByteWriter(capacity: canonical.count + 1)
    writer.uint8(4)
    writer.raw(canonical)
    return hash.hash128(writer.bytes.rawSpan)
  }

  /// The chain after one more event. It covers what a tombstone keeps, so erasing does not change it, and nothing of how
  /// positions are cut into blocks, so sealing does not either.
  func chain(_ previous: UInt64, recorded: Timestamp, id: Hash128) -> UInt64 {
    hash.hash64(previous, UInt64(bitPattern: recorded.microseconds), id.high, id.low)
  }

  /// The chain before the first event.
  static func chainStart(_ id: LogID) -> UInt64 { id.bytes.rawSpan.uint64(at: 0) }
}
