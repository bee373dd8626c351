// The one error type that users see, and the exit codes of the program.

/// How the program ends. Codes stay within 1...125: `MPI_Abort(256)` would be reported by mpirun as
/// success, and a shell adds 128 for signals.
public enum ExitCode: Int32, Sendable, Codable, CaseIterable {
  case done = 0
  case usage = 2
  case configuration = 10
  case data = 11
  case notFinite = 12
  case ranksDisagree = 13
  case stalled = 14
  case preempted = 15
  case rankDied = 16
  case checkpointDamaged = 17
}

/// Something that a user, a file or a host did. The message names the thing, what was found, what
/// was expected and what to do next, in at most six lines.
public struct RunError: Error, CustomStringConvertible, Sendable {
  public let code: ExitCode
  public let message: String

  public init(_ code: ExitCode, _ message: String) {
    self.code = code
    self.message = message
  }

  public var description: String { message }

  public static func configuration(_ message: String) -> RunError {
    RunError(.configuration, message)
  }

  public static func data(_ message: String) -> RunError { RunError(.data, message) }
}
