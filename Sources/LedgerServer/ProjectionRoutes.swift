// Questions to projections, and what is done to projections. The server knows them by name only.

import EventLog
import HTTPTypes
import Hummingbird
import JSON
import LedgerCore
import LedgerHTTP
import NIOPosix
import ProjectionEngine

struct ProjectionRoutes: Sendable {
  let log: EventLog
  let engine: ProjectionEngine
  let limits: ServerLimits
  let threads: NIOThreadPool

  /// Answers one of the projections' own questions.
  func answer(
    _ projection: String, _ query: ProjectionQuery, _ request: Request, _ context: LedgerContext
  ) async throws -> Response {
    let parameters = try Parameters(request, allowed: query.parameters + ["atLeast"])
    if let position = try parameters.number("atLeast") {
      try await wait(for: position, projection)
    }
    var path: [String: String] = [:]
    for component in query.path.split(separator: "/") where component.hasPrefix("{") {
      let name = String(component.dropFirst().dropLast())
      path[name] = context.parameters.get(name)
    }
    let question = QueryRequest(
      path: path, parameters: parameters.all.filter { $0.name != "atLeast" }, logID: log.id.hex, erasureEpoch: 0)
    let answer = try await engine.answer(projection: projection, query: query.path, request: question)
    return Response(json: answer.body, headers: [.ledgerGeneration: String(answer.generation)])
  }

  private func wait(for position: Position, _ projection: String) async throws {
    let timeout = Duration.seconds(limits.atLeastWaitSecondsMax)
    guard try await engine.waitFor(projection: projection, position: position, timeout: timeout) else {
      throw Problem(
        .notYet, "projection \(projection) has not reached position \(position) within \(limits.atLeastWaitSecondsMax) s; retry",
        members: [.init("head", Int64(log.head))])
    }
  }

  func list(_ request: Request, _ context: LedgerContext) async throws -> Response {
    _ = try Parameters(request, allowed: [])
    var writer = JSONWriter()
    writer.beginObject()
    writer.key("projections")
    writer.beginArray()
    for status in engine.statuses() { write(status, &writer) }
    writer.endArray()
    writer.endObject()
    return Response(json: writer.bytes)
  }

  private func write(_ status: ProjectionStatus, _ writer: inout JSONWriter) {
    writer.beginObject()
    writer.member("name", status.name)
    writer.member("version", Int(status.version))
    writer.member("generation", orNull: status.generation)
    writer.member("state", status.state.word)
    if let reason = status.state.reason { writer.member("reason", reason) }
    writer.member("position", status.position)
    writer.member("head", status.head)
    writer.member("lagEvents", status.lagEventCount)
    writer.member("lagSeconds", rounded(status.lagSeconds))
    writer.member("eventsPerSecond", Int(status.eventsPerSecond))
    writer.member("parked", status.parkedCount)
    writer.member("rows", Int(status.rowCount))
    writer.key("rebuild")
    if let rebuild = status.rebuild {
      writer.beginObject()
      writer.member("generation", rebuild.generation)
      writer.member("state", rebuild.state.word)
      writer.member("position", rebuild.position)
      writer.member("head", status.head)
      writer.member("eventsPerSecond", Int(rebuild.eventsPerSecond))
      writer.key("etaSeconds")
      if let seconds = rebuild.secondsLeft { writer.double(rounded(seconds)) } else { writer.null() }
      writer.endObject()
    } else {
      writer.null()
    }
    writer.endObject()
  }

  private func rounded(_ seconds: Double) -> Double { (seconds * 1_000).rounded() / 1_000 }

  func rebuild(_ request: Request, _ context: LedgerContext) async throws -> Response {
    _ = try Parameters(request, allowed: [])
    guard let name = context.parameters.get("name") else { throw Problem(.notFound, "no projection is named") }
    let engine = engine
    // It makes a directory, which waits for the disk.
    let generation = try await threads.runIfActive { try engine.rebuild(name) }
    var writer = JSONWriter()
    writer.beginObject()
    writer.member("name", name)
    writer.member("generation", generation)
    writer.endObject()
    return Response(json: writer.bytes)
  }

  /// Ends a rebuild; the live generation goes on. Waits for the batch that is being folded.
  func cancelRebuild(_ request: Request, _ context: LedgerContext) async throws -> Response {
    _ = try Parameters(request, allowed: [])
    guard let name = context.parameters.get("name") else { throw Problem(.notFound, "no projection is named") }
    let engine = engine
    try await threads.runIfActive { try engine.cancelRebuild(name) }
    var writer = JSONWriter()
    writer.beginObject()
    writer.member("name", name)
    writer.member("generation", orNull: engine.statuses().first { $0.name == name }?.generation)
    writer.endObject()
    return Response(json: writer.bytes)
  }

  func digest(_ request: Request, _ context: LedgerContext) async throws -> Response {
    let parameters = try Parameters(request, allowed: ["atLeast"])
    guard let name = context.parameters.get("name") else { throw Problem(.notFound, "no projection is named") }
    if let position = try parameters.number("atLeast") { try await wait(for: position, name) }
    let report = try engine.digest(name)
    var writer = JSONWriter()
    writer.beginObject()
    writer.member("name", report.projection)
    writer.member("version", Int(report.version))
    writer.member("generation", report.generation)
    writer.member("position", report.position)
    writer.member("rows", Int(report.rowCount))
    writer.member("digest", report.hex)
    writer.endObject()
    return Response(json: writer.bytes)
  }

  func parked(_ request: Request, _ context: LedgerContext) async throws -> Response {
    let parameters = try Parameters(request, allowed: ["after"])
    guard let name = context.parameters.get("name") else { throw Problem(.notFound, "no projection is named") }
    var writer = JSONWriter()
    writer.beginObject()
    writer.key("parked")
    writer.beginArray()
    for event in try engine.parked(name, after: try parameters.number("after") ?? 0) {
      writer.beginObject()
      writer.member("position", event.position)
      writer.member("reason", event.reason)
      writer.endObject()
    }
    writer.endArray()
    writer.endObject()
    return Response(json: writer.bytes)
  }
}

extension ProjectionState {
  /// The state in one word, for answers.
  var word: String {
    switch self {
    case .starting: "starting"
    case .catchingUp: "catching-up"
    case .live: "live"
    case .paused: "paused"
    case .rebuilding: "rebuilding"
    case .stopped: "stopped"
    case .failed: "failed"
    }
  }

  /// Why it does not go on.
  var reason: String? {
    switch self {
    case .stopped(let reason), .failed(let reason): reason
    default: nil
    }
  }
}
