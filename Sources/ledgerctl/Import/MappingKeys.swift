// Why: the reader, the JSON Schema and the messages must know the same keys; this is the one list of them.
//
// Invariant: a key that is not listed where it stands is refused, with the nearest one that is.

/// The keys of a mapping.
enum MappingKeys {
  /// How a file is cut into rows: at the top, and in a lookup.
  static let shape = ["format", "header", "skip-lines", "encoding", "delimiter", "quotes", "trim"]
  /// At the top.
  static let mapping = shape + ["nulls", "zone", "decimal-mark", "group-mark", "when", "event"]
  /// Of a value; the first three say where it comes from, and it has exactly one of them.
  static let leaf = [
    "column", "template", "constant", "lookup", "map", "default", "type", "format", "zone", "decimal-mark", "group-mark", "nulls",
    "if-null", "when",
  ]
  static let lookup = ["file", "key", "column"] + shape
  /// Of a test in a `when` that is turned round.
  static let test = ["not"]

  /// The attributes that CloudEvents and the ledger know. Others are legal.
  static let attributes = [
    "specversion", "id", "source", "type", "subject", "time", "data", "dataschema", "datacontenttype", "traceparent", "tracestate",
    "sequence", "stream", "channel", "campaign", "direction", "audience", "purpose", "role", "stage", "businessunit", "causationid",
    "correlationid",
  ]
  /// The members of `data` that the ledger interprets. Others are legal.
  static let profile = ["identifiers", "participants", "traits", "value", "cost", "case", "content"]
  static let money = ["amount", "currency"]
  static let participant = ["part", "identifiers"]
}
