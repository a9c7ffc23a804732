// A data directory on a file system that other machines share. The kernel of a test machine seldom has one; but any type can
// be mounted through FUSE, and sshfs and its like are that.

import Foundation
import LedgerTesting
import Testing

/// Mounts a file system of a type of its own that has an empty root, and serves it until its standard input ends. It speaks
/// the protocol of fuse(4) itself, so that nothing needs to be installed.
private let server = """
  import ctypes, os, struct, sys, threading
  path, kind = sys.argv[1:]
  libc = ctypes.CDLL(None, use_errno=True)
  device = os.open("/dev/fuse", os.O_RDWR)
  options = f"fd={device},rootmode=40000,user_id=0,group_id=0"
  if libc.mount(b"test", path.encode(), kind.encode(), 0, options.encode()):
      sys.exit("mount: " + os.strerror(ctypes.get_errno()))
  def serve():
      while True:
          try: request = os.read(device, 1 << 20)
          except OSError: return
          length, operation, unique, node, uid, gid, pid, more = struct.unpack_from("<IIQQIIII", request)
          error, body = -38, b""                                    # ENOSYS
          if operation == 26:                                       # INIT
              error, body = 0, struct.pack("<IIIIHHI", 7, 19, 0, 0, 1, 1, 4096) + bytes(40)
          elif operation == 3:                                      # GETATTR of the root
              error, body = 0, struct.pack("<QII", 0, 0, 0) + struct.pack("<6Q10I", 1, *[0] * 8, 0o40700, 2, *[0] * 5)
          elif operation == 1: error = -2                           # LOOKUP: ENOENT
          elif operation in (2, 36, 42): continue                   # FORGET, INTERRUPT, BATCH_FORGET have no answer
          os.write(device, struct.pack("<IiQ", 16 + len(body), error, unique) + body)
  threading.Thread(target=serve, daemon=True).start()
  print("mounted", flush=True)
  sys.stdin.read()
  libc.umount2(path.encode(), 2)                                    # MNT_DETACH
  """

@Suite(.serialized, .enabled(if: Missing.root && Missing.program("python3"), "mounting needs root and python3"))
struct NetworkDiskTests {
  @Test(
    .enabled(if: FileManager.default.fileExists(atPath: "/dev/fuse"), "the kernel has no FUSE"),
    arguments: ["fuse.sshfs", "fuse.glusterfs"])
  func `a data directory on a network file system is refused, and nothing is written there`(_ kind: String) async throws {
    let place = try Place()
    try FileManager.default.createDirectory(atPath: place.data, withIntermediateDirectories: true)
    let mount = Process()
    mount.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    mount.arguments = ["python3", "-c", server, place.data, kind]
    let (input, output) = (Pipe(), Pipe())
    (mount.standardInput, mount.standardOutput) = (input, output)
    try mount.run()
    let said = String(decoding: output.fileHandleForReading.availableData, as: UTF8.self)
    try #require(said.hasPrefix("mounted"), "\(said)")
    #expect(try run("grep", " \(place.data) ", "/proc/self/mountinfo").contains("- \(kind) "))
    let process = try WetDaemon.start(place)
    #expect(await process.exitStatus() == 1)
    #expect(process.logText.contains("lies on a network file system (\(kind))"), "\(process.logText)")
    #expect(process.logText.contains("use a local disk"))
    try input.fileHandleForWriting.close()
    mount.waitUntilExit()
    #expect(try FileManager.default.contentsOfDirectory(atPath: place.data).isEmpty)
  }
}
