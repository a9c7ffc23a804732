// A connection's handlers, from the socket to the routes. As Hummingbird's own HTTP/1 channel, but with the door for
// appends in front, and with the idle time in the door's hands: behind it nobody sees the requests that it answers.

import EventLog
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import NIOHTTPTypesHTTP1
import Synchronization

struct LedgerChannel: ServerChildChannel, HTTPChannelHandler {
  typealias Value = NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>

  let responder: HTTPChannelHandler.Responder
  let doors: AppendDoors
  let limits: ServerLimits

  func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
    channel.eventLoop.makeCompletedFuture {
      let connection = ConnectionHandler()
      let pipeline = channel.pipeline.syncOperations
      try pipeline.addHandler(doors.makeDoor(onto: connection, eventLoop: channel.eventLoop))
      var decoderLimits = NIOHTTPDecoderLimitConfiguration()
      decoderLimits.maxHeaderFieldSize = limits.headerByteCountMax
      decoderLimits.maxHeaderListSize = limits.headerByteCountMax
      decoderLimits.maxHeaderFieldCount = 256
      try pipeline.configureHTTPServerPipeline(
        withPipeliningAssistance: false, withErrorHandling: false, withOutboundHeaderValidation: false, withEncoderConfiguration: .init(),
        withDecoderLimitConfiguration: decoderLimits)
      try pipeline.addHandler(HTTP1ToHTTPServerCodec(secure: false))
      try pipeline.addHandler(connection)
      try pipeline.addHandler(HTTPConnectionStateHandler(idleTimeout: nil, logger: logger))
      return try NIOAsyncChannel(wrappingChannelSynchronously: channel, configuration: .init(isOutboundHalfClosureEnabled: true))
    }
  }

  func handle(value: Value, logger: Logger) async { await handleHTTP(asyncChannel: value, logger: logger) }
}

/// Makes the doors of a server: those of one event loop share what they have under way.
final class AppendDoors: Sendable {
  let limits: ServerLimits
  private let log: EventLog
  private let access: Access
  private let bodies: BodyBudget
  private let loops = Mutex<[ObjectIdentifier: NIOLoopBound<AppendLoop>]>([:])

  init(log: EventLog, limits: ServerLimits, access: Access, bodies: BodyBudget) {
    self.log = log
    self.limits = limits
    self.access = access
    self.bodies = bodies
  }

  /// A door for a new connection. Called on its event loop.
  func makeDoor(onto connection: ConnectionHandler, eventLoop: any EventLoop) -> AppendDoor {
    let shared = loops.withLock { loops in
      if let known = loops[ObjectIdentifier(eventLoop)] { return known }
      let new = NIOLoopBound(AppendLoop(log: log, limits: limits, eventLoop: eventLoop), eventLoop: eventLoop)
      loops[ObjectIdentifier(eventLoop)] = new
      return new
    }
    return AppendDoor(shared: shared.value, onwardConnection: connection, access: access, bodies: bodies)
  }
}
