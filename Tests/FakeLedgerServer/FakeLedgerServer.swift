// Why: the client's and the command line's tests need a server that answers what they ask it to, or misbehaves on purpose.
//
// It holds no ledger: a closure gives each answer. Requests are recorded with their order and their connection.
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// A request as it arrived.
public struct FakeRequest: Sendable {
  /// From 1, in the order in which connections were accepted.
  public let connection: Int
  /// The method.
  public let method: String
  /// Path and query, as sent.
  public let target: String
  /// Names in lower case.
  public let headers: [String: String]
  /// The whole body.
  public let body: [UInt8]
}

/// What the server does with a request.
public enum FakeAnswer: Sendable {
  /// A whole answer.
  case answer(status: Int, headers: [(String, String)], body: [UInt8])
  /// Pieces with a pause before each, then the end, or a connection that breaks.
  case stream(pieces: [[UInt8]], pause: Duration, breaks: Bool)
  /// Pieces without end, as fast as they are read; `written` counts them.
  case endless(piece: [UInt8], written: WrittenCount)
  /// The connection is closed without an answer.
  case hangUp
  /// Nothing at all: the connection stays open.
  case silence
  /// A whole answer with `Connection: close`, after which the connection is closed, read or not.
  case last(status: Int, body: [UInt8])

  /// 200 with JSON.
  public static func json(_ text: String) -> FakeAnswer {
    .answer(status: 200, headers: [("content-type", "application/json")], body: Array(text.utf8))
  }

  /// A refusal.
  public static func problem(_ status: Int, _ code: String, _ detail: String, retryAfter: Int? = nil, more: String = "") -> FakeAnswer {
    var headers = [("content-type", "application/problem+json")]
    if let retryAfter { headers.append(("retry-after", String(retryAfter))) }
    let text = #"{"type":"t","title":"t","status":\#(status),"detail":"\#(detail)","code":"\#(code)","message":"\#(detail)"\#(more)}"#
    return .answer(status: status, headers: headers, body: Array(text.utf8))
  }
}

/// How many pieces of an endless answer the socket took.
public final class WrittenCount: Sendable {
  private let count = Atomic<Int>(0)
  /// A count of 0.
  public init() {}
  /// The count now.
  public var value: Int { count.load(ordering: .relaxed) }
  /// One more.
  public func increment() { count.add(1, ordering: .relaxed) }
}

/// An HTTP server on a Unix socket.
public final class FakeLedgerServer: Sendable {
  /// Gives the answer to the request with that number, from 1.
  public typealias Responder = @Sendable (FakeRequest, Int) -> FakeAnswer

  /// Where it listens.
  public let path: String
  private let channel: any Channel
  private let state: Mutex<[FakeRequest]>
  private let connectionCount = Atomic<Int>(0)

  private init(path: String, channel: any Channel) {
    self.path = path
    self.channel = channel
    self.state = Mutex([])
  }

  private final class Box: Sendable {
    let server = Mutex<FakeLedgerServer?>(nil)
  }

  /// Listens on `path` until ``stop()``.
  ///
  /// - Parameter early: Gives an answer before the body was read; nil waits for the body.
  public static func start(
    path: String, early: @escaping @Sendable (String) -> FakeAnswer? = { _ in nil }, respond: @escaping Responder
  ) async throws -> FakeLedgerServer {
    let box = Box()
    let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.configureHTTPServerPipeline()
          guard let server = box.server.withLock({ $0 }) else { throw ChannelError.ioOnClosedChannel }
          let number = server.connectionCount.add(1, ordering: .relaxed).newValue
          try channel.pipeline.syncOperations.addHandler(Handler(server: server, connection: number, early: early, respond: respond))
        }
      }
      .bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true).get()
    let server = FakeLedgerServer(path: path, channel: channel)
    box.server.withLock { $0 = server }
    return server
  }

  /// A path for a socket that nobody else uses, short enough for one.
  public static func temporaryPath() -> String {
    "/tmp/fake-ledger-\(UInt32.random(in: .min ... .max)).sock"
  }

  /// The requests so far.
  public var requests: [FakeRequest] { state.withLock { $0 } }

  /// How many connections were accepted.
  public var connections: Int { connectionCount.load(ordering: .relaxed) }

  /// Stops listening; open connections stay until the clients close them.
  public func stop() async throws { try await channel.close().get() }

  fileprivate func record(_ request: FakeRequest) -> Int {
    state.withLock {
      $0.append(request)
      return $0.count
    }
  }
}

private final class Handler: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  private let server: FakeLedgerServer
  private let connection: Int
  private let respond: FakeLedgerServer.Responder
  private let early: @Sendable (String) -> FakeAnswer?
  private var head: HTTPRequestHead?
  private var body: [UInt8] = []

  init(
    server: FakeLedgerServer, connection: Int, early: @escaping @Sendable (String) -> FakeAnswer?,
    respond: @escaping FakeLedgerServer.Responder
  ) {
    self.early = early
    self.server = server
    self.connection = connection
    self.respond = respond
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head):
      self.head = head
      body = []
      if let answer = early(head.uri) {
        self.head = nil
        self.answer(answer, on: context.channel)
      }
    case .body(let bytes): body.append(contentsOf: bytes.readableBytesView)
    case .end:
      guard let head else { return }
      let headers = Dictionary(head.headers.map { ($0.name.lowercased(), $0.value) }) { first, _ in first }
      let request = FakeRequest(
        connection: connection, method: head.method.rawValue, target: head.uri, headers: headers, body: body)
      let number = server.record(request)
      answer(respond(request, number), on: context.channel)
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  private func answer(_ answer: FakeAnswer, on channel: any Channel) {
    switch answer {
    case .hangUp: channel.close(promise: nil)
    case .silence: break
    case .last(let status, let body):
      let headers = HTTPHeaders([("content-length", String(body.count)), ("connection", "close")])
      let head = HTTPResponseHead(version: .http1_1, status: .init(statusCode: status), headers: headers)
      channel.write(HTTPServerResponsePart.head(head), promise: nil)
      channel.write(HTTPServerResponsePart.body(.byteBuffer(ByteBuffer(bytes: body))), promise: nil)
      channel.writeAndFlush(HTTPServerResponsePart.end(nil), promise: nil)
      channel.close(promise: nil)
    case .answer(let status, let headers, let body):
      var all = HTTPHeaders(headers)
      all.add(name: "content-length", value: String(body.count))
      let head = HTTPResponseHead(version: .http1_1, status: .init(statusCode: status), headers: all)
      channel.write(HTTPServerResponsePart.head(head), promise: nil)
      channel.write(HTTPServerResponsePart.body(.byteBuffer(ByteBuffer(bytes: body))), promise: nil)
      channel.writeAndFlush(HTTPServerResponsePart.end(nil), promise: nil)
    case .stream(let pieces, let pause, let breaks):
      Self.run { try await Self.stream(pieces, pause, breaks, on: channel) }
    case .endless(let piece, let written):
      Self.run { try await Self.streamEndlessly(piece, written, on: channel) }
    }
  }

  private static func run(_ work: @escaping @Sendable () async throws -> Void) {
    Task(operation: work)
  }

  private static func stream(_ pieces: [[UInt8]], _ pause: Duration, _ breaks: Bool, on channel: any Channel) async throws {
    try await begin(on: channel)
    for piece in pieces {
      try await Task.sleep(for: pause)
      try await write(piece, on: channel)
    }
    if breaks { try await channel.close().get() } else { try await channel.writeAndFlush(HTTPServerResponsePart.end(nil)).get() }
  }

  private static func streamEndlessly(_ piece: [UInt8], _ written: WrittenCount, on channel: any Channel) async throws {
    try await begin(on: channel)
    while true {
      try await write(piece, on: channel)
      written.increment()
    }
  }

  private static func begin(on channel: any Channel) async throws {
    let headers = HTTPHeaders([("content-type", "application/x-ndjson"), ("transfer-encoding", "chunked")])
    let head = HTTPResponseHead(version: .http1_1, status: .ok, headers: headers)
    try await channel.writeAndFlush(HTTPServerResponsePart.head(head)).get()
  }

  private static func write(_ piece: [UInt8], on channel: any Channel) async throws {
    try await channel.writeAndFlush(HTTPServerResponsePart.body(.byteBuffer(ByteBuffer(bytes: piece)))).get()
  }
}
