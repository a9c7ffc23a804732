// Every command on a page is one that somebody will type: here they are typed.

import Foundation
import Testing

private let catalog = "Sources/Documentation/InteractionLedger.docc"

/// The Markdown files that readers are sent to, below the repository.
private func pages(_ workplace: Workplace) throws -> [String] {
  let folder = workplace.repository.appending(path: catalog)
  guard let walk = FileManager.default.enumerator(atPath: folder.path) else { throw PageError(description: "\(folder.path) is not there") }
  let found = walk.compactMap { $0 as? String }.filter { $0.hasSuffix(".md") }.map { catalog + "/" + $0 }
  return ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "deploy/sample/README.md"] + found.sorted()
}

@Suite(.serialized) struct PagesTests {
  @Test(arguments: try pages(.ofThisBuild()))
  func `every command on a page runs, and prints what the page says`(path: String) throws {
    let workplace = try Workplace.ofThisBuild()
    let page = try workplace.page(path)
    // A page that tells people what to do has something to type.
    if path == "README.md" || path.hasSuffix("Tutorial.md") || path.contains("/How-to/") { #expect(page.runCount > 0, "\(path)") }
    guard page.runCount > 0 else { return }
    let report = try PageRun(page: page, workplace: workplace).report()
    for omission in report.omissions { print("  \(omission)") }
    print("  \(path): \(report.runCount) blocks run, \(report.comparedCount) outputs compared, \(report.omissions.count) left out")
    for fault in report.faults { Issue.record("\(fault)") }
  }

  @Test func `every link leads somewhere, and every file that a page names is there`() throws {
    let workplace = try Workplace.ofThisBuild()
    // Its commands install a service: they are not for a test.
    let paths = try pages(workplace) + ["deploy/README.md"]
    let names = Dictionary(grouping: paths.filter { $0.hasPrefix(catalog) }) { URL(filePath: $0).deletingPathExtension().lastPathComponent }
    for (name, places) in names { #expect(places.count == 1, "<doc:\(name)> could be any of \(places)") }
    for path in paths {
      let text = try String(contentsOf: workplace.repository.appending(path: path), encoding: .utf8)
      for fault in linkFaults(text, path: path, repository: workplace.repository, pages: Set(names.keys)) { Issue.record("\(fault)") }
    }
  }

  @Test func `every page of the catalog but the first is listed once among the topics of a page`() throws {
    let workplace = try Workplace.ofThisBuild()
    let paths = try pages(workplace).filter { $0.hasPrefix(catalog) }
    let listed = try paths.flatMap { path in
      let text = try String(contentsOf: workplace.repository.appending(path: path), encoding: .utf8)
      let topics = text.components(separatedBy: "\n## Topics\n").dropFirst().joined()
      return topics.matches(of: #/- <doc:([^>]+)>/#).map { String($0.output.1) }
    }
    let names = paths.map { URL(filePath: $0).deletingPathExtension().lastPathComponent }
    #expect(listed.sorted() == names.filter { $0 != "InteractionLedger" }.sorted())
  }
}

@Suite struct RenderingTests {
  @Test func `docc renders the catalog without a warning`() throws {
    let workplace = try Workplace.ofThisBuild()
    let output = FileManager.default.temporaryDirectory.appending(path: "docc-\(UUID().uuidString)")
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = [
      "sh", "-c", "command -v docc >/dev/null || exit 99; exec docc convert \"$0\" --output-dir \"$1\" --warnings-as-errors",
      workplace.repository.appending(path: catalog).path, output.path,
    ]
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = pipe
    try process.run()
    let text = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    guard process.terminationStatus != 99 else { return print("  docc is not on the PATH; the catalog was not rendered") }
    #expect(process.terminationStatus == 0, "\(text)")
    if FileManager.default.fileExists(atPath: output.path) { try FileManager.default.removeItem(at: output) }
  }
}

/// Links of a page that lead nowhere, and files it names that are not there.
func linkFaults(_ text: String, path: String, repository: URL, pages: Set<String>) -> [String] {
  let folder = repository.appending(path: path).deletingLastPathComponent()
  func isThere(_ url: URL) -> Bool { FileManager.default.fileExists(atPath: url.path) }
  var faults: [String] = []
  var isCode = false
  for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
    if line.hasPrefix("```") { isCode.toggle() }
    guard !isCode else { continue }
    let place = "\(path):\(index + 1)"
    for link in line.matches(of: #/<doc:([^>]+)>/#) where !pages.contains(String(link.output.1)) {
      faults.append("\(place): there is no page \(link.output.1)")
    }
    for link in line.matches(of: #/\]\(([^)#:]+)(#[^)]*)?\)/#) where !isThere(folder.appending(path: String(link.output.1))) {
      faults.append("\(place): \(link.output.1) is not there")
    }
    // What is in back quotes and begins like a place in the repository is one.
    for name in line.matches(of: #/`((?:Sources|Tests|Schemas|deploy)/[A-Za-z0-9._/+-]+)`/#)
    where !isThere(repository.appending(path: String(name.output.1))) {
      faults.append("\(place): the repository has no \(name.output.1)")
    }
  }
  return faults
}
