// What every answer says of itself: log, checkpoint, fold version, erasure epoch (DESIGN §2).

import Bytes
import JSON
import LedgerCore
import ProjectionEngine

extension JSONWriter {
  /// The members that end an answer's object.
  mutating func frame(_ request: QueryRequest, _ snapshot: Snapshot) {
    member("checkpoint", snapshot.checkpoint)
    provenance(request, snapshot)
  }

  /// The members that end a page's object; `next` is a cursor, or null at the end.
  mutating func frame(_ request: QueryRequest, _ snapshot: Snapshot, next: [UInt8]?) {
    member("checkpoint", snapshot.checkpoint)
    member("next", orNull: next.map(Paging.text(ofCursor:)))
    provenance(request, snapshot)
  }

  private mutating func provenance(_ request: QueryRequest, _ snapshot: Snapshot) {
    member("log", request.logID)
    member("version", UInt64(snapshot.version))
    member("erasureEpoch", request.erasureEpoch)
  }

  /// A member with a moment in RFC 3339.
  mutating func member(_ name: StaticString, microseconds: Int64) {
    member(name, utf8: Timestamp(microseconds: microseconds).rfc3339Bytes.rawSpan)
  }

  /// A member with a name, left out if there is none.
  mutating func member(_ name: StaticString, ifAny number: UInt64, _ texts: inout NameTexts) throws(QueryFailure) {
    guard number != 0 else { return }
    let text = try texts.text(of: number)
    member(name, utf8: text.rawSpan)
  }
}
