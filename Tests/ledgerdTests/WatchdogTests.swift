// What counts as progress: a part that has work and finishes none of it is stalled, one without work is not.

import ProjectionEngine
import Testing

@testable import ledgerd

@Suite struct WatchdogTests {
  private func stalls(_ before: (done: UInt64, isBusy: Bool), _ after: (done: UInt64, isBusy: Bool)) -> [String] {
    var observer = ProgressObserver()
    #expect(observer.stalls([PartProgress(name: "a", doneCount: before.done, isBusy: before.isBusy)]) == [], "the first look knows nothing")
    return observer.stalls([
      PartProgress(name: "a", doneCount: after.done, isBusy: after.isBusy), PartProgress(name: "b", doneCount: 1, isBusy: true),
    ])
  }

  @Test func `a part that has work and finishes none is stalled, and no other is`() {
    #expect(stalls((7, true), (7, true)) == ["a"])
    #expect(stalls((7, true), (8, true)) == [])
    #expect(stalls((7, false), (7, true)) == [], "it may have begun just now")
    #expect(stalls((7, true), (7, false)) == [])
    #expect(stalls((7, false), (7, false)) == [])
  }

  @Test func `a worker has work while it starts or lags, but not while it waits or says why it does not go on`() {
    for state in [ProjectionState.live, .catchingUp] {
      #expect(PartProgress.isBusy(state, lagEventCount: 1))
      #expect(!PartProgress.isBusy(state, lagEventCount: 0))
    }
    #expect(PartProgress.isBusy(.starting, lagEventCount: 0))
    for state in [ProjectionState.paused, .rebuilding, .stopped("x"), .failed("x")] {
      #expect(!PartProgress.isBusy(state, lagEventCount: 1))
    }
  }
}
