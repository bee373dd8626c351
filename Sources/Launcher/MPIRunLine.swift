// mpirun's command line for a plan.
import Conventions
import Diagnostics
import Foundation

struct MPIRunLine {
  let options: RunOptions
  let hosts: HostList?
  let slurm: SlurmAllocation?
  let machine: Machine
  let mpiVersion: Int
  let environment: [String: String]
  /// Whether Slurm's SIGTERM must not reach mpirun.
  let blocksTermination: Bool

  /// The words that start the planned ranks, without the program, and what the user should know of them.
  ///
  /// - Parameter network: see `HostNetwork.common`.
  func words(_ plan: Plan, network: (HostList) -> String?) -> (words: [String], notes: [String]) {
    var notes: [String] = []
    var line = MPIWords(
      version: mpiVersion, arguments: options.mpiArguments, environment: environment)
    if let ranks = plan.ranks { line.append("-np", "\(ranks)") }
    // Two runs on one host would be bound to the same cores.
    line.append("--bind-to", "none")
    line.aggregateMessages()
    if let hosts {
      line.append(hosts.words)
      if let ranks = plan.ranks, ranks > hosts.slots {
        notes.append("Note: \(ranks) ranks share \(hosts.slots) slots of the hosts.")
        line.oversubscribe()
      }
    } else if let slurm {
      if let ranks = plan.ranks, let room = slurm.room, ranks > room {
        notes.append("Note: \(ranks) ranks share the \(room) tasks of the allocation.")
        line.oversubscribe()
      }
      if blocksTermination { line.startHelper(by: "env --block-signal=TERM") }
    } else {
      let ranks = plan.ranks ?? 1
      line.append("--host", "localhost:\(ranks)")
      line.keepToOneHost()
      if ranks * plan.threads > machine.cores {
        notes.append(
          "Note: \(ranks) ranks x \(plan.threads) threads share \(machine.cores) cores.")
        line.oversubscribe()
      }
    }
    if !machine.allowsSingleCopy { line.forbidSingleCopy() }
    if hosts != nil || slurm != nil {
      // Other hosts get only what is named.
      for name in Self.passedOn where environment[name] != nil { line.append("-x", name) }
      line.append("--wdir", FileManager.default.currentDirectoryPath)
      line.giveUpSilentHosts()
    }
    // Open MPI would use every network that two hosts seem to share: also bridges of containers and virtual
    // machines, which bear the same addresses everywhere and lead nowhere. There it waits for ever.
    if let hosts, let network = network(hosts) { line.keep(toNetwork: network) }
    line.append(options.mpiArguments)
    return (line.words, notes)
  }

  private static let passedOn = [
    "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_CORETYPE", "LD_LIBRARY_PATH",
    RunConventions.attemptVariable,
  ]
}
