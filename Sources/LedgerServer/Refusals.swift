// Whatever goes wrong on the way to a route or inside of one becomes problem details here.
//
// Invariant: every answer that is no success is `application/problem+json`, also to bytes that are no request.

import HTTPTypes
import Hummingbird
import LedgerHTTP
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypes

/// A path and one of its methods.
struct Route: Sendable {
  let method: HTTPRequest.Method
  /// With names in braces.
  let path: String
  /// What its caller must be permitted; nil: it is open to everybody who can connect.
  let permission: Permission?
  let handle: @Sendable (Request, LedgerContext) async throws -> Response

  init(
    _ method: HTTPRequest.Method, _ path: String, needs permission: Permission?,
    _ handle: @escaping @Sendable (Request, LedgerContext) async throws -> Response
  ) {
    self.method = method
    self.path = path
    self.permission = permission
    self.handle = handle
  }

  /// A route that says nothing else needs ``Permission/read`` if it only reads, and ``Permission/administer`` if not.
  init(_ method: HTTPRequest.Method, _ path: String, _ handle: @escaping @Sendable (Request, LedgerContext) async throws -> Response) {
    self.init(method, path, needs: method == .get ? .read : .administer, handle)
  }

  /// The method and the path's pattern, as logs name it.
  var name: String { "\(method.rawValue) \(path)" }

  /// Whether a request's path is this one, whatever its method.
  func matches(_ requested: String) -> Bool {
    let (own, other) = (path.split(separator: "/"), requested.split(separator: "/"))
    guard own.count == other.count else { return false }
    return zip(own, other).allSatisfy { $0.hasPrefix("{") || $0.utf8.elementsEqual($1.utf8) }
  }
}

/// Turns whatever a route throws into problem details, and logs what only the operator should see.
struct ProblemMiddleware: RouterMiddleware {
  let logger: Logger
  let routes: [Route]

  func handle(
    _ request: Request, context: LedgerContext, next: (Request, LedgerContext) async throws -> Response
  ) async throws -> Response {
    do {
      return try await next(request, context)
    } catch is CancellationError {
      throw CancellationError()
    } catch {
      // The router says "not found" of a path, too, whose methods are others.
      if (error as? any HTTPResponseError)?.status == .notFound, case let list = methods(of: request.uri.path), !list.isEmpty {
        return Response(Problem(.methodNotAllowed, "the path is there, but knows \(list) only"), headers: [.allow: list])
      }
      let problem = Problem(error)
      if problem.code == .internal {
        logger.error("request failed", metadata: ["method": "\(request.method)", "error": "\(error)"])
      }
      return Response(problem)
    }
  }

  private func methods(of path: String) -> String {
    routes.filter { $0.matches(path) }.map(\.method.rawValue).sorted().joined(separator: ", ")
  }
}

extension Problem {
  /// The head did not come in time.
  static func slowHead(_ limits: ServerLimits) -> Problem {
    Problem(
      .tooSlow,
      "the request's headers were not whole \(limits.headSecondsMax) seconds after its first byte (head-seconds-max); send them in one go")
  }

  /// The body did not come in time.
  static func slowBody(_ limits: ServerLimits) -> Problem {
    Problem(
      .tooSlow,
      "the request's body was not whole \(limits.bodySecondsMax) seconds after its headers (body-seconds-max), nothing was appended; send it "
        + "faster, split it, or send a stream of type \(MediaType.ndjson), of which each line has that time")
  }

  /// A line of a stream did not come in time.
  static func slowLine(_ limits: ServerLimits, line: Int) -> Problem {
    Problem(
      .tooSlow,
      "line \(line) was not whole \(limits.bodySecondsMax) seconds after its first byte (body-seconds-max); the lines before it stand",
      line: line)
  }
}

/// What HTTP asks of a connection below its requests: whoever expects `100-continue` gets it (curl sends a large body
/// only then, or a second later), and bytes that are no HTTP, or a head beyond the limits, are answered before the
/// connection is closed. No route ever sees either.
final class ConnectionHandler: ChannelDuplexHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPRequestPart
  typealias InboundOut = HTTPRequestPart
  typealias OutboundIn = HTTPResponsePart
  typealias OutboundOut = HTTPResponsePart

  /// Requests that are not answered yet: their answers come first, so then there is no place for another.
  private var waitingCount = 0
  private var isOver = false
  /// True from an answer's head to its end.
  private var hasBegunAnswer = false
  /// The answer that is being written says that the connection ends with it.
  private var endsConnection = false

  /// Heads that the parser has found so far.
  private(set) var headCount = 0
  /// True from a request's head to its end.
  private(set) var isReading = false
  /// The length of the last request's body, if its head says so.
  private(set) var bodyByteCount: Int?
  /// Since when the body has had its time; nil: it is a stream, and its route sees to it.
  var bodySince: NIODeadline? { isStream && waitingCount > 0 ? nil : bodyStart }
  private var bodyStart = NIODeadline.now()
  private var isStream = false
  /// True while a request is not answered.
  var isAnswering: Bool { waitingCount > 0 }
  /// Called when a request has been read to its end, and when one has been answered.
  var onProgress: (() -> Void)?

  /// The time of the body begins anew: we kept its sender waiting.
  func restartBodyTime() { bodyStart = .now() }

  /// Ends what this connection says.
  ///
  /// - Returns: True if the place for an answer is free: what is coming in has none yet, and no request before is owed one.
  func giveUp() -> Bool {
    defer { isOver = true }
    return waitingCount == (isReading ? 1 : 0) && !hasBegunAnswer && !isOver
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head):
      headCount += 1
      isReading = true
      bodyStart = .now()
      isStream = AppendRoute.takesStream(head)
      bodyByteCount = head.headerFields[.transferEncoding] == nil ? head.headerFields[.contentLength].flatMap { Int($0) } : nil
      if waitingCount == 0, head.headerFields[.expect]?.lowercased() == "100-continue" {
        context.writeAndFlush(wrapOutboundOut(.head(HTTPResponse(status: .continue))), promise: nil)
      }
      waitingCount += 1
      context.fireChannelRead(data)
    case .body: context.fireChannelRead(data)
    case .end:
      isReading = false
      context.fireChannelRead(data)
      onProgress?()
    }
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    guard !isOver else {
      promise?.fail(ChannelError.ioOnClosedChannel)
      return
    }
    switch unwrapOutboundIn(data) {
    case .head(let head):
      hasBegunAnswer = head.status.kind != .informational
      endsConnection = hasBegunAnswer && head.headerFields[.connection] == "close"
      context.write(data, promise: promise)
    case .body: context.write(data, promise: promise)
    case .end:
      hasBegunAnswer = false
      waitingCount -= 1
      // What is left of a refused stream is a body like any other.
      if isStream, isReading { bodyStart = .now() }
      guard endsConnection else {
        context.write(data, promise: promise)
        onProgress?()
        return
      }
      isOver = true
      let closing = NIOLoopBound(context, eventLoop: context.eventLoop)
      let written = promise ?? context.eventLoop.makePromise()
      written.futureResult.whenComplete { _ in closing.value.close(promise: nil) }
      context.write(data, promise: written)
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    // What breaks off is not malformed; and nobody is there to be told.
    if case .some(.invalidEOFState) = error as? HTTPParserError { return context.fireErrorCaught(error) }
    guard error is HTTPParserError, waitingCount == 0, !isOver else { return context.fireErrorCaught(error) }
    isOver = true
    let body = ByteBuffer(bytes: Problem.notHTTP.encoded())
    let head = HTTPResponse(
      status: .init(code: Problem.notHTTP.code.status),
      headerFields: [.contentType: MediaType.problem, .contentLength: String(body.readableBytes), .connection: "close"])
    context.write(wrapOutboundOut(.head(head)), promise: nil)
    context.write(wrapOutboundOut(.body(body)), promise: nil)
    let closing = NIOLoopBound(context, eventLoop: context.eventLoop)
    context.writeAndFlush(wrapOutboundOut(.end(nil))).whenComplete { _ in closing.value.close(promise: nil) }
  }
}
