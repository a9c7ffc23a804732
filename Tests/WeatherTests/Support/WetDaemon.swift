// The door of the weather tests: a daemon, a disk of a size, rules for what fails, and appends whose answers are kept.
//
// Invariant: whatever a test mounts or starts is gone when it lets go of it.

import Foundation
import Glibc
import LedgerClient
import LedgerTesting
import Testing

/// Reasons for which a test cannot run here: it is skipped, visibly.
enum Missing {
  static let root = getuid() == 0
  static func program(_ name: String) -> Bool {
    ["/usr/bin/", "/usr/sbin/", "/bin/", "/sbin/"].contains { FileManager.default.isExecutableFile(atPath: $0 + name) }
  }
}

/// A program that ended otherwise than it should.
struct CommandFailure: Error, CustomStringConvertible {
  let description: String
}

/// Runs a program to its end.
///
/// - Returns: What it wrote, and its exit status.
@discardableResult
func run(_ command: String..., expecting status: Int32? = 0) throws -> String {
  let process = Process()
  process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
  process.arguments = command
  let output = Pipe()
  process.standardOutput = output
  process.standardError = output
  process.standardInput = FileHandle.nullDevice
  try process.run()
  let bytes = try output.fileHandleForReading.readToEnd() ?? Data()
  process.waitUntilExit()
  let text = String(decoding: bytes, as: UTF8.self)
  if let status, process.terminationStatus != status {
    throw CommandFailure(description: "\(command.joined(separator: " ")) ended with \(process.terminationStatus): \(text)")
  }
  return text
}

/// A directory of its own, with what is mounted there.
final class Place: Sendable {
  enum Disk: String, Sendable, CaseIterable, CustomTestStringConvertible {
    /// A tmpfs.
    case tmpfs
    /// An ext4 in a file, through a loop device.
    case ext4
    /// Wherever temporary files lie.
    case ordinary
    var testDescription: String { rawValue }
  }

  let path: String
  /// Where the data directory goes.
  let data: String
  private let isMounted: Bool

  init(_ disk: Disk = .ordinary, mebibytes: Int = 0) throws {
    path = try DaemonProcess.temporaryDirectory()
    let mount = path + "/disk"
    data = mount + "/data"
    try FileManager.default.createDirectory(atPath: mount, withIntermediateDirectories: true)
    switch disk {
    case .ordinary: isMounted = false
    case .tmpfs:
      try run("mount", "-t", "tmpfs", "-o", "size=\(mebibytes)m", "tmpfs", mount)
      isMounted = true
    case .ext4:
      try run("truncate", "-s", "\(mebibytes)M", path + "/image")
      try run("mkfs.ext4", "-q", "-m", "0", path + "/image")
      try run("mount", "-o", "loop", path + "/image", mount)
      isMounted = true
    }
  }

  deinit {
    do {
      if isMounted { try run("umount", "-l", path + "/disk") }
      try FileManager.default.removeItem(atPath: path)
    } catch {
      print("could not remove \(path): \(error)")
    }
  }

  /// Fills the disk up to the last byte with a file, which ``makeRoom()`` removes.
  func fill() throws {
    for size in ["1M", "4k", "512"] { try run("dd", "if=/dev/zero", "of=\(ballast)-\(size)", "bs=\(size)", expecting: nil) }
  }

  func makeRoom() throws {
    for size in ["1M", "4k", "512"] { try FileManager.default.removeItem(atPath: "\(ballast)-\(size)") }
  }

  private var ballast: String { path + "/disk/ballast" }
}

/// The preloaded library of `Shim/weather.c`, compiled for this test, and its rules.
final class Shim: Sendable {
  let environment: [String: String]
  private let rulesPath: String

  init(in place: Place) throws {
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().path
    let library = place.path + "/weather.so"
    try run("cc", "-shared", "-fPIC", "-O1", "-o", library, folder + "/Shim/weather.c", "-ldl")
    rulesPath = place.path + "/rules"
    environment = ["LD_PRELOAD": library, "WEATHER_RULES": rulesPath]
    try set([])
  }

  /// The rules from now on, as `Shim/weather.c` describes them.
  func set(_ rules: [String]) throws {
    try Data((rules.joined(separator: "\n") + "\n").utf8).write(to: URL(fileURLWithPath: rulesPath), options: .atomic)
  }

  /// How many calls a rule has struck so far.
  var struckCount: Int { FileManager.default.contents(atPath: rulesPath + ".struck")?.count ?? 0 }
}

/// A daemon under test, and what it acknowledged.
final class WetDaemon: Sendable {
  let place: Place
  let process: DaemonProcess
  var client: LedgerClient { process.client }

  init(
    _ place: Place, arguments: [String] = [], launcher: [String] = [], environment: [String: String] = [:]
  ) async throws {
    self.place = place
    process = try Self.start(place, arguments: arguments, launcher: launcher, environment: environment)
    try await process.waitUntilReady()
  }

  /// Starts one without waiting until it is ready.
  init(starting place: Place, environment: [String: String] = [:]) throws {
    self.place = place
    process = try Self.start(place, environment: environment)
  }

  /// True if it answers at all.
  func isAnswering() async throws -> Bool {
    guard process.isRunning else { throw process.failure("the daemon has ended") }
    do throws(ClientError) {
      return try await client.request("GET", "/healthz").status == 200
    } catch {
      return false
    }
  }

  /// Starts one and hands out the process only.
  static func start(
    _ place: Place, data: String? = nil, arguments: [String] = [], launcher: [String] = [], environment: [String: String] = [:]
  ) throws -> DaemonProcess {
    try DaemonProcess(
      executable: DaemonProcess.executableOfThisBuild(), directory: place.path, data: data ?? place.data, arguments: arguments,
      launcher: launcher, environment: environment)
  }

  /// Two mebibytes that no compression makes small, of what may stand in a JSON string. By a generator of two lines: the
  /// system's takes longer than the daemon.
  private static let noise: [UInt8] = {
    var state = UInt64.random(in: .min ... .max)
    return (0..<2 << 20).map { _ in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return 0x23 + UInt8(truncatingIfNeeded: (state >> 33) % 0x38)
    }
  }()

  /// The text of an event with `byteCount` bytes of noise.
  static func event(_ id: String, byteCount: Int = 0) -> String {
    var text = #"{"specversion":"1.0","id":"\#(id)","source":"urn:weather","type":"page.viewed","channel":"web""#
    if byteCount > 0 {
      let start = Int.random(in: 0...Self.noise.count - byteCount)
      let noise = String(decoding: Self.noise[start..<start + byteCount], as: UTF8.self)
      text += #","data":{"identifiers":{"cookie":"\#(id)"},"noise":"\#(noise)"}"#
    }
    return text + "}"
  }

  /// Sends a batch of new events, and answers status, code and body.
  func append(_ ids: [String], byteCount: Int = 0) async throws -> Answer {
    try await send("[" + ids.map { Self.event($0, byteCount: byteCount) }.joined(separator: ",") + "]")
  }

  func send(_ batch: String, _ type: String = "application/cloudevents-batch+json") async throws -> Answer {
    let response = try await client.request(
      "POST", "/v1/events", headers: [(name: "content-type", value: type)], body: Array(batch.utf8))
    let json = try JSONValue(parsing: response.body)
    return Answer(
      status: response.status, code: json["code"]?.string, head: json["head"]?.integer, detail: json["detail"]?.string ?? "",
      duplicates: json["duplicates"]?.integer, retryAfter: response.header("retry-after"))
  }

  struct Answer: Sendable {
    var status: Int
    var code: String?
    var head: Int64?
    var detail: String
    var duplicates: Int64?
    var retryAfter: String?
  }

  /// Every id in the log, in its order; positions are checked to be gapless.
  func ids() async throws -> [String] {
    let response = try await client.request("GET", "/v1/events")
    #expect(response.status == 200)
    var found: [String] = []
    for line in response.body.split(separator: UInt8(ascii: "\n")) {
      let json = try JSONValue(parsing: Array(line))
      found.append(json["event"]?["id"]?.string ?? "")
      #expect(json["position"]?.integer == Int64(found.count))
    }
    return found
  }

  func status(_ target: String) async throws -> Int { try await client.request("GET", target).status }

  /// Repeats until `body` answers true, or fails after `seconds`.
  func wait(_ seconds: Double = 20, for what: String, _ body: () async throws -> Bool) async throws {
    let end = ContinuousClock.now + .seconds(seconds)
    while try await !body() {
      guard ContinuousClock.now < end else { throw process.failure("\(what) did not come within \(seconds) s") }
      try await Task.sleep(for: .milliseconds(50))
    }
  }

  /// Appends with pauses, as clients do, until it is taken.
  func appendPatiently(_ ids: [String], byteCount: Int = 0, seconds: Double = 20) async throws {
    try await wait(seconds, for: "an append that is taken") { try await append(ids, byteCount: byteCount).status == 200 }
  }
}
