// The client of `ledgerd bench`: as many connections as asked for on one thread, each with some requests under way. The
// same code drives the ledger and Redis, so what a client costs is the same on both sides.
//
// Invariants:
// - Requests are made before the clock runs; while it runs, the client writes them and counts answers.
// - An answer that is no success ends the run with an error: a rate over refusals is no rate.

import NIOCore
import NIOPosix
import Synchronization
import Threads

/// Tells where answers end, for one protocol.
protocol AnswerFraming {
  init()
  /// Takes whole requests' answers out of `buffer`, and tells how many there were.
  mutating func take(from buffer: inout ByteBuffer) throws(LoadError) -> Int
}

/// Why a load was given up.
struct LoadError: Error, CustomStringConvertible {
  let description: String
}

/// What a load took.
struct LoadResult: Sendable {
  var seconds: Double
  /// From writing a request to having its answer, in nanoseconds, ascending.
  var latencies: [Int64]

  /// The latency below which a share of the requests stays, in microseconds.
  func latency(share: Double) -> Double {
    guard !latencies.isEmpty else { return 0 }
    return Double(latencies[min(latencies.count - 1, Int(Double(latencies.count) * share))]) / 1e3
  }
}

/// Requests in flight over several connections.
struct Load<Framing: AnswerFraming> {
  let socket: String
  let connectionCount: Int
  /// Requests under way on each connection.
  let depth: Int
  /// Redis answers each command of a request, the ledger each request.
  var answersPerRequest = 1

  /// Sends all requests, dealt out to the connections in turn, and returns when each is answered. Blocks.
  func run(_ requests: [ByteBuffer]) throws -> LoadResult {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    defer {
      // Nothing is left to do on it: every connection is closed.
      group.shutdownGracefully { _ in }
    }
    let loop = group.next()
    let ends = Ends()
    var channels: [any Channel] = []
    for number in 0..<connectionCount {
      let own = stride(from: number, to: requests.count, by: connectionCount).map { requests[$0] }
      let (depth, perRequest) = (depth, answersPerRequest)
      let channel = try ClientBootstrap(group: loop)
        .channelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            try channel.pipeline.syncOperations.addHandler(LoadConnection<Framing>(own, depth: depth, perRequest: perRequest, ends: ends))
          }
        }
        .connect(unixDomainSocketPath: socket).wait()
      channels.append(channel)
    }
    let start = MonotonicClock.nanoseconds()
    let begun = channels
    loop.execute { for channel in begun { channel.pipeline.fireUserInboundEventTriggered(Begin()) } }
    let count = connectionCount
    let ended: Result<[Int64], LoadError>? = ends.state.wait { state in
      if let failure = state.failure { return .failure(failure) }
      return state.endCount == count ? .success(state.latencies) : nil
    }
    let seconds = Double(MonotonicClock.nanoseconds() - start) / 1e9
    for channel in channels { channel.close(promise: nil) }
    guard let latencies = try ended?.get() else { throw LoadError(description: "the load did not end") }
    return LoadResult(seconds: seconds, latencies: latencies.sorted())
  }
}

/// Where the connections say that they are done.
private final class Ends: Sendable {
  struct State: Sendable {
    var endCount = 0
    var latencies: [Int64] = []
    var failure: LoadError?
  }
  let state = Monitor(State())
}

private struct Begin: Sendable {}

/// One connection of a load.
private final class LoadConnection<Framing: AnswerFraming>: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private let requests: [ByteBuffer]
  private let depth: Int
  private let perRequest: Int
  private let ends: Ends
  private var framing = Framing()
  private var sentCount = 0
  private var answeredCount = 0
  /// Answers to parts of the request that is being answered.
  private var partCount = 0
  private var rest: ByteBuffer?
  private var starts: [Int64] = []
  private var latencies: [Int64] = []
  private var isOver = false

  init(_ requests: [ByteBuffer], depth: Int, perRequest: Int, ends: Ends) {
    self.requests = requests
    self.depth = depth
    self.perRequest = perRequest
    self.ends = ends
    starts.reserveCapacity(requests.count)
    latencies.reserveCapacity(requests.count)
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    guard event is Begin else { return context.fireUserInboundEventTriggered(event) }
    send(context)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var bytes = unwrapInboundIn(data)
    if var whole = rest {
      whole.writeBuffer(&bytes)
      bytes = whole
      rest = nil
    }
    do {
      let parts = partCount + (try framing.take(from: &bytes))
      let count = parts / perRequest
      partCount = parts % perRequest
      let now = MonotonicClock.nanoseconds()
      for number in answeredCount..<answeredCount + count { latencies.append(now - starts[number]) }
      answeredCount += count
    } catch {
      return end(error, context)
    }
    if bytes.readableBytes > 0 { rest = bytes }
  }

  func channelReadComplete(context: ChannelHandlerContext) { send(context) }

  func channelInactive(context: ChannelHandlerContext) {
    end(answeredCount == requests.count ? nil : LoadError(description: "the connection was closed before all was answered"), context)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { end(LoadError(description: "\(error)"), context) }

  private func send(_ context: ChannelHandlerContext) {
    var isAnything = false
    while sentCount < requests.count, sentCount - answeredCount < depth {
      starts.append(MonotonicClock.nanoseconds())
      context.write(wrapOutboundOut(requests[sentCount]), promise: nil)
      sentCount += 1
      isAnything = true
    }
    if isAnything { context.flush() }
    if answeredCount == requests.count { end(nil, context) }
  }

  private func end(_ failure: LoadError?, _ context: ChannelHandlerContext) {
    guard !isOver else { return }
    isOver = true
    let latencies = latencies
    ends.state.signal { state in
      state.endCount += 1
      state.latencies += latencies
      state.failure = state.failure ?? failure
    }
  }
}

/// Answers of the ledger: heads with `content-length`.
struct LedgerFraming: AnswerFraming {
  /// Bytes of the body that is being read which are still to come.
  private var missing = 0

  mutating func take(from buffer: inout ByteBuffer) throws(LoadError) -> Int {
    var count = 0
    while buffer.readableBytes > 0 {
      let view = buffer.readableBytesView
      guard let end = Self.headEnd(view) else { break }
      guard view.starts(with: "HTTP/1.1 200".utf8), let length = Self.contentLength(view[..<end]) else {
        throw LoadError(description: "the ledger refused: " + String(decoding: view.prefix(600), as: UTF8.self))
      }
      guard view.endIndex - end >= length else { break }
      buffer.moveReaderIndex(to: end + length)
      count += 1
    }
    return count
  }

  private static func headEnd(_ view: ByteBufferView) -> Int? {
    var index = view.startIndex
    while index + 3 < view.endIndex {
      if view[index + 3] == 0x0a, view[index + 2] == 0x0d, view[index + 1] == 0x0a { return index + 4 }
      index += 1
    }
    return nil
  }

  private static func contentLength(_ head: ByteBufferView) -> Int? {
    let name = Array("content-length: ".utf8)
    var index = head.startIndex
    while let line = head[index...].firstIndex(of: 0x0a), line + 1 < head.endIndex {
      index = line + 1
      let rest = head[index...]
      guard rest.count > name.count, rest.prefix(name.count).lowercasedEquals(name) else { continue }
      return rest.dropFirst(name.count).prefix { $0 >= 0x30 && $0 <= 0x39 }.reduce(0) { $0 * 10 + Int($1 & 15) }
    }
    return nil
  }
}

extension ByteBufferView {
  fileprivate func lowercasedEquals(_ name: [UInt8]) -> Bool { zip(self, name).allSatisfy { $0 | 0x20 == $1 | 0x20 } }
}
