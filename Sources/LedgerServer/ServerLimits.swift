// Limits on everything that crosses the socket (DESIGN §8). One struct, so that configuration, checks and documentation
// speak of the same numbers.

/// What the server takes.
public struct ServerLimits: Sendable, Equatable {
  /// Events in one batch.
  public var batchEventCountMax = 10_000
  /// Bytes of one request's body after decompression; NDJSON streams have no end, but each of their lines has.
  public var requestByteCountMax = 8 << 20
  /// Bytes of all bodies that are being received, beyond the first 64 KiB of each; streams are not kept, and do not count.
  public var bodiesByteCountMax = 128 << 20
  /// Bytes of one event.
  public var eventByteCountMax = 64 << 10
  /// Bytes of all headers of a request.
  public var headerByteCountMax = 16 << 10
  /// Seconds without a byte after which a connection is closed.
  public var idleSeconds = 60
  /// Seconds from a request's first byte to the end of its headers.
  public var headSecondsMax = 20
  /// Seconds from the end of a request's headers to the end of its body; of a stream, from a line's first byte to its end.
  public var bodySecondsMax = 120
  /// Connections at once.
  public var connectionCountMax = 1_024
  /// Seconds that a read waits for `atLeast`.
  public var atLeastWaitSecondsMax = 30
  /// Seconds that a shutdown waits for requests that stall.
  public var shutdownSecondsMax = 2
  /// Seconds between two heartbeats of a follower.
  public var heartbeatSeconds = 15

  /// The defaults.
  public init() {}
}
