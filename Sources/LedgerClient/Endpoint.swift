// Why: where a daemon listens, and in which words an operating system says that it does not.

import NIOCore
import NIOHTTP1
import NIOPosix

#if canImport(Glibc)
  import Glibc
#endif

/// Where a ledger daemon listens.
public enum Endpoint: Sendable, Equatable, CustomStringConvertible {
  /// A Unix socket, at most 103 bytes of path.
  case unixSocket(path: String)
  /// A TCP port; a bearer token is needed there.
  case tcp(host: String, port: Int)

  /// The path, or host:port.
  public var description: String {
    switch self {
    case .unixSocket(let path): path
    case .tcp(let host, let port): "\(host):\(port)"
    }
  }

  /// The value of the header `Host`.
  var host: String {
    switch self {
    case .unixSocket: "localhost"
    case .tcp(let host, let port): host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]:\(port)" : "\(host):\(port)"
    }
  }

  /// In a few words, why a connection could not be made or was lost.
  static func reason(of error: any Error) -> String {
    switch error {
    case let error as IOError:
      switch error.errnoCode {
      case ENOENT: return "there is no such socket"
      case ECONNREFUSED: return "nobody listens there"
      case EACCES, EPERM: return "this user may not use the socket"
      case ECONNRESET, EPIPE: return "the daemon closed it"
      default: return error.description
      }
    case let error as NIOConnectionError:
      if let first = error.connectionErrors.first { return reason(of: first.error) }
      return "no address for \(error.host)"
    case ChannelError.inputClosed, ChannelError.ioOnClosedChannel, ChannelError.eof, HTTPParserError.invalidEOFState:
      return "the daemon closed it"
    case ChannelError.connectTimeout(_): return "no answer within 10 seconds"
    case SocketAddressError.unixDomainSocketPathTooLong: return "the path is longer than a socket's name may be"
    case let error as AnswerTimeout: return "no answer within \(error.seconds) seconds"
    case is CancellationError: return "cancelled"
    default: return String(describing: error)
    }
  }

  /// What an error on an open connection means to the caller.
  static func failure(of error: any Error) -> ClientError {
    switch error {
    case let error as ClientError: error
    case HTTPParserError.invalidEOFState: .connectionLost(reason: reason(of: error))
    case let error as HTTPParserError: .protocolViolation("no HTTP: \(error)")
    default: .connectionLost(reason: reason(of: error))
    }
  }
}
