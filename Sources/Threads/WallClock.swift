// The machine's clock. Only composition roots and logs' defaults read it; folds never do.

import Glibc

/// Real time.
public enum WallClock {
  /// Microseconds since 1970-01-01T00:00:00Z (`clock_gettime` with `CLOCK_REALTIME`).
  public static func microseconds() -> Int64 {
    var now = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &now)
    return Int64(now.tv_sec) * 1_000_000 + Int64(now.tv_nsec) / 1_000
  }
}

/// Time that only goes forward, for measuring.
public enum MonotonicClock {
  /// Nanoseconds since some moment (`CLOCK_MONOTONIC`).
  public static func nanoseconds() -> Int64 {
    var now = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &now)
    return Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec)
  }
}

/// What this process has used.
public enum ProcessUsage {
  /// The most memory it has held at once, in bytes (`getrusage`, `ru_maxrss`).
  public static var peakByteCount: Int {
    var usage = rusage()
    unsafe getrusage(__rusage_who_t(0), &usage)
    return usage.ru_maxrss << 10
  }
}
