// A run: attempts, restarts, and the status that a dead one cannot write itself.
import Conventions
import Diagnostics
import Foundation

final class Run {
  private var options: RunOptions
  private let flags: ProgramFlags
  private let program: String
  private let mpiVersion: Int
  private let signals: Signals
  private var environment: [String: String]
  private var hosts: HostList?
  private let slurm: SlurmAllocation?
  private let machine: Machine
  private let blocksTermination: Bool
  private let folder: RunFolder
  private let voice = Voice()
  private var plan: Plan

  /// - Throws: `RunError`, `SilentEnd`.
  init(
    _ options: RunOptions, _ flags: ProgramFlags, program: String, mpiVersion: Int,
    environment: [String: String], signals: Signals, machine: Machine
  ) throws {
    self.options = options
    self.flags = flags
    self.program = program
    self.mpiVersion = mpiVersion
    self.signals = signals
    self.machine = machine
    let trains = flags.command == "train"
    if !trains { signals.requestThatEndsCommands = 1 }
    signals.onRequest = { [voice, grace = options.grace] number in
      guard number == 1, trains else { return }
      voice.say("Stopping after a checkpoint (within \(grace) s; once more ends at once).")
    }
    folder = RunFolder(path: flags.outputFolder)
    slurm = SlurmAllocation(environment)
    try slurm?.check(options, environment)
    hosts = try HostList(options)
    plan = try Plan(options, flags, hosts: hosts, slurm: slurm, machine: machine)
    self.environment = environment
    self.environment["OPENBLAS_NUM_THREADS"] = "1"
    self.environment["OMP_NUM_THREADS"] = "1"
    self.environment[RunConventions.attemptVariable] = "0"
    if slurm != nil { SlurmAllocation.adapt(&self.environment) }
    // When a job is cancelled or its time is over, Slurm sends SIGTERM to all of its processes: the launcher and the
    // ranks are to hear it, but mpirun would end the ranks before they have written a checkpoint.
    // Where `env` cannot see to that for mpirun's helpers, nothing is changed.
    blocksTermination =
      slurm != nil && signals.run([["env", "--block-signal=TERM", "true"]])[0].exitCode == 0
    plan.notes.forEach(say)
  }

  // MARK: Words

  private func mpirunWords() -> [String] {
    let network = HostNetwork(signals: signals)
    let (words, notes) = MPIRunLine(
      options: options, hosts: hosts, slurm: slurm, machine: machine, mpiVersion: mpiVersion,
      environment: environment, blocksTermination: blocksTermination
    ).words(plan) { HostNetwork.isSetInFiles ? nil : network.common($0) }
    notes.forEach(say)
    return words
  }

  private var programWords: [String] {
    var words = [program, flags.command] + flags.words
    if ["train", "evaluate", "bench"].contains(flags.command) {
      words += ["--threads", "\(plan.threads)"]
    }
    if let seconds = options.stallTimeout { words += ["--stall_timeout", seconds] }
    return words
  }

  /// The plan and the whole line, for `--dry_run`.
  func description() -> String {
    let words = mpirunWords() + programWords
    let ranks = plan.ranks.map(String.init) ?? "as Slurm gives"
    return """
      \(ranks) ranks x \(plan.threads) threads, program \(program)
      \(ShellWords.quoted(words))
      """
  }

  // MARK: Attempts

  /// Starts mpirun, and starts it again where that helps.
  ///
  /// - Returns: The documented exit code.
  /// - Throws: `RunError`.
  func run(beforeFirst: () -> Void) throws -> Int32 {
    if slurm != nil, flags.command == "train" { SlurmAllocation.adviceForScript().map(say) }
    var mpirun = mpirunWords()
    HostLook.sweepThisHost(signals)
    try look.check(hosts)
    try endIfSignalled()
    beforeFirst()
    // Restarts in a row at one step; the step; how often the run has begun.
    var row = 0
    var step = -1
    var begun = 0
    var code: Int32 = 0
    for number in 0... {
      let start = Clock.seconds()
      let kills = ControlGroup.current.outOfMemoryKills
      // Above 0 the program takes what lies in the output folder for this run's: that is so once one has begun.
      environment[RunConventions.attemptVariable] = "\(begun)"
      let version = folder.versionOfStatus
      let outcome = try attempt(number, mpirun)
      let verdict = Verdict(
        outcome, flags, folder, isNewStatus: folder.versionOfStatus != version,
        signals: signals.count, ranOutOfMemory: ControlGroup.current.outOfMemoryKills > kills)
      if let error = try reasonNotToStart(verdict, isFirst: number == 0) { throw error }
      code = verdict.code
      guard let loss = verdict.loss else { break }
      if outcome.output.hasBegun { begun += 1 }
      say("Lost after \(Int(Clock.seconds() - start)) s: \(verdict.reason).")
      if flags.command == "train" { folder.markAsFailed(loss, verdict.reason) }
      signals.take()
      guard number < options.maxRestarts, signals.count == 0 else { break }
      let last = folder.lastStep
      row = last > step ? 1 : row + 1
      step = last
      try planAgain(sparingRank: row >= 2)
      mpirun = mpirunWords()
      let ranks = plan.ranks.map(String.init) ?? "all"
      let origin = begun > 0 ? ", from the last checkpoint" : ""
      say("Restart \(number + 1) of \(options.maxRestarts) on \(ranks) ranks\(origin).")
      signals.pause(seconds: Double(min(number * number, 30)))
      guard signals.count == 0 else { break }
    }
    if code == ExitCode.rankDied.rawValue, options.maxRestarts == 0, flags.command == "train" {
      say("The same command goes on from the last checkpoint; --max_restarts N does so by itself.")
    }
    return code
  }

  private var look: HostLook {
    HostLook(
      signals: signals, options: options, program: program, mpiVersion: mpiVersion,
      environment: environment)
  }

  /// Ends what has not begun, unless it is one request for a checkpoint: then the run begins, and writes one.
  private func endIfSignalled() throws {
    if signals.count > 1 || (signals.count == 1 && flags.command != "train") {
      throw HostLook.endedBySignal
    }
  }

  private func attempt(_ number: Int, _ mpirun: [String]) throws -> Attempt.Outcome {
    let logs = options.keepsRankLogs ? try folder.wordsToKeepLogs(attempt: number) : []
    let stop = StopRequest(
      endSignal: blocksTermination ? SIGINT : SIGTERM,
      grace: flags.command == "train" ? Double(options.grace) : nil)
    return try Attempt(signals: signals, stop: stop, voice: voice).run(
      mpirun + logs + programWords, environment: environment,
      blocked: blocksTermination ? [SIGTERM] : [],
      helper: MPIWords.helper(ofVersion: mpiVersion))
  }

  /// Leaves out hosts that do not answer; without `--min_ranks` all ranks have to be there again. Lost twice at one
  /// place, memory for one rank less may be what it takes.
  private func planAgain(sparingRank: Bool) throws {
    options.ranks = plan.ranks
    options.threads = plan.threads
    if let least = options.minRanks, let list = hosts {
      let network = HostNetwork(signals: signals)
      let left = list.hosts.filter { host in
        let isThere = network.isHere(host.name) || HostLook.answers(host.name, signals)
        if !isThere { say("Host \(host.name) does not answer: going on without it.") }
        return isThere
      }
      let kept = HostList(hosts: left)
      hosts = kept
      let ranks = min(plan.ranks ?? kept.slots, kept.slots)
      guard ranks >= least else {
        throw RunError(
          .rankDied, "only \(ranks) ranks have a host left, --min_ranks is \(least).")
      }
      options.ranks = ranks
    }
    if sparingRank, let least = options.minRanks, let ranks = options.ranks, ranks > least {
      options.ranks = ranks - 1
    }
    plan = try Plan(options, flags, hosts: hosts, slurm: slurm, machine: machine)
  }

  /// Why another attempt would not even start; nil where that is not so.
  private func reasonNotToStart(_ verdict: Verdict, isFirst: Bool) throws -> RunError? {
    guard verdict.hasNotStarted else { return nil }
    let output = verdict.outcome.output
    switch output.loss {
    case .notConnected(let host, let what):
      return .configuration(
        """
        ranks on different hosts could not connect over the network: \(host): \(what)
        Hosts must reach each other on all TCP ports, over a network that they share.
        Open the firewall, or name that network: --mpi_args '--mca btl_tcp_if_include 10.0.0.0/24'
        """)
    case .missing(let host, let what): return HostLook.lacks(host, "no \(what)")
    default: break
    }
    if !options.mpiArguments.isEmpty, verdict.mayBlameArguments(isFirst: isFirst) {
      return .configuration(
        """
        mpirun could not start the program with --mpi_args \
        "\(options.mpiArguments.joined(separator: " "))". Mend them, or leave them out.
        """)
    }
    // The loader's own words do not say on which host.
    guard verdict.outcome.exitCode == 127 else { return nil }
    try look.check(hosts, libraries: true)
    return .configuration(
      """
      the program \(program) cannot be loaded on every host.
      Give every host the libraries that "ldd \(program)" lists on this one.
      """)
  }
}
