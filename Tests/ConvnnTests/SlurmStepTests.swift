// `srun` without PMIx, as Slurm's environment tells of it.
import Foundation
import TestSupport
import Testing

@Suite("Slurm steps") struct SlurmStepTests {
  func start(task: Int, of tasks: Int, _ arguments: [String]) throws -> ProgramResult {
    let host = ProcessInfo.processInfo.hostName
    return try Program.run(
      arguments,
      environment: [
        "SLURM_JOB_ID": "7", "SLURM_JOBID": "7", "SLURM_NODELIST": host, "SLURM_NNODES": "1",
        "SLURM_TASKS_PER_NODE": "\(tasks)", "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_TASKS": "\(tasks)", "SLURM_PROCID": "\(task)",
      ])
  }

  @Test(
    "several tasks that cannot meet are refused, with one message", arguments: ["train", "bench"])
  func several(command: String) throws {
    let folder = try TemporaryFolder()
    let output = folder.path + "/run"
    let arguments = [command, "--dataset", "shapes", "--output_dir", output]
    for task in 0...1 {
      let result = try start(task: task, of: 2, command == "train" ? arguments : [command])
      #expect(result.code == 10)
      #expect(result.errors.contains("Slurm started 2 tasks") == (task == 0))
      #expect(!result.errors.contains("MPI_Init"))
    }
    #expect(!FileManager.default.fileExists(atPath: output))
  }

  @Test("a task alone runs as one rank") func alone() throws {
    let folder = try TemporaryFolder()
    let result = try start(
      task: 0, of: 1,
      MistakeTests.small + ["--max_steps", "1", "--output_dir", folder.path + "/run"])
    #expect(result.code == 0)
    #expect(!result.errors.contains("Slurm"))
  }
}
