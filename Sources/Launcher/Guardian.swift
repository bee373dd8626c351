// Ends mpirun, and with it the ranks, when the launcher has been killed.
import Foundation

/// A process that reads from a pipe which only the launcher can write to, until that is no more.
final class Guardian {
  private let guardian: ChildProcess
  private let writeEnd: Int32

  /// - Throws: `RunError` (configuration); the system's number when there is no bash.
  init(of child: ChildProcess, signal: Int32) throws {
    let ends = try makePipe()
    defer { close(ends.read) }
    writeEnd = ends.write
    let script = "trap '' \(Signals.namesOfHeard); read -r; kill -\(signal) \(child.id)"
    guardian = try ChildProcess(["bash", "-c", script], input: ends.read)
  }

  /// mpirun has ended, and another process may get its number.
  func dismiss() {
    guardian.send(SIGKILL)
    close(writeEnd)
    while !guardian.hasEnded { usleep(1000) }
  }
}
