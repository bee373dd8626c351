// What this host has.
import Diagnostics
import Foundation

struct Machine {
  /// Cores that this process may use: its affinity, and the quota of its container.
  var cores: Int
  /// Whether ranks may read each other's memory; containers often forbid it.
  var allowsSingleCopy: Bool

  static func current() -> Machine {
    let online = ProcessInfo.processInfo.activeProcessorCount
    return Machine(
      cores: min(coresOfAffinity() ?? .max, coresOfQuota ?? .max, online),
      allowsSingleCopy: singleCopyWorks())
  }

  private static var coresOfQuota: Int? {
    ControlGroup.current.processorQuota.map { max(1, Int($0)) }
  }

  private static func coresOfAffinity() -> Int? {
    status(ofProcess: "self", "Cpus_allowed_list").flatMap { count(ofList: $0) }
  }

  /// Of a list like 0-3,8.
  static func count(ofList list: Substring) -> Int? {
    var count = 0
    for range in list.split(separator: ",") {
      let ends = range.split(separator: "-").compactMap { Int($0) }
      guard let first = ends.first, let last = ends.last, last >= first else { return nil }
      count += last - first + 1
    }
    return count > 0 ? count : nil
  }

  private static func singleCopyWorks() -> Bool {
    let scope = text(ofFile: "/proc/sys/kernel/yama/ptrace_scope")
    guard scope.map({ $0.first == "0" }) ?? true else { return false }
    guard geteuid() == 0 else { return true }
    let mayTrace = 19
    return mask(ofProcess: "self", "CapEff").map { $0 >> mayTrace & 1 == 1 } ?? false
  }

  /// A mask of `/proc/PROCESS/status`.
  static func mask(ofProcess process: String, _ name: String) -> UInt64? {
    status(ofProcess: process, name).flatMap { UInt64($0, radix: 16) }
  }

  private static func status(ofProcess process: String, _ name: String) -> Substring? {
    text(ofFile: "/proc/\(process)/status")?.split(separator: "\n")
      .first { $0.hasPrefix(name + ":") }?.split(whereSeparator: \.isWhitespace).last
  }

  static func text(ofFile path: String) -> String? {
    FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) }
  }

  static let hostName: String = {
    var name = [CChar](repeating: 0, count: 256)
    gethostname(&name, name.count - 1)
    return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }()

  /// Where the shell would find a program.
  static func path(ofProgram name: String) -> String? {
    guard !name.contains("/") else { return access(name, X_OK) == 0 ? name : nil }
    let folders = getenv("PATH").map { String(cString: $0) } ?? ""
    return folders.split(separator: ":").map { "\($0)/\(name)" }
      .first { access($0, X_OK) == 0 && !isFolder($0) }
  }

  static func isFolder(_ path: String) -> Bool {
    var isFolder: ObjCBool = false
    return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
      && isFolder.boolValue
  }
}
