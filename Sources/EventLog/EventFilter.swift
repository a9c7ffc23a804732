// Which events a reader or a subscription wants.
//
// Invariant: texts are compared as UTF-8 bytes, as everywhere in the log.

import JSON
public import LedgerCore

/// Which events are wanted. The values of one attribute are an "or", attributes together an "and"; an empty filter takes
/// everything.
public struct EventFilter: Equatable, Sendable {
  /// What is looked at.
  public enum Attribute: String, CaseIterable, Sendable {
    /// The attribute of that name.
    case type, source, subject, stream, channel, campaign
  }

  /// An attribute, and the values that pass.
  public struct Condition: Equatable, Sendable {
    /// What is looked at.
    public var attribute: Attribute
    /// One of these it must be, as UTF-8.
    public var values: [[UInt8]]

    /// Joins the parts.
    public init(_ attribute: Attribute, _ values: [[UInt8]]) {
      self.attribute = attribute
      self.values = values
    }
  }

  /// All of these must hold.
  public var conditions: [Condition] = []
  /// Only what occurred then or later.
  public var since: Timestamp?
  /// Only what occurred earlier.
  public var before: Timestamp?

  /// Takes everything.
  public init() {}

  /// True if it takes everything.
  public var isEmpty: Bool { conditions.isEmpty && since == nil && before == nil }

  /// True if an event passes.
  public func takes(_ event: LoggedEvent) -> Bool {
    if let since, event.occurred < since { return false }
    if let before, event.occurred >= before { return false }
    for condition in conditions {
      let found = event.attributes
      let node: JSONNode? =
        switch condition.attribute {
        case .type: found.type
        case .source: found.source
        case .subject: found.subject
        case .stream: found.stream
        case .channel: found.channel
        case .campaign: found.campaign
        }
      guard let node else { return false }
      guard condition.values.contains(event.json.bytes(of: node)) else { return false }
    }
    return true
  }
}
