// Lines of Prometheus' text format, version 0.0.4.
//
// Invariants: every family has HELP and TYPE before its samples; a name carries its unit; counters end in `_total`.

import EventLog
import ProjectionEngine

struct MetricsText {
  private(set) var text = ""

  mutating func counter(_ name: String, _ help: String, _ value: UInt64) { single(name, "counter", help, value) }
  mutating func gauge(_ name: String, _ help: String, _ value: UInt64) { single(name, "gauge", help, value) }

  private mutating func begin(_ name: String, _ type: String, _ help: String) {
    text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
  }

  private mutating func single(_ name: String, _ type: String, _ help: String, _ value: UInt64) {
    begin(name, type, help)
    text += "\(name) \(value)\n"
  }

  mutating func histogram(_ name: String, _ help: String, _ histogram: Histogram.Snapshot) {
    begin(name, "histogram", help)
    let total = histogram.cumulativeCounts.last ?? 0
    for (bound, count) in zip(histogram.bounds, histogram.cumulativeCounts) {
      let label = bound == bound.rounded() ? String(Int(bound)) : String(bound)
      text += "\(name)_bucket{le=\"\(label)\"} \(count)\n"
    }
    text += "\(name)_bucket{le=\"+Inf\"} \(total)\n\(name)_sum \(histogram.sum)\n\(name)_count \(total)\n"
  }

  mutating func family(
    _ name: String, _ type: String, _ help: String, _ projections: [ProjectionStatus], _ value: (ProjectionStatus) -> String
  ) {
    begin(name, type, help)
    for projection in projections { text += "\(name){projection=\"\(projection.name)\"} \(value(projection))\n" }
  }
}
