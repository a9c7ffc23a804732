// An event as a fold sees it: its place, its envelope, its attributes and its JSON, all borrowed from a reader that the
// next event will use again.

public import Bytes
public import JSON

/// One stored event, parsed. A worker has one instance and reads event after event into it, so nothing is allocated per
/// event; it must not be kept beyond the call it is given to.
public final class LoggedEvent {
  /// The event's place in the log.
  public private(set) var position: Position = 0
  /// What the ledger knows about it.
  public private(set) var envelope = Envelope(
    recorded: .earliest, received: .earliest, revision: 0, door: .process, principal: "")
  /// The event's text and its nodes.
  @inlinable public var json: JSONReader {
    _read { yield reader.value }
  }
  @usableFromInline let reader = Confined(JSONReader())
  /// Where the attributes stand.
  public var attributes: EventAttributes {
    guard let found else { preconditionFailure("no event has been read") }
    return found
  }
  private var found: EventAttributes?
  private let limits: EventLimits

  /// Makes a reader of stored events, which were checked when they came in: only the largest limits apply.
  public init() {
    var limits = EventLimits(eventByteCountMax: 1024 * 1024)
    limits.attributeByteCountMax = .max
    limits.attributeCountMax = .max
    limits.identifierByteCountMax = .max
    limits.identifierKindCountMax = .max
    limits.participantCountMax = .max
    self.limits = limits
  }

  /// Reads the next event.
  ///
  /// - Parameters:
  ///   - bytes: The event as stored; copied.
  /// - Throws: ``EventError`` if the bytes are not an event, which a log never holds: damage.
  public func read(_ bytes: RawSpan, position: Position, envelope: Envelope) throws(EventError) {
    found = nil
    let root: JSONNode
    do throws(JSONError) {
      root = try reader.value.parse(bytes)
    } catch {
      throw EventError(.invalidJSON, error.description)
    }
    found = try EventAttributes(of: root, in: json, limits: limits)
    self.position = position
    self.envelope = envelope
  }

  /// When it happened: `time`, else the time received.
  public var occurred: Timestamp { attributes.occurred ?? envelope.received }
}
