// Why: events from a file or a pipe, in whichever of the three JSON shapes they have.
//
// Invariants: NDJSON is streamed, whatever its size; an array or a single event is sent as one request; what is sent is
// what was read, byte for byte.

import ArgumentParser
import LedgerClient
import LedgerHTTP

struct AppendCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "append",
    abstract: "Append CloudEvents: a line each, one JSON array, or a single event.",
    discussion: """
      Appending the same events again is safe: they are counted as duplicates. Files may be compressed with gzip or zstd.

      Examples:
        ledgerctl append events.ndjson
        grep call events.ndjson | ledgerctl append --json --receipts
      """)

  @OptionGroup var global: GlobalOptions

  @Flag(help: "Ask for the position of every event (with --json).")
  var receipts = false

  @Flag(help: "Set events aside that break their schema or have an id that is taken, and append the rest.")
  var quarantine = false

  @Argument(help: ArgumentHelp("The file, or - for standard input.", valueName: "file"))
  var file = "-"

  func run() async throws {
    let client = try global.client
    let input = InputPieces(try ByteSource(path: file))
    let (start, shape) = try await input.detectShape()
    var query = receipts ? [(name: "receipts", value: "true")] : []
    if quarantine { query.append((name: "onInvalid", value: "quarantine")) }
    let target = LedgerClient.target("/v1/events", query)
    let response: Response
    switch shape {
    case .empty: throw UsageError(description: "\(file == "-" ? "standard input" : file) holds no events")
    case .lines:
      let pieces = AsyncThrowingStream<[UInt8], any Error>(unfolding: { try await input.next() })
      response = try await client.upload(
        target, headers: [(name: "content-type", value: MediaType.ndjson)], pieces: Prefixed(first: start, rest: pieces))
    case .array, .event:
      let type = shape == .array ? MediaType.cloudEventBatch : MediaType.cloudEvent
      response = try await client.retrying("POST", target, headers: [(name: "content-type", value: type)], body: start)
    }
    let answer: AppendAnswer
    do throws(ClientError) {
      answer = try LedgerClient.streamedAppendAnswer(response)
    } catch {
      throw Self.explained(error)
    }
    var output = Output()
    if global.json {
      try output.body(response.body)
    } else {
      var text = "appended \(answer.appended), duplicates \(answer.duplicates)"
      if answer.erased > 0 { text += ", erased \(answer.erased)" }
      if let count = answer.quarantined { text += ", quarantined \(count)" }
      try output.line(text + ", head \(answer.head)")
    }
    try output.flush()
  }

  /// Adds the places of the bad events to the message.
  private static func explained(_ error: ClientError) -> ClientError {
    guard case .problem(var problem) = error else { return error }
    if let line = problem.line, !problem.detail.hasPrefix("line \(line):") { problem.detail = "line \(line): " + problem.detail }
    for bad in problem.errors { problem.detail += "\n  event \(bad.index + 1): \(bad.detail) (\(bad.code))" }
    if let accepted = problem.accepted { problem.detail += "; before it, \(accepted.appended) events were appended, and stay" }
    return .problem(problem)
  }
}

/// The pieces of an input, for a task that sends them.
actor InputPieces {
  enum Shape { case empty, lines, array, event }

  private static let wholeByteCountMax = 64 << 20
  private var source: ByteSource

  init(_ source: consuming ByteSource) { self.source = source }

  func next() throws -> [UInt8]? { try source.next() }

  /// Reads as much of the input as is needed to tell its shape: all of it, if it is an array or one event.
  func detectShape() throws -> (start: [UInt8], shape: Shape) {
    var start: [UInt8] = []
    var isComplete = false
    func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D }
    func readMore() throws {
      if let piece = try source.next() { start += piece } else { isComplete = true }
      guard start.count <= Self.wholeByteCountMax else {
        throw InputError(
          file: source.name, reason: "an array or a line of more than \(Self.wholeByteCountMax) bytes; send a line per event")
      }
    }
    if try source.next().map({ start += $0 }) == nil { isComplete = true }
    if start.starts(with: [0xEF, 0xBB, 0xBF]) { start.removeFirst(3) }
    while !isComplete, start.allSatisfy(isBlank) { try readMore() }
    guard let first = start.firstIndex(where: { !isBlank($0) }) else { return ([], .empty) }
    if start[first] == UInt8(ascii: "[") {
      while !isComplete { try readMore() }
      return (start, .array)
    }
    while !isComplete, !start[first...].contains(0x0A) { try readMore() }
    let firstLine = Array(start[first...].prefix { $0 != 0x0A })
    if Self.isObject(firstLine) { return (start, .lines) }
    // A single event over several lines, or a bad first line, which the daemon will name.
    while !isComplete { try readMore() }
    return (start, Self.isObject(start) ? .event : .lines)
  }

  private static func isObject(_ bytes: [UInt8]) -> Bool {
    do {
      if case .object = try JSONValue(parsing: bytes) { return true }
      return false
    } catch {
      return false
    }
  }
}

/// A piece, then a sequence of pieces.
struct Prefixed: AsyncSequence, Sendable {
  let first: [UInt8]
  let rest: AsyncThrowingStream<[UInt8], any Error>

  struct AsyncIterator: AsyncIteratorProtocol {
    fileprivate var first: [UInt8]?
    fileprivate var rest: AsyncThrowingStream<[UInt8], any Error>.AsyncIterator

    mutating func next() async throws -> [UInt8]? {
      if let piece = first {
        first = nil
        return piece
      }
      return try await rest.next()
    }
  }

  func makeAsyncIterator() -> AsyncIterator { AsyncIterator(first: first, rest: rest.makeAsyncIterator()) }
}
