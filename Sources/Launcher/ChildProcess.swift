// Processes that the launcher starts, and what they say.
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
    var ended = waitpid(id, &status, WNOHANG)
    while ended < 0, errno == EINTR { ended = waitpid(id, &status, WNOHANG) }
    guard ended != 0 else { return false }
    let signal = status & 0x7f
    exitCode = signal == 0 ? status >> 8 & 0xff : 128 + signal
    return true
  }

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

/// What children say, line by line.
final class LinePipe {
  let readEnd: Int32
  private(set) var writeEnd: Int32
  private var pending: [UInt8] = []
  private(set) var isOpen = true

  init() {
    var ends: [Int32] = [-1, -1]
    precondition(pipe(&ends) == 0, "no pipe: \(systemErrorText())")
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    _ = fcntl(ends[0], F_SETFL, O_NONBLOCK)
    (readEnd, writeEnd) = (ends[0], ends[1])
  }

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
