// A reader-writer lock for the few operations that need everybody else out, such as growing a memory map.

import Glibc

/// Many may hold it shared, one exclusively; who waits for exclusive goes before new sharers.
///
/// Not recursive: a thread that holds it must not ask again.
@safe public final class Gate: @unchecked Sendable {
  // The lock guards itself; the pointer never changes.
  private let lock: UnsafeMutablePointer<pthread_rwlock_t>

  /// Makes an open gate.
  public init() {
    unsafe lock = UnsafeMutablePointer<pthread_rwlock_t>.allocate(capacity: 1)
    var attributes = pthread_rwlockattr_t()
    unsafe pthread_rwlockattr_init(&attributes)
    unsafe pthread_rwlockattr_setkind_np(&attributes, Int32(PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP))
    let code = unsafe pthread_rwlock_init(lock, &attributes)
    precondition(code == 0, "pthread_rwlock_init failed with \(code)")
    unsafe pthread_rwlockattr_destroy(&attributes)
  }

  deinit {
    unsafe pthread_rwlock_destroy(lock)
    unsafe lock.deallocate()
  }

  /// Enters together with others.
  public func enterShared() {
    let code = unsafe pthread_rwlock_rdlock(lock)
    precondition(code == 0, "pthread_rwlock_rdlock failed with \(code)")
  }

  /// Enters alone, when everybody has left.
  public func enterAlone() {
    let code = unsafe pthread_rwlock_wrlock(lock)
    precondition(code == 0, "pthread_rwlock_wrlock failed with \(code)")
  }

  /// Leaves, on the thread that entered.
  public func leave() {
    let code = unsafe pthread_rwlock_unlock(lock)
    precondition(code == 0, "pthread_rwlock_unlock failed with \(code)")
  }
}
