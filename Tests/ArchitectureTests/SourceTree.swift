// What the walls are checked against: the package's targets as its manifest declares them, and each target's Swift files
// without their comments and texts.

import Foundation

/// A target of the manifest.
struct Target: Equatable, Sendable {
  var name: String
  /// `regular`, `executable`, `test`, `system` …
  var type: String
  /// Names of targets and products.
  var dependencies: [String]
}

/// A Swift file of a target.
struct SourceFile: Sendable {
  var target: String
  /// Below the package, for messages.
  var path: String
  /// The text, with comments and string literals blanked out; lines stay lines.
  var code: String

  /// The modules it imports, with their lines from 1.
  var imports: [(module: String, line: Int)] {
    code.split(separator: "\n", omittingEmptySubsequences: false).enumerated().compactMap { index, line in
      importedModule(of: line).map { ($0, index + 1) }
    }
  }

  /// The lines, from 1, on which `token` stands by itself: `unsafe` is not found in `unsafeAddress`.
  func lines(with token: String) -> [Int] {
    func isWord(_ character: Character?) -> Bool {
      guard let character else { return false }
      return character.isLetter || character.isNumber || character == "_"
    }
    return code.split(separator: "\n", omittingEmptySubsequences: false).enumerated().compactMap { index, line in
      line.ranges(of: token).contains { range in
        let before = range.lowerBound == line.startIndex ? nil : line[line.index(before: range.lowerBound)]
        let after = range.upperBound == line.endIndex ? nil : line[range.upperBound]
        return !isWord(before) && (!isWord(token.last) || !isWord(after))
      } ? index + 1 : nil
    }
  }
}

/// The module that a line imports, whatever attributes, access and kind are written with it.
func importedModule(of line: Substring) -> String? {
  var words = line.split(whereSeparator: { $0 == " " || $0 == "\t" || $0 == ";" })[...]
  while let word = words.first, word.hasPrefix("@") || ["public", "package", "internal", "fileprivate", "private"].contains(word) {
    words = words.dropFirst()
  }
  guard words.first == "import" else { return nil }
  words = words.dropFirst()
  if let kind = words.first, ["struct", "class", "enum", "protocol", "func", "var", "let", "typealias"].contains(kind) {
    words = words.dropFirst()
  }
  return words.first.map { String($0.prefix { $0 != "." }) }
}

/// Blanks comments (nested ones too) and string literals (multi-line and raw ones too).
func withoutCommentsAndTexts(_ text: String) -> String {
  let source = Array(text.utf8)
  var code: [UInt8] = []
  code.reserveCapacity(source.count)
  var at = 0
  func matches(_ literal: StaticString, _ position: Int) -> Bool {
    position + literal.utf8CodeUnitCount <= source.count
      && source[position..<position + literal.utf8CodeUnitCount].elementsEqual(literal.description.utf8)
  }
  func blank(_ count: Int) {
    for byte in source[at..<min(at + count, source.count)] { code.append(byte == 0x0a ? 0x0a : 0x20) }
    at += count
  }
  while at < source.count {
    if matches("//", at) {
      while at < source.count, source[at] != 0x0a { blank(1) }
    } else if matches("/*", at) {
      var depth = 0
      repeat {
        if matches("/*", at) {
          depth += 1
          blank(2)
        } else if matches("*/", at) {
          depth -= 1
          blank(2)
        } else {
          blank(1)
        }
      } while depth > 0 && at < source.count
    } else if source[at] == 0x22 || source[at] == 0x23 {
      var hashes = 0
      while at + hashes < source.count, source[at + hashes] == 0x23 { hashes += 1 }
      guard at + hashes < source.count, source[at + hashes] == 0x22 else {
        // A directive such as #if, not a raw text.
        code.append(contentsOf: source[at..<at + hashes])
        at += hashes
        continue
      }
      let quotes = matches("\"\"\"", at + hashes) ? 3 : 1
      let end = [UInt8](repeating: 0x22, count: quotes) + [UInt8](repeating: 0x23, count: hashes)
      let escape = [0x5c] + [UInt8](repeating: 0x23, count: hashes)
      blank(hashes + quotes)
      while at < source.count, !source[at...].starts(with: end) {
        blank(source[at...].starts(with: escape) ? escape.count + 1 : 1)
      }
      blank(end.count)
    } else {
      code.append(source[at])
      at += 1
    }
  }
  return String(decoding: code, as: UTF8.self)
}

/// The Swift files of a package's targets.
func sourceFiles(of targets: [Target], root: URL) throws -> [SourceFile] {
  var files: [SourceFile] = []
  for target in targets {
    // What only tests use lies with them, whatever its type.
    let places = ["Sources", "Tests"].map { root.appending(path: "\($0)/\(target.name)") }
    guard let folder = places.first(where: { FileManager.default.fileExists(atPath: $0.path) }) else { continue }
    guard let walk = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil) else { continue }
    for case let url as URL in walk where url.pathExtension == "swift" {
      files.append(
        SourceFile(
          target: target.name, path: String(url.path.dropFirst(root.path.count + 1)),
          code: withoutCommentsAndTexts(try String(contentsOf: url, encoding: .utf8))))
    }
  }
  return files.sorted { $0.path < $1.path }
}

/// The folder with `Package.swift` above this file.
func packageRoot() throws -> URL {
  var folder = URL(filePath: #filePath).deletingLastPathComponent()
  while folder.path != "/" {
    if FileManager.default.fileExists(atPath: folder.appending(path: "Package.swift").path) { return folder }
    folder.deleteLastPathComponent()
  }
  throw ManifestError(message: "no Package.swift above \(#filePath)")
}

/// The manifest could not be read.
struct ManifestError: Error {
  var message: String
}

/// The targets that the manifest declares.
///
/// `dump-package` reads the manifest only: it resolves nothing, so it needs no network. It works in a scratch folder of its own,
/// since `swift test` holds the lock on the package's, and without the user's caches, whose lock any other build may hold.
func declaredTargets(root: URL) throws -> [Target] {
  let scratch = FileManager.default.temporaryDirectory.appending(path: "walls-\(UUID().uuidString)")
  let command = Process()
  command.executableURL = URL(filePath: "/usr/bin/env")
  let folder = { (name: String) in scratch.appending(path: name).path }
  command.arguments = [
    "swift", "package", "--package-path", root.path, "--scratch-path", folder("build"), "--cache-path", folder("cache"), "--config-path",
    folder("configuration"), "--security-path", folder("security"), "--manifest-cache", "none", "dump-package",
  ]
  // A file, not a second pipe: nobody would read it while the first one is read.
  try FileManager.default.createDirectory(at: scratch, withIntermediateDirectories: true)
  defer { _ = Result { try FileManager.default.removeItem(at: scratch) } }
  let errors = scratch.appending(path: "errors")
  try Data().write(to: errors)
  let output = Pipe()
  command.standardOutput = output
  command.standardError = try FileHandle(forWritingTo: errors)
  try command.run()
  let json = output.fileHandleForReading.readDataToEndOfFile()
  command.waitUntilExit()
  guard command.terminationStatus == 0 else {
    let said = try String(contentsOf: errors, encoding: .utf8)
    throw ManifestError(message: "swift package dump-package ended with \(command.terminationStatus): \(said)")
  }
  return try targets(ofManifest: json)
}

/// Reads what `dump-package` prints.
func targets(ofManifest json: Data) throws -> [Target] {
  guard let manifest = try JSONSerialization.jsonObject(with: json) as? [String: Any], let targets = manifest["targets"] as? [[String: Any]]
  else { throw ManifestError(message: "the manifest has no targets") }
  return try targets.map { target in
    guard let name = target["name"] as? String, let type = target["type"] as? String,
      let dependencies = target["dependencies"] as? [[String: Any]]
    else { throw ManifestError(message: "a target of another form") }
    return Target(
      name: name, type: type,
      dependencies: try dependencies.map { dependency in
        // {"byName": [name, condition]}, {"target": […]} or {"product": [name, package, …]}
        guard let parts = dependency.values.first as? [Any], let name = parts.first as? String else {
          throw ManifestError(message: "a dependency of another form")
        }
        return name
      })
  }
}
