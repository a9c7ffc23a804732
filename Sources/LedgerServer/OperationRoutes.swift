// What operators and their machines look at: the log's sizes, metrics, health. Health comes from progress, not from a flag.

import EventLog
import HTTPTypes
import Hummingbird
import JSON
import LedgerCore
import LedgerHTTP
import NIOCore
import ProjectionEngine

struct OperationRoutes: Sendable {
  let log: EventLog
  let engine: ProjectionEngine
  let connections: ConnectionCount
  let connectionCountMax: Int
  let refusals: RefusalLog

  func status(_ request: Request, _ context: LedgerContext) async throws -> Response {
    _ = try Parameters(request, allowed: [])
    let status = try log.status()
    var writer = JSONWriter()
    writer.beginObject()
    writer.member("id", log.id.hex)
    writer.member("head", log.head)
    writer.member("sealed", 0)
    writer.member("erasureEpoch", 0)
    writer.member("segments", status.segmentCount)
    writer.member("byteCount", status.byteCount)
    writer.member("queueByteCount", status.queueByteCount)
    writer.member("roomByteCount", status.roomByteCount)
    writer.member("readers", status.readerCount)
    writer.key("appending")
    if let obstacle = log.appendObstacle { writer.string(obstacle.description) } else { writer.string("open") }
    writer.endObject()
    return Response(json: writer.bytes)
  }

  /// Prometheus' text format, version 0.0.4.
  func metrics(_ request: Request, _ context: LedgerContext) async throws -> Response {
    var out = MetricsText()
    let status = try log.status()
    let counters = log.counters
    out.gauge("ledger_log_head_position", "Last durable position.", log.head)
    out.counter("ledger_events_appended_total", "Events appended since the start.", counters.appended)
    out.counter("ledger_events_duplicate_total", "Events that were in the log already.", counters.duplicates)
    out.counter("ledger_events_conflict_total", "Events refused since their id is taken by another content.", counters.conflicts)
    out.counter("ledger_append_refusals_total", "Requests refused by the log.", counters.refusals)
    out.counter("ledger_append_groups_total", "Groups committed together.", counters.groups)
    out.gauge("ledger_append_group_events_max", "Events in the largest group.", counters.largestGroupEventCount)
    out.histogram("ledger_append_group_events", "Events in a group.", counters.groupEvents.snapshot)
    out.histogram("ledger_append_flush_seconds", "How long a group's commit took, flush included.", counters.flushSeconds.snapshot)
    out.gauge("ledger_append_queue_bytes", "Bytes of events that wait for the appender.", UInt64(status.queueByteCount))
    out.gauge("ledger_append_queue_bytes_max", "Bytes of events that may wait for the appender.", UInt64(status.queueByteCountMax))
    out.gauge("ledger_append_open", "1 if appends are taken.", log.appendObstacle == nil ? 1 : 0)
    out.gauge("ledger_log_bytes", "Bytes used by the segments' files.", UInt64(status.byteCount))
    out.gauge("ledger_log_segments", "Segments.", UInt64(status.segmentCount))
    out.gauge(
      "ledger_log_map_room_bytes", "Bytes of the newest segment's map that are not used; it doubles.", UInt64(status.mapRoomByteCount))
    out.gauge(
      "ledger_log_oldest_reader_transactions", "Transactions since the oldest open reader of the log began; 0: none.",
      UInt64(status.oldestReaderTransactionCount))
    out.gauge("ledger_disk_room_bytes", "Bytes that the file system has left.", UInt64(status.roomByteCount))
    out.gauge("ledger_connections", "Connections now.", UInt64(max(0, connections.now)))
    out.gauge("ledger_connections_max", "Connections that one place takes at once.", UInt64(connectionCountMax))
    out.counter("ledger_access_refusals_total", "Requests refused for lack of rights or of a token.", refusals.count)
    let quarantine = log.quarantine.status
    out.gauge("ledger_quarantined_events", "Events set aside, to be corrected, appended or discarded.", UInt64(quarantine.eventCount))
    out.gauge("ledger_quarantine_bytes", "Bytes of these events.", UInt64(quarantine.byteCount))
    out.gauge("ledger_schemas", "Types with a schema in force.", UInt64(log.schemas.snapshot.all.count))
    let projections = engine.statuses()
    out.family("ledger_projection_position", "gauge", "Last position folded.", projections) { String($0.position) }
    out.family("ledger_projection_lag_events", "gauge", "Events not yet folded.", projections) { String($0.lagEventCount) }
    out.family("ledger_projection_lag_seconds", "gauge", "Age of the newest folded event while behind.", projections) {
      String($0.lagSeconds)
    }
    out.family("ledger_projection_parked_events", "gauge", "Events set aside.", projections) { String($0.parkedCount) }
    out.family("ledger_projection_rows", "gauge", "Rows stored.", projections) { String($0.rowCount) }
    out.family("ledger_projection_bytes", "gauge", "Bytes used by the live generation's file.", projections) {
      String($0.storage?.usedByteCount ?? 0)
    }
    out.family(
      "ledger_projection_map_room_bytes", "gauge", "Bytes of the live generation's map that are not used; it doubles.", projections
    ) {
      String($0.storage?.mapRoomByteCount ?? 0)
    }
    out.family(
      "ledger_projection_oldest_reader_transactions", "gauge",
      "Transactions since the oldest open reader of the live generation began; 0: none.", projections
    ) { String($0.storage?.oldestReaderTransactionCount ?? 0) }
    out.family("ledger_projection_live", "gauge", "1 if the worker follows the log.", projections) { $0.state == .live ? "1" : "0" }
    return Response(
      status: .ok, headers: [.contentType: MediaType.metrics], body: ResponseBody(byteBuffer: ByteBuffer(string: out.text)))
  }

  /// Alive: a restart would help nothing. A log that waits for its disk goes on by itself.
  func health(_ request: Request, _ context: LedgerContext) async throws -> Response {
    if let failure = log.failure { throw Problem(.busy, failure) }
    return Response(json: Array(#"{"status":"ok"}"#.utf8))
  }

  /// Ready: appends are taken and every projection follows, or is on its way.
  func readiness(_ request: Request, _ context: LedgerContext) async throws -> Response {
    if let obstacle = log.appendObstacle { throw obstacle.problem }
    for status in engine.statuses() {
      if let reason = status.state.reason { throw Problem(.busy, "projection \(status.name) does not go on: \(reason)") }
      if status.state == .starting { throw Problem(.rebuilding, "projection \(status.name) is starting") }
    }
    return Response(json: Array(#"{"status":"ready"}"#.utf8))
  }
}
