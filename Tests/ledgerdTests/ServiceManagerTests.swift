// The daemon under a service manager: a socket handed over, READY, pings that come from progress.

import Foundation
import LedgerClient
import LedgerTesting
import Testing
import Unix

@testable import ledgerd

/// Plays systemd's part: makes the socket, hands it over as descriptor 3, writes down what it is told.
private let launcher = """
  import os, socket, sys
  directory, program = sys.argv[1], sys.argv[2:]
  listening = socket.socket(socket.AF_UNIX); listening.bind(directory + "/s"); listening.listen(16)
  os.chmod(directory + "/s", 0o660)
  notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); notified.bind(directory + "/n")
  pid = os.fork()
  if pid == 0:
      os.dup2(listening.fileno(), 3); os.set_inheritable(3, True)
      environment = dict(os.environ, LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), NOTIFY_SOCKET=directory + "/n")
      os.execve(program[0], program, environment)
  listening.close()
  open(directory + "/pid", "w").write(str(pid))
  notified.settimeout(0.05)
  with open(directory + "/said", "w") as said:
      while True:
          try: said.write(notified.recv(4096).decode() + "\\n"); said.flush()
          except TimeoutError: pass
          ended, status = os.waitpid(pid, os.WNOHANG)
          if ended: sys.exit(os.waitstatus_to_exitcode(status))
  """

@Suite struct ServiceManagerTests {
  private func wait(_ what: String, until isSo: () throws -> Bool) async throws {
    for _ in 0..<2_000 {
      if try isSo() { return }
      try await Task.sleep(for: .milliseconds(10))
    }
    Issue.record("\(what) did not happen")
    throw CancellationError()
  }

  @Test func `a daemon that is handed a socket serves it, says that it is ready, and pings while it goes on`() async throws {
    let directory = try DaemonProcess.temporaryDirectory()
    defer { _ = Result { try FileManager.default.removeItem(atPath: directory) } }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/python3")
    process.arguments =
      [
        "-c", launcher, directory, try DaemonProcess.executableOfThisBuild(), "serve", "--data", directory + "/data", "--socket",
        directory + "/none",
      ]
    process.environment = ProcessInfo.processInfo.environment.merging(["WATCHDOG_USEC": "400000"]) { $1 }
    process.standardError = FileHandle.nullDevice
    try process.run()
    defer { if process.isRunning { process.terminate() } }
    func said() -> String { FileManager.default.contents(atPath: directory + "/said").map { String(decoding: $0, as: UTF8.self) } ?? "" }
    try await wait("READY") { said().contains("READY=1\n") }
    #expect(said().contains("STATUS=listening on \(directory)/s"))
    let client = LedgerClient(.unixSocket(path: directory + "/s"), retry: .never)
    #expect(try await client.request("GET", "/v1/log").status == 200)
    #expect(!FileManager.default.fileExists(atPath: directory + "/none"), "the socket of the configuration is not made")
    try await wait("three pings") { said().split(separator: "\n").filter { $0 == "WATCHDOG=1" }.count >= 3 }
    await client.close()
    let pid = try #require(Int32(String(contentsOfFile: directory + "/pid", encoding: .utf8)))
    kill(pid, SIGTERM)
    try await wait("the end") { !process.isRunning }
    #expect(process.terminationStatus == 0)
    // The next start is handed the same one.
    #expect(FileManager.default.fileExists(atPath: directory + "/s"))
  }

  @Test func `sockets meant for another process are not taken`() throws {
    #expect(try Systemd.inheritedSockets(["LISTEN_FDS": "1", "LISTEN_PID": "1"]) == [])
    #expect(try Systemd.inheritedSockets([:]) == [])
    #expect(Systemd.watchdogInterval(["WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"]) == nil)
    #expect(Systemd.watchdogInterval(["WATCHDOG_USEC": "1000000"]) == .seconds(1))
    #expect(Systemd.watchdogInterval(["WATCHDOG_USEC": "soon"]) == nil)
  }

  @Test func `a descriptor that is no listening socket is refused`() {
    let error = #expect(throws: UnixError.self) {
      try Systemd.inheritedSockets(["LISTEN_FDS": "60000", "LISTEN_PID": "\(getpid())"])
    }
    #expect(error?.description.contains("LISTEN_FDS") == true)
  }
}
