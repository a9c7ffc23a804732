// Why: exports of other systems become events through a mapping.

import ArgumentParser
import Foundation
import LedgerClient

struct ImportCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "import",
    abstract: "Append the rows of CSV, TSV or NDJSON files as events.",
    discussion: "Importing the same file again appends nothing: the events have the same ids. Files may be gzipped.")

  @OptionGroup var global: GlobalOptions

  @Option(help: ArgumentHelp("How rows become events (YAML).", valueName: "file"))
  var mapping: String

  @Option(help: ArgumentHelp("Print the first events instead of appending them.", valueName: "count"))
  var dryRun: Int?

  @Option(help: ArgumentHelp("Set bad rows aside in this file, a line of JSON each, and go on.", valueName: "file"))
  var rejects: String?

  @Option(help: ArgumentHelp("Use this as the file's name in {file}, for standard input or a renamed file.", valueName: "name"))
  var name: String?

  @Argument(help: ArgumentHelp("The files, or - for standard input.", valueName: "file"))
  var files: [String]

  func validate() throws {
    if let dryRun, dryRun < 1 { throw ValidationError("--dry-run needs a count of at least 1") }
    if name != nil && files.count > 1 { throw ValidationError("--name is for a single file") }
  }

  func run() async throws {
    let mapping = try MappingReader.read(try readMapping(), file: self.mapping)
    let tables = try lookupTables(of: mapping)
    let rejectFile = try rejects.map { (path) throws(InputError) in try RejectFile(path: path) }
    let showsProgress = Output.showsProgress && dryRun == nil
    let clock = ContinuousClock()
    let start = clock.now
    var shown = start
    var importer = Importer(mapping: mapping, tables: tables, client: global.client, rejects: rejectFile) { counts in
      guard showsProgress, clock.now - shown > .milliseconds(500) else { return }
      shown = clock.now
      let seconds = Double((shown - start).components.seconds) + 0.5
      Output.progress("\(counts.rows) rows, \(Int(Double(counts.rows) / seconds)) rows/s")
    }
    if let dryRun { return try printEvents(dryRun, &importer) }
    do {
      for file in files { try await importer.run(try ByteSource(path: file, name: name)) }
      try await importer.finish()
    } catch {
      if showsProgress { Output.progress("") }
      throw error
    }
    if showsProgress { Output.progress("") }
    try report(importer.counts)
  }

  private func report(_ counts: ImportCounts) throws {
    var output = Output()
    if global.json {
      try output.line(
        "{\"rows\":\(counts.rows),\"appended\":\(counts.appended),\"duplicates\":\(counts.duplicates),\"erased\":\(counts.erased),"
          + "\"rejected\":\(counts.rejected),\"skipped\":\(counts.skipped)}")
    } else {
      try output.line(counts.summary)
    }
    try output.flush()
  }

  private func printEvents(_ count: Int, _ importer: inout Importer) throws {
    var output = Output()
    for file in files where importer.counts.appended < count {
      try importer.dryRun(try ByteSource(path: file, name: name), eventCountMax: count - importer.counts.appended) { event in
        try output.body(event)
      }
    }
    try output.flush()
    Output.message("dry run: read \(importer.counts.rows) rows, rejected \(importer.counts.rejected); nothing was appended")
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
      let candidates = lookup.file.hasPrefix("/") ? [lookup.file] : folders.map { $0.appending(path: lookup.file).path }
      let found = candidates.first { FileManager.default.fileExists(atPath: $0) }
      guard let found else {
        throw InputError(
          file: lookup.file, reason: "the mapping looks values up in it, and it is neither beside the mapping nor beside the input")
      }
      tables[lookup] = try LookupTable(lookup, source: try ByteSource(path: found), mapping: mapping)
    }
    return tables
  }
}
