// Runs a real daemon on a recorded disk, under load, and has everything in one trace: what it wrote and synced, what was
// sent to it, and what it answered.
//
// Invariants:
// - The trace accounts for everything: played to its end it gives the files that the daemon left, byte for byte.
// - Units are announced in the trace before they are sent, and acknowledged in it after the answer came.

import EventLog
import Files
import Foundation
import LedgerClient
import LedgerCore
import LedgerHTTP
import Synchronization

/// Records runs of a daemon.
final class PowerRecorder: Sendable {
  struct Options: Sendable {
    /// The path of `ledgerd`.
    var executable: String
    /// The compiled shim.
    var shim: String
    /// Holds `disk/`, on which the daemon runs, and its socket; made and emptied by the harness.
    var directory: String
    var eventSeed: UInt64
    var customerCount = 60
    var writerCount = 4
    var requestCountPerWriter = 30
    /// How much longer a sync takes, at most.
    var delayMicroseconds = 2_000
    /// Which syncs are left out; see Shim/powercut.c.
    var skip: String?
  }

  /// Positions of a segment: small, so that runs cross from one to the next.
  static let segmentPositionCount: UInt64 = 512

  private struct State {
    var journal: CrashJournal
    var failure: (any Error)?
  }

  /// Set once, from any task.
  private final class Flag: Sendable {
    private let state = Mutex(false)
    var isSet: Bool { state.withLock { $0 } }
    func set() { state.withLock { $0 = true } }
  }

  private let options: Options
  private let events: SeededEvents
  private let state: Mutex<State>
  private let marks: PowerMarks
  private let tracePath: String

  /// - Parameters:
  ///   - journal: What is known of the files that lie in `disk/` now.
  ///   - tracePath: A file that is not there yet.
  init(_ options: Options, journal: CrashJournal, tracePath: String) throws {
    self.options = options
    self.tracePath = tracePath
    events = SeededEvents(seed: options.eventSeed, customerCount: options.customerCount)
    state = Mutex(State(journal: journal))
    marks = try PowerMarks(tracePath)
  }

  private var disk: String { options.directory + "/disk" }

  /// Compiles the shim with the system's C compiler.
  ///
  /// - Throws: ``PowerTraceError`` with what the compiler said.
  static func compileShim(into directory: String) throws -> String {
    let source = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Shim/powercut.c").path
    let library = directory + "/powercut.so"
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl", "-lpthread"]
    let output = Pipe()
    process.standardError = output
    try process.run()
    let text = try output.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
      throw PowerTraceError(description: "\(source) was not compiled: \(String(decoding: text, as: UTF8.self))")
    }
    return library
  }

  // MARK: A run

  /// Starts the daemon, appends with several writers, and lets it end, or kills it and starts it again.
  ///
  /// - Returns: False if the trace is of no use: the kill came between something that was done and its record.
  func record() async throws -> Bool {
    var random = Draw(options.eventSeed ^ 0x90e7, state.withLock { UInt64($0.journal.units.count) })
    try writeBeginning()
    if random.below(2) == 0 {
      try await live(&random, requestCount: .max, killedAfter: .milliseconds(20 + random.below(300)))
      do {
        try checkTrace()
      } catch is PowerTraceError {
        return false
      }
    }
    try await live(&random, requestCount: options.requestCountPerWriter)
    if random.below(4) == 0 { try await live(&random, requestCount: 3) }
    try checkTrace()
    return true
  }

  /// The files and units that are there before the daemon starts.
  private func writeBeginning() throws {
    try marks.add(.root, inode: try inode(of: disk), options.eventSeed, UInt64(options.customerCount), path: disk)
    try writeBeginning(below: disk)
    for (number, unit) in state.withLock({ $0.journal.units }).enumerated() {
      try marks.add(.begun, unit.first, UInt64(unit.count))
      if let position = unit.acknowledged { try marks.add(.acknowledged, UInt64(number), position) }
      if let position = unit.found { try marks.add(.found, UInt64(number), position) }
    }
    try marks.add(.settled)
  }

  private func writeBeginning(below directory: String) throws {
    for name in try Files.list(directory) {
      let path = directory + "/" + name
      let inode = try inode(of: path)
      if Files.isDirectory(path) {
        try marks.add(.makeDirectory, inode: inode, path: path)
        try writeBeginning(below: path)
      } else {
        try marks.add(.create, inode: inode, path: path)
        let bytes = try contents(of: path)
        if !bytes.isEmpty { try marks.add(.write, inode: inode, bytes: bytes) }
      }
    }
  }

  private func inode(of path: String) throws -> UInt64 {
    guard let number = try FileManager.default.attributesOfItem(atPath: path)[.systemFileNumber] as? NSNumber else {
      throw PowerTraceError(description: "\(path) has no inode")
    }
    return number.uint64Value
  }

  private func contents(of path: String) throws -> [UInt8] {
    guard let data = FileManager.default.contents(atPath: path) else { throw PowerTraceError(description: "\(path) cannot be read") }
    return Array(data)
  }

  private func live(_ random: inout Draw, requestCount: Int, killedAfter delay: Duration? = nil) async throws {
    var environment = [
      "LD_PRELOAD": options.shim, "POWER_ROOT": disk, "POWER_TRACE": tracePath, "POWER_DELAY": String(options.delayMicroseconds),
    ]
    environment["POWER_SKIP"] = options.skip
    let daemon = try DaemonProcess(
      executable: options.executable, directory: options.directory, data: disk + "/data",
      arguments: ["--segment-positions", String(Self.segmentPositionCount), "--log-map-bytes", String(1 << 20)], environment: environment)
    do {
      try await daemon.waitUntilReady()
      try marks.add(.started, UInt64(try await head(of: daemon)))
      try await load(daemon, &random, requestCount, killedAfter: delay)
      if let failure = state.withLock({ $0.failure }) { throw failure }
      guard delay == nil else { return }
      if random.below(2) == 0 { _ = try await daemon.waitUntilFolded(try await head(of: daemon)) }
      try await daemon.stop()
    } catch {
      await daemon.kill()
      throw error
    }
  }

  private func head(of daemon: DaemonProcess) async throws -> Int64 { try await daemon.client.log()["head"]?.integer ?? 0 }

  private func load(_ daemon: DaemonProcess, _ random: inout Draw, _ requestCount: Int, killedAfter delay: Duration?) async throws {
    let seed = random.next()
    let rebuilt = random.below(3) > 0 ? (random.below(2) == 0 ? "customers" : "channels") : nil
    let loaded = Flag()
    await withTaskGroup(of: Void.self) { group in
      for writer in 0..<options.writerCount {
        group.addTask(name: "power writer") { await self.write(daemon, Draw(seed, UInt64(writer)), requestCount, isKilled: delay != nil) }
      }
      group.addTask(name: "power reader") {
        await self.attempt(isKilled: delay != nil) {
          if let rebuilt { try await self.beginRebuild(of: rebuilt, daemon) }
          while !loaded.isSet {
            let head = try await self.head(of: daemon)
            try self.marks.add(.seen, UInt64(head))
            try await Task.sleep(for: .milliseconds(3))
          }
        }
      }
      if let delay {
        await self.attempt(isKilled: true) { try await Task.sleep(for: delay) }
        await daemon.kill()
      } else {
        for _ in 0..<options.writerCount { await group.next() }
      }
      loaded.set()
    }
  }

  private func beginRebuild(of name: String, _ daemon: DaemonProcess) async throws {
    do throws(ClientError) {
      _ = try await daemon.client.rebuild(name)
    } catch .problem(let problem) where problem.knownCode == .rebuilding {
      // One that the last power cut interrupted goes on.
    }
  }

  private func attempt(isKilled: Bool, _ body: () async throws -> Void) async {
    do {
      try await body()
    } catch ClientError.unreachable where isKilled, ClientError.connectionLost where isKilled {
      // That is what the kill is for.
    } catch {
      state.withLock { $0.failure = $0.failure ?? error }
    }
  }

  private func write(_ daemon: DaemonProcess, _ seeded: Draw, _ requestCount: Int, isKilled: Bool) async {
    var random = seeded
    let client = LedgerClient(.unixSocket(path: daemon.socket), retry: .never, answerTimeout: .seconds(60))
    await attempt(isKilled: isKilled) {
      for _ in 0..<requestCount { try await send(try choose(&random), client) }
    }
    await client.close()
  }

  /// The units of the next request: mostly a new one, else a repeat, or both together.
  private func choose(_ random: inout Draw) throws -> [Int] {
    let count = 1 + random.below(random.below(8) == 0 ? 120 : 16)
    let choice = random.below(10)
    let draw = random.next()
    return try state.withLock { state in
      var units: [Int] = []
      let known = state.journal.units.count
      if choice >= 8, known > 0 { units.append(Int(draw >> 1) % known) }
      if choice != 9 || known == 0 {
        let unit = state.journal.begin(count: count)
        try marks.add(.begun, state.journal.units[unit].first, UInt64(count))
        units.append(unit)
      }
      return units
    }
  }

  private func send(_ units: [Int], _ client: LedgerClient) async throws {
    var body: [UInt8] = [UInt8(ascii: "[")]
    for unit in state.withLock({ state in units.map { state.journal.units[$0] } }) {
      for index in unit.first..<unit.first + UInt64(unit.count) {
        if body.count > 1 { body.append(UInt8(ascii: ",")) }
        events.append(index: index, to: &body)
      }
    }
    body.append(UInt8(ascii: "]"))
    let answer = try await client.append(batch: body, receipts: true)
    try state.withLock { state in
      try state.journal.note(answer, to: units)
      for unit in units {
        if let position = state.journal.units[unit].acknowledged { try marks.add(.acknowledged, UInt64(unit), position) }
      }
      try marks.add(.seen, UInt64(answer.head))
    }
  }

  // MARK: The trace

  /// Plays the trace and compares its end with the files.
  private func checkTrace() throws {
    let trace = try PowerTrace(path: tracePath)
    var model = PowerDisk()
    for index in trace.records.indices { try model.apply(index, of: trace) }
    var expected = model.visible
    try compare(disk, "", &expected)
    if let path = expected.keys.min() { throw PowerTraceError(description: "the trace has \(path), the disk has not") }
  }

  private func compare(_ directory: String, _ path: String, _ expected: inout [String: [UInt8]?]) throws {
    for name in try Files.list(directory) {
      let (full, inside) = (directory + "/" + name, path + name)
      guard let content = expected.removeValue(forKey: inside) else {
        throw PowerTraceError(description: "the disk has \(inside), the trace has not")
      }
      guard !Files.isDirectory(full) else {
        try compare(full, inside + "/", &expected)
        continue
      }
      // What was written through memory was not seen.
      if name == "lock.mdb" { continue }
      guard try contents(of: full) == content else {
        throw PowerTraceError(description: "\(inside) is not what the trace says: something wrote to it unseen")
      }
    }
  }
}
