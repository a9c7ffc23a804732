// The one door of the black-box tests: events as texts, requests as data, refusals checked in one place.

import Foundation
import LedgerClient
import Testing

/// A CloudEvent's text. A change replaces a member, removes it (nil), or adds one at the end.
func event(_ id: String, _ changes: KeyValuePairs<String, String?> = [:]) -> String {
  var members: [(name: String, value: String?)] = [
    ("specversion", #""1.0""#), ("id", "\"\(id)\""), ("source", #""urn:test""#), ("type", #""page.viewed""#),
  ]
  for (name, value) in changes {
    if let index = members.firstIndex(where: { $0.name == name }) {
      members[index].value = value
    } else {
      members.append((name, value))
    }
  }
  return "{" + members.compactMap { member in member.value.map { "\"\(member.name)\":\($0)" } }.joined(separator: ",") + "}"
}

/// An id that no other test has.
func freshID() -> String { UUID().uuidString }

let structured = "application/cloudevents+json"
let batched = "application/cloudevents-batch+json"
let streamed = "application/x-ndjson"

/// A request as data.
struct Sent: Sendable {
  var method = "POST"
  var target = "/v1/events"
  var headers: [(name: String, value: String)] = []
  var body: [UInt8] = []

  static func get(_ target: String) -> Sent { Sent(method: "GET", target: target) }

  static func post(
    _ body: String, _ type: String? = structured, _ target: String = "/v1/events", _ headers: [(name: String, value: String)] = []
  ) -> Sent { bytes(Array(body.utf8), type, target, headers) }

  static func bytes(
    _ body: [UInt8], _ type: String? = structured, _ target: String = "/v1/events", _ headers: [(name: String, value: String)] = []
  ) -> Sent {
    Sent(target: target, headers: (type.map { [(name: "content-type", value: $0)] } ?? []) + headers, body: body)
  }
}

extension Response {
  var text: String { String(decoding: body, as: UTF8.self) }
  var lines: [String] { text.split(separator: "\n").map(String.init) }
}

extension RunningServer {
  /// The suite's server.
  static func require() throws -> RunningServer { try #require(current, "the suite has the trait .server") }

  func answer(_ sent: Sent) async throws -> Response {
    try await client.request(sent.method, sent.target, headers: sent.headers, body: sent.body)
  }

  func get(_ target: String) async throws -> Response { try await answer(.get(target)) }

  /// Sends what must be taken, and gives the answer's JSON.
  @discardableResult
  func accepted(_ sent: Sent, _ location: SourceLocation = #_sourceLocation) async throws -> JSONValue {
    let response = try await answer(sent)
    #expect(response.status == 200, "\(response.text)", sourceLocation: location)
    return try JSONValue(parsing: Array(response.lines.last?.utf8 ?? "null".utf8))
  }

  /// Appends events, and gives the position of the last one.
  @discardableResult
  func append(_ events: [String], _ location: SourceLocation = #_sourceLocation) async throws -> Int64 {
    try await accepted(.post("[" + events.joined(separator: ",") + "]", batched), location)["head"]?.integer ?? 0
  }

  /// Sends what must be refused, checks everything that a refusal promises, and gives its JSON.
  ///
  /// What must not leak holds the word `leak`, in any case of letters.
  @discardableResult
  func refused(
    _ sent: Sent, _ status: Int, _ code: String, _ fragment: String, appends: Int64 = 0,
    _ location: SourceLocation = #_sourceLocation
  ) async throws -> JSONValue {
    let before = head
    let response = try await answer(sent)
    #expect(head == before + appends, sourceLocation: location)
    return try Self.check(response, status, code, fragment, location)
  }

  @discardableResult
  static func check(
    _ response: Response, _ status: Int, _ code: String, _ fragment: String, _ location: SourceLocation = #_sourceLocation
  ) throws -> JSONValue {
    #expect(response.status == status, "\(response.text)", sourceLocation: location)
    #expect(response.header("content-type") == "application/problem+json", sourceLocation: location)
    #expect((response.header("retry-after") != nil) == (status == 503), sourceLocation: location)
    #expect(!response.text.lowercased().contains("leak"), "\(response.text)", sourceLocation: location)
    let json = try response.json()
    #expect(json["status"]?.integer == Int64(status), sourceLocation: location)
    #expect(json["code"]?.string == code, "\(response.text)", sourceLocation: location)
    #expect(json["type"]?.string == "urn:interaction-ledger:error:\(code)", sourceLocation: location)
    #expect(json["title"]?.string?.isEmpty == false, sourceLocation: location)
    #expect(json["detail"] == json["message"], sourceLocation: location)
    #expect(json["detail"]?.string?.contains(fragment) == true, "\(response.text)", sourceLocation: location)
    return json
  }
}
