// The model of the disk: what a sync makes safe and what it does not, on traces of a few records.

import Files
import Foundation
@testable import LedgerTesting
import Testing

/// A trace that is written by hand, and what its images hold.
private final class Disk {
  private let path: String
  private let marks: PowerMarks

  init() throws {
    path = try DaemonProcess.temporaryDirectory()
    marks = try PowerMarks(path + "/trace")
    try marks.add(.root, inode: 1, path: "/disk")
    try marks.add(.create, inode: 2, path: "/disk/file")
    try marks.add(.write, inode: 2, 0, 1, bytes: Array(repeating: UInt8(ascii: "a"), count: 1_024))
    try marks.add(.settled)
  }

  deinit {
    do { try Files.removeTree(path) } catch { Issue.record(error) }
  }

  func write(_ offset: UInt64, _ number: UInt64, _ letter: Character, count: Int = 512) throws {
    try marks.add(.write, inode: 2, offset, number, bytes: Array(repeating: letter.asciiValue ?? 0, count: count))
  }

  func sync(_ inode: UInt64, _ number: UInt64) throws {
    try marks.add(.begin, inode: inode, number)
    try marks.add(.end, inode: inode, number)
  }

  func add(_ kind: PowerTrace.Kind, _ inode: UInt64, _ a: UInt64 = 0, path: String = "", to other: String = "") throws {
    try marks.add(kind, inode: inode, a, path: path, bytes: Array(other.utf8))
  }

  /// A write through a descriptor with O_DSYNC, that is done.
  func writeThrough(_ offset: UInt64, _ number: UInt64, _ letter: Character) throws {
    try marks.add(.write, isThrough: true, inode: 2, offset, number, bytes: Array(repeating: letter.asciiValue ?? 0, count: 512))
    try marks.add(.end, isThrough: true, inode: 2, number)
  }

  /// The names and first letters of sectors in many images: `file:ab`.
  func images() throws -> Set<String> {
    let trace = try PowerTrace(path: path + "/trace")
    var disk = PowerDisk()
    for index in trace.records.indices { try disk.apply(index, of: trace) }
    var found: Set<String> = []
    for number in 0..<400 {
      var random = Draw(7, UInt64(number))
      var image = PowerImage(of: disk, before: trace.records.count, &random)
      guard !image.hasJunk else { continue }
      let directory = path + "/image"
      try Files.removeTree(directory)
      try image.write(to: directory)
      let names = try Files.list(directory)
      let texts = try names.map { name in
        let bytes = try Files.read(directory + "/" + name)
        let letters = stride(from: 0, to: bytes.count, by: 512).map { bytes[$0] == 0 ? "0" : String(UnicodeScalar(bytes[$0])) }
        return name + ":" + letters.joined()
      }
      found.insert(texts.joined(separator: " "))
    }
    return found
  }
}

@Suite struct DiskModelTests {
  @Test func `each unsynced sector holds the old, the new, or what was between, whatever the others hold`() throws {
    let disk = try Disk()
    try disk.write(0, 2, "b", count: 1_024)
    try disk.write(512, 3, "c")
    #expect(try disk.images() == ["file:aa", "file:ab", "file:ac", "file:ba", "file:bb", "file:bc"])
  }

  @Test func `what was written before a sync began is safe, and what was written during it is not`() throws {
    let disk = try Disk()
    try disk.write(0, 2, "b")
    try disk.add(.begin, 2, 3)
    try disk.write(512, 4, "c")
    try disk.add(.end, 2, 3)
    #expect(try disk.images() == ["file:ba", "file:bc"])
  }

  @Test func `a sync that has begun and is not done makes nothing safe`() throws {
    let disk = try Disk()
    try disk.write(0, 2, "b")
    try disk.add(.begin, 2, 3)
    #expect(try disk.images() == ["file:aa", "file:ba"])
  }

  @Test func `what was written through is safe, and nothing else of the file`() throws {
    let disk = try Disk()
    try disk.write(0, 2, "b")
    try disk.writeThrough(512, 3, "c")
    #expect(try disk.images() == ["file:ac", "file:bc"])
  }

  @Test func `a file that grew has its old size, or its new one with zeros where nothing arrived`() throws {
    let disk = try Disk()
    try disk.write(1_024, 2, "b")
    #expect(try disk.images() == ["file:aa", "file:aa0", "file:aab"])
  }

  @Test func `a file's sync does not make its name safe, and a directory's does`() throws {
    let disk = try Disk()
    try disk.add(.create, 3, path: "/disk/other")
    try disk.sync(3, 2)
    #expect(try disk.images() == ["file:aa", "file:aa other:"])
    try disk.sync(1, 3)
    #expect(try disk.images() == ["file:aa other:"])
  }

  @Test func `a rename happened or did not`() throws {
    let disk = try Disk()
    try disk.add(.rename, 0, path: "/disk/file", to: "/disk/other")
    #expect(try disk.images() == ["file:aa", "other:aa"])
  }
}
