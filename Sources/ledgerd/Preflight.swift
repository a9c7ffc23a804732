// What the process must be allowed before it begins: a daemon that runs out of address space or of file descriptors while it
// starts dies in some library, and says nothing that helps.
//
// Invariant: the sizes are those that the daemon will map, the maps' files included if they are larger; the rest is measured.

import EventLog
import Files
import Foundation
import ProjectionEngine

/// What a start needs of the process's limits.
struct Preflight: Equatable {
  /// Something that the process may not have enough of.
  struct Shortage: Error, Equatable, CustomStringConvertible { let description: String }

  /// Bytes of all memory maps: of segments, of the index, of each projection twice, since one may be rebuilt.
  var mapByteCount: Int
  /// How many LMDB environments there will be.
  var environmentCount: Int
  /// Processors: each has an event loop.
  var processorCount: Int

  /// An idle daemon has 1.2 GiB beside its maps on two processors, most of it reserved by glibc (64 MiB for each thread that
  /// allocates, malloc(3)) and by stacks. Queues, caches and bodies come on top when it works.
  var addressSpaceByteCount: Int { mapByteCount + (1_536 << 20) + processorCount * (72 << 20) }

  /// Each environment has three, each event loop three; the log, the sockets and whoever connects have the rest.
  var descriptorCount: Int { 48 + 3 * environmentCount + 3 * processorCount }

  /// What a configuration asks for, with what its data directory holds.
  init(
    _ configuration: Configuration, data: String, projectionCount: Int, processorCount: Int = ProcessInfo.processInfo.activeProcessorCount
  ) {
    self.processorCount = processorCount
    func size(_ directory: String, _ least: Int) -> Int { max(least, Self.byteCount(ofFile: directory + "/data.mdb")) }
    let log = data + "/log"
    let segments = Self.names(in: log).filter { $0.utf8.count == 20 && $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }
    var maps = segments.map { size(log + "/" + $0, configuration.log.mapByteCount) }
    if segments.isEmpty { maps.append(configuration.log.mapByteCount) }
    maps.append(size(data + "/index", configuration.log.mapByteCount))
    // Schemas and quarantine begin with 16 MiB.
    maps += ["schemas", "quarantine"].map { size(log + "/" + $0, 16 << 20) }
    let projections = data + "/projections"
    let live = Self.names(in: projections).flatMap { name in
      Self.names(in: projections + "/" + name).filter { UInt64($0) != nil }.map {
        Self.byteCount(ofFile: "\(projections)/\(name)/\($0)/data.mdb")
      }
    }
    let largest = max(configuration.engine.mapByteCount, live.max() ?? 0)
    maps += Array(repeating: largest, count: 2 * projectionCount)
    mapByteCount = maps.reduce(0, +)
    environmentCount = maps.count
  }

  init(mapByteCount: Int, environmentCount: Int, processorCount: Int) {
    (self.mapByteCount, self.environmentCount, self.processorCount) = (mapByteCount, environmentCount, processorCount)
  }

  /// Compares with what the process may have; nil: without a limit.
  func check(addressSpaceByteCountMax: Int?, descriptorCountMax: Int?) throws(Shortage) {
    if let limit = addressSpaceByteCountMax, limit < addressSpaceByteCount {
      throw Shortage(
        description: "the process may use \(Self.mebibytes(limit)) of address space, and needs \(Self.mebibytes(addressSpaceByteCount)): "
          + "\(Self.mebibytes(mapByteCount)) of it for the memory maps of log, index and projections; raise the limit (LimitAS=infinity, "
          + "ulimit -v unlimited, prlimit --as), or set log-map-bytes and projection-map-bytes lower. Address space is no memory")
    }
    if let limit = descriptorCountMax, limit < descriptorCount {
      throw Shortage(
        description: "the process may have \(limit) files open, and needs \(descriptorCount) before the first client connects; raise the "
          + "limit (LimitNOFILE=, ulimit -n, prlimit --nofile)")
    }
  }

  private static func mebibytes(_ count: Int) -> String { "\(count >> 20) MiB" }

  /// The names in a directory; none if there is no such thing yet, or it may not be read, which is told when it is opened.
  private static func names(in directory: String) -> [String] {
    do throws(FileError) {
      return try Files.list(directory)
    } catch {
      return []
    }
  }

  private static func byteCount(ofFile path: String) -> Int {
    do {
      return (try FileManager.default.attributesOfItem(atPath: path)[.size] as? NSNumber)?.intValue ?? 0
    } catch {
      return 0
    }
  }
}
