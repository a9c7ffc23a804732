// Every error that LMDB 0.9.24 answers with, what it means, and what the caller or the operator can do.

import CLMDB
import Glibc

/// An error of LMDB or of the system below it.
public struct LMDBError: Error, Equatable, Sendable, CustomStringConvertible {
  /// One case per decision that a caller can make.
  public enum Kind: Equatable, Sendable {
    /// The memory map is full: grow it and repeat the transaction.
    case mapFull
    /// Another process grew the map: adopt its size and repeat.
    case mapResized
    /// All reader slots are taken.
    case readersFull
    /// The file is damaged.
    case corrupted
    /// A meta page could not be written; the next transaction opens the environment again.
    case panic
    /// The file belongs to another version or is no LMDB file.
    case foreignFile
    /// The key is already there.
    case keyExists
    /// The key or value is too long or empty.
    case badSize
    /// The file system has no room.
    case diskFull
    /// The disk answered with an error.
    case inputOutput
    /// The process may not.
    case permission
    /// The process may not map, or allocate, that much.
    case noMemory
    /// The path is not there.
    case notFound
    /// This process has the directory open already.
    case alreadyOpen
    /// Anything else.
    case other
  }

  /// Which decision.
  public let kind: Kind
  /// LMDB's or the system's code.
  public let code: Int32
  /// The C function that answered.
  public let operation: String

  init(_ code: Int32, _ operation: String) {
    self.code = code
    self.operation = operation
    kind = Self.kind(of: code)
  }

  init(kind: Kind, operation: String) {
    self.kind = kind
    self.code = 0
    self.operation = operation
  }

  private static func kind(of code: Int32) -> Kind {
    switch code {
    case MDB_MAP_FULL: .mapFull
    case MDB_MAP_RESIZED: .mapResized
    case MDB_READERS_FULL: .readersFull
    case MDB_CORRUPTED, MDB_PAGE_NOTFOUND: .corrupted
    case MDB_PANIC: .panic
    case MDB_VERSION_MISMATCH, MDB_INVALID: .foreignFile
    case MDB_KEYEXIST: .keyExists
    case MDB_BAD_VALSIZE: .badSize
    case ENOSPC, EDQUOT: .diskFull
    case EIO: .inputOutput
    case EACCES, EPERM, EROFS: .permission
    case ENOMEM: .noMemory
    case ENOENT, ENOTDIR: .notFound
    default: .other
    }
  }

  /// What to do about it.
  public var advice: String {
    switch kind {
    case .mapFull: "raise the map size"
    case .mapResized: "repeat the transaction"
    case .readersFull: "close other readers of the directory or raise the number of readers"
    case .corrupted: "check the disk; restore the log from a backup, or delete the directory if it is derived"
    case .panic: "the environment is opened again; the last commit's outcome is read from the disk"
    case .foreignFile: "open it with the version that wrote it"
    case .keyExists: "the key was to be new; this is a fault of the program"
    case .badSize: "a key may have 1 to 511 bytes"
    case .diskFull: "make room on the file system"
    case .inputOutput: "check the disk and the kernel's log"
    case .permission: "run as the directory's owner, or mend its mode"
    case .noMemory: "raise the process's limit of address space (LimitAS=, prlimit --as)"
    case .notFound: "check the path"
    case .alreadyOpen: "share the environment that is open"
    case .other: "see the code's meaning in lmdb.h or errno(3)"
    }
  }

  /// What happened, where, and what to do.
  public var description: String {
    let text = kind == .alreadyOpen ? "this process has the directory open already" : unsafe String(cString: mdb_strerror(code))
    return "\(operation): \(text) (code \(code)); \(advice)"
  }
}

@inline(__always)
func check(_ code: Int32, _ operation: @autoclosure () -> String) throws(LMDBError) {
  if code != MDB_SUCCESS { throw LMDBError(code, operation()) }
}
