// What mpirun and the run say of themselves: passed on, left out, noted.
import Conventions
import Foundation

/// mpirun's framed words on how a job ended are left out: the program or `Loss` says it better.
struct MPIRunOutput {
  /// What is known of the end.
  private(set) var loss: Loss?
  /// Whether the run has told of itself.
  private(set) var hasBegun = false
  /// Seconds that mpirun may take, once it has told of an end.
  private(set) var secondsToEnd: Double?
  /// Whether mpirun has told that it does not understand its command line.
  private(set) var refusesArguments = false
  /// Whether it has told that it cannot start its helpers on other hosts.
  private(set) var lacksHelpers = false

  private let helper: String
  /// The lines of a frame that is not complete yet.
  private var frame: [String]?
  /// What has been said since the first word of a stall.
  private var said: Set<String>?
  private var hasClosedConnection = false

  /// - Parameter helper: the name of mpirun's helper on other hosts.
  init(helper: String) { self.helper = helper }

  /// Takes a line, and returns those that are for the user.
  mutating func take(_ line: String) -> [String] {
    if line.hasPrefix(String(repeating: "-", count: 20)) {
      defer { frame = frame == nil ? [] : nil }
      return frame.map { note(frame: $0) } ?? []
    }
    if frame != nil {
      frame!.append(line)
      return []
    }
    if let match = line.prefixMatch(of: /\[([^\]:]+):[0-9]+\] \*\*\* (.*)/) {
      // Version 5 tells that of a rank which hears of another's end sooner than mpirun does.
      if match.2.contains("in Socket closed") {
        hasClosedConnection = true
        if loss == nil { noteEnd(.connectionClosed(host: String(match.1))) }
      }
      if hasClosedConnection { return [] }
    }
    guard !Self.isNoise(line) else { return [] }
    if RunConventions.isBeginning(line) { noteBeginning() }
    if line.hasPrefix("mpirun: Error: ") { refusesArguments = true }
    let tellsOfStall = line.hasPrefix(RunConventions.stallPrefix)
    if said != nil {
      // The first one waits for the rank that stands still; what others say comes of that.
      guard !tellsOfStall, said!.insert(line).inserted else { return [] }
    } else if tellsOfStall {
      said = []
      let words = line.dropFirst(RunConventions.stallPrefix.count)
      noteEnd(.stalled(words.filter { !$0.unicodeScalars.contains { $0.value < 32 } }))
    }
    return [line]
  }

  /// After the last line.
  mutating func end() -> [String] {
    defer { frame = nil }
    return frame ?? []
  }

  /// Lines of mpirun and MPI that help nobody.
  private static func isNoise(_ line: String) -> Bool {
    line.hasPrefix("mpirun: Forwarding") || line.hasPrefix("prterun: Forwarding")
      || line.contains("ORTE_ERROR_LOG") && line.contains("show_help")
      || [
        "sent help message", "orte_base_help_aggregate", "mca_btl_tcp_", "Read -1, expected",
        "plm:rsh: Warning: setpgid", "plm:ssh: Warning: setpgid",
      ].contains(where: line.contains)
  }

  private mutating func noteBeginning() {
    hasBegun = true
    // Connections failed while ranks met, but they have met all the same.
    if case .notConnected = loss { (loss, secondsToEnd) = (nil, nil) }
  }

  /// Notes that the run is over, and how; mpirun has some seconds to end: it may wait for ever for a host that is
  /// gone.
  private mutating func noteEnd(_ end: Loss?, seconds: Double = 15) {
    // Ends that follow a stall come of it.
    if case .stalled = loss {} else if let end { loss = end }
    secondsToEnd = secondsToEnd ?? seconds
  }

  /// One framed message of mpirun.
  private mutating func note(frame lines: [String]) -> [String] {
    let words = lines.map { $0 + " " }.joined()
    if let match = words.firstMatch(
      of:
        /process rank ([0-9]+) with PID [0-9]+ on node ([^ ]+) exited on signal ([0-9]+ \([^)]*\))/)
    {
      noteEnd(.killed(rank: "\(match.1)", host: "\(match.2)", signal: "\(match.3)"))
    } else if let match = words.firstMatch(
      of: /process rank ([0-9]+) with PID [0-9]+ on node ([^ ]+) exiting improperly/)
    {
      noteEnd(.endedEarly(rank: "\(match.1)", host: "\(match.2)"))
    } else if let host = words.firstMatch(of: /unexpectedly disconnected.*Peer host: *([^ ]+)/)?.1
      ?? words.firstMatch(of: /lost communication.*[Rr]emote daemon:.*on node ([^ ]+)/)?.1
    {
      // How a rank there ended says more, where that is known.
      switch loss {
      case nil, .connectionClosed: noteEnd(.contactLost(host: String(host)))
      default: break
      }
    } else if let match = words.firstMatch(
      of: /failed to TCP connect.*Local host: *([^ ]+).*Message: *(connect\(\) to [^ ]+)/)
    {
      noteConnection(host: match.1, what: match.2)
    } else if let match = words.firstMatch(
      of: /accepted a TCP connection from what.*Local host: *([^ ]+)/)
    {
      noteConnection(host: match.1, what: "")
    } else if let match = words.firstMatch(
      of: /could not change to the specified working directory:.*directory: (.*) Node: ([^ ]+)/)
    {
      noteEnd(.missing(host: "\(match.2)", what: "folder \(trimmed(match.1))"))
    } else if let match = words.firstMatch(
      of:
        /(could not access or|permissions to) execute an executable:.*Executable: (.*) Node: ([^ ]+)/
    ) {
      noteEnd(.missing(host: "\(match.3)", what: "program \(trimmed(match.2))"))
    } else if words.contains("unable to reliably start one or more daemons") {
      lacksHelpers = true
      return ["mpirun could not start its daemon, \(helper), on every host."]
    } else if words.contains(
      /unable to find the specified executable file|^(An unrecognized option|No executable was)|not recognized:|unrecognized qualifier|requires passing/
    ) {
      // Where it does not find the program, it has taken another word for it.
      refusesArguments = true
      return lines
    } else if words.contains(
      /not know how to route|calling "abort"|terminated normally|non-zero status|MPI_ABORT was/)
    {
      noteEnd(nil)
    } else {
      return lines
    }
    return []
  }

  private mutating func noteConnection(host: Substring, what: Substring) {
    // Later it is how other ranks notice an end.
    guard !hasBegun, loss == nil else { return }
    noteEnd(.notConnected(host: String(host), what: String(what)), seconds: 30)
  }

  private func trimmed(_ text: Substring) -> String {
    text.trimmingCharacters(in: .whitespaces)
  }
}
