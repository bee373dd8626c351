// What `srun` starts without a way for ranks to meet: one task runs alone, several are refused.
import Collectives
import Diagnostics
import Foundation

enum SlurmStep {
  private static let environment = ProcessInfo.processInfo.environment

  /// Before MPI starts: in such a step Open MPI would end every task with a page of its own messages.
  ///
  /// - Throws: `RunError` (configuration).
  static func prepare() throws {
    let meetings = ["PMIX_NAMESPACE", "PMI_RANK", "OMPI_COMM_WORLD_SIZE"]
    guard environment["SLURM_STEP_ID"] != nil, !meetings.contains(where: { environment[$0] != nil })
    else { return }
    try refuseLoneTasks()
    // Without it Open MPI starts as outside of Slurm.
    unsetenv("SLURM_STEP_ID")
  }

  /// Other builds of Open MPI start each task as a run of its own.
  ///
  /// - Throws: `RunError` (configuration).
  static func check(_ group: ProcessGroup) throws {
    if group.size == 1, environment["OMPI_COMM_WORLD_SIZE"] == nil { try refuseLoneTasks() }
  }

  private static func refuseLoneTasks() throws {
    // At a terminal it is `srun --pty bash`, where only the first task is alive.
    guard let tasks = environment["SLURM_STEP_NUM_TASKS"].flatMap({ Int($0) }), tasks > 1,
      isatty(0) == 0
    else { return }
    throw RunError.configuration(
      """
      Slurm started \(tasks) tasks, but each of them sees one rank only: MPI and srun do not meet.
      Use ./launch or mpirun inside the allocation, or srun --mpi=pmix.
      """)
  }
}
