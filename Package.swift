// swift-tools-version: 6.2
import PackageDescription

/// Every Swift target is held to the same rules: strict memory safety, no warning, explicit existentials and imports.
let strict: [SwiftSetting] = [
  .strictMemorySafety(),
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
]

/// For the wrappers that hand out spans.
let spans: [SwiftSetting] = strict + [.enableExperimentalFeature("Lifetimes")]

let package = Package(
  name: "interaction-ledger",
  products: [
    .executable(name: "ledgerd", targets: ["ledgerd"]),
    .executable(name: "ledgerctl", targets: ["ledgerctl"]),
    .library(name: "LedgerClient", targets: ["LedgerClient"]),
    .library(name: "LedgerTesting", targets: ["LedgerTesting"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.2"),
    .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
  ],
  targets: [
    // Debian's libraries, as they are: a module map and a shim header.
    .systemLibrary(name: "CLMDB"),
    .systemLibrary(name: "CZstd"),
    .systemLibrary(name: "CXXHash"),
    .systemLibrary(name: "CUTF8Proc"),
    .systemLibrary(name: "CZlib"),

    // Safe wrappers: the only places with `unsafe` code.
    .target(name: "Bytes", dependencies: ["CXXHash"], swiftSettings: spans),
    .target(name: "Threads", swiftSettings: strict),
    .target(name: "Files", swiftSettings: strict),
    .target(name: "Unix", swiftSettings: strict),
    .target(name: "LMDB", dependencies: ["CLMDB", "Bytes", "Threads"], swiftSettings: spans),
    .target(name: "Zlib", dependencies: ["CZlib"], swiftSettings: strict),
    .target(name: "Zstd", dependencies: ["CZstd"], swiftSettings: spans),

    // Debian's C++ library behind an `extern "C"` face. simdjson.pc makes SwiftPM warn, so the library is named here.
    .target(
      name: "CSimdJSON", cxxSettings: [.define("SIMDJSON_THREADS_ENABLED")], linkerSettings: [.linkedLibrary("simdjson")]),
    .target(name: "JSON", dependencies: ["CSimdJSON", "Bytes"], swiftSettings: spans),

    // valijson and rapidjson are headers; RE2 matches patterns. Also behind an `extern "C"` face. Debian's two headers have
    // members of templates that nobody uses and that clang 21 refuses to parse before they are used.
    .target(
      name: "CJSONSchema", cxxSettings: [.unsafeFlags(["-fdelayed-template-parsing"])], linkerSettings: [.linkedLibrary("re2")]),
    .target(name: "JSONSchema", dependencies: ["CJSONSchema"], swiftSettings: spans),

    .target(name: "UTF8Proc", dependencies: ["CUTF8Proc", "Bytes"], swiftSettings: spans),

    .target(name: "LedgerCore", dependencies: ["JSON", "UTF8Proc", "Bytes"], swiftSettings: strict),
    .target(
      name: "EventLog", dependencies: ["LedgerCore", "JSON", "JSONSchema", "LMDB", "Zstd", "Bytes", "Files", "Threads"],
      swiftSettings: strict),

    .target(
      name: "ProjectionEngine", dependencies: ["EventLog", "LedgerCore", "LMDB", "Bytes", "Files", "Threads"], swiftSettings: strict),
    .target(name: "Projections", dependencies: ["ProjectionEngine", "LedgerCore", "JSON", "Bytes"], swiftSettings: strict),
    .target(
      name: "LedgerTesting",
      dependencies: ["LedgerClient", "LedgerHTTP", "ProjectionEngine", "EventLog", "LedgerCore", "JSON", "Bytes", "Files", "Threads"],
      exclude: ["Power/Shim"], swiftSettings: strict),

    .target(name: "LedgerHTTP", swiftSettings: strict),
    .target(
      name: "LedgerServer",
      dependencies: [
        "LedgerHTTP", "EventLog", "ProjectionEngine", "LedgerCore", "JSON", "Zlib", "Zstd", "Bytes", "Files", "Unix",
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "HummingbirdCore", package: "hummingbird"),
        .product(name: "HTTPTypes", package: "swift-http-types"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOExtras", package: "swift-nio-extras"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
        .product(name: "NIOHTTPTypesHTTP1", package: "swift-nio-extras"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ],
      swiftSettings: strict),
    .target(
      name: "LedgerClient",
      dependencies: [
        "LedgerHTTP",
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
      ],
      swiftSettings: strict),
    // The DocC catalog: tutorial, explanation, decisions.
    .target(name: "Documentation", swiftSettings: strict),

    .executableTarget(
      name: "ledgerctl",
      dependencies: [
        "LedgerClient", "LedgerHTTP", "JSONSchema", "Bytes", "Files", "Zlib", "Zstd",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
        .product(name: "Yams", package: "Yams"),
      ],
      swiftSettings: strict),
    .executableTarget(
      name: "ledgerd",
      dependencies: [
        "EventLog", "ProjectionEngine", "Projections", "LedgerServer", "LedgerClient", "LedgerCore", "LedgerTesting", "JSON", "Bytes",
        "LMDB", "Files", "Threads", "Unix",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
        .product(name: "Yams", package: "Yams"),
      ],
      swiftSettings: strict),

    .executableTarget(
      name: "ledgercrash",
      dependencies: ["LedgerTesting", .product(name: "ArgumentParser", package: "swift-argument-parser")],
      swiftSettings: strict),
    .executableTarget(
      name: "ledgerpower",
      dependencies: [
        "LedgerTesting", "ProjectionEngine", "Projections", .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: strict),

    .testTarget(name: "ArchitectureTests", swiftSettings: strict),
    .testTarget(name: "BytesTests", dependencies: ["Bytes"], swiftSettings: strict),
    .testTarget(name: "ThreadsTests", dependencies: ["Threads"], swiftSettings: strict),
    .testTarget(name: "UnixTests", dependencies: ["Unix"], swiftSettings: strict),
    .testTarget(name: "FilesTests", dependencies: ["Files"], swiftSettings: strict),
    .testTarget(name: "LMDBTests", dependencies: ["LMDB", "Bytes", "Threads"], swiftSettings: strict),
    .testTarget(name: "ZstdTests", dependencies: ["Zstd", "Bytes"], swiftSettings: strict),
    .testTarget(name: "ZlibTests", dependencies: ["Zlib"], swiftSettings: strict),
    .testTarget(name: "UTF8ProcTests", dependencies: ["UTF8Proc", "Bytes"], swiftSettings: strict),
    .testTarget(name: "JSONTests", dependencies: ["JSON", "Bytes"], swiftSettings: strict),
    .testTarget(name: "JSONSchemaTests", dependencies: ["JSONSchema", "JSON", "Bytes"], swiftSettings: strict),
    .testTarget(name: "LedgerCoreTests", dependencies: ["LedgerCore", "JSON", "Bytes"], swiftSettings: strict),
    .testTarget(
      name: "EventLogTests", dependencies: ["EventLog", "LedgerCore", "JSON", "LMDB", "Zstd", "Files", "Bytes"], swiftSettings: strict),
    .testTarget(
      name: "ProjectionEngineTests",
      dependencies: ["ProjectionEngine", "LedgerTesting", "EventLog", "LedgerCore", "JSON", "LMDB", "Files", "Threads", "Bytes"],
      swiftSettings: strict),
    .testTarget(
      name: "ProjectionsTests", dependencies: ["Projections", "ProjectionEngine", "LedgerCore", "Bytes"], swiftSettings: strict),
    .testTarget(name: "LedgerHTTPTests", dependencies: ["LedgerHTTP"], swiftSettings: strict),
    .target(
      name: "FakeLedgerServer",
      dependencies: [
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
      ],
      path: "Tests/FakeLedgerServer",
      swiftSettings: strict),
    .testTarget(name: "LedgerClientTests", dependencies: ["LedgerClient", "LedgerHTTP", "FakeLedgerServer"], swiftSettings: strict),
    .testTarget(
      name: "ledgerctlTests",
      dependencies: ["ledgerctl", "LedgerClient", "FakeLedgerServer", "Zstd", "Bytes", .product(name: "Yams", package: "Yams")],
      swiftSettings: strict),
    .testTarget(
      name: "ledgerdTests",
      dependencies: [
        "ledgerd", "ledgerctl", "LedgerServer", "LedgerClient", "LedgerCore", "LedgerTesting", "ProjectionEngine", "EventLog", "Unix",
        .product(name: "Logging", package: "swift-log"),
      ], swiftSettings: strict),
    // These start the real daemon, so they depend on it: it is built before they run.
    .testTarget(
      name: "LedgerServerTests",
      dependencies: [
        "LedgerServer", "LedgerClient", "LedgerHTTP", "EventLog", "ProjectionEngine", "Projections", "LedgerCore", "Threads", "Zstd",
        "Bytes", "Unix", "ledgerd",
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
      ],
      swiftSettings: strict),
    .testTarget(
      name: "CrashTests", dependencies: ["ledgerd", "LedgerTesting", "EventLog", "LedgerCore", "LedgerHTTP", "JSON", "Bytes"],
      swiftSettings: strict),
    // Cuts the power of the real daemon, in images of its disk. The long form is `deploy/powercut`.
    .testTarget(name: "PowerTests", dependencies: ["ledgerd", "ledgerpower", "LedgerTesting", "Files"], swiftSettings: strict),
    // Starts the real daemon in bad weather: full disks, failing writes, few descriptors, clients that drip or do not read.
    .testTarget(
      name: "WeatherTests", dependencies: ["ledgerd", "LedgerTesting", "LedgerClient", "EventLog", "LedgerCore", "JSON", "Bytes", "Files"],
      exclude: ["Shim"], swiftSettings: strict),
    // Types what the pages of the documentation say, and compares the reference pages with what they describe.
    .testTarget(
      name: "DocumentationTests",
      dependencies: ["ledgerd", "ledgerctl", "LedgerTesting", "LedgerClient", "LedgerHTTP", .product(name: "Yams", package: "Yams")],
      swiftSettings: strict),
    .testTarget(
      name: "EndToEndTests",
      dependencies: [
        "ledgerd", "LedgerTesting", "LedgerClient", "LedgerHTTP", "Projections", "ProjectionEngine", "EventLog", "LedgerCore", "JSON",
        "Bytes", .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
      ],
      swiftSettings: strict),
  ],
  swiftLanguageModes: [.v6],
  cxxLanguageStandard: .cxx17
)

// Bytes from outside. The tests replay a kept corpus; with LEDGER_FUZZ the same targets are given to libFuzzer instead
// (`deploy/fuzz`), as a program whose `main` comes from there.
let fuzzed: [Target.Dependency] = [
  "LedgerServer", "LedgerHTTP", "EventLog", "LedgerCore", "JSON", "Bytes", .product(name: "HTTPTypes", package: "swift-http-types"),
]
if Context.environment["LEDGER_FUZZ"] == nil {
  package.targets.append(
    .testTarget(name: "FuzzTests", dependencies: fuzzed, exclude: ["Main.swift", "Corpus"], swiftSettings: strict))
} else {
  package.targets.append(
    .executableTarget(
      name: "ledgerfuzz", dependencies: fuzzed, path: "Tests/FuzzTests", exclude: ["FuzzTests.swift", "Corpus"],
      swiftSettings: strict + [.unsafeFlags(["-parse-as-library"])]))
}
