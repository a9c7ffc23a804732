// Typed names of databases, and how keys and values become bytes.

public import Bytes
import CLMDB

/// LMDB's own name for an open database (`MDB_dbi`).
public typealias DatabaseHandle = UInt32

/// A named database with the types of its keys and values. Valid as long as its environment is open.
public struct Database<Key: LMDBKey, Value: LMDBValue>: Sendable {
  /// LMDB's handle.
  public let handle: DatabaseHandle
  /// The name it is stored under.
  public let name: String

  /// Joins the parts.
  public init(handle: DatabaseHandle, name: String) {
    self.handle = handle
    self.name = name
  }
}

/// A key: 1 to 511 bytes, which sort as the keys do.
public protocol LMDBKey {
  /// Hands the key's bytes out.
  func withLMDBBytes<R>(_ body: (RawSpan) throws(LMDBError) -> R) throws(LMDBError) -> R
  /// Reads the key back; nil if the bytes are none.
  init?(lmdbBytes: RawSpan)
}

/// A value.
public protocol LMDBValue {
  /// Hands the value's bytes out.
  func withLMDBBytes<R>(_ body: (RawSpan) throws(LMDBError) -> R) throws(LMDBError) -> R
  /// Reads the value back; nil if the bytes are none.
  init?(lmdbBytes: RawSpan)
}

extension UInt64: LMDBKey, LMDBValue {
  /// Eight bytes, big-endian.
  public func withLMDBBytes<R>(_ body: (RawSpan) throws(LMDBError) -> R) throws(LMDBError) -> R {
    let storage: InlineArray<1, UInt64> = [bigEndian]
    return try body(unsafe storage.span.bytes)
  }
  /// Eight bytes, big-endian.
  public init?(lmdbBytes: RawSpan) {
    guard lmdbBytes.byteCount == 8 else { return nil }
    self = lmdbBytes.uint64(at: 0)
  }
}

extension Hash128: LMDBKey, LMDBValue {
  /// Sixteen bytes, big-endian.
  public func withLMDBBytes<R>(_ body: (RawSpan) throws(LMDBError) -> R) throws(LMDBError) -> R {
    let storage: InlineArray<2, UInt64> = [high.bigEndian, low.bigEndian]
    return try body(unsafe storage.span.bytes)
  }
  /// Sixteen bytes, big-endian.
  public init?(lmdbBytes: RawSpan) {
    guard lmdbBytes.byteCount == 16 else { return nil }
    self.init(high: lmdbBytes.uint64(at: 0), low: lmdbBytes.uint64(at: 8))
  }
}

extension Array: LMDBKey, LMDBValue where Element == UInt8 {
  /// The bytes as they are.
  public func withLMDBBytes<R>(_ body: (RawSpan) throws(LMDBError) -> R) throws(LMDBError) -> R { try body(rawSpan) }
  /// The bytes as they are.
  public init?(lmdbBytes: RawSpan) { self.init(lmdbBytes) }
}

extension String: LMDBKey, LMDBValue {
  /// UTF-8.
  public func withLMDBBytes<R>(_ body: (RawSpan) throws(LMDBError) -> R) throws(LMDBError) -> R { try body(Array<UInt8>(utf8).rawSpan) }
  /// UTF-8.
  public init?(lmdbBytes: RawSpan) { self.init(utf8: lmdbBytes) }
}
