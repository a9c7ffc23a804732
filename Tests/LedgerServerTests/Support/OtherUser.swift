// Programs run as somebody else, by setpriv(1): only another user shows what a socket's mode and the kernel's word do.

import Foundation
import Testing
import Unix

/// Somebody else on this machine.
struct OtherUser: Sendable {
  var user: UInt32
  var group: UInt32
  var groups: [UInt32] = []

  /// A user id and a group id that nobody has: the kernel asks for no entry in /etc/passwd.
  static let stranger = OtherUser(user: 61_001, group: 61_001)
  /// The user `nobody`, in the socket's group by supplementary membership.
  static func nobody(in group: UInt32) throws -> OtherUser {
    let user = try #require(try Accounts.user(named: "nobody"), "there is no user nobody")
    return OtherUser(user: user, group: 65_534, groups: [group])
  }

  /// Changing the user needs root, as in CI.
  static let canBeSomebodyElse: ConditionTrait = .enabled(
    if: geteuid() == 0 && FileManager.default.isExecutableFile(atPath: "/usr/bin/setpriv")
      && FileManager.default.isExecutableFile(atPath: "/usr/bin/curl"),
    "running a client as another user needs root, setpriv and curl")

  /// What a program said.
  struct Outcome: Sendable {
    var status: Int32
    var output: String
  }

  /// Runs a program as this user and waits for it.
  func run(_ arguments: [String]) throws -> Outcome {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/setpriv")
    process.arguments =
      [
        "--reuid=\(user)", "--regid=\(group)",
        groups.isEmpty ? "--clear-groups" : "--groups=" + groups.map(String.init).joined(separator: ","),
      ]
      + arguments
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = FileHandle.nullDevice
    process.standardInput = FileHandle.nullDevice
    process.currentDirectoryURL = URL(fileURLWithPath: "/")
    try process.run()
    let output = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    return Outcome(status: process.terminationStatus, output: output)
  }

  /// Sends a request by curl; the output is the body and, in a last line, the status.
  func curl(_ socket: String, _ method: String, _ path: String, body: String? = nil) throws -> Outcome {
    var arguments = [
      "/usr/bin/curl", "-s", "--max-time", "20", "-X", method, "--unix-socket", socket, "-w", "\n%{http_code}", "http://localhost" + path,
    ]
    if let body { arguments += ["-H", "Content-Type: \(structured)", "-d", body] }
    return try run(arguments)
  }
}
