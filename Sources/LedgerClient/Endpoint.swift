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

  /// Reads `http://127.0.0.1:8080`; without a port it is 80. nil: it is no such address.
  ///
  /// TLS is not spoken here: beyond this machine, a proxy or a tunnel does that.
  public init?(url: String) {
    guard url.lowercased().hasPrefix("http://") else { return nil }
    var rest = url.dropFirst(7)
    if rest.hasSuffix("/") { rest = rest.dropLast() }
    guard !rest.isEmpty, !rest.contains(where: { "/?#@ ".contains($0) }) else { return nil }
    var port = 80
    var host = rest
    // The last colon begins the port, unless it stands within an IPv6 address's brackets.
    if let colon = rest.lastIndex(of: ":"), !rest.hasSuffix("]") {
      guard let number = UInt16(rest[rest.index(after: colon)...]), number > 0 else { return nil }
      (host, port) = (rest[..<colon], Int(number))
    }
    if host.hasPrefix("["), host.hasSuffix("]") {
      host = host.dropFirst().dropLast()
    } else if host.contains(where: { ":[]".contains($0) }) {
      return nil
    }
    guard !host.isEmpty else { return nil }
    self = .tcp(host: String(host), port: port)
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
