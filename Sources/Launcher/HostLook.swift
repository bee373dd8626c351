// Asks the other hosts, before a run, what keeps ranks from starting there.
import Diagnostics
import Foundation

struct HostLook {
  let signals: Signals
  let options: RunOptions
  let program: String
  let mpiVersion: Int
  let environment: [String: String]

  private static let ssh = [
    "ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5",
  ]
  private static let script = String(decoding: PackageResources.look_around_sh, as: UTF8.self)

  /// Removes what killed runs have left on this host.
  static func sweepThisHost(_ signals: Signals) {
    _ = signals.run([["bash", "-s"]], input: script + "sweep_leftovers\n")
  }

  static func answers(_ host: String, _ signals: Signals) -> Bool {
    signals.run([ssh + [host, "true"]])[0].exitCode == 0
  }

  /// All hosts at a time; the first answer ends the run.
  ///
  /// - Throws: `RunError` (configuration) naming the host; `RunError` (rankDied) if a signal ended the look.
  func check(_ hosts: HostList?, libraries: Bool = false) throws {
    guard let hosts, sshStartsRanks else { return }
    let others = HostNetwork(signals: signals).others(hosts)
    guard let first = others.first else { return }
    guard Machine.path(ofProgram: "ssh") != nil else {
      throw RunError.configuration(
        "no ssh on this host to reach \(first). Install openssh-client.")
    }
    let commands = others.map { Self.ssh + [$0, "bash", "-s"] }
    let results = signals.run(commands, input: Self.script + invocation(libraries: libraries))
    for (host, result) in zip(others, results) {
      if let lack = result.output.first(where: { !$0.isEmpty }) {
        throw Self.lacks(host, lack)
      }
      guard result.exitCode != 0 else { continue }
      // It may have ended the look as well.
      if signals.count > 0 { throw Self.endedBySignal }
      // A host that is gone may be left out of a restart.
      if options.minRanks != nil, options.maxRestarts > 0 { continue }
      let words = result.errors.last?.filter { $0 != "\r" } ?? ""
      throw RunError.configuration(
        """
        host \(host) cannot be used: \(words)
        Expected that "ssh \(host) true" works here without a password or a question.
        Mend that (README: many nodes), or leave the host out.
        """)
    }
  }

  /// Where something else starts processes, ssh need not lead anywhere.
  private var sshStartsRanks: Bool {
    let others = ["PBS_JOBID", "LSB_JOBID", "PE_HOSTFILE"]
    let words = MPIWords(
      version: mpiVersion, arguments: options.mpiArguments, environment: environment)
    return others.allSatisfy { environment[$0]?.isEmpty ?? true }
      && !["plm_rsh_agent", "plm_ssh_agent", "plm"].contains(where: words.userHasSet)
  }

  private func invocation(libraries: Bool) -> String {
    var lines = ""
    if let path = environment["LD_LIBRARY_PATH"], !path.isEmpty {
      lines += "export LD_LIBRARY_PATH=\(ShellWords.quoted(path))\n"
    }
    // With a prefix of the user's, mpirun finds its helper there.
    let givesPrefix = options.mpiArguments.contains { $0.contains("-prefix") }
    let mpirun = givesPrefix ? nil : Machine.path(ofProgram: "mpirun")
    let folder = mpirun.map { URL(fileURLWithPath: $0).deletingLastPathComponent().path } ?? ""
    let helper = MPIWords.helper(ofVersion: mpiVersion)
    let words = [
      "look_around", FileManager.default.currentDirectoryPath, program, folder, helper,
    ]
    return lines + "sweep_leftovers\n"
      + ShellWords.quoted(words + (libraries ? ["libraries"] : [])) + "\n"
  }

  static func lacks(_ host: String, _ lack: String) -> RunError {
    .configuration(
      """
      host \(host) has \(lack).
      Every host needs the same program, libraries, Open MPI and working folder under the same paths.
      Put it there, or leave the host out.
      """)
  }

  static let endedBySignal = RunError(
    .rankDied, "ended by a signal, nothing has been started.")
}
