// The first handler of a connection. Appends in the common form it answers itself; everything else goes on, unchanged, to
// the HTTP parser and the routes behind it.
//
//   socket ─▶ AppendDoor ─▶ HTTP parser ─▶ ConnectionHandler ─▶ Hummingbird
//                │  ▲
//                ▼  │ answers, a group at a time
//             AppendLoop ─▶ EventLog
//
// Invariants:
// - Answers leave in the order of the requests. A request that goes on waits until every append before it is answered, and
//   what comes behind it waits until it is answered: the two ways are never under way at once on a connection.
// - What goes on, goes on as it came, and from the first byte of a request. An append whose body is refused goes on as
//   well: there is one place that makes refusals, and both ways answer alike.
// - The parser is left at the end of a request, or never comes back: only it says where requests end.
// - Bytes that wait here are bounded: reading stops when there are more than `heldByteCountMax` behind what is being
//   answered, when the log's queue is full, and when the client does not take its answers.
// - A connection without a byte for the idle time is closed, unless it waits for us. A head or a body that is not whole
//   in its time is answered and the connection closed, however steadily its bytes drip. A stream has all the time, but not
//   its lines (NDJSONAppend.swift). Time in which we do not want more bytes does not count.

import Bytes
import EventLog
import LedgerCore
import LedgerHTTP
import NIOCore
import NIOExtras
import NIOHTTP1

final class AppendDoor: ChannelDuplexHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer
  typealias OutboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  /// Where the next byte belongs.
  private enum Place {
    /// At the beginning of a request.
    case start
    /// In an append whose head is here.
    case append(CommonForm.Head)
    /// At the beginning of a stream of lines of this many bytes, which is handed over and not answered. It stays here: if
    /// one of its lines is a conflict, the route takes the lines before it.
    case lines(byteCount: Int)
    /// In the head of a request that goes on; how much of the empty line that ends it has been seen.
    case headThatGoesOn(endCount: Int, heads: Int)
    /// In its body.
    case bodyThatGoesOn(missing: Int)
    /// Behind it, until it is answered.
    case behind
    /// Everything goes on from here.
    case onwards
  }

  /// An append that is not answered yet.
  private struct Open {
    let token: UInt64
    let names: [EventName]
    var answer: Result<AppendResult, AppendError>?
  }

  private let shared: AppendLoop
  private let onwardConnection: ConnectionHandler
  private let access: Access
  private let bodies: BodyBudget
  private var context: ChannelHandlerContext?
  private var principal: Principal?
  private var isOwnWayOpen = true
  /// Which grants the two above come from.
  private var accessVersion: Int

  private var place = Place.start
  private var bytes = ByteBuffer()
  /// Its part of what all bodies on their way in may have.
  private var share: BodyBudget.Share?
  private var open = CircularBuffer<Open>()
  /// What has been answered since the last piece was sent.
  private var answers: ByteBuffer?
  private var isAnswering = false

  private var isWorking = false
  private var hasHandedOn = false
  private var isReadHeld = false
  private var isWaitingForRoom = false
  private var isQuiescing = false
  private var heldEvents: [any Sendable] = []
  private var lastByte = NIODeadline.now()
  /// When the first byte came of what is here in part, a head or the body of an append; nil: nothing is.
  private var arrivingSince: NIODeadline?
  /// False while somebody behind this one has no room for more bytes.
  private var isReadWanted = true
  private var timer: Scheduled<Void>?

  /// Bytes that may wait behind a request that is being answered.
  static let heldByteCountMax = 64 << 10
  /// Appends that one connection may have under way.
  static let openCountMax = 256

  init(shared: AppendLoop, onwardConnection: ConnectionHandler, access: Access, bodies: BodyBudget) {
    self.shared = shared
    self.onwardConnection = onwardConnection
    self.access = access
    self.bodies = bodies
    accessVersion = access.version
  }

  // MARK: The connection's life

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    onwardConnection.onProgress = { [unowned self] in goOn() }
    scheduleCheck(shared.checkInterval)
  }

  func handlerRemoved(context: ChannelHandlerContext) { end() }

  func channelInactive(context: ChannelHandlerContext) {
    end()
    context.fireChannelInactive()
  }

  private func end() {
    timer?.cancel()
    timer = nil
    onwardConnection.onProgress = nil
    context = nil
    share = nil
    open.removeAll()
  }

  /// The caller, if the kernel names one who may append; looked up once a connection and set of grants, since the kernel fixed
  /// it when the connection was made. Everybody else's requests go on: the routes admit them, or refuse them and say so in the log.
  private func caller(_ context: ChannelHandlerContext) -> Principal? {
    if principal == nil, isOwnWayOpen {
      do {
        if case .peer(let peer) = try access.identity(of: context.channel), peer.roles.permit(.append) { principal = peer }
      } catch {
        // The routes meet the same error, and answer it.
        principal = nil
      }
      isOwnWayOpen = principal != nil
    }
    return principal
  }

  /// Forgets what other grants said.
  private func noteGrants() {
    let version = access.version
    guard version != accessVersion else { return }
    (accessVersion, principal, isOwnWayOpen) = (version, nil, true)
  }

  private func scheduleCheck(_ time: TimeAmount) {
    guard let context else { return }
    let own = NIOLoopBound(self, eventLoop: context.eventLoop)
    timer = context.eventLoop.scheduleTask(in: time) { own.value.checkTime() }
  }

  /// Looks whether the client is too slow. Often enough to meet the end of whatever began since the last look.
  private func checkTime() {
    guard let context else { return }
    let now = NIODeadline.now()
    let isWaitedFor = !open.isEmpty || isReadHeld || (onwardConnection.isAnswering && !onwardConnection.isReading)
    let silenceEnd = (isWaitedFor ? now : lastByte) + .seconds(Int64(shared.limits.idleSeconds))
    guard silenceEnd > now else { return context.close(promise: nil) }
    if isReadHeld || !isReadWanted {
      if arrivingSince != nil { arrivingSince = now }
      onwardConnection.restartBodyTime()
    }
    if let end = arrivalEnd, end <= now {
      guard open.isEmpty else { return scheduleCheck(.milliseconds(100)) }
      if let problem = endArrival() { return close(context, with: problem) }
    }
    guard self.context != nil else { return }
    scheduleCheck(min(silenceEnd, arrivalEnd ?? silenceEnd, now + shared.checkInterval) - now)
  }

  /// When what is on its way in must be whole; nil: nothing is, or it has all the time.
  private var arrivalEnd: NIODeadline? {
    let (head, body) = (TimeAmount.seconds(Int64(shared.limits.headSecondsMax)), TimeAmount.seconds(Int64(shared.limits.bodySecondsMax)))
    switch place {
    case .start, .headThatGoesOn: return arrivingSince.map { $0 + head }
    // A stream may come slowly: then the route takes it, line by line.
    case .append(let form): return arrivingSince.map { $0 + (form.content == .lines ? min(head, body) : body) }
    case .lines, .behind: return nil
    case .bodyThatGoesOn, .onwards:
      return onwardConnection.isReading ? onwardConnection.bodySince.map { $0 + body } : arrivingSince.map { $0 + head }
    }
  }

  /// What did not come in its time: a stream goes on to the route, for everything else there is a refusal.
  private func endArrival() -> Problem? {
    switch place {
    case .append(let form) where form.content == .lines:
      place = .headThatGoesOn(endCount: 0, heads: onwardConnection.headCount)
      goOn()
      return nil
    case .append: return .slowBody(shared.limits)
    case .start, .headThatGoesOn: return .slowHead(shared.limits)
    default: return onwardConnection.isReading ? .slowBody(shared.limits) : .slowHead(shared.limits)
    }
  }

  /// Ends the connection, with an answer if its place is free: no answer has begun, and none is owed before it.
  private func close(_ context: ChannelHandlerContext, with problem: Problem) {
    guard onwardConnection.giveUp() else { return context.close(promise: nil) }
    var answer = context.channel.allocator.buffer(capacity: 512)
    answer.writeAnswer(problem, date: shared.httpDate())
    let closing = NIOLoopBound(context, eventLoop: context.eventLoop)
    context.writeAndFlush(wrapOutboundOut(answer)).whenComplete { _ in closing.value.close(promise: nil) }
  }

  // MARK: Bytes in

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var incoming = unwrapInboundIn(data)
    lastByte = .now()
    isReadWanted = false
    if bytes.readableBytes == 0 { bytes = incoming } else { bytes.writeBuffer(&incoming) }
    work(context)
  }

  func channelReadComplete(context: ChannelHandlerContext) { context.fireChannelReadComplete() }

  func read(context: ChannelHandlerContext) {
    isReadWanted = true
    if isFull(context) {
      isReadHeld = true
    } else {
      context.read()
    }
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    if context.channel.isWritable { goOn() }
    context.fireChannelWritabilityChanged()
  }

  /// True if no more bytes are wanted now.
  private func isFull(_ context: ChannelHandlerContext) -> Bool {
    switch place {
    case .onwards, .headThatGoesOn, .bodyThatGoesOn: false
    case .behind: bytes.readableBytes > Self.heldByteCountMax
    case .lines: bytes.readableBytes > Self.heldByteCountMax
    case .start, .append: bytes.readableBytes > Self.heldByteCountMax && !mayBegin(context)
    }
  }

  /// True if another append may be taken from this connection.
  private func mayBegin(_ context: ChannelHandlerContext) -> Bool {
    guard context.channel.isWritable, open.count < Self.openCountMax else { return false }
    if shared.isFull, !isWaitingForRoom {
      isWaitingForRoom = true
      shared.whenRoom(self)
    }
    return !shared.isFull
  }

  /// The queue takes appends again.
  func goOnWithRoom() {
    isWaitingForRoom = false
    goOn()
  }

  /// Something that was waited for has come: looks again at what is held.
  func goOn() {
    guard let context, !isWorking else { return }
    hasHandedOn = false
    work(context)
    // Handlers behind this one look at what they got when a read is complete; this was not one.
    if hasHandedOn { context.fireChannelReadComplete() }
    if isReadHeld, !isFull(context) {
      isReadHeld = false
      context.read()
    }
  }

  /// Takes whole requests, or hands bytes on, until there is nothing to do.
  private func work(_ context: ChannelHandlerContext) {
    // What is handed on may bring something back before it returns; the loop that hands it on sees that, too.
    guard !isWorking else { return }
    isWorking = true
    defer { isWorking = false }
    while step(context) {}
    if bytes.readableBytes == 0 { bytes.clear() }
    fireHeldEvents(context)
  }

  /// One step; false if it waits for bytes, for answers, or for room.
  private func step(_ context: ChannelHandlerContext) -> Bool {
    switch place {
    case .start:
      guard bytes.readableBytes > 0, !isQuiescing else { return false }
      noteGrants()
      let form = isOwnWayOpen ? CommonForm(bytes.readableBytesSpan, headByteCountMax: shared.limits.headerByteCountMax) : .other
      switch form {
      case .incomplete:
        beginArrival()
        return false
      case .append(let head): place = .append(head)
      case .other: return passOn(context)
      }
      return true
    case .append(let head):
      let byteCount = head.byteCount + head.bodyByteCount
      guard bytes.readableBytes >= byteCount else {
        if share == nil {
          let new = bodies.share()
          guard new.grow(to: head.bodyByteCount, of: shared.limits.bodiesByteCountMax) else { return passOn(context) }
          share = new
          arrivingSince = lastByte
        }
        bytes.reserveCapacity(minimumWritableBytes: byteCount - bytes.readableBytes)
        return false
      }
      share = nil
      arrivingSince = nil
      guard mayBegin(context), head.content != .lines || open.isEmpty else { return false }
      guard let principal = caller(context), submit(head, principal) else { return passOn(context) }
      if head.content == .lines {
        place = .lines(byteCount: byteCount)
        return false
      }
      bytes.moveReaderIndex(forwardBy: byteCount)
      place = .start
      return true
    case .lines: return false
    case .headThatGoesOn(let endCount, let heads): return passHead(context, endCount, heads)
    case .bodyThatGoesOn(let missing):
      guard bytes.readableBytes > 0 else { return false }
      let count = min(missing, bytes.readableBytes)
      place = .bodyThatGoesOn(missing: missing - count)
      pass(count, context)
      if case .bodyThatGoesOn(missing: 0) = place { place = onwardConnection.isReading ? .onwards : .behind }
      return true
    case .behind:
      guard !onwardConnection.isAnswering, !onwardConnection.isReading else { return false }
      place = .start
      return true
    case .onwards:
      guard bytes.readableBytes > 0 else { return false }
      let (wasReading, heads) = (onwardConnection.isReading, onwardConnection.headCount)
      pass(bytes.readableBytes, context)
      if wasReading || onwardConnection.isReading || onwardConnection.headCount != heads { arrivingSince = nil } else { beginArrival() }
      return false
    }
  }

  // MARK: What goes on

  /// Lets the request that begins here go on, when every append before it is answered.
  private func passOn(_ context: ChannelHandlerContext) -> Bool {
    guard open.isEmpty else { return false }
    place = .headThatGoesOn(endCount: 0, heads: onwardConnection.headCount)
    return true
  }

  /// Hands on the bytes of a head, to its end and no further, and then asks the parser what comes.
  private func passHead(_ context: ChannelHandlerContext, _ seen: Int, _ heads: Int) -> Bool {
    guard bytes.readableBytes > 0 else { return false }
    let (count, endCount) = Self.headEnd(bytes.readableBytesSpan, seen)
    place = .headThatGoesOn(endCount: endCount, heads: heads)
    pass(count, context)
    // Whoever was handed the bytes may have closed the connection.
    guard case .headThatGoesOn(4, _) = place else {
      beginArrival()
      return self.context != nil && bytes.readableBytes > 0
    }
    arrivingSince = nil
    guard onwardConnection.headCount == heads + 1 else {
      place = .onwards
      return true
    }
    if !onwardConnection.isReading {
      place = .behind
    } else if let missing = onwardConnection.bodyByteCount {
      place = .bodyThatGoesOn(missing: missing)
    } else {
      place = .onwards
    }
    return true
  }

  /// How many bytes there are to the end of the empty line, and how much of that end has been seen then.
  private static func headEnd(_ bytes: RawSpan, _ seen: Int) -> (count: Int, endCount: Int) {
    var endCount = seen
    for index in 0..<bytes.byteCount {
      switch (bytes.byte(at: index), endCount) {
      case (0x0d, 0), (0x0d, 2), (0x0a, 1), (0x0a, 3): endCount += 1
      case (0x0d, _): endCount = 1
      default: endCount = 0
      }
      if endCount == 4 { return (index + 1, 4) }
    }
    return (bytes.byteCount, endCount)
  }

  /// Notes when something began to come in that is not here as a whole.
  private func beginArrival() {
    if arrivingSince == nil { arrivingSince = lastByte }
  }

  private func pass(_ count: Int, _ context: ChannelHandlerContext) {
    guard let slice = bytes.readSlice(length: count) else { preconditionFailure("no more is handed on than there is") }
    hasHandedOn = true
    context.fireChannelRead(wrapInboundOut(slice))
  }

  // MARK: Events

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    switch event {
    case let event as ChannelShouldQuiesceEvent:
      isQuiescing = true
      heldEvents.append(event)
    case ChannelEvent.inputClosed:
      heldEvents.append(ChannelEvent.inputClosed)
    default: return context.fireUserInboundEventTriggered(event)
    }
    work(context)
  }

  /// The end of the input and the call to finish go on when what came before them is answered here.
  private func fireHeldEvents(_ context: ChannelHandlerContext) {
    guard !heldEvents.isEmpty, open.isEmpty else { return }
    let isInputClosed = heldEvents.contains { ($0 as? ChannelEvent) == .inputClosed }
    if isInputClosed {
      // Half a request: the parser says what there is to say about it.
      place = .onwards
      if bytes.readableBytes > 0 { pass(bytes.readableBytes, context) }
    } else if case .append = place {
      return
    }
    let events = heldEvents
    heldEvents = []
    for event in events { context.fireUserInboundEventTriggered(event) }
  }
}

// MARK: - Appends

extension AppendDoor {
  /// Parses an append and hands it over; false if its body is refused.
  private func submit(_ head: CommonForm.Head, _ principal: Principal) -> Bool {
    let parsed: ParsedBatch
    let whole = bytes
    do throws(Problem) {
      parsed = try parse(whole.readableBytesSpan, head, principal)
    } catch {
      return false
    }
    let token = shared.submit(parsed.batch, from: self)
    open.append(Open(token: token, names: parsed.names))
    return true
  }

  private func parse(_ text: RawSpan, _ head: CommonForm.Head, _ principal: Principal) throws(Problem) -> ParsedBatch {
    let body = AppendBody(limits: shared.limits, readers: shared.readers, wantsNames: head.wantsReceipts)
    let batch = shared.log.makeBatch(door: .http, for: principal)
    let range = head.byteCount..<head.byteCount + head.bodyByteCount
    return switch head.content {
    case .single: try body.single(text.slice(range), into: batch)
    case .batch: try body.array(text.slice(range), into: batch)
    case .lines: try body.lines(text.slice(range), into: batch)
    }
  }

  /// Takes an answer, and writes those that have their turn.
  ///
  /// - Returns: True if this is the first one since ``endOfAnswers()``, which then must be called.
  func take(_ result: Result<AppendResult, AppendError>, of token: UInt64) -> Bool {
    guard let context, let index = open.firstIndex(where: { $0.token == token }) else { return false }
    open[index].answer = result
    while let first = open.first, let answer = first.answer {
      open.removeFirst()
      if case .lines(let byteCount) = place {
        guard case .success = answer else {
          place = .headThatGoesOn(endCount: 0, heads: onwardConnection.headCount)
          continue
        }
        bytes.moveReaderIndex(forwardBy: byteCount)
        place = .start
      }
      if answers == nil { answers = context.channel.allocator.buffer(capacity: 512) }
      answers?.writeAnswer(answer, first.names, date: shared.httpDate())
    }
    defer { isAnswering = true }
    return !isAnswering
  }

  /// Sends what a group of answers came to, in one piece, and goes on with what waited behind them.
  func endOfAnswers() {
    isAnswering = false
    guard let context else { return }
    if let written = answers {
      answers = nil
      context.writeAndFlush(wrapOutboundOut(written), promise: nil)
    }
    goOn()
  }
}

extension ByteBuffer {
  /// An answer as the routes write it: head and body in one piece.
  fileprivate mutating func writeAnswer(_ result: Result<AppendResult, AppendError>, _ names: [EventName], date: [UInt8]) {
    switch result {
    case .success(let result):
      let body = AppendAnswer(result, names: names).encoded()
      writeStaticString("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ")
      writeEnd(of: body, date: date)
    case .failure(let error): writeAnswer(error.problem, date: date)
    }
  }

  /// A refusal as the routes write it.
  fileprivate mutating func writeAnswer(_ problem: Problem, date: [UInt8]) {
    let status = HTTPResponseStatus(statusCode: problem.code.status)
    writeString("HTTP/1.1 \(status.code) \(status.reasonPhrase)\r\nContent-Type: \(MediaType.problem)\r\n")
    if problem.code.carriesRetryAfter { writeStaticString("Retry-After: 1\r\n") }
    if problem.code.endsConnection { writeStaticString("Connection: close\r\n") }
    writeStaticString("Content-Length: ")
    writeEnd(of: problem.encoded(), date: date)
  }

  private mutating func writeEnd(of body: [UInt8], date: [UInt8]) {
    writeString(String(body.count))
    writeStaticString("\r\nDate: ")
    writeBytes(date)
    writeStaticString("\r\n\r\n")
    writeBytes(body)
  }
}
