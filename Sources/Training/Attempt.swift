// Which attempt at a run this is, by the launcher's count.
import Conventions
import Foundation

enum Attempt {
  /// The job of Slurm that has been put back into the queue and started again; nil for a first start.
  static var requeuedJob: String? {
    let environment = ProcessInfo.processInfo.environment
    let starts = environment["SLURM_RESTART_COUNT"].flatMap { Int($0) } ?? 0
    return starts > 0 ? job : nil
  }

  /// The job of Slurm that this process belongs to.
  static var job: String? { ProcessInfo.processInfo.environment["SLURM_JOB_ID"] }

  /// 0 for the first one, and without the launcher; above that a run is started again after a loss.
  static var number: Int {
    ProcessInfo.processInfo.environment[RunConventions.attemptVariable].flatMap { Int($0) } ?? 0
  }
}
