// What the daemon is told: the options of its parts, and where it listens. The defaults are those of the parts; nothing is
// said twice.

import EventLog
import LedgerCore
import LedgerServer
import Logging
import ProjectionEngine
import Threads

/// How log lines look.
enum LogFormat: String, CaseIterable, Sendable { case text, json }

/// Everything that can be set. ``Setting/all`` names each of it, with its range.
struct Configuration: Sendable {
  /// The data directory; it has no default.
  var data: String?
  var socket = "/run/ledgerd/ledgerd.sock"
  /// A name or a number; nil: the group of the daemon, or of the socket that it is given.
  var socketGroup: String?
  var socketMode = SocketMode.group
  /// A loopback address and a port; nil: no TCP.
  var listen: String?
  var listensBeyondLoopback = false
  var allowedHosts: [String] = []
  var tokenFile: String?
  var logLevel = Logger.Level.info
  var logFormat = LogFormat.text
  var log = EventLogOptions()
  var limits = ServerLimits()
  var engine = EngineOptions(now: { Timestamp(microseconds: WallClock.microseconds()) })
  /// Who may do what, beside the daemon's user, root and the socket's group; only a file can say it.
  var access: [AccessEntry] = []

  /// Who may connect to the socket.
  enum SocketMode: String, CaseIterable, Sendable {
    case group = "0660"
    case everybody = "0666"

    var bits: UInt32 { self == .group ? 0o660 : 0o666 }
  }

  /// What does not go together, one message each; empty if all is well.
  var contradictions: [String] {
    var found: [String] = []
    if data == nil { found.append("data is not set; it names the data directory, such as /var/lib/ledgerd") }
    if limits.requestByteCountMax < log.eventLimits.eventByteCountMax {
      found.append("request-bytes-max is less than event-bytes-max: no event of the largest size could be sent; raise it")
    }
    if engine.rebuildBatchEventCountMax < engine.liveBatchEventCountMax {
      found.append("rebuild-batch-events-max is less than live-batch-events-max; raise it")
    }
    do throws(ListenAddress.Failure) {
      if let listen {
        let address = try ListenAddress(listen)
        if tokenFile == nil {
          found.append("listen needs token-file: on TCP only a token says who is calling; see ledgerd token new --help")
        }
        if !address.isLoopback, !listensBeyondLoopback {
          found.append(
            "listen is no loopback address, and HTTP carries tokens as they are; use 127.0.0.1 and a proxy that speaks TLS, or set "
              + "listen-beyond-loopback")
        }
      }
    } catch {
      found.append(error.description)
    }
    return found
  }
}

/// An address and a port to listen on.
struct ListenAddress: Equatable, Sendable {
  struct Failure: Error, CustomStringConvertible { let description: String }

  let host: String
  let port: Int

  /// Reads `127.0.0.1:8080` or `[::1]:8080`.
  init(_ text: String) throws(Failure) {
    let failure = Failure(description: "listen must be an address and a port, such as 127.0.0.1:8080 or [::1]:8080")
    guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else { throw failure }
    var host = text[..<colon]
    if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() } else if host.contains(":") { throw failure }
    guard !host.isEmpty else { throw failure }
    self.host = String(host)
    self.port = Int(port)
  }

  var isLoopback: Bool { host == "localhost" || host == "::1" || host.hasPrefix("127.") && host.allSatisfy { $0.isNumber || $0 == "." } }
}
