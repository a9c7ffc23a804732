// Every error has a meaning and says what to do about it.

import Glibc
@testable import LMDB
import Testing

@Suite struct LMDBErrorTests {
  /// The codes of lmdb.h 0.9.24 and errno(3).
  static let codes: [(Int32, LMDBError.Kind)] = [
    (-30_799, .keyExists), (-30_797, .corrupted), (-30_796, .corrupted), (-30_795, .panic), (-30_794, .foreignFile),
    (-30_793, .foreignFile), (-30_792, .mapFull), (-30_790, .readersFull), (-30_785, .mapResized), (-30_781, .badSize),
    (ENOSPC, .diskFull), (EDQUOT, .diskFull), (EIO, .inputOutput), (EACCES, .permission), (EPERM, .permission), (EROFS, .permission),
    (ENOENT, .notFound), (ENOTDIR, .notFound), (ENOMEM, .noMemory), (EINVAL, .other), (-30_780, .other), (-30_788, .other),
    (12_345, .other),
  ]

  @Test(arguments: codes)
  func `a code leads to one decision, and its message says what to do`(code: Int32, kind: LMDBError.Kind) {
    let error = LMDBError(code, "mdb_put")
    #expect(error.kind == kind)
    #expect(!error.advice.isEmpty)
    #expect(error.description.hasPrefix("mdb_put: "))
    #expect(error.description.hasSuffix("(code \(code)); \(error.advice)"))
  }

  @Test func `a directory that is open already says so`() {
    let error = LMDBError(kind: .alreadyOpen, operation: "mdb_env_open")
    #expect(!error.advice.isEmpty)
    #expect(error.description.contains("this process has the directory open already"))
  }

  @Test func `each decision has advice of its own`() {
    var advice = Set(Self.codes.map { LMDBError($0.0, "f").advice })
    advice.insert(LMDBError(kind: .alreadyOpen, operation: "f").advice)
    #expect(advice.count == 15)
  }
}
