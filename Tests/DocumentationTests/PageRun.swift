// Runs a page: one shell, a directory of its own, and a time limit; nothing survives it.

import Foundation
import Glibc

/// What became of a page.
struct PageReport {
  /// What differs or failed, with the place on the page.
  var faults: [String] = []
  /// What was left out, and why.
  var omissions: [String] = []
  var runCount = 0
  var comparedCount = 0
}

/// Where the repository and this build's programs are.
struct Workplace {
  let repository: URL
  let binaries: URL

  /// The repository around this file, and the folder of the running test bundle.
  static func ofThisBuild() throws -> Workplace {
    let bundle = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    return Workplace(
      repository: URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent(),
      binaries: URL(filePath: bundle).deletingLastPathComponent())
  }

  /// A page by its path below the repository.
  func page(_ path: String) throws -> Page {
    try Page(path: path, text: String(contentsOf: repository.appending(path: path), encoding: .utf8))
  }
}

/// One run of a page.
struct PageRun {
  private static let secondsMax = 180
  let page: Page
  let workplace: Workplace

  /// Runs the page's blocks and compares what they print.
  func report() throws -> PageReport {
    let base = URL(filePath: "/tmp/ledger-page-" + String(UInt32.random(in: .min ... .max), radix: 36))
    let (state, work) = (base.appending(path: "state"), base.appending(path: "work"))
    for folder in [base, state, work] { try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false) }
    defer { remove(base) }
    if !page.path.hasPrefix("Sources/") { try linkFolder(of: page, into: work) }
    for (number, block) in page.blocks.enumerated() {
      if case .saved = block.role { try Data(block.text.utf8).write(to: state.appending(path: "file.\(number)")) }
    }
    try Data(script(base: base, state: state).utf8).write(to: state.appending(path: "script"))
    let start = Date()
    let status = try run(state.appending(path: "script"), in: work, log: state.appending(path: "log"))
    return judge(status: status, state: state, start: start)
  }

  private func remove(_ folder: URL) {
    do { try FileManager.default.removeItem(at: folder) } catch { print("\(folder.path) could not be removed: \(error)") }
  }

  /// Links to what lies beside the page; at the top of the repository also to this build's programs.
  private func linkFolder(of page: Page, into work: URL) throws {
    let folder = workplace.repository.appending(path: page.path).deletingLastPathComponent()
    for name in try FileManager.default.contentsOfDirectory(atPath: folder.path) where !name.hasPrefix(".") {
      try FileManager.default.createSymbolicLink(at: work.appending(path: name), withDestinationURL: folder.appending(path: name))
    }
    guard !page.path.contains("/") else { return }
    try FileManager.default.createDirectory(at: work.appending(path: ".build"), withIntermediateDirectories: false)
    try FileManager.default.createSymbolicLink(at: work.appending(path: ".build/debug"), withDestinationURL: workplace.binaries)
  }

  /// The page as a script. Before each block it notes where it is and turns its output to a file of that block.
  private func script(base: URL, state: URL) -> String {
    var lines = ["set -eu", "trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT"]
    if !page.startsDaemon {
      lines += [
        "export LEDGER_SOCKET=$PWD/ledger.sock", "ledgerd serve --data data --socket ledger.sock 2>ledgerd.log &",
        "until ledgerctl status >/dev/null 2>&1; do kill -0 $!; sleep 0.05; done",
      ]
    }
    var guarded: Int?
    for (number, block) in page.blocks.enumerated() {
      if guarded != nil, guarded != block.section {
        lines.append("fi")
        guarded = nil
      }
      let begin = "echo \(number) >>\(state.path)/begun; exec >\(state.path)/out.\(number) 2>&1"
      switch block.role {
      case .expected, .shown, .notRun: break
      case .saved(let name): lines.append("cp \(state.path)/file.\(number) \(name)")
      case .run: lines += [begin, localised(block.text, base: base)]
      case .runIfThere:
        lines += [begin, "set +e", "(set -e", localised(block.text, base: base) + ")", "missing=$?", "set -e"]
        lines += ["if [ $missing != 0 ]; then echo \(number) >>\(state.path)/missing; else"]
        guarded = block.section
      }
    }
    if guarded != nil { lines.append("fi") }
    return (lines + ["exec >/dev/null 2>&1", "echo end >>\(state.path)/begun", ""]).joined(separator: "\n")
  }

  private func localised(_ text: String, base: URL) -> String {
    text.replacing("/tmp/", with: base.path + "/")
      .replacing("/path/to/repository/.build/debug", with: workplace.binaries.path)
      .replacing("$repository/.build/debug", with: workplace.binaries.path)
      .replacing("/path/to/repository", with: workplace.repository.path)
  }

  private func run(_ script: URL, in work: URL, log: URL) throws -> Int32 {
    try Data().write(to: log)
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/timeout")
    // It makes a group of its own, so that nothing the page has started is left.
    process.arguments = ["-k", "5", String(Self.secondsMax), "bash", script.path]
    process.currentDirectoryURL = work
    // What this machine has set for a ledger is not the page's.
    var environment = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("LEDGER_") }
    environment["PATH"] = workplace.binaries.path + ":" + (environment["PATH"] ?? "/usr/bin:/bin")
    environment["LC_ALL"] = "C.UTF-8"
    process.environment = environment
    process.standardInput = FileHandle.nullDevice
    let errors = try FileHandle(forWritingTo: log)
    process.standardOutput = errors
    process.standardError = errors
    try process.run()
    process.waitUntilExit()
    kill(-process.processIdentifier, SIGKILL)
    return process.terminationStatus
  }

  private func judge(status: Int32, state: URL, start: Date) -> PageReport {
    func text(_ name: String) -> String {
      String(decoding: FileManager.default.contents(atPath: state.appending(path: name).path) ?? Data(), as: UTF8.self)
    }
    var report = PageReport()
    let begun = text("begun").split(separator: "\n").map(String.init)
    let missing = Set(text("missing").split(separator: "\n").compactMap { Int($0) })
    if begun.last != "end" {
      let number = begun.last.flatMap { Int($0) }
      let place = number.map { "\(page.path):\(page.blocks[$0].line)" } ?? page.path
      let how = status == 124 ? "took more than \(Self.secondsMax) s" : "ended with \(status)"
      report.faults.append("\(place): the block \(how):\n\(number.map { text("out.\($0)") } ?? "")\(text("log"))")
    }
    var expectation = Expectation(start: start)
    for (number, block) in page.blocks.enumerated() {
      switch block.role {
      case .notRun(let why): report.omissions.append("\(page.path):\(block.line) is not run: \(why)")
      case .runIfThere(let what) where missing.contains(number):
        report.omissions.append("\(page.path):\(block.line) and the rest of its section are left out: \(what) is missing")
      case .run, .runIfThere:
        guard begun.contains(String(number)) else { break }
        report.runCount += 1
        // curl ends well when it was refused.
        let isCompared = number + 1 < page.blocks.count && page.blocks[number + 1].role == .expected
        if !isCompared, text("out.\(number)").contains("urn:interaction-ledger:error:") {
          report.faults.append("\(page.path):\(block.line): the ledger refused this:\n\(text("out.\(number)"))")
        }
      case .expected where begun.contains(String(number - 1)) && !missing.contains(number - 1):
        report.comparedCount += 1
        // A shell that is not in a terminal says, sooner or later, that a job was killed; at a prompt it says so elsewhere.
        let actual = text("out.\(number - 1)").replacing(#/[^\n]*script: line [0-9]+: +[0-9]+ Killed [^\n]*\n/#, with: "")
        if let difference = expectation.difference(expected: block.text, actual: actual) {
          report.faults.append("\(page.path):\(block.line): \(difference)\nall that was printed:\n\(actual)")
        }
      default: break
      }
    }
    return report
  }
}
