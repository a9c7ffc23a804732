// What a disk may hold when the power goes: the model of the power cut, in the manner of ALICE (Pillai and others, OSDI
// 2014) and of SQLite's crash tests.
//
// The model:
// - A file is sectors of 512 bytes and a size. A sync (fsync, fdatasync) that is done makes durable what was written to the
//   file before it began: sectors and size. A write through O_DSYNC that is done makes durable the sectors it touched, as
//   they are then, and a size that reaches to their end; nothing else of the file.
// - Each sector holds, independently of all others, what it held at its last sync, or after any one write since: writes are
//   lost, torn at sectors, and reordered. A sector is whole: LMDB's two meta pages rely on that (512 bytes of each).
// - The size likewise. A sector that lies inside of the size and never reached the disk is zeros, or junk.
// - Names (creating, renaming, removing) become durable when their directory is synced; syncing a file does not sync its
//   name. Of those since, any subset happened; each is atomic, as POSIX wants of rename.
// - A file that is written through memory (LMDB's lock file) may hold anything.
//
// What it leaves out: disks that lose what they have called synced, sectors that rot, and sectors that are torn.

import Bytes
import Files

/// The disk's state while a trace is played through it: what programs see, and what is safe.
struct PowerDisk {
  static let sectorByteCount = 512
  static let pageSectorCount = 8

  /// A sector's content after a write that is not synced.
  struct Version {
    var record: Int
    var bytes: [UInt8]
  }

  struct File {
    /// What programs see.
    var cache: [UInt8] = []
    /// What is safe; may be longer than the safe size.
    var durable: [UInt8] = []
    var durableByteCount = 0
    /// Ascending by record.
    var sectors: [Int: [Version]] = [:]
    var sizes: [(record: Int, byteCount: Int)] = []
    var isMapped = false
  }

  typealias Node = Int
  typealias Entries = [Node: [String: Node]]

  /// A change of names that is not safe yet.
  struct NameChange {
    enum Change {
      case add(directory: Node, name: String, node: Node)
      case remove(directory: Node, name: String, node: Node)
      case move(from: Node, name: String, to: Node, other: String, node: Node)
    }
    var record: Int
    var change: Change
    /// The directories that are to be synced yet.
    var unsynced: Set<Node>
  }

  static let root: Node = 0

  private(set) var files: [Node: File] = [:]
  private(set) var durableEntries: Entries = [root: [:]]
  private(set) var changes: [NameChange] = []
  private var entries: Entries = [root: [:]]
  private var nodes: [UInt64: Node] = [:]
  private var nodeCount = 1
  private var rootPath = ""
  /// Where each number was given out.
  private var recordOfNumber: [UInt64: Int] = [:]

  // MARK: Playing

  /// Does what a record says.
  mutating func apply(_ index: Int, of trace: PowerTrace) throws(PowerTraceError) {
    let record = trace.records[index]
    switch record.kind {
    case .root:
      rootPath = record.path
      nodes[record.inode] = Self.root
    case .write:
      recordOfNumber[record.b] = index
      write(try node(record), index, trace, at: Int(record.a), record.bytes)
    case .resize: resize(try node(record), index, to: Int(record.a))
    case .begin: recordOfNumber[record.a] = index
    case .end:
      guard let begun = recordOfNumber[record.a] else { throw PowerTraceError(description: "record \(index) ends what never began") }
      let node = try node(record)
      if record.isThrough {
        passThrough(node, trace.records[begun], begun)
      } else if files[node] != nil {
        sync(node, before: begun)
      } else {
        syncNames(of: node, before: begun)
      }
    case .create, .makeDirectory: try add(record, index)
    case .rename: try rename(record, index, String(decoding: trace.bytes[record.bytes], as: UTF8.self))
    case .unlink: try remove(record, index)
    case .mapped: files[try node(record)]?.isMapped = true
    case .settled: settle(index)
    case .begun, .acknowledged, .found, .seen, .started, .fault: break
    }
  }

  private func node(_ record: PowerTrace.Record) throws(PowerTraceError) -> Node {
    guard let node = nodes[record.inode] else {
      throw PowerTraceError(description: "a \(record.kind) concerns inode \(record.inode), whose creation was not seen")
    }
    return node
  }

  private mutating func write(_ node: Node, _ index: Int, _ trace: PowerTrace, at offset: Int, _ bytes: Range<Int>) {
    guard !bytes.isEmpty, var file = files.removeValue(forKey: node) else { return }
    let end = offset + bytes.count
    if end > file.cache.count {
      file.cache.append(contentsOf: repeatElement(0, count: end - file.cache.count))
      file.sizes.append((index, end))
    }
    file.cache.replaceSubrange(offset..<end, with: trace.bytes[bytes])
    for sector in offset / Self.sectorByteCount...(end - 1) / Self.sectorByteCount {
      file.sectors[sector, default: []].append(Version(record: index, bytes: Self.sector(sector, of: file.cache)))
    }
    files[node] = file
  }

  /// A sector of some content, filled up with zeros.
  static func sector(_ sector: Int, of content: [UInt8]) -> [UInt8] {
    let start = min(sector * sectorByteCount, content.count)
    let end = min(start + sectorByteCount, content.count)
    var bytes = Array(content[start..<end])
    if bytes.count < sectorByteCount { bytes.append(contentsOf: repeatElement(0, count: sectorByteCount - bytes.count)) }
    return bytes
  }

  private mutating func resize(_ node: Node, _ index: Int, to byteCount: Int) {
    guard var file = files.removeValue(forKey: node) else { return }
    defer { files[node] = file }
    let before = file.cache.count
    guard byteCount != before else { return }
    file.sizes.append((index, byteCount))
    if byteCount > before {
      file.cache.append(contentsOf: repeatElement(0, count: byteCount - before))
      return
    }
    file.cache.removeLast(before - byteCount)
    for sector in byteCount / Self.sectorByteCount...(before - 1) / Self.sectorByteCount {
      file.sectors[sector, default: []].append(Version(record: index, bytes: Self.sector(sector, of: file.cache)))
    }
  }

  // MARK: Syncing

  private mutating func sync(_ node: Node, before record: Int) {
    guard var file = files.removeValue(forKey: node) else { return }
    for sector in file.sectors.keys { Self.settle(sector, of: &file) { $0 < record } }
    if let last = file.sizes.last(where: { $0.record < record }) { file.durableByteCount = last.byteCount }
    file.sizes.removeAll { $0.record < record }
    files[node] = file
  }

  private mutating func passThrough(_ node: Node, _ write: PowerTrace.Record, _ record: Int) {
    guard var file = files.removeValue(forKey: node) else { return }
    let end = Int(write.a) + write.bytes.count
    for sector in Int(write.a) / Self.sectorByteCount...(end - 1) / Self.sectorByteCount { Self.settle(sector, of: &file) { $0 <= record } }
    file.durableByteCount = max(file.durableByteCount, end)
    files[node] = file
  }

  /// Makes the last version safe that `isSafe` holds for, and forgets those before it.
  private static func settle(_ sector: Int, of file: inout File, _ isSafe: (Int) -> Bool) {
    guard let versions = file.sectors[sector], let last = versions.lastIndex(where: { isSafe($0.record) }) else { return }
    let start = sector * sectorByteCount
    if file.durable.count < start + sectorByteCount {
      file.durable.append(contentsOf: repeatElement(0, count: start + sectorByteCount - file.durable.count))
    }
    file.durable.replaceSubrange(start..<start + sectorByteCount, with: versions[last].bytes)
    file.sectors[sector] = last + 1 == versions.count ? nil : Array(versions[(last + 1)...])
  }

  private mutating func settle(_ index: Int) {
    for node in files.keys { sync(node, before: index) }
    durableEntries = entries
    changes = []
  }

  // MARK: Names

  private mutating func syncNames(of directory: Node, before record: Int) {
    for position in changes.indices where changes[position].record < record { changes[position].unsynced.remove(directory) }
    for change in changes where change.unsynced.isEmpty { Self.apply(change.change, to: &durableEntries) }
    changes.removeAll { $0.unsynced.isEmpty }
  }

  /// Does a change if what it is about is there.
  static func apply(_ change: NameChange.Change, to entries: inout Entries) {
    switch change {
    case .add(let directory, let name, let node): entries[directory, default: [:]][name] = node
    case .remove(let directory, let name, let node):
      if entries[directory]?[name] == node { entries[directory]?[name] = nil }
    case .move(let directory, let name, let other, let otherName, let node):
      if entries[directory]?[name] == node { entries[directory]?[name] = nil }
      entries[other, default: [:]][otherName] = node
    }
  }

  private mutating func change(_ index: Int, _ change: NameChange.Change, _ directories: Set<Node>) {
    Self.apply(change, to: &entries)
    changes.append(NameChange(record: index, change: change, unsynced: directories))
  }

  private mutating func add(_ record: PowerTrace.Record, _ index: Int) throws(PowerTraceError) {
    let (directory, name) = try place(record.path)
    let node = nodeCount
    nodeCount += 1
    nodes[record.inode] = node
    if record.kind == .create { files[node] = File() } else { entries[node] = [:] }
    change(index, .add(directory: directory, name: name, node: node), [directory])
  }

  private mutating func rename(_ record: PowerTrace.Record, _ index: Int, _ other: String) throws(PowerTraceError) {
    let (from, name) = try place(record.path)
    let (to, otherName) = try place(other)
    guard let node = entries[from]?[name] else { throw unknown(record.path) }
    change(index, .move(from: from, name: name, to: to, other: otherName, node: node), [from, to])
  }

  private mutating func remove(_ record: PowerTrace.Record, _ index: Int) throws(PowerTraceError) {
    let (directory, name) = try place(record.path)
    guard let node = entries[directory]?[name] else { throw unknown(record.path) }
    change(index, .remove(directory: directory, name: name, node: node), [directory])
  }

  /// The directory that a path leads to, and the name in it.
  private func place(_ path: String) throws(PowerTraceError) -> (Node, String) {
    guard path.utf8.starts(with: rootPath.utf8) else { throw unknown(path) }
    let names = path.utf8.dropFirst(rootPath.utf8.count).split(separator: UInt8(ascii: "/")).map { String(Substring($0)) }
    guard let last = names.last else { throw unknown(path) }
    var directory = Self.root
    for name in names.dropLast() {
      guard let next = entries[directory]?[name] else { throw unknown(path) }
      directory = next
    }
    return (directory, last)
  }

  private func unknown(_ path: String) -> PowerTraceError {
    PowerTraceError(description: "the making of \(path) was not seen")
  }

  // MARK: What programs see

  /// Everything as programs see it: path below the root → bytes, or nil for a directory.
  var visible: [String: [UInt8]?] {
    var found: [String: [UInt8]?] = [:]
    visit(Self.root, "", entries) { path, node in found[path] = .some(files[node]?.isMapped == true ? [] : files[node]?.cache) }
    return found
  }

  /// Calls `body` for everything below a directory that has a name, in the order of names.
  func visit(_ directory: Node, _ path: String, _ entries: Entries, _ body: (String, Node) -> Void) {
    for (name, node) in (entries[directory] ?? [:]).sorted(by: { $0.key < $1.key }) {
      body(path + name, node)
      if files[node] == nil { visit(node, path + name + "/", entries, body) }
    }
  }
}
