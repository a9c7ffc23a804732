// Why: clients are written against these bytes; each is held here as it crosses the socket.
import LedgerHTTP
import Testing

@Suite struct LedgerHTTPTests {
  private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

  @Test func `an append answer has the bytes of the design`() {
    let answer = AppendAnswer(appended: 2, duplicates: 1, erased: 0, first: 41, last: 42, head: 42)
    #expect(text(answer.encoded()) == #"{"appended":2,"duplicates":1,"erased":0,"first":41,"last":42,"head":42}"#)
  }

  @Test func `first and last are null when nothing was appended`() {
    let answer = AppendAnswer(appended: 0, duplicates: 3, erased: 0, first: nil, last: nil, head: 42)
    #expect(text(answer.encoded()) == #"{"appended":0,"duplicates":3,"erased":0,"first":null,"last":null,"head":42}"#)
  }

  @Test func `receipts come after the counts, in the order sent`() {
    let receipts = [
      Receipt(source: "/web", id: "é\"\u{1}", position: 41, duplicate: false),
      Receipt(source: "/web", id: "b", position: 7, duplicate: true),
    ]
    let answer = AppendAnswer(appended: 1, duplicates: 1, erased: 0, first: 41, last: 41, head: 41, receipts: receipts)
    #expect(
      text(answer.encoded(end: .done))
        == #"{"appended":1,"duplicates":1,"erased":0,"first":41,"last":41,"head":41,"receipts":["#
        + #"{"source":"/web","id":"é\"\u0001","position":41,"duplicate":false},"#
        + #"{"source":"/web","id":"b","position":7,"duplicate":true}],"done":true}"#)
  }

  @Test func `an answer that may set events aside counts them behind the erased ones, and lists them at the end`() {
    var answer = AppendAnswer(appended: 1, duplicates: 0, erased: 0, first: 41, last: 41, head: 41)
    answer.quarantined = 0
    #expect(text(answer.encoded()) == #"{"appended":1,"duplicates":0,"erased":0,"quarantined":0,"first":41,"last":41,"head":41}"#)
    answer.quarantined = 1
    answer.quarantine = [
      QuarantineReceipt(index: 3, source: "/web", id: "ñ", number: 7, code: .schema, detail: "/data/score breaks maximum 10")
    ]
    #expect(
      text(answer.encoded())
        == #"{"appended":1,"duplicates":0,"erased":0,"quarantined":1,"first":41,"last":41,"head":41,"quarantine":["#
        + #"{"index":3,"source":"/web","id":"ñ","number":7,"code":"schema","detail":"/data/score breaks maximum 10"}]}"#)
  }

  @Test func `a stream that fails ends with the problem and its line`() {
    let answer = AppendAnswer(appended: 1, duplicates: 0, erased: 0, first: 1, last: 1, head: 1)
    let end = AppendAnswer.StreamEnd.failed(Problem(.invalidJSON, "no JSON", line: 2))
    #expect(
      text(answer.encoded(end: end))
        == #"{"appended":1,"duplicates":0,"erased":0,"first":1,"last":1,"head":1,"error":{"type":"urn:interaction-ledger:"#
        + #"error:invalid-json","title":"Invalid JSON","status":400,"detail":"no JSON","code":"invalid-json","#
        + #""message":"no JSON","line":2}}"#)
  }

  @Test func `a problem's message is its detail, and its members keep their order`() {
    let problem = Problem(
      .wrongRevision, "the stream is at 6; read it again", members: [.init("expected", 4), .init("actual", 6)])
    #expect(
      text(problem.encoded())
        == #"{"type":"urn:interaction-ledger:error:wrong-revision","title":"Wrong revision","status":412,"#
        + #""detail":"the stream is at 6; read it again","code":"wrong-revision","#
        + #""message":"the stream is at 6; read it again","expected":4,"actual":6}"#)
  }

  @Test func `a problem lists every bad event by index`() {
    let errors = [
      Problem.EventError(index: 0, code: .invalidEvent, detail: "no id"),
      Problem.EventError(index: 5, code: .eventTooLarge, detail: "70000 bytes"),
    ]
    #expect(
      text(Problem(.invalidEvent, "2 bad events", errors: errors).encoded()).hasSuffix(
        #""errors":[{"index":0,"code":"invalid-event","detail":"no id"},"#
          + #"{"index":5,"code":"event-too-large","detail":"70000 bytes"}]}"#))
  }

  @Test(arguments: [
    ("invalid-json", 400), ("invalid-event", 400), ("event-too-large", 400), ("batch-too-large", 400), ("empty-batch", 400),
    ("invalid-request", 400), ("unauthorized", 401), ("forbidden", 403), ("not-found", 404), ("method-not-allowed", 405),
    ("id-conflict", 409), ("subscription-exists", 409),
    ("gone", 410), ("wrong-revision", 412), ("schema", 422), ("rate-limited", 429), ("internal", 500), ("busy", 503), ("too-slow", 503),
    ("quarantine-full", 503), ("disk-full", 503), ("rebuilding", 503), ("not-yet", 503), ("outcome-unknown", 503),
  ])
  func `every code has the status of the design, and those that may pass say when to retry`(code: String, status: Int) throws {
    let found = try #require(ErrorCode(rawValue: code))
    #expect(found.status == status)
    #expect(found.carriesRetryAfter == [429, 503].contains(status))
  }

  @Test func `the table of codes is complete`() { #expect(ErrorCode.allCases.count == 24) }

  @Test(arguments: [
    ("application/json", "application/json"), ("Application/CloudEvents+JSON; charset=UTF-8", "application/cloudevents+json"),
    (" application/x-ndjson ;x=y", "application/x-ndjson"), ("", ""),
  ])
  func `a media type is compared without case and parameters`(value: String, essence: String) {
    #expect(MediaType.essence(of: value) == essence)
  }
}
