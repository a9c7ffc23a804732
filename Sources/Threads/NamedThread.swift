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
    let body: @Sendable () -> Void
    init(name: String, body: @escaping @Sendable () -> Void) {
      self.name = name
      self.body = body
    }
  }

  /// Starts `body` at once.
  ///
  /// - Parameter name: Shown by `ps -L` and debuggers; its first 15 bytes count.
  public init(name: String, _ body: @escaping @Sendable () -> Void) {
    let start = unsafe Unmanaged.passRetained(Start(name: name, body: body)).toOpaque()
    let code = unsafe pthread_create(
      &handle, nil,
      { argument in
        guard let argument = unsafe argument else { return nil }
        let start = unsafe Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
        nameThisThread(start.name)
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
