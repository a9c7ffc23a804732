// Why: an import of a large file that was stopped must not begin at its first row again.
//
// The ledger is not asked where to go on: it knows whether it has an event, but to ask it for every row costs as much as
// sending every row, and what stands in it need not come from this import alone. So the place is kept in a file beside.
//
// Invariants:
// - The file says no more than what the ledger has acknowledged and the rejects file holds. Said too little (the last
//   moments before a kill), rows are sent again and counted as duplicates; said too much, rows would be lost.
// - It is replaced atomically. It belongs to one mapping and to inputs that begin as they began.
// - A last record without a line feed counts as not read: it may still be growing.

import Bytes
import Files
import LedgerClient

/// How far an import has come.
struct ImportCheckpoint: Equatable {
  /// One input.
  struct Input: Equatable {
    var name: String
    /// XXH3 of its first bytes, and how many those are.
    var beginning: String
    var beginningByteCount: Int
    /// Where the first record begins that is not settled.
    var place: RowReader.Place
  }

  /// XXH3 of the mapping's text.
  var mapping: String
  /// How many bytes of the rejects file belong to what is settled.
  var rejectByteCount = 0
  var inputs: [Input] = []

  static func hash(_ bytes: [UInt8]) -> String { XXH3.hash128(bytes.rawSpan).hex }

  /// Reads the file, if it is there.
  ///
  /// - Throws: ``UsageError`` if it is no checkpoint, or one of another mapping.
  static func read(_ path: String, mapping: String) throws -> ImportCheckpoint? {
    let bytes: [UInt8]?
    do throws(FileError) {
      bytes = try Files.readIfPresent(path)
    } catch {
      throw UsageError(description: "cannot read the checkpoint: \(error)")
    }
    guard let bytes else { return nil }
    guard let checkpoint = decode(bytes) else {
      throw UsageError(description: "\(path) is no checkpoint of an import; name another file with --resume, or remove it")
    }
    guard checkpoint.mapping == mapping else {
      throw UsageError(
        description: "\(path) belongs to another mapping, or the mapping was changed; remove it to import from the beginning "
          + "(what is in already is not appended twice, but rows whose events changed under the same ids are refused)")
    }
    return checkpoint
  }

  func write(_ path: String) throws(InputError) {
    do throws(FileError) {
      try Files.writeAtomically(encoded(), to: path)
    } catch {
      throw InputError(file: path, reason: "\(error); the place of the import is kept there, what was appended stays", isWriting: true)
    }
  }

  /// The place at which an input goes on; nil if it is new.
  ///
  /// - Throws: `InputError` if it begins otherwise than the input of that name did.
  func place(of name: String, beginning: [UInt8]) throws(InputError) -> RowReader.Place? {
    guard let input = inputs.first(where: { $0.name == name }) else { return nil }
    guard Self.hash(Array(beginning.prefix(input.beginningByteCount))) == input.beginning else {
      throw InputError(
        file: name,
        reason: "it begins otherwise than the file of this name that the checkpoint knows; remove the checkpoint to import it whole")
    }
    return input.place
  }

  mutating func settle(_ name: String, beginning: [UInt8], at place: RowReader.Place) {
    let input = Input(name: name, beginning: Self.hash(beginning), beginningByteCount: beginning.count, place: place)
    if let index = inputs.firstIndex(where: { $0.name == name }) { inputs[index] = input } else { inputs.append(input) }
  }

  private static func decode(_ bytes: [UInt8]) -> ImportCheckpoint? {
    let json: JSONValue
    do { json = try JSONValue(parsing: bytes) } catch { return nil }
    guard json["ledgerctl-import"]?.integer == 1, let mapping = json["mapping"]?.string, let rejects = json["rejectBytes"]?.integer,
      let list = json["files"]?.array
    else { return nil }
    var checkpoint = ImportCheckpoint(mapping: mapping, rejectByteCount: Int(rejects))
    for file in list {
      guard let name = file["name"]?.string, let beginning = file["beginning"]?.string, let count = file["beginningBytes"]?.integer,
        let offset = file["offset"]?.integer, let line = file["line"]?.integer, count >= 0, offset >= 0, line >= 1
      else { return nil }
      checkpoint.inputs.append(
        Input(
          name: name, beginning: beginning, beginningByteCount: Int(count), place: RowReader.Place(offset: Int(offset), line: Int(line))))
    }
    return checkpoint
  }

  private func encoded() -> [UInt8] {
    let files = inputs.map { input in
      JSONValue.object([
        (name: "name", value: .string(input.name)), (name: "offset", value: .number(String(input.place.offset))),
        (name: "line", value: .number(String(input.place.line))), (name: "beginning", value: .string(input.beginning)),
        (name: "beginningBytes", value: .number(String(input.beginningByteCount))),
      ])
    }
    let json = JSONValue.object([
      (name: "ledgerctl-import", value: .number("1")), (name: "mapping", value: .string(mapping)),
      (name: "rejectBytes", value: .number(String(rejectByteCount))), (name: "files", value: .array(files)),
    ])
    return json.encoded() + [0x0A]
  }
}
