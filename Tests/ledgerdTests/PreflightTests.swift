// What a start needs of the process's limits: the sum, by itself; the daemon under such limits is in Tests/WeatherTests.

import EventLog
import Foundation
import LedgerTesting
import ProjectionEngine
import Testing

@testable import ledgerd

@Suite struct PreflightTests {
  @Test func `what a start needs follows from the maps and from what is there`() throws {
    let directory = try DaemonProcess.temporaryDirectory()
    defer { _ = Result { try FileManager.default.removeItem(atPath: directory) } }
    var configuration = Configuration()
    (configuration.log.mapByteCount, configuration.engine.mapByteCount) = (100 << 20, 10 << 20)
    func needed() -> Preflight { Preflight(configuration, data: directory, projectionCount: 2, processorCount: 2) }
    // A segment, the index, schemas, quarantine, two generations of each projection.
    #expect(needed() == Preflight(mapByteCount: (100 + 100 + 16 + 16 + 4 * 10) << 20, environmentCount: 8, processorCount: 2))
    for (name, mebibytes) in [
      ("log/00000000000000000001", 300), ("log/00000000000000001025", 1), ("log/other", 900), ("projections/customers/7", 50),
    ] {
      try FileManager.default.createDirectory(atPath: directory + "/" + name, withIntermediateDirectories: true)
      let path = directory + "/" + name + "/data.mdb"
      try Data().write(to: URL(fileURLWithPath: path))
      let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
      // A hole: it takes no room.
      try file.truncate(atOffset: UInt64(mebibytes << 20))
      try file.close()
    }
    #expect(needed() == Preflight(mapByteCount: (300 + 100 + 100 + 16 + 16 + 4 * 50) << 20, environmentCount: 9, processorCount: 2))
  }

  @Test func `a limit is compared, and no limit is enough`() throws {
    let preflight = Preflight(mapByteCount: 1 << 30, environmentCount: 8, processorCount: 2)
    try preflight.check(addressSpaceByteCountMax: nil, descriptorCountMax: nil)
    try preflight.check(addressSpaceByteCountMax: preflight.addressSpaceByteCount, descriptorCountMax: preflight.descriptorCount)
    let space = #expect(throws: Preflight.Shortage.self) {
      try preflight.check(addressSpaceByteCountMax: preflight.addressSpaceByteCount - 1, descriptorCountMax: nil)
    }
    #expect(space?.description.contains("1024 MiB of it for the memory maps") == true)
    #expect(throws: Preflight.Shortage.self) {
      try preflight.check(addressSpaceByteCountMax: nil, descriptorCountMax: preflight.descriptorCount - 1)
    }
  }
}
