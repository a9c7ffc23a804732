// State behind a lock that threads can wait on: Swift's `Mutex` has no condition variable.

import Glibc

/// A value that is read and changed under a lock, and whose changes can be waited for.
@safe public final class Monitor<Value>: @unchecked Sendable {
  // `value` is touched under `mutex` only.
  private var value: Value
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let condition: UnsafeMutablePointer<pthread_cond_t>

  /// Takes the first value.
  public init(_ value: sending Value) {
    self.value = value
    unsafe mutex = .allocate(capacity: 1)
    unsafe condition = .allocate(capacity: 1)
    var attributes = pthread_condattr_t()
    unsafe pthread_condattr_init(&attributes)
    unsafe pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
    let codes = unsafe (pthread_mutex_init(mutex, nil), pthread_cond_init(condition, &attributes))
    precondition(codes == (0, 0), "a lock could not be made")
    unsafe pthread_condattr_destroy(&attributes)
  }

  deinit {
    unsafe pthread_cond_destroy(condition)
    unsafe pthread_mutex_destroy(mutex)
    unsafe condition.deallocate()
    unsafe mutex.deallocate()
  }

  /// Reads or changes the value. Short: others wait.
  public func withLock<R, E: Error>(_ body: (inout Value) throws(E) -> sending R) throws(E) -> sending R {
    unsafe pthread_mutex_lock(mutex)
    defer { unsafe pthread_mutex_unlock(mutex) }
    return try body(&value)
  }

  /// Changes the value and wakes everybody who waits.
  public func signal<R, E: Error>(_ body: (inout Value) throws(E) -> sending R) throws(E) -> sending R {
    unsafe pthread_mutex_lock(mutex)
    defer {
      unsafe pthread_cond_broadcast(condition)
      unsafe pthread_mutex_unlock(mutex)
    }
    return try body(&value)
  }

  /// Waits until `body` answers something, and gives that back.
  ///
  /// - Parameters:
  ///   - timeout: How long at most, by the monotonic clock; nil: for ever. Zero and less: no wait; more than ten years: ten.
  ///   - body: Looks at the value under the lock: at once, after each ``signal(_:)``, and once more when the time is up.
  /// - Returns: nil if the time is up.
  public func wait<R>(timeout: Duration? = nil, _ body: (inout Value) -> sending R?) -> sending R? {
    var deadline = timespec()
    if let timeout = timeout.map({ min(max($0, .zero), .seconds(315_360_000)) }) {
      // A negative or overflowing time would make pthread_cond_timedwait answer EINVAL at once, for ever, with the lock held.
      unsafe clock_gettime(CLOCK_MONOTONIC, &deadline)
      let nanoseconds = Int64(deadline.tv_nsec) + timeout.components.attoseconds / 1_000_000_000
      deadline.tv_sec += Int(timeout.components.seconds + nanoseconds / 1_000_000_000)
      deadline.tv_nsec = Int(nanoseconds % 1_000_000_000)
    }
    unsafe pthread_mutex_lock(mutex)
    defer { unsafe pthread_mutex_unlock(mutex) }
    while true {
      if let result = body(&value) { return result }
      if timeout == nil {
        unsafe pthread_cond_wait(condition, mutex)
      } else if unsafe pthread_cond_timedwait(condition, mutex, &deadline) == ETIMEDOUT {
        return body(&value)
      }
    }
  }
}
