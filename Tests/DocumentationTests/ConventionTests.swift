// A test of pages that finds nothing is worth nothing: here are pages with a fault each.

import Foundation
import Testing

/// A page of these lines; `~~~` stands for a fence.
private func page(_ lines: String...) throws -> Page {
  try Page(path: "Sources/planted.md", text: lines.joined(separator: "\n").replacing("~~~", with: "```") + "\n")
}

private func report(_ lines: String...) throws -> PageReport {
  let page = try Page(path: "Sources/planted.md", text: lines.joined(separator: "\n").replacing("~~~", with: "```") + "\n")
  return try PageRun(page: page, workplace: .ofThisBuild()).report()
}

@Suite(.serialized) struct ConventionTests {
  @Test(
    arguments: [
      ("~~~\nprinted\n~~~", "follows no block of sh"), ("~~~sh\ntrue\n~~~\n\nBut:\n\n~~~json\n{}\n~~~", "follows no block of sh"),
      ("~~~sh\ntrue", "has no end"), ("~~~rust\nfn\n~~~", "nothing is known about blocks of rust"),
      ("Save this as `a.yaml`:\n~~~python\npass\n~~~", "does not say under which name"),
    ])
  func `a block that has no place in the convention is a fault`(text: String, fault: String) {
    let error = #expect(throws: PageError.self) { try page(text) }
    #expect(error?.description.contains(fault) == true, "\(error?.description ?? "")")
  }

  @Test func `each block gets its part`() throws {
    let page = try page(
      "# One", "Two files, `a.csv` and then `b.csv`:", "~~~csv", "x", "~~~", "", "~~~sh", "cat b.csv", "~~~", "", "~~~", "x", "~~~",
      "<!-- not run: it needs root -->", "~~~sh", "reboot", "~~~", "~~~text", "drawn", "~~~", "## Two", "<!-- may be missing: a thing -->",
      "~~~sh", "false", "~~~")
    #expect(
      page.blocks.map(\.role) == [
        .saved(name: "b.csv"), .run, .expected, .notRun(why: "it needs root"), .shown, .runIfThere(what: "a thing"),
      ])
    #expect(page.blocks.map(\.line) == [3, 7, 11, 15, 18, 23])
    #expect(page.runCount == 2)
    #expect(!page.startsDaemon)
  }

  @Test func `a page that is right has no fault, and what is missing is said`() throws {
    let report = try report(
      "Save this as `word.csv`:", "~~~csv", "hello", "~~~", "~~~sh", "word=$(cat word.csv)", "ledgerctl log | head -n 2", "~~~", "~~~",
      "id    00000000000000000000000000000000", "head  0", "~~~", "~~~sh", "echo $word", "~~~", "~~~", "hello", "~~~", "## Section",
      "<!-- may be missing: a thing -->", "~~~sh", "ls /no/such/thing", "~~~", "~~~sh", "exit 1", "~~~", "~~~", "never", "~~~", "## Next",
      "~~~sh", "echo $word", "~~~", "~~~", "hello", "~~~")
    #expect(report.faults == [])
    #expect(report.omissions.count == 1 && report.omissions[0].contains("a thing is missing"))
    #expect(report.comparedCount == 3)
  }

  @Test func `a command that fails, another output, and a refusal are faults`() throws {
    let failed = try report("~~~sh", "echo before; false", "~~~", "~~~sh", "echo never", "~~~")
    #expect(failed.faults.count == 1 && failed.faults[0].hasPrefix("Sources/planted.md:1: the block ended with 1:\nbefore"))
    #expect(failed.runCount == 1)
    let different = try report("~~~sh", "echo one; echo two", "~~~", "~~~", "one", "three", "~~~")
    #expect(different.faults.count == 1 && different.faults[0].contains("the page says\n  three\nand there was\n  two"))
    let refused = try report("~~~sh", "curl -s --unix-socket ledger.sock http://localhost/v1/nothing", "~~~")
    #expect(refused.faults.count == 1 && refused.faults[0].contains("the ledger refused this"))
  }

  @Test(
    arguments: [
      ("a  b\n\n", "a b", true), ("a", "a\nb", false), ("a\nb", "a", false), ("a … c", "a b c", true), ("a…", "ab", true),
      ("a … c", "a b d", false), ("one\n…\nfour", "one\ntwo\nthree\nfour", true), ("one\n…", "one", true),
      ("one\n…\nfive", "one\ntwo", false),
      ("0123456789abcdef0123456789abcdef x", "ffffffffffffffffffffffffffffffff x", true),
      (
        "0123456789abcdef0123456789abcdef\n0123456789abcdef0123456789abcdef",
        "ffffffffffffffffffffffffffffffff\neeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee", false
      ),
      ("0123456789abcdef", "ffffffffffffffff", false), ("at 2026-03-01T10:15:00.000000Z", "at 2026-03-01T10:15:01.000000Z", false),
    ] as [(String, String, Bool)])
  func `outputs are equal but for what varies`(expected: String, actual: String, isEqual: Bool) {
    var expectation = Expectation(start: Date())
    #expect((expectation.difference(expected: expected, actual: actual) == nil) == isEqual)
  }

  @Test func `a moment of the present may stand for another one, a moment of the past may not`() {
    let start = Date()
    var expectation = Expectation(start: start)
    let now = start.ISO8601Format()
    #expect(expectation.difference(expected: #"{"t":"2026-03-01T10:15:00.123456Z"}"#, actual: "{\"t\":\"\(now)\"}") == nil)
    #expect(expectation.difference(expected: "2026-03-01T10:15:00Z", actual: "2020-03-01T10:15:00Z") != nil)
  }

  @Test func `links and names that lead nowhere are found`() throws {
    let text = """
      <doc:There> <doc:Nowhere> [a](Page.swift) [b](gone.md#x) [c](https://example.org) `Tests/DocumentationTests/Page.swift` `deploy/gone`
      ```text
      <doc:Code>
      ```
      """
    let faults = linkFaults(
      text, path: "Tests/DocumentationTests/x.md", repository: try Workplace.ofThisBuild().repository, pages: ["There"])
    #expect(faults.count == 3 && faults[0].contains("Nowhere") && faults[1].contains("gone.md") && faults[2].contains("deploy/gone"))
  }
}
