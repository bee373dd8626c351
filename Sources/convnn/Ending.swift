// How a process of a run ends: one message, one exit code, on any number of ranks.
import Collectives
import Diagnostics
import Foundation
import Training

enum Ending {
  private static let environment = ProcessInfo.processInfo.environment

  /// True for rank 0 and outside of mpirun and srun; known before MPI starts.
  static var isFirst: Bool {
    (environment["OMPI_COMM_WORLD_RANK"] ?? environment["SLURM_PROCID"] ?? "0") == "0"
  }

  /// For an error before MPI starts, on all ranks or on some: the others hear of it when they start MPI.
  static func early(_ error: RunError) -> Never {
    guard environment["OMPI_COMM_WORLD_SIZE"] != nil, let group = try? ProcessGroup() else {
      // Where MPI cannot start every rank comes here.
      if isFirst { say("Error: \(error.message)") }
      exit(error.code.rawValue)
    }
    run(group) { try group.together { throw error } }
  }

  /// Starts MPI, runs `body` unless a rank has met its end already, and ends MPI in a way that suits the
  /// outcome.
  static func withProcessGroup(_ body: (ProcessGroup) throws -> ExitCode) throws {
    try SlurmStep.prepare()
    let group = try ProcessGroup()
    try SlurmStep.check(group)
    run(group) {
      try group.together {}
      return try body(group)
    }
  }

  /// What was printed may lie in a buffer still.
  static func flushOutput() throws {
    guard fflush(nil) != 0, errno != EBADF else { return }
    throw RunError.configuration("The output could not be written: \(systemErrorText()).")
  }

  private static func run(_ group: ProcessGroup, _ body: () throws -> ExitCode) -> Never {
    do {
      let code = try body()
      try flushOutput()
      try group.barrier()
      group.finalize()
      exit(code.rawValue)
    } catch let shared as SharedError {
      if group.rank == 0 { say("Error: \(shared.error.message)") }
      // mpirun ends all ranks when the first one ends in error: not before it has been told.
      try? group.barrier()
      group.finalize()
      exit(shared.error.code.rawValue)
    } catch {
      let failure = error as? RunError ?? RunError(.rankDied, "\(error)")
      let place = group.size > 1 ? "rank \(group.rank) on \(group.hostName): " : ""
      say("Error: \(place)\(failure.message)")
      group.abort(failure.code.rawValue)
    }
  }
}
