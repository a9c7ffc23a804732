// Holds the walls between targets: a target imports what the manifest says and nothing else, and some things are in
// no target but their own. A rule that cannot find a planted violation is no rule, so each is tried on one.

import Foundation
import Testing

/// Something that must not be in a target.
struct Rule: CustomTestStringConvertible, Sendable {
  enum Forbidden: Sendable {
    /// An import of a module.
    case module(String)
    /// A word or sign in the code.
    case token(String)
  }
  enum Place: Sendable {
    case only(Set<String>)
    case everywhereBut(Set<String>)
  }
  var forbidden: Forbidden
  var place: Place
  /// Why, and what to do instead.
  var reason: String

  var testDescription: String {
    switch forbidden {
    case .module(let name): "import \(name): \(reason)"
    case .token(let token): "\(token): \(reason)"
    }
  }

  func holds(in target: String) -> Bool {
    switch place {
    case .only(let targets): targets.contains(target)
    case .everywhereBut(let targets): !targets.contains(target)
    }
  }

  /// A target that the rule holds in.
  var example: String {
    switch place {
    case .only(let targets): targets.min() ?? ""
    case .everywhereBut: "AnyOther"
    }
  }

  func violations(in files: [SourceFile]) -> [String] {
    files.filter { holds(in: $0.target) }.flatMap { file in
      let lines =
        switch forbidden {
        case .module(let name): file.imports.filter { $0.module == name }.map(\.line)
        case .token(let token): file.lines(with: token)
        }
      return lines.map { "\(file.path):\($0): \(testDescription)" }
    }
  }
}

/// The targets that wrap C, and so may hold unsafe code.
let wrappers: Set<String> = ["Bytes", "Threads", "Files", "LMDB", "Zstd", "Zlib", "JSON", "JSONSchema", "UTF8Proc", "Unix"]

/// C modules and the one target that may see each.
let wrapperOfModule = [
  "CLMDB": "LMDB", "CZstd": "Zstd", "CXXHash": "Bytes", "CSimdJSON": "JSON", "CJSONSchema": "JSONSchema", "CZlib": "Zlib",
  "CUTF8Proc": "UTF8Proc",
]

let rules: [Rule] =
  wrapperOfModule.sorted { $0.key < $1.key }.map { module, wrapper in
    Rule(forbidden: .module(module), place: .everywhereBut([wrapper]), reason: "C is seen by its wrapper only; use \(wrapper)")
  }
  + ["Foundation", "FoundationEssentials"].map {
    Rule(
      forbidden: .module($0), place: .only(["LedgerCore", "EventLog", "Projections"]),
      reason: "no locale, time zone or platform behaviour under what is stored; use Bytes, JSON, Files, Timestamp")
  }
  + [
    Rule(forbidden: .token("unsafe"), place: .everywhereBut(wrappers), reason: "unsafe code belongs into a wrapper"),
    Rule(forbidden: .token("try?"), place: .everywhereBut([]), reason: "an error is handled or thrown, not dropped; use do and catch"),
    Rule(forbidden: .token("try!"), place: .everywhereBut([]), reason: "an error is handled or thrown; use do and catch"),
    Rule(
      forbidden: .module("LMDB"), place: .everywhereBut(["EventLog", "ProjectionEngine", "ledgerd"]),
      reason: "only the log and the engine know how things are stored; the daemon's benchmark measures bare LMDB beside them"),
    Rule(
      forbidden: .module("EventLog"), place: .only(["ledgerctl", "Projections", "LedgerHTTP", "LedgerClient", "LedgerCore"]),
      reason: "knows nothing of storage"),
    Rule(
      forbidden: .module("ProjectionEngine"), place: .only(["ledgerctl", "LedgerHTTP", "LedgerClient", "LedgerCore", "EventLog"]),
      reason: "does not run projections"),
    Rule(
      forbidden: .module("Projections"), place: .only(["LedgerServer", "ProjectionEngine", "EventLog"]),
      reason: "knows no projection by type"),
    Rule(forbidden: .token("WallClock"), place: .only(["LedgerCore", "Projections"]), reason: "a fold has no clock; use recorded time"),
  ]
  + ["Codable", "Encodable", "Decodable"].map {
    Rule(
      forbidden: .token($0), place: .only(["EventLog", "ProjectionEngine", "Projections"]),
      reason: "no storage format of the compiler's; use ByteWriter and ByteReader")
  }

/// Modules of the toolchain, which no manifest declares.
let toolchainModules: Set<String> = ["Swift", "Glibc", "Foundation", "FoundationEssentials", "Dispatch", "Synchronization", "Testing"]

/// Imports that the manifest does not declare, and declared dependencies that nothing imports.
func mismatches(_ target: Target, _ files: [SourceFile], executables: Set<String>) -> [String] {
  let own = files.filter { $0.target == target.name }
  guard !own.isEmpty else { return [] }
  let undeclared = own.flatMap { file in
    file.imports.filter { !toolchainModules.contains($0.module) && !target.dependencies.contains($0.module) }
      .map { "\(file.path):\($0.line): \(target.name) imports \($0.module), which Package.swift does not declare for it" }
  }
  let imported = Set(own.flatMap { $0.imports.map(\.module) })
  // A test may need a program built without importing it.
  let unused = target.dependencies.filter { !imported.contains($0) && !executables.contains($0) }
    .map { "Package.swift: \(target.name) declares \($0), which none of its files imports" }
  return undeclared + unused
}

@Suite struct WallsTests {
  private let root: URL
  private let targets: [Target]
  private let files: [SourceFile]

  init() throws {
    root = try packageRoot()
    (targets, files) = try Self.declared.get()
  }

  /// Asked and read once: it takes seconds.
  private static let declared = Result {
    let root = try packageRoot()
    let targets = try declaredTargets(root: root)
    return (targets, try sourceFiles(of: targets, root: root))
  }

  @Test func `a target imports what its manifest declares, and declares what it imports`() {
    let executables = Set(targets.filter { $0.type == "executable" }.map(\.name))
    for target in targets {
      for mismatch in mismatches(target, files, executables: executables) { Issue.record("\(mismatch)") }
    }
  }

  @Test(arguments: rules)
  func `no target has what it must not have`(rule: Rule) {
    let tests = Set(targets.filter { $0.type == "test" }.map(\.name))
    for violation in rule.violations(in: files.filter { !tests.contains($0.target) }) { Issue.record("\(violation)") }
  }

  @Test func `every folder of Sources and Tests is a target, and none is empty`() throws {
    let declared = Set(targets.map(\.name))
    for folder in ["Sources", "Tests"] {
      for name in try FileManager.default.contentsOfDirectory(atPath: root.appending(path: folder).path) where !name.hasPrefix(".") {
        #expect(declared.contains(name), "\(folder)/\(name) is no target of Package.swift")
      }
    }
    for target in targets where !wrapperOfModule.keys.contains(target.name) && target.name != "Documentation" {
      #expect(files.contains { $0.target == target.name }, "\(target.name) has no Swift file")
    }
  }

  @Test func `every C target has its wrapper`() {
    for target in targets where target.type == "system" || (target.type == "regular" && !files.contains { $0.target == target.name }) {
      #expect(wrapperOfModule[target.name] != nil || target.name == "Documentation", "\(target.name) has no wrapper in the list above")
    }
  }
}

@Suite struct PlantedViolationTests {
  /// A source tree of one target with one file.
  private func tree(_ target: String, _ text: String) throws -> [SourceFile] {
    let root = FileManager.default.temporaryDirectory.appending(path: "planted-\(UUID().uuidString)")
    let folder = root.appending(path: "Sources/\(target)/Deep")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { _ = Result { try FileManager.default.removeItem(at: root) } }
    try text.write(to: folder.appending(path: "Planted.swift"), atomically: true, encoding: .utf8)
    return try sourceFiles(of: [Target(name: target, type: "regular", dependencies: [])], root: root)
  }

  @Test(arguments: rules)
  func `a planted violation is found, with its file and line`(rule: Rule) throws {
    let lines =
      switch rule.forbidden {
      case .module(let name): ["import \(name)", "@testable import \(name)", "public import struct \(name).Thing"]
      case .token(let token): ["let a = \(token) f()", "(\(token) f())"]
      }
    for line in lines {
      let found = rule.violations(in: try tree(rule.example, "// why\n\n\(line)\n"))
      #expect(found == ["Sources/\(rule.example)/Deep/Planted.swift:3: \(rule.testDescription)"])
    }
  }

  @Test(arguments: rules)
  func `what only looks like a violation is not one`(rule: Rule) throws {
    let harmless =
      switch rule.forbidden {
      case .module(let name):
        "// import \(name)\nlet text = \"\"\"\n  import \(name)\n  \"\"\"\nimport \(name)Other\nlet important = \(name)\n"
      case .token(let token):
        "/* \(token) /* \(token) */ \(token) */ let a = \"\(token) \\\" \(token)\" // \(token)\nlet b = #\"\(token)\"#\nlet is\(token.filter(\.isLetter))y = 1\n"
      }
    #expect(rule.violations(in: try tree(rule.example, harmless)) == [])
  }

  @Test(arguments: rules)
  func `a rule leaves alone the targets it is not for`(rule: Rule) throws {
    let line =
      switch rule.forbidden {
      case .module(let name): "import \(name)"
      case .token(let token): "let a = \(token) f()"
      }
    switch rule.place {
    case .only: #expect(rule.violations(in: try tree("AnyOther", line)) == [])
    case .everywhereBut(let free):
      for target in free { #expect(rule.violations(in: try tree(target, line)) == []) }
    }
  }

  @Test func `an undeclared import and an unused declaration are found`() throws {
    let files = try tree("T", "import Glibc\n@testable public import A\nimport enum B.C\n")
    let target = Target(name: "T", type: "regular", dependencies: ["A", "Unused", "program"])
    #expect(
      mismatches(target, files, executables: ["program"]) == [
        "Sources/T/Deep/Planted.swift:3: T imports B, which Package.swift does not declare for it",
        "Package.swift: T declares Unused, which none of its files imports",
      ])
    #expect(mismatches(Target(name: "T", type: "regular", dependencies: ["A", "B"]), files, executables: []) == [])
  }

  @Test func `a manifest's dependencies of every kind are read`() throws {
    let json = """
      {"targets": [{"name": "T", "type": "test", "dependencies": [
        {"byName": ["A", null]}, {"target": ["B", null]}, {"product": ["C", "swift-c", null, null]}]}]}
      """
    #expect(try targets(ofManifest: Data(json.utf8)) == [Target(name: "T", type: "test", dependencies: ["A", "B", "C"])])
    #expect(throws: (any Error).self) { try targets(ofManifest: Data("{}".utf8)) }
  }
}
