// Why: an import is where a company's history comes in; whatever breaks on the way, no row may be lost, doubled or shown.
import FakeLedgerServer
import Foundation
import Synchronization
import Testing

@testable import ledgerctl

private let answer = #"{"appended":2,"duplicates":1,"erased":0,"first":41,"last":42,"head":42}"#
private let mapping = "event:\n  id: \"{file}:{line}\"\n  source: urn:t\n  type: t\n  subject: {column: a, if-null: reject}\n"

@Suite(.timeLimit(.minutes(2))) struct ImportCommandTests {
  @Test func `an import goes on when the daemon is busy or the connection breaks`() async throws {
    let respond: FakeLedgerServer.Responder = { _, number in
      switch number {
      case 1: .problem(503, "busy", "full", retryAfter: 0)
      case 2: .hangUp
      default: .json(#"{"appended":1,"duplicates":0,"erased":0,"first":1,"last":1,"head":1}"#)
      }
    }
    let rows = "a,b\n" + (1...2_500).map { "r\($0),x\n" }.joined()
    try await withFiles(["m.yaml": Array(mapping.utf8), "t.csv": Array(rows.utf8)]) { folder in
      try await withServer(respond) { server in
        let run = try await run(["import", "--mapping", folder + "/m.yaml", "--name", "x.csv", folder + "/t.csv"], socket: server.path)
        #expect(run.status == 0 && run.output == "read 2500 rows, appended 3, duplicates 0, rejected 0\n", "\(run.errors)")
        let answered = server.requests.dropFirst(2).map { String(decoding: $0.body.prefix(60), as: UTF8.self) }
        for line in [2, 1_002, 2_002] { #expect(answered.contains { $0.contains("\"x.csv:\(line)\"") }) }
      }
    }
  }

  @Test func `an import sends batches of a thousand in order and adds up the answers`() async throws {
    let rows = "a,b\n" + (1...2_500).map { "r\($0),x\n" }.joined()
    let respond: FakeLedgerServer.Responder = { request, _ in
      let count = String(decoding: request.body, as: UTF8.self).components(separatedBy: "specversion").count - 1
      return .json(#"{"appended":\#(count - 1),"duplicates":1,"erased":0,"first":1,"last":2,"head":2}"#)
    }
    try await withFiles(["m.yaml": Array(mapping.utf8), "t.csv": Array(rows.utf8)]) { folder in
      try await withServer(respond) { server in
        let run = try await run(["import", "--mapping", folder + "/m.yaml", folder + "/t.csv"], socket: server.path)
        #expect(run.status == 0 && run.output == "read 2500 rows, appended 2497, duplicates 3, rejected 0\n", "\(run.errors)")
        let bodies = server.requests.map { String(decoding: $0.body, as: UTF8.self) }
        #expect(bodies.count == 3 && bodies[0].hasPrefix(#"[{"specversion":"1.0","id":"t.csv:2""#))
        #expect(bodies[1].hasPrefix(#"[{"specversion":"1.0","id":"t.csv:1002""#) && bodies[2].hasSuffix(#""subject":"r2500"}]"#))
        #expect(Set(server.requests.map(\.connection)).count == 1)
      }
    }
  }

  @Test func `a bad row stops the import by file and line, or goes to the rejects`() async throws {
    let files = ["m.yaml": Array(mapping.utf8), "t.csv": Array("a,b\n1,x\n,secret\n3\n4,x\n".utf8)]
    try await withFiles(files) { folder in
      try await withServer({ _, _ in .json(answer) }) { server in
        let arguments = ["import", "--mapping", folder + "/m.yaml", folder + "/t.csv"]
        let stopped = try await run(arguments, socket: server.path)
        #expect(stopped.status == 1)
        #expect(
          stopped.errors.contains("t.csv, line 3: column “a”: no value, and event.subject needs one") && !stopped.errors.contains("secret"))
        let passed = try await run(arguments + ["--rejects", folder + "/r"], socket: server.path)
        #expect(passed.status == 6 && passed.output == "read 4 rows, appended 2, duplicates 1, rejected 2\n", "\(passed.errors)")
        #expect(!passed.errors.contains("secret"))
        let rejects = try String(contentsOfFile: folder + "/r", encoding: .utf8)
        #expect(
          rejects == #"{"file":"t.csv","line":3,"reason":"column “a”: no value, and event.subject needs one","row":",secret"}"# + "\n"
            + #"{"file":"t.csv","line":4,"reason":"1 fields, but 2 columns","row":"3"}"# + "\n")
        let attributes = try FileManager.default.attributesOfItem(atPath: folder + "/r")
        #expect(attributes[.posixPermissions] as? Int == 0o600)
      }
    }
  }

  @Test func `events that the ledger refuses are named by line, or set aside while the rest is sent again`() async throws {
    let respond: FakeLedgerServer.Responder = { request, _ in
      let body = String(decoding: request.body, as: UTF8.self)
      if body.contains("bad") {
        return .problem(409, "id-conflict", "1 conflict", more: #","errors":[{"index":1,"code":"id-conflict","detail":"other contents"}]"#)
      }
      return .json(answer)
    }
    let files = ["m.yaml": Array(mapping.utf8), "t.csv": Array("a,b\n1,x\nbad,x\n3,x\n".utf8)]
    try await withFiles(files) { folder in
      try await withServer(respond) { server in
        let arguments = ["import", "--mapping", folder + "/m.yaml", folder + "/t.csv"]
        let stopped = try await run(arguments, socket: server.path)
        #expect(stopped.status == 4)
        #expect(stopped.errors.contains("t.csv, line 3: the ledger refused it: other contents (id-conflict)"), "\(stopped.errors)")
        let passed = try await run(arguments + ["--rejects", folder + "/r"], socket: server.path)
        #expect(passed.output == "read 3 rows, appended 2, duplicates 1, rejected 1\n" && passed.status == 6, "\(passed.errors)")
        let rejects = try String(contentsOfFile: folder + "/r", encoding: .utf8)
        #expect(
          rejects == #"{"file":"t.csv","line":3,"reason":"the ledger refused it: other contents (id-conflict)","row":"bad,x"}"# + "\n")
        #expect(server.requests.last.map { String(decoding: $0.body, as: UTF8.self) }?.contains(#""id":"t.csv:4""#) == true)
      }
    }
  }

  @Test func `gzip, standard input and a dry run`() async throws {
    // printf 'a,b\n1,x\n' | gzip -n
    let gzip: [UInt8] = [
      0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0x4b, 0xd4, 0x49, 0xe2, 0x32, 0xd4, 0xa9, 0xe0, 0x02, 0x00, 0xf4, 0xa0,
      0x01, 0x00, 0x08, 0x00, 0x00, 0x00,
    ]
    let event = #"{"specversion":"1.0","id":"NAME:2","source":"urn:t","type":"t","subject":"1"}"# + "\n"
    try await withFiles(["m.yaml": Array(mapping.utf8), "t.csv.gz": gzip, "cut.csv.gz": Array(gzip.dropLast(6))]) { folder in
      let arguments = ["import", "--mapping", folder + "/m.yaml", "--dry-run"]
      let packed = try await run(arguments + [folder + "/t.csv.gz"])
      #expect(packed.output == event.replacing("NAME", with: "t.csv"), "\(packed.errors)")
      let piped = try await run(arguments + ["-"], input: "a,b\n1,x\n")
      #expect(piped.output == event.replacing("NAME", with: "stdin"), "\(piped.errors)")
      let cut = try await run(arguments + [folder + "/cut.csv.gz"])
      #expect(cut.status == 1 && cut.errors.contains("cut.csv.gz: the gzip stream ends too early"), "\(cut.errors)")
    }
  }

  @Test func `importing again appends nothing, and going on reads nothing again`() async throws {
    let rows = "a,b\n" + (1...2_500).map { "r\($0),x\n" }.joined()
    let ledger = FakeLedger()
    try await withFiles(["m.yaml": Array(mapping.utf8), "t.csv": Array(rows.utf8)]) { folder in
      try await withServer({ request, _ in ledger.append(request) }) { server in
        let arguments = ["import", "--mapping", folder + "/m.yaml", folder + "/t.csv"]
        let first = try await run(arguments, socket: server.path)
        #expect(first.output == "read 2500 rows, appended 2500, duplicates 0, rejected 0\n", "\(first.errors)")
        let second = try await run(arguments + ["--resume", folder + "/state"], socket: server.path)
        #expect(second.output == "read 2500 rows, appended 0, duplicates 2500, rejected 0\n", "\(second.errors)")
        try Data((rows + "r2501,x\nr2502,x").utf8).write(to: URL(filePath: folder + "/t.csv"))
        for _ in 1...2 {
          let grown = try await run(arguments + ["--resume", folder + "/state", "--json"], socket: server.path)
          // The last row has no line feed: it is taken, and looked at again, since it may still be growing.
          #expect(grown.errors.contains("went on at line"), "\(grown.errors)")
        }
        #expect(ledger.ids.count == 2_502 && ledger.ids.last == "t.csv:2503")
      }
    }
  }

  @Test func `an import that is stopped or loses its daemon goes on where it was, to the same log`() async throws {
    let rows = "a,b\n" + (1...20_000).map { $0 % 1_500 == 0 ? "\n,empty\n" : "r\($0),\"x\ny\"\n" }.joined()
    let ledger = FakeLedger()
    let whole = FakeLedger()
    try await withFiles(["m.yaml": Array(mapping.utf8), "t.csv": Array(rows.utf8)]) { folder in
      let arguments = ["import", "--mapping", folder + "/m.yaml", folder + "/t.csv", "--retry-for", "0s"]
      try await withServer({ request, _ in whole.append(request) }) { server in
        let run = try await run(arguments + ["--rejects", folder + "/whole"], socket: server.path)
        #expect(run.status == 6, "\(run.errors)")
      }
      let resumed = arguments + ["--rejects", folder + "/r", "--resume", folder + "/state"]
      // The daemon dies after some batches.
      for _ in 1...4 {
        try await withServer({ request, number in number > 3 ? .hangUp : ledger.append(request) }) { server in
          let run = try await run(resumed, socket: server.path)
          #expect(run.status == 1 && run.errors.contains("the connection to the daemon broke"), "\(run.errors)")
        }
      }
      // A signal ends it in an orderly way.
      try await withServer({ request, number in number >= 2 ? .silence : ledger.append(request) }) { server in
        let run = try await run(resumed, socket: server.path) { id in
          while server.requests.count < 2 { try await Task.sleep(for: .milliseconds(5)) }
          kill(id, SIGINT)
          try await Task.sleep(for: .milliseconds(300))
          kill(id, SIGINT)
        }
        #expect(run.status == 130 && run.errors.contains("stopping"), "\(run.errors)")
      }
      try await withServer({ request, _ in ledger.append(request) }) { server in
        let run = try await run(resumed, socket: server.path)
        #expect(run.status == 6 || run.status == 0, "\(run.errors)")
        #expect(run.errors.contains("went on at line"))
      }
      #expect(ledger.ids == whole.ids && ledger.ids.count == 20_000 - 13)
      let rejects = try String(contentsOfFile: folder + "/r", encoding: .utf8)
      #expect(try rejects == String(contentsOfFile: folder + "/whole", encoding: .utf8))
    }
  }

  @Test func `a signal settles what is under way, passes over nothing, and the same command goes on`() async throws {
    let rows = "a,b\n" + (1...20_000).map { "r\($0),x\n" }.joined()
    let ledger = FakeLedger()
    let isSignalled = Mutex(false)
    // The fourth batch is refused for as long as it takes until the signal; those behind it are taken.
    let respond: FakeLedgerServer.Responder = { request, number in
      let isFourth = String(decoding: request.body.prefix(60), as: UTF8.self).contains("t.csv:3002")
      return isFourth && !isSignalled.withLock { $0 } ? .problem(503, "busy", "full", retryAfter: 0) : ledger.append(request)
    }
    try await withFiles(["m.yaml": Array(mapping.utf8), "t.csv": Array(rows.utf8)]) { folder in
      try await withServer(respond) { server in
        let arguments = ["import", "--mapping", folder + "/m.yaml", folder + "/t.csv", "--resume", folder + "/state", "--json"]
        let stopped = try await run(arguments, socket: server.path) { id in
          while server.requests.count < 8 { try await Task.sleep(for: .milliseconds(5)) }
          kill(id, SIGTERM)
        }
        #expect(stopped.status == 130 && stopped.output.contains(#""stopped":true"#), "\(stopped.output)\(stopped.errors)")
        #expect(stopped.output.contains(#""appended":3000,"#) && ledger.ids.count < 20_000)
        isSignalled.withLock { $0 = true }
        let rest = try await run(arguments, socket: server.path)
        #expect(rest.status == 0 && rest.errors.contains("went on at line 3002"), "\(rest.output)\(rest.errors)")
        #expect(Set(ledger.ids) == Set((2...20_001).map { "t.csv:\($0)" }))
      }
    }
  }

  @Test func `a daemon that is away for a while is waited for, one that never was there is not`() async throws {
    let ledger = FakeLedger()
    let rows = "a,b\n" + (1...3_000).map { "r\($0),x\n" }.joined()
    try await withFiles(["m.yaml": Array(mapping.utf8), "t.csv": Array(rows.utf8)]) { folder in
      let arguments = ["import", "--mapping", folder + "/m.yaml", folder + "/t.csv"]
      let nobody = try await run(arguments, socket: "/tmp/no-such-ledger.sock")
      #expect(nobody.status == 3, "\(nobody.errors)")
      let path = FakeLedgerServer.temporaryPath()
      let first = try await FakeLedgerServer.start(
        path: path, respond: { request, number in number > 1 ? .hangUp : ledger.append(request) })
      let run = try await run(arguments + ["--retry-for", "30s"], socket: path) { _ in
        while first.requests.count < 2 { try await Task.sleep(for: .milliseconds(5)) }
        try await first.stop()
        try await Task.sleep(for: .milliseconds(400))
        let second = try await FakeLedgerServer.start(
          path: path, respond: { request, number in number < 3 ? .problem(503, "busy", "full", retryAfter: 0) : ledger.append(request) })
        while ledger.ids.count < 3_000 { try await Task.sleep(for: .milliseconds(5)) }
        try await second.stop()
      }
      #expect(run.status == 0 && run.output == "read 3000 rows, appended 3000, duplicates 0, rejected 0\n", "\(run.errors)")
    }
  }

  @Test func `a daemon that is set to smaller requests gets them`() async throws {
    let ledger = FakeLedger()
    let rows = "a,b\n" + (1...1_000).map { "r\($0),x\n" }.joined()
    let respond: FakeLedgerServer.Responder = { request, _ in
      request.body.count > 20_000 ? .problem(400, "batch-too-large", "more than 20000 bytes") : ledger.append(request)
    }
    try await withFiles(["m.yaml": Array(mapping.utf8), "t.csv": Array(rows.utf8)]) { folder in
      try await withServer(respond) { server in
        let run = try await run(["import", "--mapping", folder + "/m.yaml", folder + "/t.csv"], socket: server.path)
        #expect(run.output == "read 1000 rows, appended 1000, duplicates 0, rejected 0\n", "\(run.errors)")
      }
    }
  }

  @Test func `too many bad rows stop the import, and so does a rejects file that cannot be written`() async throws {
    let rows = "a,b\n" + (1...50).map { _ in ",secret\n" }.joined()
    try await withFiles(["m.yaml": Array(mapping.utf8), "t.csv": Array(rows.utf8)]) { folder in
      try await withServer({ _, _ in .json(answer) }) { server in
        let arguments = ["import", "--mapping", folder + "/m.yaml", folder + "/t.csv", "--rejects"]
        let many = try await run(arguments + [folder + "/r", "--max-rejects", "10"], socket: server.path)
        #expect(many.status == 1 && many.errors.contains("t.csv, line 12: more than 10 rows were rejected"), "\(many.errors)")
        #expect(try String(contentsOfFile: folder + "/r", encoding: .utf8).split(separator: "\n").count == 10)
        let full = try await run(arguments + ["/dev/full"], socket: server.path)
        #expect(full.status == 1 && full.errors.contains("cannot write /dev/full: No space left"), "\(full.errors)")
        let none = try await run(arguments + [folder + "/none/r"], socket: server.path)
        #expect(none.status == 1 && none.errors.contains("name another file with --rejects"), "\(none.errors)")
        let input = try await run(arguments + [folder + "/t.csv"], socket: server.path)
        #expect(input.status == 2 && input.errors.contains("is an input and would be overwritten"), "\(input.errors)")
        for run in [many, full, none] { #expect(!run.errors.contains("secret")) }
      }
    }
  }

  @Test func `a check reads everything, a dry run the beginning, and neither needs a daemon`() async throws {
    let rows = "a,b\n" + (1...20).map { $0 == 3 ? ",secret\n" : "r\($0),x\n" }.joined()
    try await withFiles(["m.yaml": Array(mapping.utf8), "t.csv": Array(rows.utf8)]) { folder in
      let arguments = ["import", "--mapping", folder + "/m.yaml", folder + "/t.csv"]
      let check = try await run(arguments + ["--check", "--rejects", folder + "/r"])
      #expect(check.status == 6 && check.output == "read 20 rows: 19 events, 0 skipped, 1 bad; nothing was appended\n", "\(check.errors)")
      #expect(try String(contentsOfFile: folder + "/r", encoding: .utf8).contains(#""line":4"#))
      let dry = try await run(arguments + ["--dry-run", "--show", "2"])
      #expect(dry.status == 0 && dry.output.split(separator: "\n").count == 2, "\(dry.errors)")
      let more = try await run(arguments + ["--dry-run"])
      #expect(more.status == 6 && more.output.split(separator: "\n").count == 5 && more.errors.contains("t.csv, line 4: column “a”"))
      #expect(!(check.errors + more.errors).contains("secret"))
    }
  }

  @Test func `a checkpoint of another mapping, another file, or no checkpoint is not followed`() async throws {
    let other = mapping + "  channel: web\n"
    let files = ["m.yaml": mapping, "n.yaml": other, "t.csv": "a,b\n1,x\n", "bad": "hello"].mapValues { Array($0.utf8) }
    try await withFiles(files) { folder in
      try await withServer({ _, _ in .json(answer) }) { server in
        func again(_ mapping: String, _ state: String) async throws -> Run {
          let arguments = ["import", "--mapping", folder + mapping, folder + "/t.csv", "--resume", folder + state]
          return try await run(arguments, socket: server.path)
        }
        let first = try await again("/m.yaml", "/state")
        #expect(first.status == 0, "\(first.errors)")
        let mapped = try await again("/n.yaml", "/state")
        #expect(mapped.status == 2 && mapped.errors.contains("belongs to another mapping"), "\(mapped.errors)")
        let rubbish = try await again("/m.yaml", "/bad")
        #expect(rubbish.status == 2 && rubbish.errors.contains("is no checkpoint"), "\(rubbish.errors)")
        try Data("a,b\n2,x\n".utf8).write(to: URL(filePath: folder + "/t.csv"))
        let changed = try await again("/m.yaml", "/state")
        #expect(changed.status == 1 && changed.errors.contains("it begins otherwise"), "\(changed.errors)")
      }
    }
  }

  @Test func `two files of one name are not taken for one another`() async throws {
    try await withFiles(["m.yaml": Array(mapping.utf8), "t.csv": Array("a,b\n".utf8)]) { folder in
      let run = try await run(["import", "--mapping", folder + "/m.yaml", folder + "/t.csv", folder + "/../" + "t.csv.gz"])
      #expect(run.status == 2 && run.errors.contains("are both called t.csv"), "\(run.errors)")
    }
  }
}
