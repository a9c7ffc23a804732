// Directories and small files, durably: what the log needs of a file system beside LMDB, without Foundation.
//
// Invariants:
// - What is created is private to its owner: directories 0700, files 0600.
// - A file that `writeAtomically` wrote is there whole or not at all, also after a power cut: its bytes are synced before
//   the rename, the directory after it.

import Glibc

/// An error of the file system.
public struct FileError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The system's code (`errno`).
  public let code: Int32
  /// The C function that failed.
  public let operation: String
  /// The path it failed on.
  public let path: String

  init(_ operation: String, _ path: String, code: Int32 = errno) {
    self.code = code
    self.operation = operation
    self.path = path
  }

  /// True if the path is not there.
  public var isMissing: Bool { code == ENOENT }
  /// True if a lock is held by somebody else.
  public var isLocked: Bool { code == EWOULDBLOCK }
  /// True if the file system has no room.
  public var isDiskFull: Bool { code == ENOSPC || code == EDQUOT }

  /// What happened and where.
  public var description: String {
    let text = unsafe String(cString: strerror(code))
    return "\(operation) \(path): \(text)"
  }
}

/// Which file it is: equal for all names of one file, different when a name was given to another one.
public struct FileIdentity: Equatable, Sendable {
  let device: UInt64
  let inode: UInt64
}

/// Operations on paths.
public enum Files {
  /// Creates a directory (0700) and what is missing above it, and makes its name durable.
  public static func createDirectory(_ path: String) throws(FileError) {
    guard unsafe mkdir(path, 0o700) != 0 else { return try sync(directory: parent(of: path)) }
    if errno == ENOENT, parent(of: path) != path {
      try createDirectory(parent(of: path))
      guard unsafe mkdir(path, 0o700) != 0 else { return try sync(directory: parent(of: path)) }
    }
    guard errno == EEXIST else { throw FileError("mkdir", path) }
    guard isDirectory(path) else { throw FileError("mkdir", path, code: ENOTDIR) }
  }

  /// The folder above.
  public static func parent(of path: String) -> String {
    guard let slash = path.utf8.lastIndex(of: 0x2f) else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  /// True if there is a directory.
  public static func isDirectory(_ path: String) -> Bool {
    var status = stat()
    return unsafe stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
  }

  /// What is at a path, whatever it is called; nil if there is nothing, or it may not be looked at.
  public static func identity(of path: String) -> FileIdentity? {
    var status = stat()
    guard unsafe lstat(path, &status) == 0 else { return nil }
    return FileIdentity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
  }

  /// True if there is anything.
  public static func exists(_ path: String) -> Bool { unsafe access(path, F_OK) == 0 }

  /// The names in a directory, sorted as bytes, without `.` and `..`.
  public static func list(_ path: String) throws(FileError) -> [String] {
    guard let directory = unsafe opendir(path) else { throw FileError("opendir", path) }
    defer { unsafe closedir(directory) }
    var names: [String] = []
    while let entry = unsafe readdir(directory) {
      let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { pointer in
        unsafe pointer.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
  }

  /// Reads a whole file of at most `byteCountMax` bytes.
  public static func read(_ path: String, byteCountMax: Int = 1 << 20) throws(FileError) -> [UInt8] {
    let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { throw FileError("open", path) }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: byteCountMax + 1)
    var length = 0
    while length < bytes.count {
      let count = unsafe bytes.withUnsafeMutableBytes { buffer in
        unsafe Glibc.read(file, buffer.baseAddress.map { unsafe $0 + length }, buffer.count - length)
      }
      guard count >= 0 else { throw FileError("read", path) }
      if count == 0 { break }
      length += count
    }
    guard length <= byteCountMax else { throw FileError("read", path, code: EFBIG) }
    bytes.removeLast(bytes.count - length)
    return bytes
  }

  /// Reads a whole file, or nothing if it is not there.
  public static func readIfPresent(_ path: String, byteCountMax: Int = 1 << 20) throws(FileError) -> [UInt8]? {
    do throws(FileError) {
      return try read(path, byteCountMax: byteCountMax)
    } catch {
      if error.isMissing { return nil }
      throw error
    }
  }

  /// Writes a file (0600) so that it is there whole or not at all.
  public static func writeAtomically(_ bytes: [UInt8], to path: String) throws(FileError) {
    let temporary = path + ".new"
    do throws(FileError) {
      try writeThrough(bytes, to: temporary)
      guard unsafe Glibc.rename(temporary, path) == 0 else { throw FileError("rename", path) }
    } catch {
      unsafe unlink(temporary)
      throw error
    }
    try sync(directory: parent(of: path))
  }

  /// Writes a file (0600) and syncs it.
  private static func writeThrough(_ bytes: [UInt8], to path: String) throws(FileError) {
    let file = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard file >= 0 else { throw FileError("open", path) }
    var offset = 0
    while offset < bytes.count {
      let count = unsafe bytes.withUnsafeBytes { buffer in
        unsafe write(file, buffer.baseAddress.map { unsafe $0 + offset }, buffer.count - offset)
      }
      guard count > 0 else {
        let error = FileError("write", path, code: count == 0 ? EIO : errno)
        close(file)
        throw error
      }
      offset += count
    }
    guard fsync(file) == 0 else {
      let error = FileError("fsync", path)
      close(file)
      throw error
    }
    guard close(file) == 0 else { throw FileError("close", path) }
  }

  /// Makes the names in a directory durable.
  public static func sync(directory path: String) throws(FileError) {
    let file = unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard file >= 0 else { throw FileError("open", path) }
    defer { close(file) }
    guard fsync(file) == 0 else { throw FileError("fsync", path) }
  }

  /// Gives a file or directory another name in the same folder, durably; a file there is replaced.
  public static func rename(_ path: String, to other: String) throws(FileError) {
    guard unsafe Glibc.rename(path, other) == 0 else { throw FileError("rename", path) }
    try sync(directory: parent(of: other))
  }

  /// Removes a file or a directory with all that is in it; nothing there is no error.
  public static func removeTree(_ path: String) throws(FileError) {
    var status = stat()
    guard unsafe lstat(path, &status) == 0 else {
      if errno == ENOENT { return }
      throw FileError("lstat", path)
    }
    guard status.st_mode & S_IFMT == S_IFDIR else {
      guard unsafe unlink(path) == 0 else { throw FileError("unlink", path) }
      return
    }
    for name in try list(path) { try removeTree(path + "/" + name) }
    guard unsafe rmdir(path) == 0 else { throw FileError("rmdir", path) }
  }

  /// Bytes that an unprivileged writer may still use on the path's file system.
  public static func roomByteCount(at path: String) throws(FileError) -> Int {
    var status = statvfs()
    guard unsafe statvfs(path, &status) == 0 else { throw FileError("statvfs", path) }
    return Int(status.f_bavail) * Int(status.f_frsize)
  }

  /// The type of the network file system that the path lies on, or nil: locks and shared memory cannot be trusted there.
  ///
  /// The types are those of `/proc/self/mountinfo` (proc(5)), found by the path's device number.
  public static func networkFileSystem(of path: String) throws(FileError) -> String? {
    var status = stat()
    guard unsafe stat(path, &status) == 0 else { throw FileError("stat", path) }
    // glibc's encoding of device numbers (makedev(3)), whose macros Swift does not see.
    let number = UInt64(status.st_dev)
    let major = (number >> 8 & 0xfff) | (number >> 32 & ~0xfff)
    let minor = (number & 0xff) | (number >> 12 & ~0xff)
    let table = String(decoding: try read("/proc/self/mountinfo", byteCountMax: 4 << 20), as: UTF8.self)
    return networkFileSystem(device: "\(major):\(minor)", mountInfo: table)
  }

  /// The decision: the type of the file system with this device number, if it is one that other machines share.
  static func networkFileSystem(device: String, mountInfo table: String) -> String? {
    for line in table.split(separator: "\n") {
      let fields = line.split(separator: " ")
      guard fields.count > 6, fields[2] == device, let dash = fields.firstIndex(of: "-"), dash + 1 < fields.count else { continue }
      let type = String(fields[dash + 1])
      let remote = ["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "afs", "glusterfs", "lustre"]
      return remote.contains(type) || type.hasPrefix("fuse.") ? type : nil
    }
    return nil
  }
}

/// A lock on a file that falls with the process (`flock`).
public final class FileLock: Sendable {
  private let file: Int32

  /// Takes the lock, or fails at once with an error that `isLocked`.
  public init(_ path: String) throws(FileError) {
    let file = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard file >= 0 else { throw FileError("open", path) }
    guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
      let error = FileError("flock", path)
      close(file)
      throw error
    }
    self.file = file
  }

  deinit { close(file) }
}
