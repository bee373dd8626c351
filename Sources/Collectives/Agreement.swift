// Checks that all ranks run the same thing, and names those that do not.
import Diagnostics

public enum Agreement {
  /// Compares named values over all ranks; the majority is right, in a tie the side of the lowest
  /// rank.
  ///
  /// - Throws: `RunError` (ranksDisagree), the same on all ranks, naming the odd ranks and hosts.
  public static func check(_ group: ProcessGroup, _ items: [(name: String, value: String)]) throws {
    let strings = [group.hostName] + items.flatMap { [$0.name, $0.value] }
    let everybody = try group.allGather(encode(strings)).map(decode)
    if let error = verdict(
      hosts: everybody.map { $0[0] },
      items: everybody.map { strings in
        stride(from: 1, to: strings.count, by: 2).map { (strings[$0], strings[$0 + 1]) }
      })
    {
      throw error
    }
  }

  /// What is wrong with the items of all ranks, or nil.
  static func verdict(
    hosts: [String], items: [[(name: String, value: String)]]
  ) -> RunError? {
    var names: [String] = []
    for item in items.joined() where !names.contains(item.name) { names.append(item.name) }
    var lines: [String] = []
    for name in names {
      let values = items.map { $0.first { $0.name == name }?.value ?? "(absent)" }
      let usual = majority(values)
      for value in distinct(values) where value != usual {
        let odd = values.indices.filter { values[$0] == value }
        let who = Self.names(odd, hosts: hosts)
        lines.append("\(name): \(who): \(short(value)); most ranks: \(short(usual))")
      }
    }
    guard !lines.isEmpty else { return nil }
    var shown = Array(lines.prefix(3))
    if lines.count > 3 { shown.append("and \(lines.count - 3) more differences") }
    return RunError(
      .ranksDisagree,
      (["The ranks do not run the same thing."] + shown
        + ["Give every host the same program, flags and data, then start again."])
        .joined(separator: "\n"))
  }

  /// "rank 1 (a), rank 2 (b)", the first four of them.
  ///
  /// - Parameter hosts: of all ranks.
  public static func names(_ ranks: [Int], hosts: [String]) -> String {
    let first = ranks.prefix(4).map { "rank \($0) (\(hosts[$0]))" }.joined(separator: ", ")
    return ranks.count > 4 ? "\(first) and \(ranks.count - 4) more" : first
  }

  private static func distinct(_ values: [String]) -> [String] {
    var seen: [String] = []
    for value in values where !seen.contains(value) { seen.append(value) }
    return seen
  }

  private static func majority(_ values: [String]) -> String {
    var best = values[0]
    var bestCount = 0
    for value in distinct(values) {
      let count = values.count { $0 == value }
      if count > bestCount { (best, bestCount) = (value, count) }
    }
    return best
  }

  private static func short(_ value: String) -> String {
    value.count <= 60 ? value : value.prefix(57) + "…"
  }

  /// Every string as four bytes of length and its UTF-8.
  static func encode(_ strings: [String]) -> [UInt8] {
    strings.flatMap { string -> [UInt8] in
      let text = Array(string.utf8)
      return (0..<4).map { UInt8(truncatingIfNeeded: text.count >> (8 * $0)) } + text
    }
  }

  static func decode(_ bytes: [UInt8]) -> [String] {
    var strings: [String] = []
    var at = 0
    while at + 4 <= bytes.count {
      let count = (0..<4).reduce(0) { $0 | Int(bytes[at + $1]) << (8 * $1) }
      strings.append(String(decoding: bytes[at + 4..<at + 4 + count], as: UTF8.self))
      at += 4 + count
    }
    return strings
  }
}
