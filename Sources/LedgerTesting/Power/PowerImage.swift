// One of the many contents that a disk may have after a power cut: which of the unsynced sectors, sizes and names are there
// is drawn from the seed and the image's number.

import Bytes
import Files

/// What is lost of what was not synced.
enum PowerLoss: Equatable, CustomStringConvertible {
  /// Everything.
  case all
  /// Nothing: as after a kill.
  case none
  /// What came after a record: a disk that keeps the order.
  case after(record: Int)
  /// Whole writes and changes of names, each with this chance in 16.
  case operations(Int)
  /// Each sector, size and name by itself.
  case sectors
  /// Each page of 4 KiB by itself.
  case pages
  /// One sector, which is the n-th.
  case oneSector(Int)
  /// Everything but one sector.
  case allButOneSector(Int)

  var description: String {
    switch self {
    case .all: "everything unsynced lost"
    case .none: "nothing lost"
    case .after(let record): "everything unsynced after record \(record) lost"
    case .operations(let chance): "\(chance) of 16 unsynced operations lost"
    case .sectors: "any unsynced sectors lost"
    case .pages: "any unsynced pages lost"
    case .oneSector(let number): "unsynced sector \(number) lost"
    case .allButOneSector(let number): "everything unsynced but sector \(number) lost"
    }
  }
}

/// Draws an image of a disk.
struct PowerImage {
  let loss: PowerLoss
  /// Whether what never reached the disk is junk instead of zeros.
  let hasJunk: Bool
  private let disk: PowerDisk
  private var random: Draw
  private let salt: UInt64
  /// The n-th unsynced sector that ``PowerLoss/oneSector(_:)`` and its opposite are about.
  private var chosen: (node: PowerDisk.Node, sector: Int)?

  init(of disk: PowerDisk, before cut: Int, _ random: inout Draw) {
    self.disk = disk
    let unsynced = disk.files.sorted { $0.key < $1.key }.flatMap { node, file in file.sectors.keys.sorted().map { (node, $0) } }
    salt = random.next()
    hasJunk = random.below(4) == 0
    let number = unsynced.isEmpty ? 0 : random.below(unsynced.count)
    switch random.below(16) {
    case 0: loss = .all
    case 1: loss = .none
    case 2...4: loss = .after(record: Self.unsyncedRecord(disk, &random) ?? cut)
    case 5...7: loss = .operations(1 + random.below(15))
    case 8...10: loss = .sectors
    case 11...13: loss = .pages
    case 14 where !unsynced.isEmpty: loss = .oneSector(number)
    default: loss = unsynced.isEmpty ? .all : .allButOneSector(number)
    }
    switch loss {
    case .oneSector, .allButOneSector: chosen = unsynced[number]
    default: break
    }
    self.random = random
  }

  /// A record that something unsynced comes from.
  private static func unsyncedRecord(_ disk: PowerDisk, _ random: inout Draw) -> Int? {
    let records = Set(disk.files.values.flatMap { $0.sectors.values.joined().map(\.record) } + disk.changes.map(\.record)).sorted()
    return records.isEmpty ? nil : records[random.below(records.count)]
  }

  /// Writes the image into a directory that is not there yet.
  mutating func write(to directory: String) throws {
    var entries = disk.durableEntries
    for change in disk.changes where isKept(change.record) { PowerDisk.apply(change.change, to: &entries) }
    var found: [(path: String, node: PowerDisk.Node)] = []
    disk.visit(PowerDisk.root, "", entries) { found.append(($0, $1)) }
    try Files.createDirectory(directory)
    for (path, node) in found {
      guard let file = disk.files[node] else {
        try Files.createDirectory(directory + "/" + path)
        continue
      }
      try AppendingFile(directory + "/" + path).append(content(of: file, node))
    }
  }

  /// True if a change of names (or, in ``PowerLoss/operations(_:)``, any operation) happened.
  private mutating func isKept(_ record: Int) -> Bool {
    switch loss {
    case .all, .allButOneSector: false
    case .none, .oneSector: true
    case .after(let last): record <= last
    case .operations(let chance): Self.isKept(record, salt, chance)
    case .sectors, .pages: random.below(2) == 0
    }
  }

  private static func isKept(_ record: Int, _ salt: UInt64, _ chance: Int) -> Bool {
    var draw = Draw(salt, UInt64(record))
    return draw.below(16) >= chance
  }

  private mutating func content(of file: PowerDisk.File, _ node: PowerDisk.Node) -> [UInt8] {
    if file.isMapped { return memoryFile(file) }
    let byteCount = byteCount(of: file, node)
    var content = file.durable
    content.resize(to: byteCount)
    var page = (number: -1, last: 0)
    for sector in file.sectors.keys.sorted() {
      let start = sector * PowerDisk.sectorByteCount
      guard start < byteCount, let versions = file.sectors[sector] else { continue }
      let end = min(start + PowerDisk.sectorByteCount, byteCount)
      if page.number != sector / PowerDisk.pageSectorCount {
        page = (sector / PowerDisk.pageSectorCount, versions[random.below(versions.count)].record - random.below(2))
      }
      if let version = version(of: versions, node, sector, page.last) {
        content.replaceSubrange(start..<end, with: version.bytes[..<(end - start)])
      } else if hasJunk, start >= file.durableByteCount {
        content.replaceSubrange(start..<end, with: (start..<end).map { _ in UInt8(truncatingIfNeeded: random.next()) })
      }
    }
    return content
  }

  /// Which of a sector's unsynced contents is there; nil: none of them.
  private mutating func version(
    of versions: [PowerDisk.Version], _ node: PowerDisk.Node, _ sector: Int, _ pageRecord: Int
  ) -> PowerDisk.Version? {
    let isChosen = chosen.map { $0 == (node, sector) } ?? false
    switch loss {
    case .all: return nil
    case .none: return versions.last
    case .after(let record): return versions.last { $0.record <= record }
    case .operations(let chance): return versions.last { Self.isKept($0.record, salt, chance) }
    case .sectors:
      let number = random.below(versions.count + 1)
      return number == 0 ? nil : versions[number - 1]
    case .pages: return versions.last { $0.record <= pageRecord }
    case .oneSector: return isChosen ? nil : versions.last
    case .allButOneSector: return isChosen ? versions.last : nil
    }
  }

  private mutating func byteCount(of file: PowerDisk.File, _ node: PowerDisk.Node) -> Int {
    guard let last = file.sizes.last?.byteCount else { return file.durableByteCount }
    switch loss {
    case .all: return file.durableByteCount
    case .none, .oneSector: return last
    case .after(let record): return file.sizes.last { $0.record <= record }?.byteCount ?? file.durableByteCount
    case .operations(let chance):
      return file.sizes.last { Self.isKept($0.record, salt, chance) }?.byteCount ?? file.durableByteCount
    case .sectors, .pages:
      let number = random.below(file.sizes.count + 1)
      return number == 0 ? file.durableByteCount : file.sizes[number - 1].byteCount
    case .allButOneSector: return chosen?.node == node ? last : file.durableByteCount
    }
  }

  /// What was in memory is anything: nothing, as it was, or junk.
  private mutating func memoryFile(_ file: PowerDisk.File) -> [UInt8] {
    switch random.below(3) {
    case 0: return []
    case 1: return file.cache
    default: return file.cache.map { _ in UInt8(truncatingIfNeeded: random.next()) }
    }
  }
}

extension [UInt8] {
  fileprivate mutating func resize(to byteCount: Int) {
    if byteCount < count {
      removeLast(count - byteCount)
    } else {
      append(contentsOf: repeatElement(0, count: byteCount - count))
    }
  }
}
