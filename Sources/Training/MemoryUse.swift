// Memory of this process, from Linux's /proc; zero elsewhere.
import Foundation

enum MemoryUse {
  /// Largest resident set since the start or the last `resetPeak`, bytes.
  static var peak: Int { value("VmHWM:") }

  /// Resident set now, bytes.
  static var now: Int { value("VmRSS:") }

  private static func value(_ key: String) -> Int {
    guard let text = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
      let line = text.split(separator: "\n").first(where: { $0.hasPrefix(key) }),
      let kibibytes = line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap({
        Int($0)
      })
    else { return 0 }
    return kibibytes * 1024
  }

  /// Lets the peak begin anew from what is resident now.
  static func resetPeak() {
    guard let handle = FileHandle(forWritingAtPath: "/proc/self/clear_refs") else { return }
    try? handle.write(contentsOf: Data("5".utf8))
    try? handle.close()
  }
}
