// Tokens for TCP: random, shown once, kept as hashes.
//
// Invariants:
// - A token has 256 random bits, so its plain SHA-256 cannot be turned back; nobody chooses one.
// - A file that others may look into is refused: it says who may do what.

import Crypto
import Files
import Foundation
import LedgerServer
import Unix

enum TokenFile {
  static let nameRule = "a token's name has 1 to 64 letters, digits, dots, dashes and underscores"

  static func isName(_ name: String) -> Bool {
    (1...64).contains(name.utf8.count)
      && name.utf8.allSatisfy {
        (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0) || [0x2d, 0x2e, 0x5f].contains($0)
      }
  }

  /// Reads the tokens of a file.
  ///
  /// - Throws: ``ConfigurationErrors``, each with file and line.
  static func read(_ path: String) throws(ConfigurationErrors) -> [Access.Token] {
    var reader = ConfigurationReader(path: path)
    var tokens: [Access.Token] = []
    do {
      let mode = try Accounts.mode(ofFile: path)
      guard mode & 0o007 == 0 else {
        throw ConfigurationErrors(errors: [
          ConfigurationError(place: path, message: "others may use the file of tokens (mode \(String(mode, radix: 8))); chmod 640 it")
        ])
      }
      tokens = reader.tokens(String(decoding: try Files.read(path), as: UTF8.self))
    } catch let errors as ConfigurationErrors {
      throw errors
    } catch {
      throw ConfigurationErrors(errors: [ConfigurationError(place: nil, message: "the file of tokens cannot be read: \(error)")])
    }
    guard reader.errors.isEmpty else { throw ConfigurationErrors(errors: reader.errors) }
    return tokens
  }

  /// A new token: 32 random bytes in base64url (RFC 4648 §5), 43 letters.
  static func makeToken() -> String {
    // The system's generator is getrandom(2).
    let bytes = (0..<32).map { _ in UInt8.random(in: .min ... .max) }
    return Data(bytes).base64EncodedString().replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
  }

  /// The entry of a token, as YAML.
  static func entry(name: String, token: String, roles: [String], sources: [String]) -> String {
    let digest = SHA256.hash(data: Data(token.utf8)).map { byte in
      String(byte >> 4, radix: 16) + String(byte & 15, radix: 16)
    }.joined()
    var text = "  - name: \(name)\n    sha256: \(digest)\n    roles: [\(roles.joined(separator: ", "))]\n"
    if !sources.isEmpty { text += "    sources: [\(sources.map(quoted).joined(separator: ", "))]\n" }
    return text
  }

  /// Adds an entry to a file, which is made if it is not there.
  ///
  /// - Throws: ``ConfigurationErrors``: the file is wrong already, has a token of that name, or cannot be written.
  static func add(_ entry: String, named name: String, to path: String) throws(ConfigurationErrors) {
    var text = "tokens:\n"
    if Files.exists(path) {
      guard try !read(path).contains(where: { $0.name == name }) else {
        throw ConfigurationErrors(errors: [
          ConfigurationError(place: path, message: "there is a token \(name) already; give each its own name")
        ])
      }
      text = ""
    }
    do {
      // At the end of the file that is there, so that its owner and mode stay.
      let previous = text.isEmpty ? try Files.read(path) : []
      if previous.isEmpty {
        text = "tokens:\n"
      } else if previous.last != UInt8(ascii: "\n") {
        text = "\n"
      }
      let added = previous + Array((text + entry).utf8)
      var reader = ConfigurationReader(path: path)
      guard reader.tokens(String(decoding: added, as: UTF8.self)).contains(where: { $0.name == name }), reader.errors.isEmpty else {
        throw ConfigurationErrors(errors: [
          ConfigurationError(place: path, message: "the list tokens is not what the file ends with; add the entry by hand:\n\(entry)")
        ])
      }
      if previous.isEmpty, !Files.exists(path) {
        try Files.writeAtomically(added, to: path)
        try Accounts.setMode(0o640, ofFile: path)
      } else {
        let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        try file.seekToEnd()
        try file.write(contentsOf: Data(added.dropFirst(previous.count)))
        try file.synchronize()
        try file.close()
      }
    } catch let errors as ConfigurationErrors {
      throw errors
    } catch {
      throw ConfigurationErrors(errors: [ConfigurationError(place: nil, message: "the file of tokens cannot be written: \(error)")])
    }
  }

  /// A text in YAML's single quotes.
  private static func quoted(_ text: String) -> String { "'" + text.replacing("'", with: "''") + "'" }

  /// The bytes of hexadecimal digits; nil if they are not those of a SHA-256.
  static func bytes(hexadecimal text: String) -> [UInt8]? {
    let digits = Array(text.utf8)
    guard digits.count == 64 else { return nil }
    var bytes: [UInt8] = []
    for index in stride(from: 0, to: 64, by: 2) {
      guard let byte = UInt8(String(decoding: digits[index...index + 1], as: UTF8.self), radix: 16), digits[index] != 0x2b else {
        return nil
      }
      bytes.append(byte)
    }
    return bytes
  }
}
