// Why: rows in, appended events out, as fast as the ledger takes them, and an account of every row.
//
// Invariants:
// - Every row read is counted once: appended, duplicate, erased, rejected or skipped by the mapping's `when`.
// - At most `batchesUnderWayMax` batches are under way, on one connection, in the order of the file. (A batch that is
//   repeated after a refusal may come after its successor; ids make that safe.)
// - A batch is settled before the next: first its rejects are in their file, then the checkpoint says so.
// - Without a file for rejects the first bad row stops the import, with file and line, when all rows before it are in.

import LedgerClient

/// Why an import stopped.
struct ImportError: Error, CustomStringConvertible {
  let file: String
  let line: Int?
  let reason: String
  /// Whether the ledger refused an event, as opposed to a row that could not be mapped.
  var isRefusal = false
  var mend = "correct it, or set such rows aside with --rejects FILE"

  var description: String {
    let place = line.map { "\(file), line \($0)" } ?? file
    return "\(place): \(reason); \(mend). What was appended before stays; importing again appends nothing twice"
  }
}

/// What an import did.
struct ImportCounts {
  var rows = 0
  var events = AppendCounts()
  var rejected = 0
  var skipped = 0

  /// `read 5 rows, appended 3, duplicates 1, rejected 1`, and what else there is.
  var summary: String {
    var text = "read \(rows) rows, appended \(events.appended), duplicates \(events.duplicates), rejected \(rejected)"
    if events.erased > 0 { text += ", erased \(events.erased)" }
    if skipped > 0 { text += ", skipped \(skipped)" }
    return text
  }
}

/// Imports files.
struct Importer {
  static let batchesUnderWayMax = 4
  private static let checkpointInterval = Duration.seconds(1)

  /// What an import is told beside the mapping.
  struct Options {
    var rejects: RejectFile?
    var rejectCountMax = Int.max
    /// The checkpoint, and where it is kept.
    var checkpoint: (path: String, state: ImportCheckpoint)?
  }

  private let mapping: Mapping
  private let columns: [String]
  private let tables: [Mapping.Lookup: LookupTable]
  private var options: Options
  private var sender: BatchSender
  private let stop: StopFlag
  private let progress: (ImportCounts, _ readByteCount: Int) -> Void
  private var underWay: [(batch: ImportBatch, beginning: [UInt8])] = []
  private let clock = ContinuousClock()
  private var checkpointTime: ContinuousClock.Instant
  /// What was done so far.
  private(set) var counts = ImportCounts()

  /// - Parameter progress: Called every some hundred rows with the counts and the bytes read of the current file.
  init(
    mapping: Mapping, tables: [Mapping.Lookup: LookupTable], sender: BatchSender, options: Options, stop: StopFlag,
    progress: @escaping (ImportCounts, Int) -> Void
  ) {
    self.mapping = mapping
    self.columns = mapping.columns
    self.tables = tables
    self.sender = sender
    self.options = options
    self.stop = stop
    self.progress = progress
    checkpointTime = clock.now
  }

  /// Reads one input to its end, or until `eventCountMax` events, which go to `sink` instead of the ledger.
  ///
  /// - Parameter reject: Called for each bad row; reading goes on.
  mutating func dryRun(
    _ source: consuming ByteSource, eventCountMax: Int, reject: (Reject) throws -> Void, sink: ([UInt8]) throws -> Void
  ) throws {
    var reader = try RowReader(source, shape: mapping.shape, columns: columns)
    var builder = try EventBuilder(mapping, columns: reader.columns, file: reader.name, tables: tables)
    var (row, event, count) = (Row(), [UInt8](), 0)
    while count < eventCountMax, !stop.isSet, let outcome = try next(&reader, &builder, &row, &event) {
      switch outcome {
      case .event:
        count += 1
        try sink(event)
      case .skipped: counts.skipped += 1
      case .rejected(let bad):
        counts.rejected += 1
        options.rejects?.add(bad)
        try reject(bad)
      }
    }
    counts.events.appended += count
    try options.rejects?.flush()
  }

  /// Imports one input. Batches may still be under way when it returns; `finish` waits for them.
  ///
  /// - Returns: The line at which it went on, if an earlier import had come further than its beginning.
  mutating func run(_ source: consuming ByteSource) async throws -> Int? {
    var reader = try RowReader(source, shape: mapping.shape, columns: columns)
    var builder = try EventBuilder(mapping, columns: reader.columns, file: reader.name, tables: tables)
    let begun = try options.checkpoint?.state.place(of: reader.name, beginning: reader.beginning)
    if let begun { try reader.skip(to: begun) }
    var (row, event) = (Row(), [UInt8]())
    var batch = ImportBatch(file: reader.name)
    batch.place = reader.place
    while !stop.isSet, let outcome = try next(&reader, &builder, &row, &event) {
      if case .event = outcome, !batch.hasRoom(eventByteCount: event.count, rowByteCount: row.rawByteCount) {
        try await send(&batch, reader.beginning)
      }
      switch outcome {
      case .event: batch.add(event: event, row: row.raw, line: row.line)
      case .skipped: counts.skipped += 1
      case .rejected(let bad):
        guard options.rejects != nil else {
          try await send(&batch, reader.beginning)
          try await finish()
          throw ImportError(file: bad.file, line: bad.line, reason: bad.reason)
        }
        batch.rejects.append(bad)
      }
      batch.rowCount += 1
      if reader.endedWithLineFeed { batch.place = reader.place }
      if batch.isFull { try await send(&batch, reader.beginning) }
    }
    if stop.isSet { throw ImportStopped() }
    if batch.rowCount > 0 { try await send(&batch, reader.beginning) }
    progress(counts, reader.readByteCount)
    return begun?.line
  }

  /// Waits for what is under way.
  mutating func finish() async throws {
    while !underWay.isEmpty { try await settleOldest() }
    try writeCheckpoint()
  }

  private enum Outcome {
    case event
    case skipped
    case rejected(Reject)
  }

  /// Reads a row; nil at the end.
  private mutating func next(
    _ reader: inout RowReader, _ builder: inout EventBuilder, _ row: inout Row, _ event: inout [UInt8]
  ) throws -> Outcome? {
    event.removeAll(keepingCapacity: true)
    if counts.rows & 0x1FF == 0 { progress(counts, reader.readByteCount) }
    do {
      guard try reader.next(&row) else { return nil }
    } catch let error as RowError {
      counts.rows += 1
      return .rejected(Reject(file: reader.name, line: error.line, reason: error.reason, row: Array(row.raw)))
    }
    counts.rows += 1
    do throws(RowError) {
      switch try builder.build(row, into: &event) {
      case .event: return .event
      case .skipped: return .skipped
      }
    } catch {
      return .rejected(Reject(file: reader.name, line: error.line, reason: error.reason, row: Array(row.raw)))
    }
  }

  private mutating func send(_ batch: inout ImportBatch, _ beginning: [UInt8]) async throws {
    while underWay.count >= Self.batchesUnderWayMax { try await settleOldest() }
    var next = ImportBatch(file: batch.file)
    next.place = batch.place
    batch.close()
    try await sender.start(&batch)
    underWay.append((batch, beginning))
    batch = next
  }

  private mutating func settleOldest() async throws {
    // It stays under way until it is settled: one that a stop interrupted must not be passed over by its successor.
    counts.events += try await sender.settle(&underWay[0].batch)
    var (batch, beginning) = underWay.removeFirst()
    if !batch.rejects.isEmpty { try account(for: &batch) }
    options.checkpoint?.state.settle(batch.file, beginning: beginning, at: batch.place)
    options.checkpoint?.state.rejectByteCount = options.rejects?.byteCount ?? 0
    if clock.now - checkpointTime > Self.checkpointInterval { try writeCheckpoint() }
  }

  /// Writes the rejects of a batch, or stops at the first.
  private mutating func account(for batch: inout ImportBatch) throws {
    batch.rejects.sort { $0.line < $1.line }
    guard options.rejects != nil else {
      let first = batch.rejects[0]
      throw ImportError(file: first.file, line: first.line, reason: first.reason, isRefusal: first.isRefusal)
    }
    for reject in batch.rejects {
      guard counts.rejected < options.rejectCountMax else {
        try options.rejects?.flush()
        throw ImportError(
          file: reject.file, line: reject.line,
          reason: "more than \(options.rejectCountMax) rows were rejected, this one because: \(reject.reason)",
          isRefusal: reject.isRefusal, mend: "look at the rejects and mend the mapping, or allow more with --max-rejects")
      }
      counts.rejected += 1
      options.rejects?.add(reject)
    }
    try options.rejects?.flush()
  }

  /// Remembers what is settled, for an import that goes on later.
  mutating func writeCheckpoint() throws(InputError) {
    checkpointTime = clock.now
    if let (path, state) = options.checkpoint { try state.write(path) }
  }
}
