// systemd's two small protocols: sockets handed over at the start (sd_listen_fds(3)) and words said back (sd_notify(3)).
// Both are a few system calls, and are spoken here without its library.

import Glibc

/// A socket that was made by systemd, or by whoever plays its part.
public struct InheritedSocket: Equatable, Sendable {
  /// The descriptor; it is closed on `exec`.
  public var descriptor: Int32
  /// The path of a Unix socket, or an empty text.
  public var path: String
  /// True for a Unix socket.
  public var isUnix: Bool

  /// Joins the parts.
  public init(descriptor: Int32, path: String, isUnix: Bool) {
    self.descriptor = descriptor
    self.path = path
    self.isUnix = isUnix
  }
}

/// systemd's protocols.
public enum Systemd {
  /// The first descriptor that is handed over.
  private static let firstDescriptor: Int32 = 3

  /// Takes the sockets that this process was handed (`LISTEN_PID`, `LISTEN_FDS`).
  ///
  /// - Parameter environment: The process's environment.
  /// - Returns: None if they are meant for another process, or there are none.
  /// - Throws: ``UnixError`` if one is no stream socket that listens.
  public static func inheritedSockets(_ environment: [String: String]) throws(UnixError) -> [InheritedSocket] {
    guard let pid = environment["LISTEN_PID"].flatMap({ Int32($0) }), pid == getpid(),
      let count = environment["LISTEN_FDS"].flatMap({ Int32($0) }), count > 0
    else { return [] }
    var sockets: [InheritedSocket] = []
    for descriptor in firstDescriptor..<(firstDescriptor + count) {
      guard fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0 else { throw UnixError("fcntl of descriptor \(descriptor) from LISTEN_FDS") }
      guard try option(SO_ACCEPTCONN, of: descriptor) == 1 else {
        throw UnixError("descriptor \(descriptor) from LISTEN_FDS is no stream socket that listens", code: EINVAL)
      }
      let isUnix = try option(SO_DOMAIN, of: descriptor) == AF_UNIX
      sockets.append(InheritedSocket(descriptor: descriptor, path: isUnix ? try path(of: descriptor) : "", isUnix: isUnix))
    }
    return sockets
  }

  private static func option(_ name: Int32, of descriptor: Int32) throws(UnixError) -> Int32 {
    var value: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    guard unsafe getsockopt(descriptor, SOL_SOCKET, name, &value, &length) == 0 else {
      throw UnixError("getsockopt of descriptor \(descriptor) from LISTEN_FDS")
    }
    return value
  }

  private static func path(of descriptor: Int32) throws(UnixError) -> String {
    var address = sockaddr_un()
    var length = socklen_t(MemoryLayout<sockaddr_un>.size)
    let code = unsafe withUnsafeMutablePointer(to: &address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe getsockname(descriptor, $0, &length) }
    }
    guard code == 0 else { throw UnixError("getsockname") }
    let offset = MemoryLayout<sa_family_t>.size
    return unsafe withUnsafeBytes(of: &address) { bytes in
      let text = unsafe bytes[offset..<max(offset, Int(length))].prefix { $0 != 0 }
      return unsafe String(decoding: text, as: UTF8.self)
    }
  }

  /// Tells the service manager something, such as `READY=1`; without one (`NOTIFY_SOCKET`), nothing.
  ///
  /// - Throws: ``UnixError`` if it cannot be told.
  public static func notify(_ state: String, _ environment: [String: String]) throws(UnixError) {
    guard let name = environment["NOTIFY_SOCKET"], !name.isEmpty else { return }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    var path = Array(name.utf8)
    // An at-sign stands for the null byte of an abstract name.
    if path[0] == UInt8(ascii: "@") { path[0] = 0 }
    guard path.count < MemoryLayout.size(ofValue: address.sun_path) else { throw UnixError("NOTIFY_SOCKET", code: ENAMETOOLONG) }
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path) }
    let length = socklen_t(MemoryLayout<sa_family_t>.size + path.count)
    let file = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard file >= 0 else { throw UnixError("socket") }
    defer { close(file) }
    let text = Array(state.utf8)
    let sent = unsafe text.withUnsafeBytes { bytes in
      unsafe withUnsafePointer(to: &address) { pointer in
        unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          unsafe sendto(file, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL), $0, length)
        }
      }
    }
    guard sent == text.count else { throw UnixError("sendto NOTIFY_SOCKET") }
  }

  /// How often the service manager wants to hear that all is well; nil: never.
  public static func watchdogInterval(_ environment: [String: String]) -> Duration? {
    if let pid = environment["WATCHDOG_PID"].flatMap({ Int32($0) }), pid != getpid() { return nil }
    guard let microseconds = environment["WATCHDOG_USEC"].flatMap({ Int64($0) }), microseconds > 0 else { return nil }
    return .microseconds(microseconds)
  }
}
