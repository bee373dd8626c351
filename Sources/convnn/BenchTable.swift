// The results of `bench` as a table for people.
import Diagnostics
import Foundation
import Reports

struct BenchTable {
  /// images/s by case of an earlier run.
  let earlier: [String: Double]
  private var rows: [[String]] = []
  private var notes: [String] = []

  init(earlier: [String: Double]) { self.earlier = earlier }

  /// - Throws: `RunError` (configuration) for a file that holds no benchmark.
  static func earlier(_ path: String) throws -> [String: Double] {
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
      throw RunError.configuration("--compare \(path) could not be read: \(systemErrorText()).")
    }
    var rates: [String: Double] = [:]
    for line in text.split(separator: "\n") {
      let object = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
      if let name = object?["case"] as? String, let rate = object?["images_per_second"] as? Double {
        rates[name] = rate
      }
    }
    guard !rates.isEmpty else {
      throw RunError.configuration(
        "--compare \(path) holds no result of bench: expected the lines that it printed.")
    }
    return rates
  }

  mutating func add(_ line: [(String, JSONValue)]) {
    let values = Dictionary(line.map { ($0.0, $0.1) }) { $1 }
    func number(_ key: String, _ format: String, scale: Double = 1) -> String {
      guard case .number(let value)? = values[key] else { return "-" }
      return String(format: format, value * scale)
    }
    if case .text(let name)? = values["case"], case .number(let rate)? = values["images_per_second"]
    {
      if rows.isEmpty, values["seconds_to_first_step"] != nil {
        // Much the same for all layers.
        notes.append(
          "start-up: MPI after " + number("seconds_to_mpi", "%.2f s, ")
            + number("seconds_to_model", "model after %.2f s, ")
            + number("seconds_to_first_step", "first step begins after %.2f s ")
            + number("seconds_of_first_step", "and takes %.2f s"))
      }
      rows.append(
        [
          name, number("images_per_second", "%.2f"), number("share_of_limit", "%.3f"),
          number("share_of_openblas", "%.3f"), number("sgemm_gflops_per_core", "%.0f"),
        ]
          + ["products", "attention", "elementwise", "data", "exchange", "waiting"].map {
            number("time_\($0)", "%.1f", scale: 100)
          }
          + [
            number("peak_memory_mb", "%.0f"), number("engine_memory_mb", "%.0f"), ratio(name, rate),
          ])
    }
    if case .text(let name)? = values["dataset"] {
      notes.append(
        "loading \(name): " + number("images_per_second_per_core", "%.0f images/s per core"))
    }
    if case .text(let mode)? = values["reduce"], case .text(let type)? = values["reduce_dtype"],
      case .integer(let bytes)? = values["bytes"], case .integer(let sent)? = values["bytes_sent"]
    {
      notes.append(
        "exchange of \(bytes / 1_000_000) MB, \(mode) \(type): "
          + number("seconds_per_step", "%.2f ms", scale: 1e3)
          + String(format: ", %.1f MB sent by a rank", Double(sent) * 1e-6))
    }
  }

  private func ratio(_ name: String, _ rate: Double) -> String {
    earlier[name].map { String(format: "%.3f", rate / $0) } ?? "-"
  }

  var text: String {
    let head = [
      "layer", "img/s", "of limit", "of OpenBLAS", "GFLOP/s", "products%", "attention%", "element%",
      "data%",
      "exchange%", "waiting%", "MB", "engine MB", "x earlier",
    ]
    let all = [head] + rows
    let widths = head.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
    let lines = all.map { row in
      row.indices.map { column in
        let padding = String(repeating: " ", count: widths[column] - row[column].count)
        return column == 0 ? row[column] + padding : padding + row[column]
      }.joined(separator: "  ")
    }
    return (lines + notes).joined(separator: "\n")
  }
}
