// Redis Streams beside the ledger: the same bytes, in the same group sizes, as durable (`appendfsync always`).

import ArgumentParser
import Foundation
import Glibc
import NIOCore

/// A Redis that answers on a Unix socket: one that runs already, or one started for the benchmark.
final class BenchRedis {
  let socket: String
  private let process: Process?

  /// Uses one that runs; whether it is durable is its owner's business, and is said.
  init(socket: String) {
    self.socket = socket
    process = nil
  }

  /// Starts one in `directory` that flushes before each answer, and waits until it answers.
  init(startedIn directory: String) throws {
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    socket = directory + "/redis.sock"
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [
      "redis-server", "--port", "0", "--unixsocket", socket, "--dir", directory, "--appendonly", "yes", "--appendfsync", "always",
      "--save", "", "--auto-aof-rewrite-percentage", "0", "--daemonize", "no",
    ]
    process.standardOutput = FileHandle.nullDevice
    try process.run()
    self.process = process
    for _ in 0..<500 where !FileManager.default.fileExists(atPath: socket) {
      guard process.isRunning else { break }
      usleep(10_000)
    }
    guard process.isRunning, FileManager.default.fileExists(atPath: socket) else {
      throw ValidationError("redis-server did not start; is it on the PATH (Debian: apt-get install redis-server)?")
    }
  }

  /// Forgets a stream, so that the next run begins as this one did.
  func forget(stream: String) throws {
    let command = ByteBuffer(string: "*2\r\n$3\r\nDEL\r\n$\(stream.utf8.count)\r\n\(stream)\r\n")
    _ = try Load<RedisFraming<IntegerReply>>(socket: socket, connectionCount: 1, depth: 1).run([command])
  }

  /// Ends the one that was started, and with it all that it holds. By SIGKILL: its parent's thread may hold others back.
  func stop() {
    guard let process, process.isRunning else { return }
    Glibc.kill(process.processIdentifier, SIGKILL)
    while process.isRunning { usleep(1_000) }
  }
}

/// How many lines a reply has, and with which byte it begins.
protocol RedisReply {
  static var first: UInt8 { get }
  static var lineCount: Int { get }
}

/// `XADD`'s: `$15`, then the entry's id.
enum BulkReply: RedisReply {
  static let first = UInt8(ascii: "$")
  static let lineCount = 2
}

/// `DEL`'s: `:1`.
enum IntegerReply: RedisReply {
  static let first = UInt8(ascii: ":")
  static let lineCount = 1
}

/// Replies of one kind; anything else is an error.
struct RedisFraming<Reply: RedisReply>: AnswerFraming {
  mutating func take(from buffer: inout ByteBuffer) throws(LoadError) -> Int {
    var count = 0
    while buffer.readableBytes > 0 {
      let view = buffer.readableBytesView
      guard view[view.startIndex] == Reply.first else {
        throw LoadError(description: "Redis refused: " + String(decoding: view.prefix(200), as: UTF8.self))
      }
      var index = view.startIndex
      var lines = 0
      while lines < Reply.lineCount, let end = view[index...].firstIndex(of: 0x0a) {
        index = end + 1
        lines += 1
      }
      guard lines == Reply.lineCount else { break }
      buffer.moveReaderIndex(to: index)
      count += 1
    }
    return count
  }
}
