// Why: scripts see only arguments, output and exit codes; here the built program is run against a server that we control.
import FakeLedgerServer
import Foundation
import Testing

@testable import ledgerctl

private let answer = #"{"appended":2,"duplicates":1,"erased":0,"first":41,"last":42,"head":42}"#

@Suite(.timeLimit(.minutes(2))) struct CommandTests {
  @Test(
    arguments: [
      (["bogus"], 2), ([], 0), (["--help"], 0), (["events", "--limit", "x"], 2), (["events", "--limit", "0"], 2), (["customer", "foo"], 2),
      (["import", "x.csv"], 2), (["import", "--mapping", "/none.yaml", "x.csv"], 1), (["projections", "rebuild"], 2),
      (["log", "extra"], 2),
      (["append", "/no/such/file"], 1), (["log"], 3), (["status"], 3), (["events"], 3), (["append"], 3),
    ] as [([String], Int32)])
  func `without a daemon, the exit code says what is wrong`(arguments: [String], status: Int32) async throws {
    let run = try await run(arguments, socket: "/tmp/no-such-ledger.sock", input: "{}\n")
    #expect(run.status == status, "\(run.errors)")
    if status == 3 { #expect(run.errors.contains("no ledger daemon answers at /tmp/no-such-ledger.sock")) }
  }

  @Test(arguments: [(404, 5), (410, 5), (403, 4), (409, 4), (400, 4), (500, 1)] as [(Int, Int32)])
  func `a refusal's exit code follows its status, and its words are shown`(status: Int, exit: Int32) async throws {
    try await withServer({ _, _ in .problem(status, "some-code", "what happened") }) { server in
      let run = try await run(["log"], socket: server.path)
      #expect(run.status == exit)
      #expect(run.errors == "ledgerctl: what happened (some-code)\n")
    }
  }

  @Test func `the socket's option wins over the environment, before and after the command`() async throws {
    try await withServer({ _, _ in .json(#"{"id":"x","head":42}"#) }) { server in
      for arguments in [
        ["--socket", server.path, "log"], ["log", "--socket", server.path], ["projections", "--json", "list", "--socket", server.path],
      ] {
        let run = try await run(arguments, socket: "/tmp/no-such-ledger.sock")
        #expect(run.status == 0, "\(arguments) \(run.errors)")
      }
    }
  }

  @Test func `JSON is the server's answer, and without it people get text`() async throws {
    try await withServer({ _, _ in .json(#"{"id":"x","head":42}"#) }) { server in
      let run1 = try await run(["log", "--json"], socket: server.path)
      #expect(run1.output == #"{"id":"x","head":42}"# + "\n")
      let run2 = try await run(["log"], socket: server.path)
      #expect(run2.output == "id    x\nhead  42\n")
    }
  }

  @Test(arguments: [
    ("{\"a\":1}\n{\"b\":2}\n", "application/x-ndjson"), ("[{\"a\":1},\n{\"b\":2}]", "application/cloudevents-batch+json"),
    ("{\n  \"a\": 1\n}\n", "application/cloudevents+json"), ("\n{\"a\":1}", "application/x-ndjson"), ("rubbish\n", "application/x-ndjson"),
  ])
  func `append tells the shape of its input and sends it as it is`(input: String, type: String) async throws {
    try await withServer({ _, _ in .json(answer) }) { server in
      let run = try await run(["append"], socket: server.path, input: input)
      #expect(run.status == 0 && run.output == "appended 2, duplicates 1, head 42\n", "\(run.errors)")
      #expect(server.requests[0].headers["content-type"] == type)
      #expect(String(decoding: server.requests[0].body, as: UTF8.self) == input)
    }
  }

  @Test func `an append that is refused names the line and every bad event`() async throws {
    let more = #","line":7,"errors":[{"index":2,"code":"invalid-event","detail":"no id"}]"#
    try await withServer({ _, _ in .problem(400, "invalid-event", "1 bad event", more: more) }) { server in
      let run = try await run(["append"], socket: server.path, input: "{}\n")
      #expect(run.status == 4)
      #expect(run.errors == "ledgerctl: line 7: 1 bad event\n  event 3: no id (invalid-event) (invalid-event)\n")
    }
  }

  @Test func `events are a table, or the server's lines`() async throws {
    let lines =
      #"{"position":41,"recordedtime":"2026-11-21T20:00:00.123456Z","event":{"id":"a","type":"t","source":"s"}}"# + "\n"
      + #"{"position":42,"recordedtime":"2026-11-21T20:00:01.123456Z","event":null,"erased":true}"# + "\n"
    try await withServer({ _, _ in .stream(pieces: [Array(lines.utf8)], pause: .zero, breaks: false) }) { server in
      let raw = try await run(["events", "--json", "--type", "a", "--type", "b", "--after", "40"], socket: server.path)
      #expect(raw.output == lines)
      #expect(server.requests[0].target == "/v1/events?after=40&type=a&type=b")
      let table = try await run(["events"], socket: server.path).output.split(separator: "\n")
      #expect(table.count == 3 && table[0].hasPrefix("POSITION") && table[2].contains("(erased)"))
    }
  }

  @Test func `a customer is found by identifier or id, and nobody is exit 5`() async throws {
    let respond: FakeLedgerServer.Responder = { request, _ in
      switch request.target {
      case "/v1/customers?identifier=email:ana%40example.org":
        .json(#"{"customers":[{"id":"17","identifiers":[{"kind":"email","value":"ana@example.org"}]}],"checkpoint":42}"#)
      case "/v1/customers/17": .json(#"{"id":"17","identifiers":[],"checkpoint":42}"#)
      case "/v1/customers/17/journey":
        .json(#"{"customer":"17","entries":[{"position":41,"time":"T","type":"t"}],"checkpoint":42,"next":"c"}"#)
      case "/v1/customers/17/journey?cursor=c":
        .json(#"{"customer":"17","entries":[{"position":42,"time":"T","type":"u"}],"checkpoint":42,"next":null}"#)
      default: .json(#"{"customers":[],"checkpoint":42}"#)
      }
    }
    try await withServer(respond) { server in
      let found = try await run(["customer", "email:ana@example.org"], socket: server.path)
      #expect(found.status == 0 && found.output.contains("ana@example.org"), "\(found.errors)")
      let run3 = try await run(["customer", "17"], socket: server.path)
      #expect(run3.status == 0)
      let nobody = try await run(["customer", "email:x@example.org"], socket: server.path)
      #expect(nobody.status == 5 && !nobody.errors.contains("x@example.org"))
      let journey = try await run(["journey", "email:ana@example.org"], socket: server.path)
      #expect(journey.output.split(separator: "\n").count == 3, "\(journey.output)\(journey.errors)")
      let run4 = try await run(["journey", "phone:1"], socket: server.path)
      #expect(run4.status == 5)
    }
  }

  @Test(
    arguments: [
      (["customer", "--at-least", "42", "17"], "/v1/customers/17?atLeast=42"), (["customer", "17-2"], "/v1/customers/17-2"),
      (["customer", "--at-least", "42", "email:a"], "/v1/customers?identifier=email:a&atLeast=42"),
      (["journey", "unowned"], "/v1/customers/unowned/journey"),
      (["journey", "17", "--at-least", "42"], "/v1/customers/17/journey?atLeast=42"),
      (["projections", "digest", "--at-least", "42", "channels"], "/v1/projections/channels/digest?atLeast=42"),
    ] as [([String], String)])
  func `what is asked for goes to the daemon as it was said`(arguments: [String], target: String) async throws {
    try await withServer({ _, _ in .problem(404, "not-found", "nothing") }) { server in
      let run = try await run(arguments, socket: server.path)
      #expect(run.status == 5, "\(run.errors)")
      #expect(server.requests.map(\.target) == [target])
    }
  }

  @Test func `a rebuild that is given up is one call, and none to give up is exit 5`() async throws {
    let respond: FakeLedgerServer.Responder = { request, number in
      guard request.method == "DELETE", request.target == "/v1/projections/customers/rebuild" else { return .problem(400, "x", "x") }
      return number == 1 ? .json(#"{"name":"customers","generation":1}"#) : .problem(404, "not-found", "no rebuild")
    }
    try await withServer(respond) { server in
      let done = try await run(["projections", "cancel", "customers"], socket: server.path)
      #expect(done.output == "customers: the rebuild was given up; generation 1 goes on\n", "\(done.errors)")
      let none = try await run(["projections", "cancel", "customers"], socket: server.path)
      #expect(none.status == 5)
    }
  }

  @Test func `a rebuild that waits returns when the new generation is live`() async throws {
    let state =
      #"{"name":"customers","version":1,"generation":GEN,"state":"live","position":42,"head":42,"lagEvents":0,"lagSeconds":0,"#
      + #""parked":0,"rows":123,"rebuild":REBUILD}"#
    let rebuilding = state.replacing("GEN", with: "1").replacing(
      "REBUILD", with: #"{"generation":2,"position":10,"head":42,"eventsPerSecond":1,"etaSeconds":3}"#)
    let live = state.replacing("GEN", with: "2").replacing("REBUILD", with: "null")
    let respond: FakeLedgerServer.Responder = { request, number in
      if request.method == "POST" { return .json(#"{"name":"customers","generation":2}"#) }
      return .json("{\"projections\":[\(number < 4 ? rebuilding : live)]}")
    }
    try await withServer(respond) { server in
      let run = try await run(["projections", "rebuild", "customers", "--wait"], socket: server.path)
      #expect(run.status == 0 && run.output == "customers: generation 2 is live\n", "\(run.errors)")
      #expect(server.requests.count == 4)
      let list = try await self.list(server)
      #expect(list.contains("customers"))
    }
  }

  @Test func `status shows all, and is exit 1 while the daemon is not ready`() async throws {
    let respond: FakeLedgerServer.Responder = { request, number in
      switch request.target {
      case "/readyz": number < 4 ? .problem(503, "rebuilding", "the index is catching up", retryAfter: 1) : .json("{}")
      case "/healthz": .json("{}")
      case "/v1/projections": .json(#"{"projections":[{"name":"customers","generation":1,"position":42}]}"#)
      default: .json(#"{"id":"x","head":42}"#)
      }
    }
    try await withServer(respond) { server in
      let starting = try await run(["status"], socket: server.path)
      #expect(starting.status == 1 && starting.output.hasPrefix("daemon  healthy, not ready\n"), "\(starting.errors)")
      let ready = try await run(["status", "--json"], socket: server.path)
      #expect(ready.status == 0, "\(ready.errors)")
      let expected =
        #"{"healthy":true,"ready":true,"log":{"id":"x","head":42},"projections":[{"name":"customers","generation":1,"position":42}]}"#
      #expect(ready.output == expected + "\n")
    }
  }

  @Test func `a digest is one line, or the server's answer`() async throws {
    let body = #"{"name":"customers","version":1,"position":42,"rows":123,"digest":"00ff"}"#
    try await withServer({ _, _ in .json(body) }) { server in
      let text = try await run(["projections", "digest", "customers"], socket: server.path)
      #expect(text.output == "00ff  customers version 1 at position 42, 123 rows\n", "\(text.errors)")
      let json = try await run(["projections", "digest", "customers", "--json"], socket: server.path)
      #expect(json.output == body + "\n")
      #expect(server.requests.map(\.target) == ["/v1/projections/customers/digest", "/v1/projections/customers/digest"])
    }
  }

  @Test func `a followed stream that breaks is taken up again behind the last position, until it is refused`() async throws {
    let pieces = [
      #"{"position":1,"recordedtime":"R","event":{"id":"a","type":"t","source":"s"}}"#, #"{"mark":"caught-up","position":1}"#,
      #"{"position":2,"recordedtime":"R","event":{"id":"b","type":"t","source":"s"}}"#, #"{"mark":"heartbeat","position":7}"#,
    ].map { Array(($0 + "\n").utf8) }
    try await withServer({ _, number in
      number < 3
        ? .stream(pieces: pieces, pause: .milliseconds(5), breaks: true)
        : .problem(403, "forbidden", "no")
    }) { server in
      let run = try await run(["events", "--follow"], socket: server.path)
      #expect(run.status == 4 && run.errors.contains("taken up again"), "\(run.errors)")
      #expect(run.output.split(separator: "\n").count == 5, "\(run.output)")
      #expect(
        server.requests.map(\.target) == [
          "/v1/events?follow=true", "/v1/events?after=7&follow=true", "/v1/events?after=7&follow=true",
        ])
    }
  }

  private func list(_ server: FakeLedgerServer) async throws -> String {
    try await run(["projections"], socket: server.path).output
  }
}

@Suite(.timeLimit(.minutes(2))) struct SchemaCommandTests {
  private let schema =
    #"{"required":["score"],"examples":[{"specversion":"1.0","id":"1","source":"urn:t","type":"a.b","data":{"score":7}}]}"#

  @Test func `check needs no daemon, and names file, example and rule`() async throws {
    let files = [
      "a.b.json": schema, "c.json": #"{"type":"date"}"#, "d.json": schema,
      "e.json": #"{"required":["x"],"examples":[{"specversion":"1.0","id":"1","source":"urn:t","type":"e","data":{"leak":1}}]}"#,
    ]
    try await withFiles(files.mapValues { Array($0.utf8) }) { folder in
      let good = try await run(["schemas", "check", folder + "/a.b.json"], socket: "/nowhere")
      #expect(good.status == 0)
      #expect(good.output == "\(folder)/a.b.json: a.b, 1 examples\n")
      for (name, fragment) in [
        ("c.json", "type must be"), ("d.json", "example 1 is of another type than d"),
        ("e.json", #"example 1 breaks required "x" at /data"#),
        ("f.json", "it cannot be read"),
      ] {
        let bad = try await run(["schemas", "check", folder + "/a.b.json", folder + "/" + name], socket: "/nowhere")
        #expect(bad.status == 1)
        #expect(bad.errors.contains(fragment), "\(bad.errors)")
        #expect(!bad.errors.contains("leak"))
      }
      #expect(try await run(["schemas", "check", "--type", "a.b", folder + "/d.json"]).status == 0)
    }
  }

  @Test func `apply sends a sound file under its type, and a bad one not at all`() async throws {
    let applied = #"{"type":"a.b","origin":"applied","version":3,"changed":true}"#
    try await withServer { _, _ in
      .json(applied)
    } _: { server in
      try await withFiles(["a.b.json": Array(schema.utf8), "bad.json": Array(#"{"requird":[]}"#.utf8)]) { folder in
        let good = try await run(["schemas", "apply", folder + "/a.b.json"], socket: server.path)
        #expect(good.status == 0, "\(good.errors)")
        #expect(good.output == "a.b: version 3 is in force\n")
        let bad = try await run(["schemas", "apply", folder + "/a.b.json", folder + "/bad.json"], socket: server.path)
        #expect(bad.status == 1)
        #expect(bad.errors.contains("requird"))
        #expect(server.requests.map { "\($0.method) \($0.target)" } == ["PUT /v1/schemas/a.b"])
        #expect(server.requests.first?.body == Array(schema.utf8))
      }
    }
  }

  @Test func `quarantine is listed as a table, page after page`() async throws {
    @Sendable func row(_ number: Int) -> String {
      #"{"number":\#(number),"recordedtime":"t","receivedtime":"t","principal":"uid:1","code":"schema","detail":"d","type":"a.b","source":"s","id":"ñ","byteCount":9}"#
    }
    try await withServer { request, _ in
      .json(
        request.target.contains("after=0")
          ? #"{"count":2,"byteCount":18,"quarantined":[\#(row(1))],"next":1}"#
          : #"{"count":2,"byteCount":18,"quarantined":[\#(row(2))],"next":null}"#)
    } _: { server in
      let list = try await run(["quarantine", "list"], socket: server.path)
      #expect(list.status == 0, "\(list.errors)")
      #expect(list.output.split(separator: "\n").count == 3)
      #expect(list.output.contains("ñ"))
    }
  }

  @Test func `correct, append and discard say what became of the event`() async throws {
    let appended =
      #"{"appended":1,"duplicates":0,"erased":0,"first":9,"last":9,"head":9,"receipts":[{"source":"s","id":"i","position":9,"duplicate":false}]}"#
    try await withServer { request, _ in
      .json(request.method == "DELETE" ? #"{"number":7,"outcome":"discarded"}"# : appended)
    } _: { server in
      let corrected = try await run(["quarantine", "correct", "7"], socket: server.path, input: "{}")
      #expect(corrected.output == "7: appended at position 9\n")
      #expect(try await run(["quarantine", "correct", "7"], socket: server.path, input: " ").status == 2)
      #expect(try await run(["quarantine", "append", "7", "8"], socket: server.path).output.split(separator: "\n").count == 2)
      #expect(try await run(["quarantine", "discard", "7"], socket: server.path).status == 2)
      let discarded = try await run(["quarantine", "discard", "7", "--reason", "año"], socket: server.path)
      #expect(discarded.output == "7: discarded\n")
      #expect(
        server.requests.map { "\($0.method) \($0.target)" } == [
          "POST /v1/quarantine/7/append", "POST /v1/quarantine/7/append", "POST /v1/quarantine/8/append",
          "DELETE /v1/quarantine/7?reason=a%C3%B1o",
        ])
    }
  }
}
