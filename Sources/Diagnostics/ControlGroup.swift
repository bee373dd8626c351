// What the kernel lets the processes of a container, a batch job or a service have.
import Foundation

/// The control groups that this process is in, of version 2 or 1: its own and those around it, each of which sets
/// limits. (Documentation of the kernel: admin-guide/cgroup-v2, cgroup-v1/memory.)
public struct ControlGroup: Sendable {
  /// Folders of the groups, the own one first.
  private let unified: [String]
  private let memory: [String]
  private let processor: [String]

  public static let current = ControlGroup(
    root: "/sys/fs/cgroup",
    membership: (try? String(contentsOfFile: "/proc/self/cgroup", encoding: .utf8)) ?? "")

  /// - Parameter membership: lines like `0::/a/b` (version 2) or `4:memory:/a/b`, as `/proc/self/cgroup` has them.
  public init(root: String, membership: String) {
    var paths: [Substring: Substring] = [:]
    for line in membership.split(whereSeparator: \.isNewline) {
      let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard parts.count == 3 else { continue }
      for controller in parts[1].split(separator: ",", omittingEmptySubsequences: false) {
        paths[controller] = parts[2]
      }
    }
    /// Where a namespace hides the group's own path, its files lie at the top.
    func folders(_ controller: Substring, _ top: String) -> [String] {
      var names = (paths[controller] ?? "").split(separator: "/")
      var found: [String] = []
      while true {
        found.append(([top] + names.map(String.init)).joined(separator: "/"))
        if names.popLast() == nil { return found }
      }
    }
    unified = folders("", root)
    memory = folders("memory", root + "/memory")
    processor = folders("cpu", root + "/cpu")
  }

  /// Bytes that the processes of a group may have together; nil without a limit.
  public var memoryLimit: UInt64? {
    let files =
      unified.map { $0 + "/memory.max" } + memory.map { $0 + "/memory.limit_in_bytes" }
    let limits = files.compactMap { number($0) }
    // Version 1 has a huge number where there is none.
    return limits.filter { $0 < 1 << 60 }.min().map { UInt64($0) }
  }

  /// Time on CPUs by the clock, like 2.5; nil without a limit.
  public var processorQuota: Double? {
    var quotas: [Double] = []
    for folder in unified {
      // Like "200000 100000", or "max 100000".
      let parts = words(folder + "/cpu.max").compactMap { Double($0) }
      if parts.count == 2, parts[1] > 0 { quotas.append(parts[0] / parts[1]) }
    }
    for folder in processor {
      if let quota = number(folder + "/cpu.cfs_quota_us"), quota > 0,
        let period = number(folder + "/cpu.cfs_period_us"), period > 0
      {
        quotas.append(Double(quota) / Double(period))
      }
    }
    return quotas.min()
  }

  /// Processes that the kernel has killed for memory in the own group.
  public var outOfMemoryKills: Int {
    // The first there is: a namespace may hide the own folder.
    let paths = unified.map { $0 + "/memory.events" } + memory.map { $0 + "/memory.oom_control" }
    for path in paths {
      let parts = words(path)
      if let at = parts.firstIndex(of: "oom_kill"), at + 1 < parts.count {
        return Int(parts[at + 1]) ?? 0
      }
    }
    return 0
  }

  private func words(_ path: String) -> [Substring] {
    let text = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
    return text.split(whereSeparator: \.isWhitespace)
  }

  private func number(_ path: String) -> Int? { words(path).first.flatMap { Int($0) } }
}
