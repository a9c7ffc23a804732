// `/v1/schemas`: which JSON Schema the data of each type must follow; applied, looked at and removed while the daemon runs.

import Bytes
import EventLog
import Foundation
import HTTPTypes
import Hummingbird
import JSON
import LedgerCore
import LedgerHTTP
import NIOCore
import NIOPosix

struct SchemaRoutes: Sendable {
  let append: AppendRoute
  private var log: EventLog { append.log }

  var routes: [Route] {
    [
      Route(.get, "/v1/schemas", list), Route(.get, "/v1/schemas/{type}", show), Route(.put, "/v1/schemas/{type}", apply),
      Route(.delete, "/v1/schemas/{type}", remove),
    ]
  }

  func list(_ request: Request, _ context: LedgerContext) async throws -> Response {
    _ = try Parameters(request, allowed: [])
    let snapshot = log.schemas.snapshot
    var writer = JSONWriter()
    writer.beginObject()
    writer.member("strict", snapshot.isStrict)
    writer.key("schemas")
    writer.beginArray()
    for schema in snapshot.all {
      writer.beginObject()
      Self.describe(schema, &writer)
      writer.member("byteCount", schema.text.count)
      writer.endObject()
    }
    writer.endArray()
    writer.endObject()
    return Response(json: writer.bytes)
  }

  func show(_ request: Request, _ context: LedgerContext) async throws -> Response {
    let parameters = try Parameters(request, allowed: ["version"])
    let type = try context.decodedParameter("type")
    let version = try parameters.number("version")
    let found: EventSchema
    do throws(SchemaError) {
      if let version {
        found = try await onThread { [log] () throws(SchemaError) in try log.schemas.version(version, of: type) }
      } else {
        guard let current = log.schemas.snapshot.schema(of: type) else { throw .unknown }
        found = current
      }
    } catch {
      throw error.problem
    }
    var writer = JSONWriter()
    writer.beginObject()
    Self.describe(found, &writer)
    writer.key("schema")
    writer.raw(found.text)
    writer.endObject()
    return Response(json: writer.bytes)
  }

  func apply(_ request: Request, _ context: LedgerContext) async throws -> Response {
    _ = try Parameters(request, allowed: [])
    let type = try context.decodedParameter("type")
    let principal = context.principal.name
    let essence = request.headers[.contentType].map(MediaType.essence(of:))
    guard essence == MediaType.json || essence == MediaType.schema else {
      throw Problem(.invalidRequest, "Content-Type must be \(MediaType.schema) or \(MediaType.json)")
    }
    let text = try await append.bytes(of: request)
    try append.readers.withReader(keepUpTo: text.count) { (pooled) throws(Problem) in
      do throws(JSONError) {
        _ = try pooled.reader.parse(text.rawSpan)
      } catch {
        throw Problem(.invalidJSON, error.description)
      }
    }
    let applied: (schema: EventSchema, isNew: Bool)
    do throws(SchemaError) {
      applied = try await onThread { [log] () throws(SchemaError) in try log.schemas.apply(text, to: type, principal: principal) }
    } catch {
      throw error.problem
    }
    var writer = JSONWriter()
    writer.beginObject()
    Self.describe(applied.schema, &writer)
    writer.member("changed", applied.isNew)
    writer.endObject()
    return Response(json: writer.bytes)
  }

  func remove(_ request: Request, _ context: LedgerContext) async throws -> Response {
    _ = try Parameters(request, allowed: [])
    let type = try context.decodedParameter("type")
    let principal = context.principal.name
    let version: UInt64
    do throws(SchemaError) {
      version = try await onThread { [log] () throws(SchemaError) in try log.schemas.remove(type, principal: principal) }
    } catch {
      throw error.problem
    }
    var writer = JSONWriter()
    writer.beginObject()
    writer.member("type", type)
    writer.member("version", version)
    // What is in force now: one that was shipped, or none.
    writer.member("inForce", orNull: log.schemas.snapshot.schema(of: type)?.origin.rawValue)
    writer.endObject()
    return Response(json: writer.bytes)
  }

  private static func describe(_ schema: EventSchema, _ writer: inout JSONWriter) {
    writer.member("type", schema.type)
    writer.member("origin", schema.origin.rawValue)
    writer.member("version", schema.version)
    if let applied = schema.applied { writer.member("appliedtime", applied.rfc3339) }
    if let principal = schema.principal { writer.member("principal", principal) }
  }

  private func onThread<R: Sendable>(_ body: @escaping @Sendable () throws(SchemaError) -> R) async throws(SchemaError) -> R {
    let result: Result<R, SchemaError>
    do {
      result = try await append.threads.runIfActive {
        do throws(SchemaError) {
          return .success(try body())
        } catch {
          return .failure(error)
        }
      }
    } catch {
      throw .closed
    }
    return try result.get()
  }
}

extension LedgerContext {
  /// A part of the path, percent-decoded.
  func decodedParameter(_ name: String) throws(Problem) -> String {
    guard let text = parameters.get(name)?.removingPercentEncoding, !text.isEmpty else {
      throw Problem(.invalidRequest, "the \(name) in the path is not percent-encoded UTF-8")
    }
    return text
  }
}

extension SchemaError {
  /// What a client is told.
  var problem: Problem {
    switch self {
    case .refused, .badType, .tooMany: Problem(.invalidRequest, description)
    case .unknown: Problem(.notFound, description)
    case .environment, .files: Problem(isDiskFull ? .diskFull : .outcomeUnknown, description)
    case .foreignFormat: Problem(.internal, description)
    case .closed: Problem(.busy, description)
    }
  }
}
