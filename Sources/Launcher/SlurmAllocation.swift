// An allocation of Slurm, in which the launcher may run.
import Diagnostics
import Foundation

struct SlurmAllocation: Equatable {
  let job: String
  /// The number that the job asked for.
  let tasks: Int?
  /// Tasks that the nodes have room for.
  let room: Int?
  let cpusPerTask: Int

  /// nil outside of an allocation.
  init?(_ environment: [String: String]) {
    guard let job = environment["SLURM_JOB_ID"], !job.isEmpty else { return nil }
    self.job = job
    tasks = environment["SLURM_NTASKS"].flatMap { Int($0) }
    room = Self.sum(environment["SLURM_TASKS_PER_NODE"] ?? "") ?? tasks
    cpusPerTask = environment["SLURM_CPUS_PER_TASK"].flatMap { Int($0) } ?? 1
  }

  /// The sum of a list like 2(x3),1.
  private static func sum(_ list: String) -> Int? {
    var total = 0
    for part in list.split(separator: ",") {
      guard let match = part.wholeMatch(of: /([0-9]{1,6})(?:\(x([0-9]{1,6})\))?/) else {
        return nil
      }
      total += Int(match.1)! * (match.2.flatMap { Int($0) } ?? 1)
    }
    return total > 0 ? total : nil
  }

  /// Refuses what cannot be within the allocation.
  func check(_ options: RunOptions, _ environment: [String: String]) throws {
    guard options.hosts == nil, options.hostfile == nil else {
      throw RunError.configuration(
        """
        Slurm names the hosts of job \(job). Leave --host and --hostfile out; -np N sets another \
        number of ranks.
        """)
    }
    // At a terminal it is `srun --pty bash`, where only the first task is alive.
    let copies = environment["SLURM_STEP_NUM_TASKS"].flatMap { Int($0) } ?? 1
    guard copies > 1, isatty(STDIN_FILENO) == 0 else { return }
    // One message is enough.
    guard Int(environment["SLURM_PROCID"] ?? "") ?? 0 == 0 else { throw SilentEnd(.configuration) }
    throw RunError.configuration(
      """
      srun has started ./launch \(copies) times. Leave srun out: ./launch starts a rank for every \
      task by itself.
      """)
  }

  /// What mpirun must see, and must not see, of Slurm's variables.
  static func adapt(_ environment: inout [String: String]) {
    // mpirun's helpers on other nodes may run beside the step that a shell of `srun --pty` is.
    environment["SLURM_OVERLAP"] = "1"
    // srun would keep the helper on another node, and all ranks there, to the CPUs of one task.
    environment["SRUN_CPUS_PER_TASK"] = nil
    environment["SLURM_CPUS_PER_TASK"] = nil
  }

  /// Advice for a batch script that would die of Slurm's SIGTERM, and with it all that it has started: one that
  /// neither has put the launcher in its place by `exec` nor catches the signal.
  static func adviceForScript() -> String? {
    let parent = "\(getppid())"
    guard let words = Machine.text(ofFile: "/proc/\(parent)/cmdline")?.split(separator: "\0"),
      words.contains(where: { $0.hasSuffix("/slurm_script") }),
      let caught = Machine.mask(ofProcess: parent, "SigCgt"),
      caught >> UInt64(SIGTERM - 1) & 1 == 0
    else { return nil }
    return """
      Note: end the batch script with "exec ./launch …"; otherwise scancel and the time limit leave \
      no time for a checkpoint.
      """
  }
}

/// An end that somebody else has explained.
struct SilentEnd: Error {
  let code: ExitCode
  init(_ code: ExitCode) { self.code = code }
}
