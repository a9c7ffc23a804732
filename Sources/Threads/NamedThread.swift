// Threads of our own. The cooperative pool has one thread per core, so a blocked flush there would stop everything;
// work that waits for a disk runs here.

import Glibc

/// A thread with a name. Its owner joins it, or lets go of it: then it ends by itself.
@safe public final class NamedThread: @unchecked Sendable {
  // Written once in `init`, before anybody else sees the object; `join` is called by the one owner.
  private var handle = pthread_t()
  private var isJoined = false

  private final class Start {
    let name: String
    let niceness: Int32
    let body: @Sendable () -> Void
    init(name: String, niceness: Int32, body: @escaping @Sendable () -> Void) {
      self.name = name
      self.niceness = niceness
      self.body = body
    }
  }

  /// Starts `body` at once.
  ///
  /// - Parameters:
  ///   - name: Shown by `ps -L` and debuggers; its first 15 bytes count.
  ///   - niceness: By how much it gives way to the process's other threads (`setpriority`), 0 to 19.
  public init(name: String, niceness: Int32 = 0, _ body: @escaping @Sendable () -> Void) {
    precondition((0...19).contains(niceness), "a thread can only give way")
    let start = unsafe Unmanaged.passRetained(Start(name: name, niceness: niceness, body: body)).toOpaque()
    let code = unsafe pthread_create(
      &handle, nil,
      { argument in
        guard let argument = unsafe argument else { return nil }
        let start = unsafe Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
        nameThisThread(start.name)
        // On Linux a niceness belongs to a thread (setpriority(2), "C library/kernel differences"). Giving way is always
        // allowed; where it is not done all the same, the thread only gives way less.
        if start.niceness > 0 {
          let thisThread = __priority_which_t(PRIO_PROCESS.rawValue)
          setpriority(thisThread, 0, min(19, getpriority(thisThread, 0) + start.niceness))
        }
        start.body()
        return nil
      }, start)
    precondition(code == 0, "no thread could be started: error \(code)")
  }

  deinit {
    if !isJoined { pthread_detach(handle) }
  }

  /// Waits until the body has returned. Once, by the owner.
  public func join() {
    precondition(!isJoined, "a thread is joined once")
    isJoined = true
    let code = pthread_join(handle, nil)
    precondition(code == 0, "pthread_join failed with \(code)")
  }
}

/// `pthread_setname_np` is hidden from Swift and `prctl` is variadic: the kernel takes the name through /proc as well. A
/// thread without a name works all the same, so failing is no error.
private func nameThisThread(_ name: String) {
  guard let file = unsafe fopen("/proc/thread-self/comm", "w") else { return }
  unsafe fputs(String(name.prefix(15)), file)
  unsafe fclose(file)
}
