// Why: rows in, appended events out, as fast as the ledger takes them, and an account of every row.
//
// Invariants:
// - Every row read is counted once: appended, duplicate, erased, rejected or skipped by the mapping's `when`.
// - A batch has at most 1,000 events and 4 MiB; at most two are under way, on one connection, in the order of the file.
//   (A batch that is repeated after a refusal may come after its successor; ids make that safe.)
// - Without a file for rejects the first bad row stops the import, with file and line.

import LedgerClient
import LedgerHTTP

/// Why an import stopped.
struct ImportError: Error, CustomStringConvertible {
  let file: String
  let line: Int?
  let reason: String
  /// Whether the ledger refused an event, as opposed to a row that could not be mapped.
  var isRefusal = false

  var description: String {
    let place = line.map { "\(file), line \($0)" } ?? file
    return "\(place): \(reason); correct it, or set such rows aside with --rejects FILE. "
      + "What was appended before stays; importing again appends nothing twice"
  }
}

/// What an import did.
struct ImportCounts: Equatable {
  var rows = 0
  var appended = 0
  var duplicates = 0
  var erased = 0
  var rejected = 0
  var skipped = 0

  /// `read 5 rows, appended 3, duplicates 1, rejected 1`, and what else there is.
  var summary: String {
    var text = "read \(rows) rows, appended \(appended), duplicates \(duplicates), rejected \(rejected)"
    if erased > 0 { text += ", erased \(erased)" }
    if skipped > 0 { text += ", skipped \(skipped)" }
    return text
  }
}

/// Imports files.
struct Importer {
  static let batchEventCountMax = 1_000
  static let batchByteCountMax = 4 << 20
  static let batchesUnderWayMax = 2

  private struct Batch {
    var file: String
    var events: [(line: Int, bytes: Range<Int>)] = []
    var body: [UInt8] = [UInt8(ascii: "[")]
    var pending: PendingResponse?

    mutating func add(_ event: [UInt8], line: Int) {
      if !events.isEmpty { body.append(UInt8(ascii: ",")) }
      events.append((line: line, bytes: body.count..<(body.count + event.count)))
      body.append(contentsOf: event)
    }

    mutating func close() { body.append(UInt8(ascii: "]")) }
  }

  private let mapping: Mapping
  private let tables: [Mapping.Lookup: LookupTable]
  private let client: LedgerClient
  private var rejects: RejectFile?
  private var underWay: [Batch] = []
  private let progress: (ImportCounts) -> Void
  /// What was done so far.
  private(set) var counts = ImportCounts()

  init(
    mapping: Mapping, tables: [Mapping.Lookup: LookupTable], client: LedgerClient, rejects: RejectFile?,
    progress: @escaping (ImportCounts) -> Void
  ) {
    self.mapping = mapping
    self.tables = tables
    self.client = client
    self.rejects = rejects
    self.progress = progress
  }

  /// Reads one input to its end, or until `eventCountMax` events, which go to `sink` instead of the ledger.
  mutating func dryRun(_ source: consuming ByteSource, eventCountMax: Int, sink: ([UInt8]) throws -> Void) throws {
    var reader = try RowReader(source, mapping: mapping)
    var builder = try EventBuilder(mapping, columns: reader.columns, file: reader.name, tables: tables)
    var (row, event, count) = (Row(), [UInt8](), 0)
    while count < eventCountMax, try nextEvent(&reader, &builder, &row, &event) {
      try sink(event)
      count += 1
    }
    counts.appended += count
    try rejects?.close()
  }

  /// Imports one input. Batches may still be under way when it returns; `finish` waits for them.
  mutating func run(_ source: consuming ByteSource) async throws {
    var reader = try RowReader(source, mapping: mapping)
    var builder = try EventBuilder(mapping, columns: reader.columns, file: reader.name, tables: tables)
    var (row, event) = (Row(), [UInt8]())
    var batch = Batch(file: reader.name)
    while try nextEvent(&reader, &builder, &row, &event) {
      let isFull = batch.events.count == Self.batchEventCountMax || batch.body.count + event.count + 2 > Self.batchByteCountMax
      if isFull && !batch.events.isEmpty {
        try await send(batch)
        batch = Batch(file: reader.name)
      }
      batch.add(event, line: row.line)
    }
    if !batch.events.isEmpty { try await send(batch) }
  }

  /// Waits for what is under way.
  mutating func finish() async throws {
    while !underWay.isEmpty { try await settleOldest() }
    try rejects?.close()
  }

  /// Reads rows until one becomes an event.
  private mutating func nextEvent(
    _ reader: inout RowReader, _ builder: inout EventBuilder, _ row: inout Row, _ event: inout [UInt8]
  ) throws -> Bool {
    while true {
      event.removeAll(keepingCapacity: true)
      if counts.rows & 0x3FF == 0 { progress(counts) }
      do {
        guard try reader.next(&row) else { return false }
        counts.rows += 1
      } catch let error as RowError {
        counts.rows += 1
        try reject(file: reader.name, line: error.line, reason: error.reason, fields: fields(row, reader.columns))
        continue
      }
      do throws(RowError) {
        switch try builder.build(row, into: &event) {
        case .event: return true
        case .skipped: counts.skipped += 1
        }
      } catch {
        try reject(file: reader.name, line: error.line, reason: error.reason, fields: fields(row, reader.columns))
      }
    }
  }

  private func fields(_ row: Row, _ columns: [String]) -> JSONValue {
    if columns.count != row.count { return .array((0..<row.count).map { .string(row.text($0)) }) }
    return .object(zip(columns, 0..<row.count).map { (name: $0, value: .string(row.text($1))) })
  }

  private mutating func reject(file: String, line: Int, reason: String, fields: JSONValue, isRefusal: Bool = false) throws {
    guard rejects != nil else { throw ImportError(file: file, line: line, reason: reason, isRefusal: isRefusal) }
    counts.rejected += 1
    try rejects?.add(file: file, line: line, reason: reason, fields: fields)
  }

  private mutating func send(_ batch: Batch) async throws {
    while underWay.count >= Self.batchesUnderWayMax { try await settleOldest() }
    var batch = batch
    batch.close()
    do throws(ClientError) {
      batch.pending = try await client.startAppend(batch: batch.body)
    } catch {
      guard case .unreachable = error else { throw error }
      batch.pending = nil  // settling it waits for the daemon to come back, if it ever was there
    }
    underWay.append(batch)
  }

  private mutating func settleOldest() async throws {
    var batch = underWay.removeFirst()
    var failure: ClientError?
    do throws(ClientError) {
      if let pending = batch.pending {
        count(try LedgerClient.appendAnswer(try await pending.collect()))
        return
      }
    } catch {
      failure = error
    }
    while true {
      switch failure {
      case .problem(let problem) where !problem.errors.isEmpty:
        try refuse(problem, &batch)
        if batch.events.isEmpty { return }
      case .problem(let problem) where problem.status == 503 || problem.status == 429: break
      case .connectionLost, .unreachable: break
      case .problem(let problem): throw ClientError.problem(problem)
      case .protocolViolation(let reason): throw ClientError.protocolViolation(reason)
      case nil: break
      }
      do throws(ClientError) {
        count(try await client.append(batch: batch.body))
        return
      } catch {
        guard case .problem(let problem) = error, !problem.errors.isEmpty else { throw error }
        failure = error
      }
    }
  }

  private mutating func count(_ answer: AppendAnswer) {
    counts.appended += answer.appended
    counts.duplicates += answer.duplicates
    counts.erased += answer.erased
  }

  /// Takes the events that the ledger refused out of the batch.
  private mutating func refuse(_ problem: ServerProblem, _ batch: inout Batch) throws {
    var remaining = Batch(file: batch.file)
    var bad: [Int: ServerProblem.EventProblem] = [:]
    for error in problem.errors where batch.events.indices.contains(error.index) { bad[error.index] = error }
    guard !bad.isEmpty else { throw ClientError.problem(problem) }
    for (index, event) in batch.events.enumerated() {
      let bytes = Array(batch.body[event.bytes])
      guard let error = bad[index] else {
        remaining.add(bytes, line: event.line)
        continue
      }
      let fields = JSONValue.object([(name: "event", value: .string(String(decoding: bytes, as: UTF8.self)))])
      try reject(
        file: batch.file, line: event.line, reason: "the ledger refused it: \(error.detail) (\(error.code))", fields: fields,
        isRefusal: true)
    }
    remaining.close()
    batch = remaining
  }
}
