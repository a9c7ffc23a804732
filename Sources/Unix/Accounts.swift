// Users and groups by name, so that a configuration can say `analysts` instead of 1004.

import Glibc

/// The system's databases of users and groups (getpwnam_r(3), getgrnam_r(3)).
public enum Accounts {
  /// The id of the user of that name, or nil if there is none.
  public static func user(named name: String) throws(UnixError) -> UInt32? {
    var entry = unsafe passwd()
    var found: UnsafeMutablePointer<passwd>?
    let code = unsafe lookUp { buffer, length in unsafe getpwnam_r(name, &entry, buffer, length, &found) }
    guard unsafe found != nil else { return try nothing(code, "getpwnam \(name)") }
    return unsafe entry.pw_uid
  }

  /// The id of the group of that name, or nil if there is none.
  public static func group(named name: String) throws(UnixError) -> UInt32? {
    var entry = unsafe Glibc.group()
    var found: UnsafeMutablePointer<Glibc.group>?
    let code = unsafe lookUp { buffer, length in unsafe getgrnam_r(name, &entry, buffer, length, &found) }
    guard unsafe found != nil else { return try nothing(code, "getgrnam \(name)") }
    return unsafe entry.gr_gid
  }

  /// The effective user of this process.
  public static var currentUser: UInt32 { geteuid() }

  /// The effective group of this process.
  public static var currentGroup: UInt32 { getegid() }

  /// The group that a file belongs to.
  public static func group(ofFile path: String) throws(UnixError) -> UInt32 {
    var status = stat()
    guard unsafe stat(path, &status) == 0 else { throw UnixError("stat \(path)") }
    return status.st_gid
  }

  /// Gives a file to a group; the process must be in it, or be root.
  public static func setGroup(_ group: UInt32, ofFile path: String) throws(UnixError) {
    guard unsafe chown(path, UInt32.max, group) == 0 else { throw UnixError("chown \(path)") }
  }

  /// Sets the permission bits of a file.
  public static func setMode(_ mode: UInt32, ofFile path: String) throws(UnixError) {
    guard unsafe chmod(path, mode) == 0 else { throw UnixError("chmod \(path)") }
  }

  /// The permission bits of a file.
  public static func mode(ofFile path: String) throws(UnixError) -> UInt32 {
    var status = stat()
    guard unsafe stat(path, &status) == 0 else { throw UnixError("stat \(path)") }
    return status.st_mode & 0o7777
  }

  /// Calls with a larger buffer until the entry fits; a group's list of members can be long.
  private static func lookUp(_ body: (UnsafeMutablePointer<CChar>, Int) -> Int32) -> Int32 {
    var length = 4_096
    while true {
      let buffer = UnsafeMutablePointer<CChar>.allocate(capacity: length)
      defer { unsafe buffer.deallocate() }
      let code = unsafe body(buffer, length)
      guard code == ERANGE, length < 1 << 24 else { return code }
      length *= 4
    }
  }

  /// Several C libraries say "not found" by a code (getpwnam(3), "Errors").
  private static func nothing(_ code: Int32, _ operation: String) throws(UnixError) -> UInt32? {
    switch code {
    case 0, ENOENT, ESRCH, EBADF, EPERM: return nil
    default: throw UnixError(operation, code: code)
    }
  }
}
