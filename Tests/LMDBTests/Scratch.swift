// Directories and threads for the tests of this folder.

import Glibc
import LMDB
import Testing
import Threads

/// A directory of its own that goes when the test ends.
final class Scratch: Sendable {
  let path: String

  init() {
    path = "/tmp/lmdb-tests-\(getpid())-\(UInt64.random(in: 0 ... .max))"
    precondition(unsafe mkdir(path, 0o700) == 0, "no scratch directory")
  }

  deinit {
    for name in ["data.mdb", "lock.mdb"] { unsafe unlink(path + "/" + name) }
    unsafe rmdir(path)
  }

  func open(mapByteCount: Int = 8 << 20, isReadOnly: Bool = false) throws(LMDBError) -> Environment {
    try Environment(path: path, options: .init(mapByteCount: mapByteCount, isReadOnly: isReadOnly, isVolatile: !isReadOnly))
  }
}

/// Runs bodies on threads of their own and waits for them.
func runThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
  let threads = (0..<count).map { index in NamedThread(name: "test-\(index)") { body(index) } }
  for thread in threads { thread.join() }
}

/// An error that only the tests throw, dressed as LMDB's.
func anyError() -> LMDBError {
  do throws(LMDBError) {
    _ = try Environment(path: "/nowhere/at/all")
    preconditionFailure("a path that is there")
  } catch {
    return error
  }
}
