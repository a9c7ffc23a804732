// `POST /v1/events`: the call everything begins with. Its answer means "on disk, once".

import Bytes
import EventLog
import HTTPTypes
import Hummingbird
import LedgerCore
import LedgerHTTP
import NIOCore
import NIOPosix
import Zlib
import Zstd

struct AppendRoute: Sendable {
  let log: EventLog
  let limits: ServerLimits
  let readers: ReaderPool
  let access: Access
  let bodies: BodyBudget
  /// Where the quarantine is written: it waits for the disk.
  let threads: NIOThreadPool

  enum Receipts: Equatable, Sendable { case none, all, stream }

  /// True if a request's body may be a stream, whose lines are seen to here and which as a whole has all the time.
  static func takesStream(_ request: HTTPRequest) -> Bool {
    request.method == .post && request.path?.hasPrefix("/v1/events") == true
      && request.headerFields[.contentType].map(MediaType.essence(of:)) == MediaType.ndjson
  }

  func handle(_ request: Request, _ context: LedgerContext) async throws -> Response {
    let parameters = try Parameters(request, allowed: ["atomic", "receipts", "onInvalid"])
    let receipts: Receipts =
      switch parameters.first("receipts") {
      case nil, "false": .none
      case "true": .all
      case "stream": .stream
      default: throw Problem(.invalidRequest, "parameter receipts must be true, false or stream")
      }
    let isAtomic = try parameters.flag("atomic")
    let expected = try expectedRevision(request.headers)
    let setsAside = try setsInvalidAside(parameters)
    guard !setsAside || expected == .any else {
      throw Problem(.invalidRequest, "onInvalid=quarantine may leave events out; it cannot be combined with an expected revision")
    }
    let principal = context.principal
    if let obstacle = log.appendObstacle { throw obstacle.problem }
    await log.waitForRoom()

    let contentType = request.headers[.contentType]
    let essence = contentType.map(MediaType.essence(of:))
    let body = AppendBody(limits: limits, readers: readers, wantsNames: receipts != .none, setsAside: setsAside)
    let isBinary = BinaryMode.isUsed(request.headers, essence: essence)
    if essence == MediaType.ndjson, !isBinary {
      let stream = NDJSONAppend(route: self, body: body, principal: principal, receipts: receipts)
      if isAtomic || expected != .any {
        guard receipts != .stream else {
          throw Problem(
            .invalidRequest, "receipts=stream commits group by group; it cannot be combined with atomic or an expected revision")
        }
        return try await stream.appendAtOnce(try await bytes(of: request), expected)
      }
      return try await stream.respond(to: request)
    }
    guard receipts != .stream else { throw Problem(.invalidRequest, "receipts=stream needs a body of type \(MediaType.ndjson)") }
    let bytes = try await bytes(of: request)
    let parsed: ParsedBatch
    if isBinary {
      let event = try BinaryMode.event(request.headers, contentType: contentType, body: bytes)
      parsed = try body.single(event.rawSpan, into: log.makeBatch(door: .httpBinary, for: principal))
    } else {
      let batch = log.makeBatch(door: .http, for: principal)
      switch essence {
      case MediaType.cloudEvent: parsed = try body.single(bytes.rawSpan, into: batch)
      case MediaType.cloudEventBatch: parsed = try body.array(bytes.rawSpan, into: batch)
      default:
        throw Problem(
          .invalidRequest,
          "Content-Type must be \(MediaType.cloudEvent), \(MediaType.cloudEventBatch) or \(MediaType.ndjson), "
            + "or the event's attributes must be sent as ce- headers")
      }
    }
    let answer =
      setsAside ? try await appendSettingAside(parsed, wantsReceipts: receipts == .all) : try await append(parsed, expected)
    return Response(json: answer.encoded())
  }

  /// What becomes of events that break their schema or have an id that is taken.
  private func setsInvalidAside(_ parameters: Parameters) throws(Problem) -> Bool {
    switch parameters.first("onInvalid") {
    case nil, "refuse": false
    case "quarantine": true
    default: throw Problem(.invalidRequest, "parameter onInvalid must be refuse or quarantine")
    }
  }

  /// Appends and shapes the answer.
  func append(_ parsed: ParsedBatch, _ expected: ExpectedRevision = .any) async throws(AppendError) -> AppendAnswer {
    AppendAnswer(try await log.append(parsed.batch, expected: expected), names: parsed.names)
  }

  /// `If-Match: "<revision>"` and `If-None-Match: *` (RFC 9110 §13.1).
  private func expectedRevision(_ headers: HTTPFields) throws(Problem) -> ExpectedRevision {
    if let match = headers[.ifMatch] {
      guard headers[.ifNoneMatch] == nil else { throw Problem(.invalidRequest, "send If-Match or If-None-Match, not both") }
      let digits = match.dropFirst().dropLast()
      guard match.hasPrefix("\""), match.hasSuffix("\""), digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
        let revision = UInt64(digits)
      else {
        throw Problem(.invalidRequest, "If-Match must be the stream's last revision in quotation marks, such as \"3\"")
      }
      return .exactly(revision)
    }
    if let noneMatch = headers[.ifNoneMatch] {
      guard noneMatch == "*" else { throw Problem(.invalidRequest, "If-None-Match can only be *") }
      return .noStream
    }
    return .any
  }

  /// The whole body, decompressed, within the limit.
  ///
  /// - Throws: ``Problem`` of code `busy` if too much is being received: clients that send slowly must not hold memory
  ///   without end. Small requests always find room.
  func bytes(of request: Request) async throws -> [UInt8] {
    var collected: [UInt8] = []
    var decoder = try ContentDecoder(request.headers, byteCountMax: limits.requestByteCountMax)
    let share = bodies.share()
    let end = ContinuousClock.now + .seconds(limits.bodySecondsMax)
    for try await buffer in request.body {
      // Of a body that may be a stream, nobody else sees how slowly it comes.
      if Self.takesStream(request.head), ContinuousClock.now > end { throw Problem.slowBody(limits) }
      try decoder.decode(Array(buffer.readableBytesView), into: &collected)
      guard share.grow(to: collected.count, of: limits.bodiesByteCountMax) else {
        throw Problem(.busy, "too many large requests are being received; retry soon, or send a stream of type \(MediaType.ndjson)")
      }
    }
    try decoder.finish()
    return collected
  }
}

/// `Content-Encoding`: gzip, zstd or none, decoded as it comes, never beyond a limit.
struct ContentDecoder: ~Copyable {
  // At most one of the two.
  private var gzip: GzipDecoder?
  private var zstd: StreamDecompressor?
  private let byteCountMax: Int
  private let isEndless: Bool
  private var byteCount = 0

  /// Bytes that are decoded at once when a body has no end: small, so that what they hold stays small, too (gzip can
  /// make 4 MiB of them).
  static let sliceByteCount = 4 << 10

  /// True if what is decoded is larger than what is sent.
  var expands: Bool { gzip != nil || zstd != nil }

  init(_ headers: HTTPFields, byteCountMax: Int, isEndless: Bool = false) throws(Problem) {
    self.byteCountMax = byteCountMax
    self.isEndless = isEndless
    gzip = nil
    zstd = nil
    switch headers[.contentEncoding]?.lowercased() {
    case nil, "identity": break
    case "gzip", "x-gzip":
      do throws(ZlibError) {
        gzip = try GzipDecoder(outputByteCountMax: isEndless ? .max : byteCountMax)
      } catch {
        throw Problem(.internal, "no memory for decompressing")
      }
    case "zstd": zstd = StreamDecompressor()
    default: throw Problem(.invalidRequest, "Content-Encoding must be gzip, zstd or identity")
    }
  }

  /// Decodes a piece of a body without end: `byteCountMax` holds for the piece, and not for the whole.
  mutating func decodePiece(_ bytes: [UInt8], into output: inout [UInt8]) throws(Problem) {
    byteCount = 0
    try decode(bytes, into: &output)
  }

  mutating func decode(_ bytes: [UInt8], into output: inout [UInt8]) throws(Problem) {
    let before = output.count
    var fits = true
    if gzip != nil {
      do throws(ZlibError) {
        try gzip?.decode(bytes, into: &output)
      } catch {
        guard case .outputTooLarge = error else { throw Problem(.invalidRequest, "the body is not valid gzip") }
        fits = false
      }
    } else if zstd != nil {
      do throws(ZstdError) {
        fits = try zstd?.decompress(bytes, into: &output, byteCountMax: byteCountMax - byteCount) ?? true
      } catch {
        throw Problem(.invalidRequest, "the body is not valid zstd")
      }
    } else {
      output.append(contentsOf: bytes)
    }
    byteCount += output.count - before
    guard fits, byteCount <= byteCountMax else {
      guard !isEndless else {
        throw Problem(.batchTooLarge, "a piece of the stream has more than \(byteCountMax) bytes when decompressed; send it as it is")
      }
      throw Problem(
        .batchTooLarge,
        "the request has more than \(byteCountMax) bytes when decompressed; split it, or send a stream of type \(MediaType.ndjson)")
    }
  }

  /// Says that the body has ended: a frame that is cut off is an error.
  mutating func finish() throws(Problem) {
    do throws(ZlibError) {
      try gzip?.finish()
    } catch {
      throw Problem(.invalidRequest, "the body's gzip stream is cut off")
    }
    guard zstd?.isAtFrameEnd ?? true else { throw Problem(.invalidRequest, "the body's zstd frame is cut off") }
  }
}
