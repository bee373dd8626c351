// How a process of a run ends: one message, one exit code, on any number of ranks.
import Collectives
import Diagnostics
import Foundation
import Training

enum Ending {
  private static let environment = ProcessInfo.processInfo.environment

  /// True for rank 0 and outside of mpirun; known before MPI starts.
  static var isFirst: Bool { (environment["OMPI_COMM_WORLD_RANK"] ?? "0") == "0" }

  /// For an error that every rank meets before MPI starts.
  static func everywhere(_ error: RunError) -> Never {
    if isFirst { say("Error: \(error.message)") }
    if environment["OMPI_COMM_WORLD_SIZE"] != nil, let group = try? ProcessGroup() {
      // mpirun ends all ranks when the first one ends in error: not before it has been told.
      try? group.barrier()
      group.finalize()
    }
    exit(error.code.rawValue)
  }

  /// Starts MPI, runs `body`, and ends MPI in a way that suits the outcome.
  static func withProcessGroup(_ body: (ProcessGroup) throws -> ExitCode) throws {
    let group = try ProcessGroup()
    do {
      let code = try body(group)
      try group.barrier()
      group.finalize()
      exit(code.rawValue)
    } catch let shared as SharedError {
      if group.rank == 0 { say("Error: \(shared.error.message)") }
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
