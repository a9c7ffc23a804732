// What the log asks of a file system: files whole or not at all, locks that one holder has, and errors that say where.

@testable import Files
import Glibc
import Testing

/// A directory of its own that goes when the test ends.
private final class Scratch {
  let path: String

  init() throws {
    path = "/tmp/files-tests-\(getpid())-\(UInt64.random(in: 0 ... .max))"
    try Files.createDirectory(path)
  }

  deinit {
    do { try Files.removeTree(path) } catch { Issue.record(error) }
  }
}

private func mode(of path: String) -> UInt32 {
  var status = stat()
  guard unsafe stat(path, &status) == 0 else { return 0 }
  return status.st_mode & 0o777
}

@Suite struct FilesTests {
  private let scratch: Scratch
  private var root: String { scratch.path }

  init() throws { scratch = try Scratch() }

  @Test func `a directory is its owner's, and making it twice is no error`() throws {
    let path = root + "/a"
    try Files.createDirectory(path)
    try Files.createDirectory(path)
    #expect(Files.isDirectory(path) && Files.exists(path))
    #expect(mode(of: path) == 0o700)
  }

  @Test func `a directory is not made over a file, and brings what is missing above it`() throws {
    try Files.writeAtomically([1], to: root + "/f")
    let file = #expect(throws: FileError.self) { try Files.createDirectory(root + "/f") }
    #expect(file?.code == ENOTDIR && file?.path == root + "/f")
    #expect(!Files.isDirectory(root + "/f"))
    try Files.createDirectory(root + "/none/yet/a")
    #expect(Files.isDirectory(root + "/none/yet/a") && mode(of: root + "/none") == 0o700)
  }

  @Test(arguments: [("/a/b", "/a"), ("/a", "/"), ("a", "."), ("a/b", "a"), ("/é/ñ", "/é")])
  func `the folder above a path`(path: String, parent: String) {
    #expect(Files.parent(of: path) == parent)
  }

  @Test(arguments: [0, 1, 4_096, 100_000])
  func `a file is read as it was written, and belongs to its owner`(count: Int) throws {
    let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    try Files.writeAtomically(bytes, to: root + "/f")
    #expect(try Files.read(root + "/f") == bytes)
    #expect(mode(of: root + "/f") == 0o600)
  }

  @Test func `a file is replaced whole, and nothing stays beside it`() throws {
    try Files.writeAtomically([UInt8](repeating: 1, count: 10_000), to: root + "/f")
    try Files.writeAtomically([2], to: root + "/f")
    #expect(try Files.read(root + "/f") == [2])
    #expect(try Files.list(root) == ["f"])
  }

  @Test func `a leftover of a write that was cut off is written over`() throws {
    try Files.writeAtomically([UInt8](repeating: 9, count: 500), to: root + "/f.new")
    try Files.writeAtomically([1, 2], to: root + "/f")
    #expect(try Files.read(root + "/f") == [1, 2])
    #expect(try Files.list(root) == ["f"])
  }

  @Test func `a write that fails leaves what was there, and nothing beside it`() throws {
    try Files.createDirectory(root + "/d")
    try Files.writeAtomically([1], to: root + "/d/inside")
    let error = #expect(throws: FileError.self) { try Files.writeAtomically([2], to: root + "/d") }
    #expect(error?.operation == "rename" && error?.path == root + "/d")
    #expect(try Files.read(root + "/d/inside") == [1])
    #expect(try Files.list(root) == ["d"])
  }

  @Test func `a file of more than the limit is refused, one of the limit is not`() throws {
    try Files.writeAtomically([1, 2, 3, 4], to: root + "/f")
    #expect(try Files.read(root + "/f", byteCountMax: 4) == [1, 2, 3, 4])
    let error = #expect(throws: FileError.self) { try Files.read(root + "/f", byteCountMax: 3) }
    #expect(error?.code == EFBIG)
  }

  @Test func `what is missing says so, with its path`() {
    let error = #expect(throws: FileError.self) { try Files.read(root + "/none") }
    #expect(error?.isMissing == true && error?.isLocked == false && error?.isDiskFull == false)
    #expect(error?.description == "open \(root)/none: No such file or directory")
    #expect(throws: FileError.self) { try Files.list(root + "/none") }
    #expect(throws: FileError.self) { try Files.sync(directory: root + "/none") }
    #expect(throws: FileError.self) { try Files.roomByteCount(at: root + "/none") }
    #expect(throws: FileError.self) { try Files.networkFileSystem(of: root + "/none") }
    #expect(!Files.exists(root + "/none") && !Files.isDirectory(root + "/none"))
  }

  @Test func `names are listed in byte order`() throws {
    let names = ["b", "a", "B", "cafe\u{301}", "cafz", "caf\u{e9}", "10", "9", ".hidden"]
    for name in names { try Files.writeAtomically([], to: root + "/" + name) }
    let listed = try Files.list(root).map { Array($0.utf8) }
    #expect(listed == [".hidden", "10", "9", "B", "a", "b", "cafe\u{301}", "cafz", "caf\u{e9}"].map { Array($0.utf8) })
  }

  @Test func `the longest name there is is listed whole`() throws {
    let name = String(repeating: "n", count: 251)
    try Files.writeAtomically([], to: root + "/" + name)
    #expect(try Files.list(root) == [name])
  }

  @Test func `a tree goes with all that is in it, but not what its links point at`() throws {
    try Files.createDirectory(root + "/kept")
    try Files.writeAtomically([1], to: root + "/kept/f")
    try Files.createDirectory(root + "/t")
    try Files.createDirectory(root + "/t/u")
    try Files.writeAtomically([1], to: root + "/t/u/f")
    #expect(unsafe symlink(root + "/kept", root + "/t/link") == 0)
    #expect(unsafe symlink(root + "/none", root + "/t/dangling") == 0)
    try Files.removeTree(root + "/t")
    #expect(try Files.list(root) == ["kept"])
    #expect(try Files.read(root + "/kept/f") == [1])
    try Files.removeTree(root + "/t")
    try Files.removeTree(root + "/kept/f")
    #expect(try Files.list(root + "/kept") == [])
  }

  @Test func `a lock has one holder at a time`() throws {
    let path = root + "/lock"
    var held: FileLock? = try FileLock(path)
    let error = #expect(throws: FileError.self) { try FileLock(path) }
    #expect(error?.isLocked == true && error?.isMissing == false && error?.operation == "flock")
    #expect(held != nil)
    held = nil
    let again = try FileLock(path)
    withExtendedLifetime(again) { #expect(mode(of: path) == 0o600) }
  }

  @Test func `a lock that cannot be made is not a lock that is held`() {
    let error = #expect(throws: FileError.self) { try FileLock(root + "/none/lock") }
    #expect(error?.isMissing == true && error?.isLocked == false)
  }

  @Test func `a lock falls with its process`() async throws {
    let path = root + "/lock"
    await #expect(processExitsWith: .signal(SIGKILL)) { [path = path as String] in
      let lock = try FileLock(path)
      withExtendedLifetime(lock) { _ = kill(getpid(), SIGKILL) }
    }
    #expect(Files.exists(path))
    withExtendedLifetime(try FileLock(path)) {}
  }

  @Test func `another process's lock is held`() async throws {
    let path = root + "/lock"
    let held = try FileLock(path)
    await #expect(processExitsWith: .exitCode(17)) { [path = path as String] in
      do throws(FileError) {
        withExtendedLifetime(try FileLock(path)) {}
      } catch {
        exit(error.isLocked ? 17 : 18)
      }
    }
    withExtendedLifetime(held) {}
  }

  @Test func `a local directory has room and no network`() throws {
    #expect(try Files.roomByteCount(at: root) > 0)
    #expect(try Files.networkFileSystem(of: "/tmp") == nil)
    #expect(try Files.networkFileSystem(of: "/proc") == nil)
  }

  private static let mounts = """
    22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
    30 22 0:40 / /srv/a rw,relatime shared:9 master:3 - nfs4 host:/export rw,vers=4.2
    31 22 0:41 / /srv/b rw,relatime - cifs //host/share rw
    32 22 0:42 / /srv/c rw,relatime shared:11 - fuse.sshfs user@host: rw
    33 22 0:43 / /srv/with\\040space rw,relatime - 9p share rw,trans=virtio
    34 22 0:44 / /srv/d rw,nosuid - tmpfs tmpfs rw
    35 22 8:17 / /srv/e rw - fuseblk /dev/sdb1 rw
    36 22 0:45 / /srv/f rw - ceph mon:/ rw
    """

  @Test(arguments: [
    ("8:1", nil), ("0:40", "nfs4"), ("0:41", "cifs"), ("0:42", "fuse.sshfs"), ("0:43", "9p"), ("0:44", nil), ("8:17", nil),
    ("0:45", "ceph"),
    ("9:9", nil),
  ])
  func `a file system that other machines share is told by its type`(device: String, type: String?) {
    #expect(Files.networkFileSystem(device: device, mountInfo: Self.mounts) == type)
  }
}
