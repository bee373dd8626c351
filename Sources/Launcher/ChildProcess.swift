// Processes that the launcher starts.
import Diagnostics
import Foundation

/// Leads a session of its own: a terminal's Ctrl-C reaches the launcher only.
final class ChildProcess {
  let id: pid_t
  /// As a shell tells it: 128 and the signal's number for one that a signal has ended.
  private(set) var exitCode: Int32?

  /// - Parameters:
  ///   - input: its standard input; nil: nothing.
  ///   - output, errors: nil: those of the launcher.
  ///   - blocked: signals that it and whatever it starts are not to get.
  /// - Throws: The system's number when there is no such program.
  init(
    _ words: [String], environment: [String: String]? = nil, input: Int32? = nil,
    output: Int32? = nil, errors: Int32? = nil, blocked: [Int32] = []
  ) throws {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    if let input {
      posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO)
    } else {
      posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
    }
    if let output { posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO) }
    if let errors { posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO) }

    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var signals = sigset_t()
    sigemptyset(&signals)
    for number in Signals.heard { sigaddset(&signals, number) }
    posix_spawnattr_setsigdefault(&attributes, &signals)
    sigemptyset(&signals)
    for number in blocked { sigaddset(&signals, number) }
    posix_spawnattr_setsigmask(&attributes, &signals)
    let ownSession: Int32 = 0x80
    posix_spawnattr_setflags(
      &attributes, Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | ownSession))

    let arguments = words.map { strdup($0) } + [nil]
    let variables =
      (environment ?? ProcessInfo.processInfo.environment)
      .map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { for word in arguments + variables { free(word) } }
    var process: pid_t = 0
    let number = posix_spawnp(&process, words[0], &actions, &attributes, arguments, variables)
    guard number == 0 else { throw POSIXError(.init(rawValue: number) ?? .EIO) }
    id = process
  }

  /// Whether it has ended by now.
  var hasEnded: Bool {
    guard exitCode == nil else { return true }
    var status: Int32 = 0
    if let known = Self.reaped.removeValue(forKey: id) {
      status = known
    } else {
      var ended = waitpid(id, &status, WNOHANG)
      while ended < 0, errno == EINTR { ended = waitpid(id, &status, WNOHANG) }
      guard ended != 0 else { return false }
      if ended < 0 { status = 255 << 8 }
    }
    let signal = status & 0x7f
    exitCode = signal == 0 ? status >> 8 & 0xff : 128 + signal
    return true
  }

  /// As the first process of a container it also inherits the orphans of all others: they shall not stay as zombies.
  static func reapOrphans() {
    guard getpid() == 1 else { return }
    var status: Int32 = 0
    while true {
      let process = waitpid(-1, &status, WNOHANG)
      guard process > 0 else { return }
      reaped[process] = status
    }
  }
  /// What became of those, some of which somebody may ask for yet.
  nonisolated(unsafe) private static var reaped: [pid_t: Int32] = [:]

  func send(_ signal: Int32) {
    if exitCode == nil { kill(id, signal) }
  }

  /// Asks everything in its session to end: an ssh to a host that is gone holds its stderr open.
  func endSession() {
    for name in (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? [] {
      if let process = pid_t(name), getsid(process) == id { kill(process, SIGTERM) }
    }
  }
}
