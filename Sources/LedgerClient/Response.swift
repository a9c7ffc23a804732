// Why: an answer is either collected whole, up to a limit, or read line by line as it comes.
//
// Invariants:
// - A collected body never exceeds `Response.byteCountMax`, a line never `ResponseLines.lineByteCountMax`.
// - A stream that breaks off ends with an error, never as if it were complete.

import NIOCore
import NIOHTTP1

/// A whole answer, whatever its status.
public struct Response: Sendable {
  /// The HTTP status.
  public var status: Int
  /// The headers, in their order, names as sent.
  public var headers: [(name: String, value: String)]
  /// The body, after transfer coding.
  public var body: [UInt8]

  /// The most that a collected body may have, in bytes; longer ones are read as lines.
  public static let byteCountMax = 256 << 20

  /// The first header of that name, in any case of letters.
  public func header(_ name: String) -> String? {
    headers.first { $0.name.lowercased() == name.lowercased() }?.value
  }

  /// The refusal in this answer, if its status is not 200.
  public var problem: ServerProblem? {
    if status == 200 { return nil }
    return ServerProblem(status: status, retryAfterSeconds: header("retry-after").flatMap { Int($0) }, body: body)
  }

  /// The body as JSON.
  public func json() throws(ClientError) -> JSONValue {
    do throws(JSONSyntaxError) {
      return try JSONValue(parsing: body)
    } catch {
      throw .protocolViolation("the body is no JSON: \(error)")
    }
  }
}

/// A request whose answer has not come yet. Several may be under way on one connection; await each exactly once.
public struct PendingResponse: Sendable {
  let head: EventLoopFuture<HTTPResponseHead>
  let body: BodySequence

  /// Waits for the whole answer.
  ///
  /// - Throws: ``ClientError/connectionLost(reason:)``, ``ClientError/protocolViolation(_:)``. A refusal is returned.
  public func collect() async throws(ClientError) -> Response {
    do {
      let head = try await head.get()
      var bytes: [UInt8] = []
      for try await buffer in body {
        bytes.append(contentsOf: buffer.readableBytesView)
        guard bytes.count <= Response.byteCountMax else {
          throw ClientError.protocolViolation("an answer of more than \(Response.byteCountMax) bytes")
        }
      }
      // A cancelled task ends the sequence early; half an answer must not look like a whole one.
      try Task.checkCancellation()
      return Response(status: Int(head.status.code), headers: head.headers.map { (name: $0.name, value: $0.value) }, body: bytes)
    } catch {
      throw Endpoint.failure(of: error)
    }
  }
}

/// An answer that is read line by line while it arrives, with backpressure: lines not asked for stay in the socket.
///
/// Iterate once. Giving up early closes the stream's connection.
public struct ResponseLines: AsyncSequence, Sendable {
  /// A line without its line feed.
  public typealias Element = [UInt8]
  /// Lines fail with ``ClientError``.
  public typealias Failure = ClientError

  /// The longest line that is read, in bytes: an event of 1 MiB with its envelope fits many times.
  public static let lineByteCountMax = 16 << 20

  let body: BodySequence
  let connection: Connection

  /// Starts reading.
  public func makeAsyncIterator() -> AsyncIterator {
    AsyncIterator(body: body.makeAsyncIterator(), connection: connection)
  }

  /// The reader of the lines.
  public struct AsyncIterator: AsyncIteratorProtocol {
    fileprivate var body: BodySequence.AsyncIterator
    fileprivate let connection: Connection
    private var buffer = ByteBuffer()
    private var searched = 0
    private var isAtEnd = false

    fileprivate init(body: BodySequence.AsyncIterator, connection: Connection) {
      self.body = body
      self.connection = connection
    }

    /// The next line, or nil at the end of the answer. An empty line is skipped.
    public mutating func next() async throws(ClientError) -> [UInt8]? {
      while true {
        if let line = takeLine() {
          if line.isEmpty { continue }
          return line
        }
        if isAtEnd { return takeRest() }
        guard buffer.readableBytes <= ResponseLines.lineByteCountMax else {
          connection.channel.close(promise: nil)
          throw .protocolViolation("a line of more than \(ResponseLines.lineByteCountMax) bytes")
        }
        try await fill()
      }
    }

    private mutating func takeLine() -> [UInt8]? {
      let view = buffer.readableBytesView
      guard let end = view[(view.startIndex + searched)...].firstIndex(of: UInt8(ascii: "\n")) else {
        searched = view.count
        return nil
      }
      let byteCount = end - view.startIndex
      let line = Array(view[view.startIndex..<end])
      buffer.moveReaderIndex(forwardBy: byteCount + 1)
      searched = 0
      if buffer.readableBytes == 0 { buffer.clear() }
      return line
    }

    private mutating func takeRest() -> [UInt8]? {
      guard buffer.readableBytes > 0 else { return nil }
      let rest = Array(buffer.readableBytesView)
      buffer.clear()
      searched = 0
      return rest
    }

    private mutating func fill() async throws(ClientError) {
      do {
        if var bytes = try await body.next() {
          buffer.writeBuffer(&bytes)
          return
        }
        try Task.checkCancellation()
        isAtEnd = true
        connection.channel.close(promise: nil)
      } catch {
        connection.channel.close(promise: nil)
        throw Endpoint.failure(of: error)
      }
    }
  }
}
