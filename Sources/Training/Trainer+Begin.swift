// Where a run begins: anew, or from which checkpoint.
import Collectives
import Diagnostics
import Foundation
import Optimizers
import Reports
import Tensors

extension Trainer {
  /// Makes the output folder, and brings weights and state to where the run is to go on; only rank 0
  /// reads and writes files.
  ///
  /// - Returns: on rank 0, whether the run goes on where the reports in the output folder end.
  func begin() throws -> Bool {
    let folder = configuration.outputFolder
    let path = try group.together { () throws -> String? in
      guard group.rank == 0 else { return nil }
      do {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      } catch {
        throw RunError.configuration(
          """
          --output_dir \(folder) cannot be made: \(systemReason(of: error)).
          Give a folder where you may write.
          """)
      }
      guard access(folder, W_OK) == 0 else {
        throw RunError.configuration(
          "--output_dir \(folder) is not writable: \(systemErrorText()).")
      }
      lock = try lockOutput(folder)
      do {
        return try prepare()
      } catch {
        if endsRun(error) { RunReports.fail(error, in: folder) }
        throw error
      }
    }
    let description = path.map { Array($0.utf8) } ?? []
    let resumed = try !group.broadcast(description).isEmpty
    if resumed {
      let encoded = try group.broadcast([UInt8](JSONEncoder().encode(state)))
      state = try JSONDecoder().decode(RunState.self, from: Data(encoded))
    }
    if resumed || configuration.initFrom != nil {
      try group.broadcast(parameters.base, count: parameters.count)
      replica.startAverage()
    }
    if resumed { try spreadSlices(path) }
    return path.map(checkpoints.contains) ?? false
  }

  /// Brings this rank to where the run is to go on.
  ///
  /// - Returns: the checkpoint, if there is one.
  private func prepare() throws -> String? {
    let path = try checkpointToResume()
    if let path {
      try adopt(path)
    } else {
      try refuseToOverwrite()
      if let file = configuration.initFrom {
        try weightFile.read(
          into: parameters.base, from: file, keepingHead: configuration.newHead)
        state.firstWeights = try .init(path: file)
      }
      try checkpoints.removeAll()
      removeResults()
    }
    return path
  }

  /// What another run has left here under names that this one will write only in an epoch's time: it must not be
  /// taken for this one's. What this one begins with stays.
  private func removeResults() {
    let folder = configuration.outputFolder
    guard RunStatus(file: "\(folder)/status.json") != nil else { return }
    func resolved(_ path: String) -> URL { URL(fileURLWithPath: path).resolvingSymlinksInPath() }
    for name in ["model.safetensors", "best.safetensors", "trace.json"] {
      let path = "\(folder)/\(name)"
      if configuration.initFrom.map(resolved) != resolved(path) { unlink(path) }
    }
  }

  /// A run that is done cannot be gone on with when it has left no checkpoint, nor is it worth nothing.
  ///
  /// - Throws: `RunError` (configuration).
  private func refuseToOverwrite() throws {
    let folder = configuration.outputFolder
    guard configuration.resume == "auto", Attempt.number == 0,
      RunStatus(file: "\(folder)/status.json")?.state == .done
    else { return }
    throw RunError.configuration(
      """
      --output_dir \(folder) holds the results of a run that is done, and no checkpoint to go on from.
      Give another folder, or --resume never to start over in this one.
      """)
  }

  /// Whether the run in the folder cannot go on; or else this one, which may be another, is refused.
  private func endsRun(_ error: any Error) -> Bool {
    Attempt.number > 0
      || (configuration.resume == "auto" && (error as? RunError)?.code == .checkpointDamaged)
  }

  private func checkpointToResume() throws -> String? {
    try checkpoints.recover()
    switch isRestart() ? "auto" : configuration.resume {
    case "never": return nil
    case "auto":
      let found = try checkpoints.newestWhole()
      for note in found.notes { say(note) }
      return found.path
    case let path:
      if let reason = CheckpointFolder.damage(path) {
        let exists = FileManager.default.fileExists(atPath: path)
        throw RunError(
          exists ? .checkpointDamaged : .configuration,
          "--resume \(path) is no whole checkpoint: \(reason).\n"
            + "Give the folder of one (…/checkpoints/step-…), auto or never.")
      }
      guard checkpoints.isEmpty || checkpoints.contains(path) else {
        throw RunError.configuration(
          """
          --output_dir \(configuration.outputFolder) holds checkpoints of another run than \(path).
          Give another folder, or --resume auto to go on with the run in this one.
          """)
      }
      return path
    }
  }

  /// Whether this run has been started again, by the launcher, by Slurm, or by the same command: what lies in the
  /// folder is its own, whatever it began with.
  private func isRestart() -> Bool {
    if Attempt.number > 0 { return !checkpoints.isEmpty }
    let mayBe = Attempt.requeuedJob != nil || !["auto", "never"].contains(configuration.resume)
    guard mayBe, let newest = (try? checkpoints.newestWhole())?.path,
      let stored = try? RunState(checkpoint: newest)
    else { return false }
    return stored.branchedFrom == configuration.resume
      || (stored.job != nil && stored.job == Attempt.requeuedJob)
  }
}
