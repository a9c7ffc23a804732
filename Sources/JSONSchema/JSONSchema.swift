// Why this file exists: JSON Schema, draft-07, for the `data` of events: compiled once, then checked on any thread.
// Invariants:
// - nothing is fetched: a schema is one text, and whatever it refers to is in it;
// - compiling and checking are bounded in time, memory and stack, whatever the schema and the text are;
// - nothing of a checked text is in an error: where, and which rule of the schema, is all a caller gets.

import CJSONSchema

/// Why a text is not taken as a schema.
public struct JSONSchemaError: Error, Equatable, Sendable, CustomStringConvertible {
  /// Where in the schema, what is wrong, and how to mend it.
  public let description: String
}

/// The first rule that a text breaks.
public struct JSONSchemaViolation: Equatable, Sendable {
  /// What a caller can decide by.
  public enum Kind: Equatable, Sendable {
    /// A rule of the schema does not hold.
    case broken
    /// Checking took more than ``JSONSchema/stepCountMax`` steps or went too deep: the schema is too expensive for this text.
    case tooCostly
    /// The text is no JSON, or holds a number that no double is near (`1e400`).
    case unreadable
  }

  /// What happened.
  public let kind: Kind
  /// A JSON Pointer (RFC 6901) into the text, at most 255 bytes. A member whose name the schema does not know is `*`, since
  /// the name may be somebody's.
  public let pointer: String
  /// The keyword and what the schema says, such as `maximum 10` or `required "amount"`; at most 255 bytes.
  public let rule: String
}

/// A compiled schema. Safe to share between threads.
///
/// Draft-07 in one text. What departs from the draft, and which tests of the official suite fail, stands in the
/// documentation (Reference/JSONSchema.md); a test holds the list. Not for texts that were not validated as JSON before.
@safe public final class JSONSchema: @unchecked Sendable {
  // Compiled by `init`, only read afterwards; RE2's matchers guard their own caches.
  private let schema: OpaquePointer

  /// The longest schema, in bytes.
  public static var byteCountMax: Int { Int(CJSONSCHEMA_SCHEMA_BYTES_MAX) }

  /// Steps that checking one text may take: a schema applied to a value, a comparison, 64 bytes of a string, 16 of a match.
  /// The whole takes some milliseconds.
  public static var stepCountMax: Int { 200_000 }

  /// Compiles a schema.
  ///
  /// - Complexity: O(bytes); about a millisecond for 10 KiB, most of it for regular expressions.
  /// - Throws: ``JSONSchemaError``: no JSON, another draft, a keyword that would be ignored, a reference that leads out of the
  ///   text or back to the same value without end, a pattern that cannot be matched in bounded time, or one of the limits.
  public init(_ text: [UInt8]) throws(JSONSchemaError) {
    var message = [CChar](repeating: 0, count: 512)
    let compiled = unsafe text.withUnsafeBufferPointer { bytes in
      unsafe bytes.withMemoryRebound(to: CChar.self) { characters in
        unsafe message.withUnsafeMutableBufferPointer { buffer in
          unsafe cjsonschema_create(characters.baseAddress, characters.count, buffer.baseAddress, buffer.count)
        }
      }
    }
    guard let compiled = unsafe compiled else { throw JSONSchemaError(description: Self.text(message)) }
    unsafe schema = compiled
  }

  deinit { unsafe cjsonschema_destroy(schema) }

  /// Checks a JSON text.
  ///
  /// - Returns: nil if it is valid, else the first broken rule.
  /// - Complexity: for usual schemas some microseconds; never more than ``stepCountMax`` steps.
  public func check(_ text: RawSpan) -> JSONSchemaViolation? {
    var violation = cjsonschema_violation()
    let verdict = unsafe text.withUnsafeBytes { bytes in
      unsafe cjsonschema_check(
        schema, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count, Self.stepCountMax, &violation)
    }
    let kind: JSONSchemaViolation.Kind
    switch verdict {
    case CJSONSCHEMA_VALID: return nil
    case CJSONSCHEMA_VIOLATED: kind = .broken
    case CJSONSCHEMA_UNREADABLE: kind = .unreadable
    case CJSONSCHEMA_OUT_OF_MEMORY: preconditionFailure("no memory to check a text by its schema")
    default: kind = .tooCostly
    }
    return JSONSchemaViolation(kind: kind, pointer: Self.text(of: violation.pointer), rule: Self.text(of: violation.rule))
  }

  /// Checks a JSON text.
  public func check(_ text: [UInt8]) -> JSONSchemaViolation? { unsafe check(text.span.bytes) }

  private static func text(_ characters: [CChar]) -> String {
    String(decoding: characters.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  private static func text<Characters>(of characters: Characters) -> String {
    unsafe withUnsafeBytes(of: characters) { bytes in
      unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
  }
}
