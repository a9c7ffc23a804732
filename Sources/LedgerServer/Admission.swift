// Access, as the router's routes meet it: each request is admitted before its route sees it.

import HTTPTypes
import Hummingbird
import LedgerCore
import LedgerHTTP
import NIOCore
import EventLog

/// What a request carries through the router.
struct LedgerContext: RequestContext {
  var coreContext: CoreRequestContextStorage
  let channel: any Channel
  /// Who calls; set when they are admitted.
  var principal = Principal.nobody

  init(source: ApplicationRequestContextSource) {
    coreContext = .init(source: source)
    channel = source.channel
  }

  /// Bodies are collected by the routes themselves, with their own limits and errors.
  var maxUploadSize: Int { 8 << 20 }
}

extension Access {
  /// Answers a request by its route, if its caller may.
  func answer(_ request: Request, _ context: LedgerContext, _ route: Route) async throws -> Response {
    let channel = context.channel
    let caller = try await channel.eventLoop.submit { try identity(of: channel) }.get()
    var context = context
    context.principal = try admit(
      caller, route.permission, route: route.name, host: request.head.authority, authorization: request.headers[.authorization])
    do {
      return try await route.handle(request, context)
    } catch let problem as Problem where problem.code == .forbidden {
      refusals.report(problem, context.principal, route: route.name)
      throw problem
    }
  }
}

extension EventLog {
  /// An empty batch for what somebody sends: in their name, and of their sources only.
  func makeBatch(door: FrontDoor, for principal: Principal) -> EventBatch {
    makeBatch(door: door, principal: principal.name, sources: principal.sources)
  }
}
