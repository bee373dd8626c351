// Lines to stderr that never hold the launcher up: whoever reads them may stand still, as a terminal after Ctrl-S.
import Foundation

final class Voice {
  private var backlog: [UInt8] = []
  /// More than that is dropped, the oldest first.
  private static let most = 1 << 20

  var isWaiting: Bool { !backlog.isEmpty }

  func say(_ line: String) {
    backlog += Array(line.utf8) + [10]
    if backlog.count > Self.most { backlog.removeFirst(backlog.count - Self.most) }
    flush()
  }

  /// Writes what can be written at once.
  func flush() {
    while !backlog.isEmpty {
      var polled = pollfd(fd: STDERR_FILENO, events: Int16(POLLOUT), revents: 0)
      guard poll(&polled, 1, 0) > 0, polled.revents != 0 else { return }
      writeSome()
    }
  }

  /// Writes all of it, however long that takes.
  func finish() {
    while !backlog.isEmpty { writeSome() }
  }

  private func writeSome() {
    // A pipe that can be written to takes that much at once.
    let count = write(STDERR_FILENO, backlog, min(backlog.count, Int(PIPE_BUF)))
    if count > 0 {
      backlog.removeFirst(count)
    } else if errno != EINTR && errno != EAGAIN {
      // Nobody will ever read it.
      backlog = []
    }
  }
}
