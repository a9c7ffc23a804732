// A page of the documentation, as a test sees it.
//
// The convention, nearly invisible in the Markdown:
// - Blocks of `sh` are run in order, in one shell (`bash`, `set -eu`), in an empty directory. What a block prints, errors too,
//   goes into its output.
// - A block without a language, or of `json`, that follows a block of `sh` with nothing in between is the expected output.
//   `…` in it stands for anything on the line, a line of `…` alone for any lines. Blanks are compared as one; a number of 32
//   hexadecimal digits (log ids, digests) may be another one, but the same one wherever the page has the same one; a moment
//   may be another one if it lies within the run.
// - A block of `python`, `javascript`, `yaml`, `csv` is saved where it stands, under the last name of that kind
//   in back quotes in the paragraph before it ("Save this as `feed.py`:").
// - A block of `text` is only looked at. So is a block after the comment `<!-- not run: why -->`.
// - After `<!-- may be missing: what -->` a block of `sh` may fail. Then the rest of its section is left out, and the test says so.
// - A page whose first block of `sh` starts no daemon finds one running: its data in `data`, its socket `ledger.sock`, which
//   `LEDGER_SOCKET` names.
// - `/path/to/repository` and `/tmp/` mean the repository and a place that is removed after the run; `.build/debug` means where
//   this build's programs are. A page outside of the catalog is run in a directory with links to what lies beside it.
// - What the ledger refuses must be expected.

import Foundation

/// What is wrong with a page.
struct PageError: Error, CustomStringConvertible {
  let description: String
}

/// A fenced block and what becomes of it.
struct Block: Equatable {
  enum Role: Equatable {
    case run, runIfThere(what: String)
    case expected, shown
    case notRun(why: String)
    case saved(name: String)
  }

  var role: Role
  /// Of the opening fence, from 1.
  var line: Int
  var text: String
  /// How many headings stand before it.
  var section: Int
}

/// A page's blocks.
struct Page {
  /// Below the repository.
  let path: String
  let blocks: [Block]

  private static let extensions = ["python": [".py"], "javascript": [".mjs", ".js"], "yaml": [".yaml", ".yml"], "csv": [".csv"]]

  /// Reads a page.
  ///
  /// - Throws: ``PageError`` if a block has no place in the convention.
  init(path: String, text: String) throws(PageError) {
    self.path = path
    var blocks: [Block] = []
    var (paragraph, lastParagraph, comment): ([Substring], [Substring], String?) = ([], [], nil)
    var section = 0
    // Whether a block of `sh` stands right before.
    var followsRun = false
    var lines = text.split(separator: "\n", omittingEmptySubsequences: false).enumerated().makeIterator()
    while let (index, line) = lines.next() {
      if line.hasPrefix("```") {
        var body: [Substring] = []
        while true {
          guard let (_, inner) = lines.next() else { throw PageError(description: "\(path):\(index + 1): the block has no end") }
          if inner.hasPrefix("```") { break }
          body.append(inner)
        }
        let language = String(line.dropFirst(3))
        let role = try Self.role(
          language, comment: comment, paragraph: (paragraph.isEmpty ? lastParagraph : paragraph).joined(separator: " "),
          followsRun: followsRun, at: "\(path):\(index + 1)")
        blocks.append(Block(role: role, line: index + 1, text: body.map { $0 + "\n" }.joined(), section: section))
        if case .run = role { followsRun = true } else if case .runIfThere = role { followsRun = true } else { followsRun = false }
        (paragraph, lastParagraph, comment) = ([], [], nil)
      } else if line.hasPrefix("<!--") {
        comment = line.dropFirst(4).replacing("-->", with: "").trimmingCharacters(in: .whitespaces)
        followsRun = false
      } else if line.allSatisfy(\.isWhitespace) {
        if !paragraph.isEmpty { (lastParagraph, paragraph) = (paragraph, []) }
      } else {
        if line.hasPrefix("#") { section += 1 }
        paragraph.append(line)
        followsRun = false
      }
    }
    self.blocks = blocks
  }

  private static func role(
    _ language: String, comment: String?, paragraph: String, followsRun: Bool, at place: String
  ) throws(PageError) -> Block.Role {
    if let why = comment?.after("not run:") { return .notRun(why: why) }
    switch language {
    case "sh": return comment?.after("may be missing:").map { .runIfThere(what: $0) } ?? .run
    case "text": return .shown
    case "", "json":
      guard followsRun else {
        throw PageError(
          description:
            "\(place): this block follows no block of sh: let a command print it, make it ```text, or write <!-- not run: why -->")
      }
      return .expected
    default:
      guard let endings = extensions[language] else {
        throw PageError(description: "\(place): nothing is known about blocks of \(language)")
      }
      let quoted = paragraph.split(separator: "`", omittingEmptySubsequences: false).enumerated().filter { $0.offset % 2 == 1 }.map(
        \.element)
      guard let name = quoted.last(where: { word in !word.contains(" ") && endings.contains { word.hasSuffix($0) } }) else {
        throw PageError(description: "\(place): the paragraph before does not say under which name to save this, in back quotes")
      }
      return .saved(name: String(name))
    }
  }

  /// The blocks that are run, if nothing is missing.
  var runCount: Int {
    blocks.count { block in
      switch block.role {
      case .run, .runIfThere: true
      default: false
      }
    }
  }

  /// Whether its first commands start the daemon.
  var startsDaemon: Bool { blocks.first { $0.role == .run }?.text.contains("ledgerd serve") ?? false }
}

extension String {
  fileprivate func after(_ prefix: String) -> String? {
    hasPrefix(prefix) ? dropFirst(prefix.count).trimmingCharacters(in: .whitespaces) : nil
  }
}
