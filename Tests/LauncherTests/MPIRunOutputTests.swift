// What mpirun says: which lines are for the user, and what is known of the end.
import Testing

@testable import Launcher

@Suite("Output of mpirun") struct MPIRunOutputTests {
  private static let bar = String(repeating: "-", count: 76)
  private func frame(_ lines: String...) -> [String] { [Self.bar] + lines + [Self.bar] }

  /// What is left of the lines, and what is known after them.
  private func read(_ lines: [String]) -> (shown: [String], output: MPIRunOutput) {
    var output = MPIRunOutput(helper: "orted")
    let shown = lines.flatMap { output.take($0) }
    return (shown + output.end(), output)
  }

  private let begins = "Attention, 5 parameters; shapes"

  @Test("frames on how a job ended become what is known of it") func ends() {
    let rank = "process rank 1 with PID 9 on node b"
    for (lines, loss) in [
      (
        ["mpirun noticed that \(rank) exited on signal", "9 (Killed)."],
        .killed(rank: "1", host: "b", signal: "9 (Killed)")
      ),
      (
        ["prterun has exited due to \(rank) exiting", "improperly. There are"],
        .endedEarly(rank: "1", host: "b")
      ),
      (
        ["An MPI communication peer process has unexpectedly disconnected.", "  Peer host:  c"],
        .contactLost(host: "c")
      ),
      (
        [
          "PRTE has lost communication with a remote daemon.",
          "  HNP daemon   : [prterun-a-9@0,0] on node a",
          "  Remote daemon: [prterun-a-9@0,1] on node c",
        ], .contactLost(host: "c")
      ),
      (
        [
          "mpirun could not access", "or execute an executable:", "",
          "Executable: /opt/the trainer", "Node: b", "",
        ], .missing(host: "b", what: "program /opt/the trainer")
      ),
      (
        [
          "Open MPI failed to TCP connect to a peer.", "  Local host: b",
          "  Message:    connect() to 10.0.0.1:1026 failed",
        ], .notConnected(host: "b", what: "connect() to 10.0.0.1:1026")
      ),
    ] as [([String], Loss)] {
      let (shown, output) = read([Self.bar] + lines + [Self.bar])
      #expect(shown == [] && output.loss == loss, "\(lines)")
      #expect(output.secondsToEnd != nil)
    }
  }

  @Test("other frames and lines pass, noise does not") func passing() {
    let words = frame("Something of MPI's", "that nobody knows")
    let (shown, output) = read(
      ["a word"] + words + [
        "mpirun: Forwarding signal 10 to job", "1 more process has sent help message x", "the end",
      ])
    #expect(shown == ["a word", "Something of MPI's", "that nobody knows", "the end"])
    #expect(output.loss == nil && output.secondsToEnd == nil && !output.hasBegun)
    #expect(read([Self.bar, "half of a frame"]).shown == ["half of a frame"])
  }

  @Test("the first word on a stall counts, whatever comes after it") func stall() {
    let first = "Stalled: rank 2 on b waited 2 s for rank 1 on a in a gather."
    let (shown, output) = read(
      [begins, first, "advice", "advice", "Stalled: rank 0 on a waited 2 s for rank 2 on b."]
        + frame(
          "mpirun noticed that process rank 1 with PID 0 on node a exited on signal 9 (Killed)."))
    #expect(shown == [begins, first, "advice"])
    #expect(output.loss == .stalled("rank 2 on b waited 2 s for rank 1 on a in a gather."))
  }

  @Test("connections that fail before the run begins are forgotten when it does") func connections()
  {
    let failure = frame(
      "Open MPI failed to TCP connect to a peer.", "  Local host: b",
      "  Message: connect() to x failed")
    #expect(read(failure).output.secondsToEnd == 30)
    let (_, output) = read(failure + [begins])
    #expect(output.hasBegun && output.loss == nil && output.secondsToEnd == nil)
    #expect(read([begins] + failure).output.loss == nil)
  }

  @Test("a closed socket says less than a rank that is known to have died") func sockets() {
    let closed = [
      "[b:00000] *** An error occurred in Socket closed", "[b:00000] *** MPI_ERRORS_ARE_FATAL",
    ]
    #expect(read(closed).shown == [])
    #expect(read(closed).output.loss == .connectionClosed(host: "b"))
    let killed = frame("process rank 1 with PID 9 on node b exited on signal 9 (Killed)")
    let loss = Loss.killed(rank: "1", host: "b", signal: "9 (Killed)")
    #expect(read(closed + killed).output.loss == loss)
    #expect(read(killed + closed).output.loss == loss)
    #expect(read(["[b:00000] *** something else"]).shown.count == 1)
  }

  @Test("a command line that mpirun does not understand") func arguments() {
    let (shown, output) = read(frame("mpirun was unable to find the specified executable file"))
    #expect(output.refusesArguments && shown.count == 1)
    #expect(read(["mpirun: Error: unknown option \"--bogus\""]).output.refusesArguments)
    #expect(!read([begins]).output.refusesArguments)
  }
}
