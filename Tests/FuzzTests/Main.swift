// The door for libFuzzer, which brings its own `main` (https://llvm.org/docs/LibFuzzer.html). `deploy/fuzz` builds and runs it.

import Foundation

private let target: FuzzTarget = {
  let name = ProcessInfo.processInfo.environment["LEDGER_FUZZ_TARGET"] ?? ""
  guard let target = FuzzTarget(rawValue: name) else {
    preconditionFailure("LEDGER_FUZZ_TARGET is none of \(FuzzTarget.allCases.map(\.rawValue))")
  }
  return target
}()

/// The corresponding C function is `LLVMFuzzerTestOneInput`. The bytes are valid during the call.
@_cdecl("LLVMFuzzerTestOneInput")
public func takeOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  unsafe target.run(Array(UnsafeBufferPointer(start: bytes, count: count)))
  return 0
}
