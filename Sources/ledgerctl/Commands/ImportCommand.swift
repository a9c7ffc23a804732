// Why: exports of other systems become events through a mapping.
//
// Invariants: nothing is sent before the mapping, its look-ups and the inputs' names are known to be good; standard output
// has the summary and nothing else; messages hold no value of a row.

import ArgumentParser
import Foundation
import LedgerClient

struct ImportCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "import",
    abstract: "Append the rows of CSV, TSV, column or NDJSON files as events.",
    discussion: """
      Importing the same file again appends nothing: the events have the same ids. Files may be compressed with gzip or zstd.

      See first what would be sent:
        ledgerctl import --mapping m.yaml --dry-run orders.csv
      Set bad rows aside:
        ledgerctl import --mapping m.yaml --rejects bad.ndjson orders.csv
      Stop and go on:
        ledgerctl import --mapping m.yaml --resume orders.state orders.csv.gz
      From a pipe:
        cat orders.csv | ledgerctl import --mapping m.yaml --name orders.csv -

      Exit codes beside the usual ones: 6 everything was read but some rows were rejected, 130 stopped by a signal.
      """)

  @OptionGroup var global: GlobalOptions

  @Option(help: ArgumentHelp("How rows become events (YAML).", valueName: "file"))
  var mapping: String

  @Flag(help: "Print the first events as they would be sent, and append nothing.")
  var dryRun = false

  @Option(help: ArgumentHelp("How many events a dry run prints. (default: 5)", valueName: "count"))
  var show: Int?

  @Flag(help: "Read everything and append nothing: how many rows would be events, and which would not.")
  var check = false

  @Option(help: ArgumentHelp("Set bad rows aside in this file, a line of JSON each, and go on.", valueName: "file"))
  var rejects: String?

  @Option(help: ArgumentHelp("Stop when more rows than this are bad. (default: 1000)", valueName: "count"))
  var maxRejects: Int?

  @Option(help: ArgumentHelp("Keep in this file how far the import is, and go on from there.", valueName: "file"))
  var resume: String?

  @Option(help: ArgumentHelp("How long to go on trying while the daemon is away or busy: 30s, 5m, 1h.", valueName: "time"))
  var retryFor = PatienceArgument(duration: .seconds(300), text: "5m")

  @Option(help: ArgumentHelp("Use this as the file's name in {file}, for standard input or a renamed file.", valueName: "name"))
  var name: String?

  @Argument(help: ArgumentHelp("The files, or - for standard input.", valueName: "file"))
  var files: [String]

  func validate() throws {
    if let show, show < 1 { throw ValidationError("--show needs a count of at least 1") }
    if show != nil && !dryRun { throw ValidationError("--show is for --dry-run") }
    if dryRun && check { throw ValidationError("--dry-run prints the first events, --check reads everything: choose one") }
    if (dryRun || check) && resume != nil { throw ValidationError("--resume is for imports that append") }
    if let maxRejects {
      if maxRejects < 0 { throw ValidationError("--max-rejects needs a count") }
      if rejects == nil { throw ValidationError("--max-rejects is for --rejects") }
    }
    if name != nil && files.count > 1 { throw ValidationError("--name is for a single file") }
    if files.filter({ $0 == "-" }).count > 1 { throw ValidationError("standard input can be read once only") }
  }

  func run() async throws {
    let text = try readMapping()
    let mapping = try MappingReader.read(text, file: self.mapping)
    for warning in mapping.warnings { Output.message("warning: \(warning)") }
    try checkNames(mapping)
    var byteCounts: [Int?] = []
    for file in files { byteCounts.append(file == "-" ? nil : try ByteSource.byteCount(ofFile: file)) }
    let tables = try lookupTables(of: mapping)
    let stop = StopFlag()
    let signals = stop.watchSignals()
    defer { signals.cancel() }
    var options = Importer.Options()
    if let resume {
      let hash = ImportCheckpoint.hash(Array(text.utf8))
      let state = try ImportCheckpoint.read(resume, mapping: hash) ?? ImportCheckpoint(mapping: hash)
      try state.write(resume)  // so that one that cannot be written is found before the first row
      options.checkpoint = (resume, state)
    }
    options.rejects = try rejects.map { (path) throws(InputError) in
      try RejectFile(path: path, keptByteCount: options.checkpoint?.state.rejectByteCount ?? 0)
    }
    options.rejectCountMax = maxRejects ?? 1_000
    let sizes = byteCounts.compactMap(\.self)
    var progress = ImportProgress(byteCount: sizes.count == files.count ? sizes.reduce(0, +) : nil)
    let showsProgress = Output.showsProgress && !dryRun
    var importer = Importer(
      mapping: mapping, tables: tables, sender: BatchSender(client: try global.client, retryTime: retryFor.duration, stop: stop),
      options: options, stop: stop
    ) { counts, readByteCount in
      guard showsProgress, let line = progress.line(rows: counts.rows, readByteCount: readByteCount) else { return }
      Output.progress(line)
    }
    if dryRun || check { return try rehearse(&importer) }
    let start = ContinuousClock.now
    do {
      do {
        for (file, byteCount) in zip(files, byteCounts) {
          if let line = try await importer.run(try ByteSource(path: file, name: name)) {
            if showsProgress { Output.progress("") }
            Output.message("\(file): went on at line \(line), as \(resume ?? "") says")
          }
          progress.finish(byteCount: byteCount ?? 0)
        }
        try await importer.finish()
      } catch is ImportStopped {
        try await importer.finish()
        throw ImportStopped()
      }
    } catch {
      if showsProgress { Output.progress("") }
      try importer.writeCheckpoint()
      if error is ImportStopped { try report(importer.counts, since: start, isStopped: true) }
      throw error
    }
    if showsProgress { Output.progress("") }
    try report(importer.counts, since: start, isStopped: false)
    if importer.counts.rejected > 0 { throw RejectsError() }
  }

  private func report(_ counts: ImportCounts, since start: ContinuousClock.Instant, isStopped: Bool) throws {
    var output = Output()
    let seconds = ImportProgress.seconds(ContinuousClock.now - start)
    if global.json {
      let milliseconds = Int(seconds * 1_000)
      try output.line(
        "{\"rows\":\(counts.rows),\"appended\":\(counts.events.appended),\"duplicates\":\(counts.events.duplicates),"
          + "\"erased\":\(counts.events.erased),\"rejected\":\(counts.rejected),\"skipped\":\(counts.skipped),"
          + "\"milliseconds\":\(milliseconds),\"stopped\":\(isStopped)}")
    } else {
      try output.line(counts.summary)
      if isStopped {
        Output.message(
          resume == nil
            ? "stopped; the same command begins anew and appends nothing twice (--resume FILE would go on from here)"
            : "stopped; the same command goes on from here")
      }
    }
    try output.flush()
    if counts.rejected > 0, let rejects {
      Output.message("\(counts.rejected) rows are in \(rejects), each with its line and what is wrong")
    }
  }

  /// A dry run or a check.
  private func rehearse(_ importer: inout Importer) throws {
    let shownRejectsMax = 10
    var output = Output()
    var left = dryRun ? show ?? 5 : Int.max
    for file in files where left > 0 {
      var shownRejects = 0
      let before = importer.counts.events.appended
      try importer.dryRun(
        try ByteSource(path: file, name: name), eventCountMax: left,
        reject: { bad in
          shownRejects += 1
          if shownRejects <= shownRejectsMax { Output.message("\(bad.file), line \(bad.line): \(bad.reason)") }
          if shownRejects == shownRejectsMax + 1 { Output.message("… more bad rows; all of them are listed with --check --rejects FILE") }
        },
        sink: { event in if dryRun { try output.body(event) } })
      left -= importer.counts.events.appended - before
    }
    try output.flush()
    let counts = importer.counts
    let summary =
      "read \(counts.rows) rows: \(counts.events.appended) events, \(counts.skipped) skipped, \(counts.rejected) bad; nothing was appended"
    if check {
      if global.json {
        try output.line(
          "{\"rows\":\(counts.rows),\"events\":\(counts.events.appended),\"rejected\":\(counts.rejected),\"skipped\":\(counts.skipped)}")
      } else {
        try output.line(summary)
      }
      try output.flush()
    } else {
      Output.message("dry run: \(summary)")
    }
    if counts.rejected > 0 { throw RejectsError() }
  }

  /// Finds files that would be taken for one another.
  private func checkNames(_ mapping: Mapping) throws {
    for path in [rejects, resume].compactMap(\.self) where files.contains(path) || path == self.mapping {
      throw UsageError(description: "\(path) is an input and would be overwritten; name another file")
    }
    if let rejects, rejects == resume { throw UsageError(description: "--rejects and --resume need a file each") }
    var paths: [String: String] = [:]
    for file in files {
      let name = ByteSource.name(of: file)
      if let other = paths.updateValue(file, forKey: name), mapping.readsFileName || resume != nil {
        throw UsageError(
          description: "\(other) and \(file) are both called \(name), so that their rows would be taken for one another; "
            + "import them one by one, each with --name")
      }
    }
  }

  private func readMapping() throws -> String {
    var source = try ByteSource(path: mapping)
    var bytes: [UInt8] = []
    while let piece = try source.next() {
      bytes += piece
      guard bytes.count <= 4 << 20 else { throw UsageError(description: "\(mapping) is too large for a mapping") }
    }
    guard let text = String(validating: bytes, as: UTF8.self) else { throw UsageError(description: "\(mapping) is not UTF-8") }
    return text
  }

  /// Reads the files that the mapping looks values up in: beside the mapping, else beside the first input.
  private func lookupTables(of mapping: Mapping) throws -> [Mapping.Lookup: LookupTable] {
    var tables: [Mapping.Lookup: LookupTable] = [:]
    for lookup in mapping.lookups {
      var folders = [URL(filePath: self.mapping).deletingLastPathComponent()]
      if let first = files.first(where: { $0 != "-" }) { folders.append(URL(filePath: first).deletingLastPathComponent()) }
      let plain = lookup.file.hasPrefix("/") ? [lookup.file] : folders.map { $0.appending(path: lookup.file).path }
      let candidates = plain.flatMap { [$0, $0 + ".gz", $0 + ".zst"] }
      guard let found = candidates.first(where: { FileManager.default.fileExists(atPath: $0) }) else {
        throw InputError(
          file: lookup.file, reason: "the mapping looks values up in it, and it is neither beside the mapping nor beside the input")
      }
      tables[lookup] = try LookupTable(lookup, source: try ByteSource(path: found))
    }
    return tables
  }
}

/// A time to be patient for, as `30s`, `5m` or `1h`.
struct PatienceArgument: ExpressibleByArgument, CustomStringConvertible {
  let duration: Duration
  let text: String
  var description: String { text }

  init(duration: Duration, text: String) {
    self.duration = duration
    self.text = text
  }

  init?(argument: String) {
    let units: [Character: Int] = ["s": 1, "m": 60, "h": 3_600]
    guard let unit = argument.last.flatMap({ units[$0] }), let count = Int(argument.dropLast()), (0...100_000).contains(count) else {
      return nil
    }
    duration = .seconds(count * unit)
    text = argument
  }
}
