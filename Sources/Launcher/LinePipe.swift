// Pipes between the launcher and its children.
import Diagnostics
import Foundation

/// Two ends that no child gets by itself.
///
/// - Throws: `RunError` (configuration).
func makePipe() throws -> (read: Int32, write: Int32) {
  var ends: [Int32] = [-1, -1]
  guard pipe(&ends) == 0 else {
    throw RunError.configuration(
      "a pipe cannot be made: \(systemErrorText()). Look at what ulimit -n and the system allow.")
  }
  for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
  return (ends[0], ends[1])
}

/// What children say, line by line.
final class LinePipe {
  let readEnd: Int32
  private(set) var writeEnd: Int32
  private var pending: [UInt8] = []
  private(set) var isOpen = true

  /// - Throws: `RunError` (configuration).
  init() throws {
    (readEnd, writeEnd) = try makePipe()
    _ = fcntl(readEnd, F_SETFL, O_NONBLOCK)
  }

  /// What to wait for.
  var descriptors: [Int32] { isOpen ? [readEnd] : [] }

  deinit { stop() }

  /// Puts in a few pages for a child to read, and closes it.
  ///
  /// - Returns: Whether the pipe holds that much.
  func fill(_ text: String) -> Bool {
    _ = fcntl(readEnd, F_SETFL, 0)
    _ = fcntl(writeEnd, F_SETFL, O_NONBLOCK)
    let bytes = Array(text.utf8)
    defer { closeWriteEnd() }
    return bytes.isEmpty || write(writeEnd, bytes, bytes.count) == bytes.count
  }

  /// After the child has been started: the end of the pipe shall be its end.
  func closeWriteEnd() {
    if writeEnd >= 0 { close(writeEnd) }
    writeEnd = -1
  }

  /// Complete lines that have come; at the end also one without a line break.
  func takeLines() -> [String] {
    var bytes = [UInt8](repeating: 0, count: 65_536)
    // A child that says more than that at a time must not keep the launcher from all else.
    for _ in 0..<16 where isOpen {
      let count = read(readEnd, &bytes, bytes.count)
      if count > 0 {
        pending += bytes[..<count]
      } else if count < 0, errno == EAGAIN {
        break
      } else if count == 0 || errno != EINTR {
        stop()
      }
    }
    var lines = pending.split(separator: 10, omittingEmptySubsequences: false)
    let rest = lines.removeLast()
    if !isOpen, !rest.isEmpty { lines.append(rest) }
    pending = isOpen ? Array(rest) : []
    return lines.map { String(decoding: $0, as: UTF8.self) }
  }

  /// Reads no more.
  func stop() {
    guard isOpen else { return }
    isOpen = false
    close(readEnd)
    closeWriteEnd()
  }
}
