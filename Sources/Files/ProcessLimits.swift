// What the process may have by the limits that it was started with: address space, and files.

import Glibc

/// The limits of this process (getrlimit(2)).
public enum ProcessLimits {
  /// Bytes of address space that it may have (`RLIMIT_AS`); nil: as many as there are.
  public static var addressSpaceByteCountMax: Int? { limit(RLIMIT_AS) }

  /// Files that it may have open (`RLIMIT_NOFILE`); nil: as many as there are.
  public static var descriptorCountMax: Int? { limit(RLIMIT_NOFILE) }

  private static func limit(_ resource: __rlimit_resource) -> Int? {
    var limit = rlimit()
    guard unsafe getrlimit(__rlimit_resource_t(resource.rawValue), &limit) == 0, limit.rlim_cur != rlim_t.max else { return nil }
    return Int(clamping: limit.rlim_cur)
  }
}
