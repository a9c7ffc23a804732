// Why: one HTTP/1.1 connection on which requests may be pipelined; answers come back in the order of the requests.
//
// Invariants:
// - Every exchange that was enqueued ends exactly once: with its whole answer, or with an error; an answer that has not
//   begun in time is an error of the connection.
// - The socket is not read while the consumer of the current answer lags behind (backpressure).
// - An answer that its consumer gives up closes the connection: the rest of it cannot be skipped cheaply.
// - All state belongs to the channel's event loop.

import LedgerHTTP
import NIOCore
import NIOHTTP1
import NIOPosix

typealias BodySequence = NIOThrowingAsyncSequenceProducer<
  ByteBuffer, any Error, NIOAsyncSequenceProducerBackPressureStrategies.HighLowWatermark, BodyDelegate
>

/// A request on its way, and where its answer goes.
struct Exchange {
  let id: Int
  let head: EventLoopPromise<HTTPResponseHead>
  let source: BodySequence.Source
  /// Fires if the answer does not begin.
  var timer: Scheduled<Void>?

  func fail(_ error: any Error) {
    timer?.cancel()
    head.fail(error)
    source.finish(error)
  }
}

/// Tells the connection when the consumer of an answer has room again, or has gone.
final class BodyDelegate: NIOAsyncSequenceProducerDelegate {
  private let id: Int
  private let handler: NIOLoopBound<ResponseHandler>
  private let eventLoop: any EventLoop

  init(id: Int, handler: NIOLoopBound<ResponseHandler>, eventLoop: any EventLoop) {
    self.id = id
    self.handler = handler
    self.eventLoop = eventLoop
  }

  func produceMore() {
    eventLoop.execute { [id, handler] in handler.value.resume(id) }
  }

  func didTerminate() {
    eventLoop.execute { [id, handler] in handler.value.abandon(id) }
  }
}

/// The daemon took a request and did not begin to answer.
struct AnswerTimeout: Error { let seconds: Int64 }

/// Gives each part of an answer to the oldest exchange.
final class ResponseHandler: ChannelDuplexHandler {
  typealias InboundIn = HTTPClientResponsePart
  typealias OutboundIn = HTTPClientRequestPart
  typealias OutboundOut = HTTPClientRequestPart

  private var exchanges: [Exchange] = []
  private var context: ChannelHandlerContext?
  private var isPaused = false
  private var wantsRead = false
  private var closesAfterAnswer = false

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }
  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  /// Whether a new request may be sent.
  var isUsable: Bool { context?.channel.isActive == true && !closesAfterAnswer }

  /// - Parameter timeout: How long the answer may take to begin.
  func enqueue(_ exchange: Exchange, timeout: TimeAmount?) {
    guard isUsable, let context else { return exchange.fail(ChannelError.ioOnClosedChannel) }
    var exchange = exchange
    exchange.timer = timeout.map { timeout in
      context.eventLoop.assumeIsolated().scheduleTask(in: timeout) {
        self.failAll(AnswerTimeout(seconds: timeout.nanoseconds / 1_000_000_000))
        self.context?.close(promise: nil)
      }
    }
    exchanges.append(exchange)
  }

  func resume(_ id: Int) {
    guard exchanges.first?.id == id, isPaused else { return }
    unpause()
  }

  func abandon(_ id: Int) {
    guard exchanges.contains(where: { $0.id == id }) else { return }
    context?.close(promise: nil)
  }

  private func unpause() {
    isPaused = false
    if wantsRead {
      wantsRead = false
      context?.read()
    }
  }

  func read(context: ChannelHandlerContext) {
    if isPaused { wantsRead = true } else { context.read() }
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard let exchange = exchanges.first else {
      context.close(promise: nil)
      return
    }
    switch unwrapInboundIn(data) {
    case .head(let head):
      closesAfterAnswer = !head.isKeepAlive
      exchange.timer?.cancel()
      exchange.head.succeed(head)
    case .body(let bytes):
      switch exchange.source.yield(bytes) {
      case .produceMore: break
      case .stopProducing: isPaused = true
      case .dropped: context.close(promise: nil)
      }
    case .end:
      exchanges.removeFirst()
      exchange.source.finish()
      if isPaused { unpause() }
      if closesAfterAnswer { context.close(promise: nil) }
    }
  }

  func channelInactive(context: ChannelHandlerContext) {
    failAll(ChannelError.inputClosed)
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    failAll(error)
    context.close(promise: nil)
  }

  private func failAll(_ error: any Error) {
    let failed = exchanges
    exchanges = []
    for exchange in failed { exchange.fail(error) }
  }
}

/// A connected channel.
struct Connection: Sendable {
  let channel: any Channel
  private let handler: NIOLoopBound<ResponseHandler>

  static func connect(to endpoint: Endpoint, group: any EventLoopGroup) async throws(ClientError) -> Connection {
    do {
      let bootstrap = ClientBootstrap(group: group)
        .connectTimeout(.seconds(10))
        .channelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            try channel.pipeline.syncOperations.addHTTPClientHandlers()
            try channel.pipeline.syncOperations.addHandler(ResponseHandler())
          }
        }
      let channel =
        switch endpoint {
        case .unixSocket(let path): try await bootstrap.connect(unixDomainSocketPath: path).get()
        case .tcp(let host, let port): try await bootstrap.connect(host: host, port: port).get()
        }
      let handler = try await channel.eventLoop.submit {
        NIOLoopBound(try channel.pipeline.syncOperations.handler(type: ResponseHandler.self), eventLoop: channel.eventLoop)
      }.get()
      return Connection(channel: channel, handler: handler)
    } catch {
      throw .unreachable(endpoint: endpoint.description, reason: Endpoint.reason(of: error))
    }
  }

  var isActive: Bool { channel.isActive }

  /// Sends the head of a request, and its body if it is there already; returns when both were handed to the loop.
  func start(_ head: HTTPRequestHead, body: [UInt8]?, id: Int, timeout: Duration?) -> PendingResponse {
    let eventLoop = channel.eventLoop
    let promise = eventLoop.makePromise(of: HTTPResponseHead.self)
    let made = BodySequence.makeSequence(
      elementType: ByteBuffer.self, failureType: (any Error).self,
      backPressureStrategy: .init(lowWatermark: 4, highWatermark: 16), finishOnDeinit: false,
      delegate: BodyDelegate(id: id, handler: handler, eventLoop: eventLoop))
    let exchange = Exchange(id: id, head: promise, source: made.source)
    eventLoop.execute { [channel, handler] in
      handler.value.enqueue(exchange, timeout: timeout.map { TimeAmount($0) })
      channel.write(HTTPClientRequestPart.head(head), promise: nil)
      guard let body else { return channel.flush() }
      if !body.isEmpty { channel.write(HTTPClientRequestPart.body(.byteBuffer(ByteBuffer(bytes: body))), promise: nil) }
      channel.writeAndFlush(HTTPClientRequestPart.end(nil), promise: nil)
    }
    return PendingResponse(head: promise.futureResult, body: made.sequence)
  }

  /// Sends a piece of a body and waits until the socket took it.
  func write(_ bytes: [UInt8]) async throws {
    try await channel.writeAndFlush(HTTPClientRequestPart.body(.byteBuffer(ByteBuffer(bytes: bytes)))).get()
  }

  func endBody() async throws {
    try await channel.writeAndFlush(HTTPClientRequestPart.end(nil)).get()
  }

  func close() async {
    channel.close(promise: nil)
    do { try await channel.closeFuture.get() } catch { return }  // a channel that failed to close is closed
  }
}
