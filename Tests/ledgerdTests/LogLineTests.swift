// Log lines for machines.

import Foundation
import LedgerClient
import Logging
import Synchronization
import Testing

@testable import ledgerd

@Suite struct LogLineTests {
  private final class Lines: Sendable {
    let bytes = Mutex<[UInt8]>([])
    var texts: [String] { bytes.withLock { String(decoding: $0, as: UTF8.self) }.split(separator: "\n").map(String.init) }
  }

  private func logger(_ lines: Lines) -> Logger {
    Logger(label: "ledgerd") { label in JSONLogHandler(label: label) { line in lines.bytes.withLock { $0 += line } } }
  }

  @Test func `a line is one object with time, level, logger, message and metadata`() throws {
    let lines = Lines()
    var logger = logger(lines)
    logger[metadataKey: "log"] = "7"
    logger.info("opened", metadata: ["head": "42", "nested": ["a": "b"]])
    let line = try #require(lines.texts.first)
    #expect(lines.texts.count == 1)
    let json = try JSONValue(parsing: Array(line.utf8))
    #expect(json["level"]?.string == "info")
    #expect(json["logger"]?.string == "ledgerd")
    #expect(json["message"]?.string == "opened")
    #expect(json["metadata"]?["log"]?.string == "7")
    #expect(json["metadata"]?["head"]?.string == "42")
    #expect(json["time"]?.string?.wholeMatch(of: #/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z/#) != nil, "\(line)")
  }

  @Test func `whatever a message holds, it stays on one line`() throws {
    let lines = Lines()
    logger(lines).warning("a\nb \"c\" \u{0} \u{2028} é", metadata: ["k\n": "v\r\n"])
    let line = try #require(lines.texts.first)
    #expect(lines.texts.count == 1)
    let json = try JSONValue(parsing: Array(line.utf8))
    #expect(json["message"]?.string == "a\nb \"c\" \u{0} \u{2028} é")
    #expect(json["metadata"]?["k\n"]?.string == "v\r\n")
  }

  @Test func `what is below the level is not written`() {
    let lines = Lines()
    var logger = logger(lines)
    logger.logLevel = .warning
    logger.info("quiet")
    logger.error("loud")
    #expect(lines.texts.count == 1)
    #expect(!lines.texts[0].contains("metadata"))
  }
}
