// A stream of events, one a line, of any length. Lines are appended in groups as they come; what came before a bad line
// stands, and the answer says how far it got.

import Bytes
import EventLog
import Hummingbird
import LedgerCore
import LedgerHTTP
import NIOCore
import NIOPosix

struct NDJSONAppend: Sendable {
  let route: AppendRoute
  let body: AppendBody
  let principal: Principal
  let receipts: AppendRoute.Receipts

  /// Events and bytes of one group of a stream: large enough to fill a commit, small enough to answer soon.
  static let groupEventCountMax = 2_000
  static let groupByteCountMax = 1 << 20
  /// How long an event of a stream waits for a group to fill.
  static let patience = Duration.milliseconds(100)

  /// Cuts bytes into lines and gathers them into groups.
  private struct Gatherer {
    var rest: [UInt8] = []
    var line = 0
    /// When the first byte came of a line that is not whole; nil: none is here.
    var lineSince: ContinuousClock.Instant?
    var parsed: ParsedBatch
    /// When the first event of `parsed` came.
    var since = ContinuousClock.now
    /// The line of each event in `parsed`.
    var lines: [Int] = []
    /// Events in the groups before.
    var eventCount = 0
  }

  private func newBatch(firstIndex: Int = 0) -> ParsedBatch {
    ParsedBatch(batch: route.log.makeBatch(door: .http, for: principal), firstIndex: firstIndex)
  }

  /// All lines as one batch, in one commit or not at all.
  func appendAtOnce(_ bytes: [UInt8], _ expected: ExpectedRevision) async throws -> Response {
    var gatherer = Gatherer(parsed: newBatch())
    for line in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
      gatherer.line += 1
      try take(Array(line), &gatherer, consequence: "nothing was appended")
    }
    let count = gatherer.parsed.batch.count
    guard count > 0 else { throw emptyStream }
    guard count <= body.limits.batchEventCountMax else {
      throw Problem(.batchTooLarge, "the request holds \(count) events; at most \(body.limits.batchEventCountMax) are taken in one commit")
    }
    if body.setsAside {
      return Response(json: try await route.appendSettingAside(gatherer.parsed, wantsReceipts: receipts == .all).encoded())
    }
    do throws(AppendError) {
      return Response(json: try await route.append(gatherer.parsed, expected).encoded())
    } catch .events(let refusals) {
      throw problem(refusals[0], gatherer.lines, consequence: "nothing was appended")
    }
  }

  func respond(to request: Request) async throws -> Response {
    if receipts == .stream {
      return Response(
        status: .ok, headers: [.contentType: MediaType.ndjson],
        body: ResponseBody { writer in
          var failure: Problem?
          let progress = Progress(Gatherer(parsed: newBatch()))
          do {
            try await consume(request, progress) { answer in
              try await writer.write(ByteBuffer(bytes: answer.encoded() + [UInt8(ascii: "\n")]))
            }
          } catch let problem as Problem {
            failure = problem
            // No route throws it: the answer has begun.
            if problem.code == .forbidden { route.access.refusals.report(problem, principal, route: "POST /v1/events") }
          }
          var last = progress.total.answer(head: route.log.head)
          last.receipts = nil
          last.quarantine = nil
          let line = failure.map { last.encoded(end: .failed($0)) } ?? last.encoded(end: .done)
          try await writer.write(ByteBuffer(bytes: line + [UInt8(ascii: "\n")]))
          try await writer.finish(nil)
        })
    }
    let progress = Progress(Gatherer(parsed: newBatch()))
    do {
      try await consume(request, progress) { _ in }
    } catch var problem as Problem {
      // What came before stands: the answer says what that is.
      let so = progress.total.answer(head: route.log.head)
      problem.members += [
        .init("appended", Int64(so.appended)), .init("duplicates", Int64(so.duplicates)), .init("head", so.head),
      ]
      if let quarantined = so.quarantined { problem.members.append(.init("quarantined", Int64(quarantined))) }
      throw problem
    }
    var answer = progress.total.answer(head: route.log.head)
    answer.receipts = receipts == .all ? progress.total.receipts : nil
    if body.setsAside, receipts == .all { answer.quarantine = progress.total.quarantine }
    return Response(json: answer.encoded())
  }

  /// What has been appended so far.
  private struct Total: Sendable {
    var appended = 0
    var duplicates = 0
    var erased = 0
    var first: Int64?
    var last: Int64?
    var receipts: [LedgerHTTP.Receipt] = []
    /// nil until a group says how many it has set aside.
    var quarantined: Int?
    var quarantine: [QuarantineReceipt] = []

    mutating func add(_ answer: AppendAnswer, keepsReceipts: Bool) {
      appended += answer.appended
      duplicates += answer.duplicates
      erased += answer.erased
      first = first ?? answer.first
      last = answer.last ?? last
      if let count = answer.quarantined { quarantined = (quarantined ?? 0) + count }
      if keepsReceipts {
        receipts += answer.receipts ?? []
        quarantine += answer.quarantine ?? []
      }
    }

    func answer(head: Position) -> AppendAnswer {
      var answer = AppendAnswer(
        appended: appended, duplicates: duplicates, erased: erased, first: first, last: last, head: Int64(head))
      answer.quarantined = quarantined
      return answer
    }
  }

  /// What has been gathered and appended of a stream.
  private final class Progress: @unchecked Sendable {
    // Guarded by `turn`: the task that reads the stream has it while it works, and the clock's while that reader waits.
    let turn = Turn()
    var gatherer: Gatherer
    var total = Total()
    var isClockSet = false
    var isOver = false
    /// What went wrong when the clock had the turn; the reader meets it with the next piece.
    var failure: (any Error)?

    init(_ gatherer: Gatherer) { self.gatherer = gatherer }
  }

  /// Takes the body as it comes. What is gathered is appended when it fills a group, when it has waited for a while, and at
  /// the end: a slow stream is on disk soon, a fast one in full groups.
  private func consume(_ request: Request, _ progress: Progress, _ report: (AppendAnswer) async throws -> Void) async throws {
    var decoder = try ContentDecoder(request.headers, byteCountMax: body.limits.requestByteCountMax, isEndless: true)
    var failure: (any Error)?
    do {
      for try await buffer in request.body {
        await progress.turn.take()
        defer { progress.turn.give() }
        if let failure = progress.failure { throw failure }
        var bytes = buffer.readableBytesView
        let linesBefore = progress.gatherer.line
        while !bytes.isEmpty {
          // A few compressed bytes can stand for very many: they are decoded, and taken, slice by slice.
          let slice = bytes.prefix(decoder.expands ? ContentDecoder.sliceByteCount : bytes.count)
          bytes = bytes.dropFirst(slice.count)
          try decoder.decodePiece(Array(slice), into: &progress.gatherer.rest)
          try await takeLines(&progress.gatherer, &progress.total, report)
        }
        try await checkPace(&progress.gatherer, &progress.total, linesBefore, report)
        // Whoever reads receipts waits for them; others are better served by full groups.
        if receipts == .stream {
          try await flush(&progress.gatherer, &progress.total, report)
        } else {
          setClock(progress)
        }
      }
      try decoder.finish()
    } catch {
      failure = error
    }
    await progress.turn.take()
    defer { progress.turn.give() }
    progress.isOver = true
    if let failure = failure ?? progress.failure { throw failure }
    if !progress.gatherer.rest.isEmpty {
      progress.gatherer.rest.append(UInt8(ascii: "\n"))
      try await takeLines(&progress.gatherer, &progress.total, report)
    }
    let so = progress.total
    let isAnyLine = so.appended + so.duplicates + (so.quarantined ?? 0) > 0 || progress.gatherer.parsed.batch.count > 0
    try await flush(&progress.gatherer, &progress.total, report)
    guard isAnyLine else { throw emptyStream }
  }

  /// Refuses a line that has been coming in for too long. A stream may be silent between its lines, within the idle time.
  private func checkPace(
    _ gatherer: inout Gatherer, _ total: inout Total, _ linesBefore: Int, _ report: (AppendAnswer) async throws -> Void
  ) async throws {
    let now = ContinuousClock.now
    guard gatherer.line == linesBefore else {
      gatherer.lineSince = gatherer.rest.isEmpty ? nil : now
      return
    }
    let since = gatherer.lineSince ?? now
    gatherer.lineSince = since
    guard since.duration(to: now) > .seconds(body.limits.bodySecondsMax) else { return }
    try await flush(&gatherer, &total, report)
    throw Problem.slowLine(body.limits, line: gatherer.line + 1)
  }

  /// Sees to it that what is gathered does not wait for longer than ``patience``. With the turn.
  private func setClock(_ progress: Progress) {
    guard progress.gatherer.parsed.batch.count > 0, !progress.isClockSet else { return }
    progress.isClockSet = true
    let rest = max(.zero, Self.patience - progress.gatherer.since.duration(to: .now))
    MultiThreadedEventLoopGroup.singleton.next().scheduleTask(in: TimeAmount(rest)) {
      _ = Task(name: "stream-clock") { await clockRings(progress) }
    }
  }

  private func clockRings(_ progress: Progress) async {
    await progress.turn.take()
    defer { progress.turn.give() }
    progress.isClockSet = false
    guard !progress.isOver, progress.failure == nil, progress.gatherer.parsed.batch.count > 0 else { return }
    // What it was set for may be gone since, and others have come.
    guard progress.gatherer.since.duration(to: .now) >= Self.patience else { return setClock(progress) }
    do {
      try await flush(&progress.gatherer, &progress.total) { _ in }
    } catch {
      progress.failure = error
    }
  }

  private func takeLines(_ gatherer: inout Gatherer, _ total: inout Total, _ report: (AppendAnswer) async throws -> Void) async throws {
    var start = 0
    let bytes = gatherer.rest
    while let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) {
      gatherer.line += 1
      do {
        try take(Array(bytes[start..<end]), &gatherer, consequence: "the lines before it stand")
      } catch {
        // The lines before the bad one are good, and stand.
        try await flush(&gatherer, &total, report)
        throw error
      }
      start = end + 1
      if gatherer.parsed.batch.count >= Self.groupEventCountMax || gatherer.parsed.batch.byteCount >= Self.groupByteCountMax {
        try await flush(&gatherer, &total, report)
      }
    }
    gatherer.rest.removeFirst(start)
    guard gatherer.rest.count <= 4 * body.limits.eventByteCountMax else {
      try await flush(&gatherer, &total, report)
      throw Problem(
        .eventTooLarge, "line \(gatherer.line + 1) has more than \(4 * body.limits.eventByteCountMax) bytes without an end",
        line: gatherer.line + 1)
    }
  }

  private func take(_ line: [UInt8], _ gatherer: inout Gatherer, consequence: String) throws(Problem) {
    guard line.contains(where: { $0 > 0x20 }) else { return }
    // A group is received when its first event is, however long the stream was silent before.
    if gatherer.parsed.batch.count == 0 {
      gatherer.parsed = newBatch(firstIndex: gatherer.eventCount)
      gatherer.since = .now
    }
    do throws(Problem) {
      try body.line(line.rawSpan, into: &gatherer.parsed)
    } catch {
      throw Problem(error.code, "line \(gatherer.line): \(error.detail); \(consequence)", line: gatherer.line)
    }
    gatherer.lines.append(gatherer.line)
  }

  private func flush(_ gatherer: inout Gatherer, _ total: inout Total, _ report: (AppendAnswer) async throws -> Void) async throws {
    guard gatherer.parsed.batch.count > 0 else { return }
    var (parsed, lines) = (gatherer.parsed, gatherer.lines)
    gatherer.eventCount += parsed.batch.count
    (gatherer.parsed, gatherer.lines) = (newBatch(), [])
    if body.setsAside { return try await flushSettingAside(parsed, lines, &total, report) }
    var problem: Problem?
    while parsed.batch.count > 0 {
      let answer: AppendAnswer
      do throws(AppendError) {
        answer = try await route.append(parsed)
      } catch .events(let refusals) {
        // The group was refused as a whole: what came before the first bad event is appended without it.
        let first = refusals[0]
        problem = self.problem(first, lines, consequence: "the lines before it stand")
        parsed = parsed.prefix(first.index)
        lines.removeLast(lines.count - first.index)
        continue
      } catch {
        var refusal = error.problem
        refusal.line = lines[0]
        throw refusal
      }
      total.add(answer, keepsReceipts: receipts == .all)
      try await report(answer)
      break
    }
    if let problem { throw problem }
  }

  /// The refusal of a line.
  private func problem(_ refusal: EventRefusal, _ lines: [Int], consequence: String) -> Problem {
    let line = lines[refusal.index]
    return Problem(refusal.reason.code, "line \(line): \(refusal.detail); \(consequence)", line: line)
  }

  private func flushSettingAside(
    _ parsed: ParsedBatch, _ lines: [Int], _ total: inout Total, _ report: (AppendAnswer) async throws -> Void
  ) async throws {
    let answer: AppendAnswer
    do throws(Problem) {
      answer = try await route.appendSettingAside(parsed, wantsReceipts: receipts != .none)
    } catch {
      var refusal = error
      refusal.line = lines[0]
      throw refusal
    }
    total.add(answer, keepsReceipts: receipts == .all)
    try await report(answer)
  }

  private var emptyStream: Problem { Problem(.emptyBatch, "the stream holds no event; send one event a line") }
}
