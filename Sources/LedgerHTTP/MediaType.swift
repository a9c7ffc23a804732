// Why: both ends of the socket name the same formats by the same strings.

/// The media types that cross the socket, as they are written in `Content-Type`.
public enum MediaType {
  /// One event in the JSON format of CloudEvents 1.0.
  public static let cloudEvent = "application/cloudevents+json"
  /// An array of events in the JSON batch format of CloudEvents 1.0.
  public static let cloudEventBatch = "application/cloudevents-batch+json"
  /// A line of JSON per event.
  public static let ndjson = "application/x-ndjson"
  /// An answer.
  public static let json = "application/json"
  /// A JSON Schema.
  public static let schema = "application/schema+json"
  /// A refusal, RFC 9457.
  public static let problem = "application/problem+json"
  /// Prometheus text.
  public static let metrics = "text/plain; version=0.0.4; charset=utf-8"

  /// The type and subtype of a `Content-Type` value, lower-case, without parameters: `Application/JSON; charset=utf-8`
  /// is `application/json`.
  public static func essence(of contentType: String) -> String {
    let essence = contentType.utf8.prefix { $0 != UInt8(ascii: ";") }
    return String(Substring(essence)).lowercased().trimmingBlanks()
  }
}

extension String {
  fileprivate func trimmingBlanks() -> String {
    func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }
    var bytes = Substring(self).utf8
    while let first = bytes.first, isBlank(first) { bytes.removeFirst() }
    while let last = bytes.last, isBlank(last) { bytes.removeLast() }
    return String(Substring(bytes))
  }
}
