// Locks that threads wait on, and threads of our own: every wait ends, and exclusive means alone.

import Glibc
import Synchronization
import Testing
import Threads

/// Runs bodies on threads of their own and waits for them: the cooperative pool must not block.
private func runThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
  let threads = (0..<count).map { index in NamedThread(name: "test-\(index)") { body(index) } }
  for thread in threads { thread.join() }
}

@Suite struct MonitorTests {
  @Test func `changes under the lock are not lost`() {
    let monitor = Monitor(0)
    runThreads(4) { _ in
      for _ in 0..<10_000 { monitor.withLock { $0 += 1 } }
    }
    #expect(monitor.withLock { $0 } == 40_000)
  }

  @Test(.timeLimit(.minutes(1))) func `a signal wakes everybody who waits`() {
    let monitor = Monitor((isOpen: false, waiting: 0))
    let woken = Atomic(0)
    let waiters = (0..<3).map { index in
      NamedThread(name: "waiter-\(index)") {
        monitor.signal { $0.waiting += 1 }
        let answer: Int? = monitor.wait { $0.isOpen ? 7 : nil }
        if answer == 7 { woken.add(1, ordering: .relaxed) }
      }
    }
    monitor.wait { $0.waiting == 3 ? () : nil }
    monitor.signal { $0.isOpen = true }
    for waiter in waiters { waiter.join() }
    #expect(woken.load(ordering: .relaxed) == 3)
  }

  @Test(.timeLimit(.minutes(1))) func `a wait answers at once what is there already`() {
    let monitor = Monitor(5)
    #expect(monitor.wait(timeout: .zero) { $0 } == 5)
    #expect(monitor.wait { $0 } == 5)
  }

  @Test(.timeLimit(.minutes(1)), arguments: [0, 1, 50, 1_050])
  func `a wait ends when its time is up, and not before`(milliseconds: Int) {
    let monitor = Monitor(0)
    let start = MonotonicClock.nanoseconds()
    let answer: Int? = monitor.wait(timeout: .milliseconds(milliseconds)) { _ in nil }
    #expect(answer == nil)
    #expect(MonotonicClock.nanoseconds() - start >= Int64(milliseconds) * 1_000_000)
  }

  /// A deadline that has passed makes a negative timeout: no wait at all. And a caller may mean "nearly for ever".
  @Test(.timeLimit(.minutes(1)), arguments: [-1, -500_000_000, -1_500_000_000, -999_999_999_999])
  func `a wait whose time was up before it began ends at once`(nanoseconds: Int) {
    let monitor = Monitor(0)
    let answer: Int? = monitor.wait(timeout: .nanoseconds(nanoseconds)) { _ in nil }
    #expect(answer == nil)
  }

  @Test(.timeLimit(.minutes(1))) func `the longest wait there is can be woken`() {
    let monitor = Monitor(0)
    let waiter = NamedThread(name: "patient") {
      let answer: Int? = monitor.wait(timeout: .seconds(Int64.max)) { $0 > 0 ? $0 : nil }
      monitor.withLock { $0 = answer == 1 ? 2 : -1 }
    }
    monitor.signal { $0 = 1 }
    waiter.join()
    #expect(monitor.withLock { $0 } == 2)
  }

  @Test func `an error leaves the lock free`() {
    struct Refused: Error {}
    let monitor = Monitor(0)
    #expect(throws: Refused.self) { try monitor.withLock { (_: inout Int) throws(Refused) in throw Refused() } }
    #expect(throws: Refused.self) { try monitor.signal { (_: inout Int) throws(Refused) in throw Refused() } }
    #expect(monitor.withLock { $0 } == 0)
  }
}

@Suite struct GateTests {
  @Test(.timeLimit(.minutes(1))) func `who is alone in the gate is alone`() {
    let gate = Gate()
    let sharers = Atomic(0)
    let loners = Atomic(0)
    let violations = Atomic(0)
    runThreads(4) { index in
      for round in 0..<500 {
        if (round + index) % 5 == 0 {
          gate.enterAlone()
          if loners.add(1, ordering: .sequentiallyConsistent).newValue != 1 { violations.add(1, ordering: .relaxed) }
          if sharers.load(ordering: .sequentiallyConsistent) != 0 { violations.add(1, ordering: .relaxed) }
          sched_yield()
          loners.subtract(1, ordering: .sequentiallyConsistent)
        } else {
          gate.enterShared()
          sharers.add(1, ordering: .sequentiallyConsistent)
          if loners.load(ordering: .sequentiallyConsistent) != 0 { violations.add(1, ordering: .relaxed) }
          sched_yield()
          sharers.subtract(1, ordering: .sequentiallyConsistent)
        }
        gate.leave()
      }
    }
    #expect(violations.load(ordering: .relaxed) == 0)
  }

  @Test(.timeLimit(.minutes(1))) func `many share the gate at once`() {
    let gate = Gate()
    let inside = Monitor(0)
    runThreads(3) { _ in
      gate.enterShared()
      inside.signal { $0 += 1 }
      // Nobody leaves before all are in: a gate that let one in at a time would never end.
      inside.wait { $0 >= 3 ? () : nil }
      gate.leave()
    }
    #expect(inside.withLock { $0 } == 3)
  }
}

@Suite struct NamedThreadTests {
  @Test(arguments: [("ledger-append", "ledger-append"), ("a-name-of-more-than-15-bytes", "a-name-of-more-")])
  func `the kernel knows the thread's name`(name: String, shown: String) {
    let seen = Monitor("")
    let thread = NamedThread(name: name) {
      guard let file = unsafe fopen("/proc/thread-self/comm", "r") else { return }
      defer { unsafe fclose(file) }
      var text: [UInt8] = []
      while case let byte = unsafe fgetc(file), byte > 0x0a { text.append(UInt8(byte)) }
      let read = String(decoding: text, as: UTF8.self)
      seen.withLock { $0 = read }
    }
    thread.join()
    #expect(seen.withLock { $0 } == shown)
  }

  @Test func `join returns when the body has`() {
    let done = Atomic(false)
    let thread = NamedThread(name: "slow") {
      usleep(20_000)
      done.store(true, ordering: .releasing)
    }
    thread.join()
    let isDone = done.load(ordering: .acquiring)
    #expect(isDone)
  }
}

@Suite struct ClockTests {
  @Test func `the wall clock stands in this century and the other one goes forward`() {
    #expect(WallClock.microseconds() > 1_700_000_000_000_000)
    #expect(WallClock.microseconds() < 4_102_444_800_000_000)
    let first = MonotonicClock.nanoseconds()
    #expect(MonotonicClock.nanoseconds() >= first)
  }
}
