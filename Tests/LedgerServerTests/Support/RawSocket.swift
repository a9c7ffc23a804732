// Bytes to the server and back as they are, for what no client would send.

import NIOCore
import NIOPosix

enum RawSocket {
  /// What came back.
  struct Answer: Sendable {
    var bytes: [UInt8]
    /// False if the time was up before the server closed the connection or `isEnough` was met.
    var isComplete: Bool
    var text: String { String(decoding: bytes, as: UTF8.self) }
    /// The status lines, in order.
    var statuses: [Int] {
      text.split(separator: "\r\n").flatMap { $0.split(separator: "}") }.filter { $0.hasPrefix("HTTP/1.1 ") }
        .compactMap { Int($0.dropFirst(9).prefix(3)) }
    }
  }

  /// Sends pieces, one write each, and reads until the server closes the connection or it is enough.
  ///
  /// - Parameters:
  ///   - pause: Waited after each piece.
  ///   - closesAfterSending: Hangs up instead of reading.
  ///   - halfCloses: Says after sending that nothing more comes, and reads.
  static func exchange(
    _ path: String, _ pieces: [String], pause: Duration? = nil, seconds: Int64 = 10, closesAfterSending: Bool = false,
    halfCloses: Bool = false, isEnough: @escaping @Sendable (String) -> Bool = { _ in false }
  ) async throws -> Answer {
    let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .connect(unixDomainSocketPath: path) { channel in
        channel.eventLoop.makeCompletedFuture {
          try NIOAsyncChannel<ByteBuffer, ByteBuffer>(
            wrappingChannelSynchronously: channel, configuration: .init(isOutboundHalfClosureEnabled: true))
        }
      }
    return try await channel.executeThenClose { inbound, outbound in
      let connection = channel.channel
      let (outOfTime, timeSource) = AsyncStream<Bool>.makeStream()
      let timer = connection.eventLoop.scheduleTask(in: .seconds(seconds)) {
        timeSource.yield(true)
        connection.close(promise: nil)
      }
      do {
        for piece in pieces {
          try await outbound.write(ByteBuffer(string: piece))
          if let pause { try await Task.sleep(for: pause) }
        }
      } catch is CancellationError {
        throw CancellationError()
      } catch {
        // The server has hung up; what it said is read below.
      }
      if halfCloses { outbound.finish() }
      var bytes: [UInt8] = []
      guard !closesAfterSending else {
        timer.cancel()
        return Answer(bytes: [], isComplete: true)
      }
      do {
        for try await buffer in inbound {
          bytes.append(contentsOf: buffer.readableBytesView)
          if isEnough(String(decoding: bytes, as: UTF8.self)) { break }
        }
      } catch {
        // A reset is an end, too.
      }
      timer.cancel()
      timeSource.finish()
      let isOutOfTime = await outOfTime.first { $0 } ?? false
      return Answer(bytes: bytes, isComplete: !isOutOfTime)
    }
  }

  /// The text of a request.
  static func request(_ method: String, _ target: String, _ headers: [String] = [], body: String = "", closes: Bool = true) -> String {
    var lines = ["\(method) \(target) HTTP/1.1", "host: localhost"] + headers
    if method == "POST", !headers.contains(where: { $0.lowercased().hasPrefix("transfer-encoding") }) {
      lines.append("content-length: \(body.utf8.count)")
    }
    if closes { lines.append("connection: close") }
    return lines.joined(separator: "\r\n") + "\r\n\r\n" + body
  }
}
