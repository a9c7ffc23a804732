// How many files and sockets the process may have open (RLIMIT_NOFILE): one that runs out of them cannot accept, nor open
// what it needs to go on.

import Glibc

/// The process's file descriptors.
public enum Descriptors {
  /// Raises the soft limit to the hard one: the soft one is 1,024 by custom, for the sake of select(2), which nobody here
  /// calls. What the system refuses stays as it was.
  public static func raiseLimit() {
    var limit = rlimit()
    guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
    limit.rlim_cur = limit.rlim_max
    unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
  }

  /// True if about `count` more can be opened. The kernel gives out the lowest free number, which says how many are taken
  /// at least.
  public static func isRoom(for count: Int) -> Bool {
    var limit = rlimit()
    guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return true }
    let next = unsafe open("/dev/null", O_RDONLY | O_CLOEXEC)
    guard next >= 0 else { return errno != EMFILE && errno != ENFILE }
    close(next)
    return limit.rlim_cur == rlim_t.max || Int(next) + count < Int(clamping: limit.rlim_cur)
  }
}
