// Saving a run, and going on from where it was.
import Collectives
import Diagnostics
import Foundation
import Optimizers
import Reports
import TensorFiles
import Tensors

extension Trainer {
  private var checkpoints: CheckpointFolder {
    CheckpointFolder(
      folder: "\(configuration.outputFolder)/checkpoints", keep: configuration.checkpointKeep)
  }

  /// Writes a checkpoint; all ranks call it after the same step.
  ///
  /// - Parameters:
  ///   - state: where a later run goes on.
  ///   - reports: what they have told, a run that goes on from there does not tell again.
  func save(_ state: RunState, _ reports: RunReports?) throws {
    group.phase = .checkpoint(afterStep: state.step)
    defer { triedToSave = .now }
    try replica.timeline.span("checkpoint", state.step) { try writeCheckpoint(state, reports) }
  }

  /// As `save`, for a run that goes on all the same: at most the steps to the next checkpoint are lost.
  ///
  /// - Throws: `SharedError`, but not because files cannot be written.
  func saveIfPossible(_ state: RunState, _ reports: RunReports?) throws {
    do {
      try save(state, reports)
      savedStep = state.step
      checkpointFailure.end()
    } catch let shared as SharedError where shared.error.code == .configuration {
      guard group.rank == 0 else { return }
      checkpointFailure.tell(
        shared.error, "The run goes on; the next checkpoint is tried when it is due.")
    }
  }

  /// - Throws: `SharedError` (ranksDisagree) before anything is written that only some ranks hold.
  func compareWeights(_ weights: FloatSlab) throws {
    try checkWeights(
      group.allGather(weightFingerprint(weights)), hosts: group.hosts, "After step \(state.step)")
  }

  private func writeCheckpoint(_ state: RunState, _ reports: RunReports?) throws {
    try compareWeights(parameters)
    // The same on all ranks.
    guard parameters.buffer.allSatisfy(\.isFinite) else {
      throw SharedError(
        error: RunError(
          .notFinite,
          """
          After step \(state.step) some weights are not finite.
          \(notFiniteAdvice)
          """))
    }
    let slices = replica.slices
    let whole = try replica.exchange.gatherSlices(slices.map { UnsafePointer($0.slab.base) })
    try group.together {
      guard group.rank == 0 else { return }
      try reports?.synchronize()
      try checkpoints.save(step: state.step) { folder in
        try weightFile.write(parameters.base, to: "\(folder)/weights.safetensors")
        let tensors = zip(slices, whole).flatMap { slice, slab in
          replica.layout.places.map {
            TensorToWrite(
              name: "\(slice.name).\($0.spec.name)", shape: $0.spec.shape,
              values: slab + $0.offset)
          }
        }
        try writeSafetensors(to: "\(folder)/optimizer.safetensors", metadata: [:], tensors: tensors)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
        try AtomicFile.write(encoder.encode(state), to: "\(folder)/state.json")
      }
    }
  }

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

  private func adopt(_ path: String) throws {
    var stored = try RunState(checkpoint: path)
    var differences = state.differences(from: stored)
    let isBranch = configuration.resume == path && !checkpoints.contains(path)
    if isBranch {
      let changed = state.differences(from: stored, in: RunConfiguration.branchFlags)
      differences.removeAll(where: changed.contains)
      if differences.isEmpty, !changed.isEmpty {
        say(
          "Note: from here on another run than that of \(path):\n" + changed.joined(separator: "\n")
        )
        stored.configuration = state.configuration
        stored.schedule = state.schedule
      }
    }
    guard differences.isEmpty else {
      let more = differences.count > 3 ? "\nand \(differences.count - 3) more" : ""
      throw RunError.configuration(
        "\(path) belongs to another run:\n"
          + differences.prefix(3).joined(separator: "\n") + more
          + "\nUse those flags and data, another --output_dir, or --resume never to start over.")
    }
    if stored.schedule.epochs != configuration.epochs {
      if stored.schedule.kind == .cosine {
        say(
          "Note: --num_epochs \(configuration.epochs) instead of \(stored.schedule.epochs) changes"
            + " the cosine schedule from here on.")
      }
      stored.schedule.epochs = configuration.epochs
    }
    try checkFirstWeights(stored, path)
    guard stored.stepInEpoch <= step.perEpoch else {
      throw RunError(
        .checkpointDamaged,
        "\(path)/state.json: step \(stored.stepInEpoch) of an epoch that has \(step.perEpoch)."
      )
    }
    let (products, job) = (state.products, state.job)
    try weightFile.read(into: parameters.base, from: "\(path)/weights.safetensors")
    state = stored
    state.job = job
    if isBranch { state.branchedFrom = path }
    if state.products != products, !isComplete {
      say(
        """
        Note: so far products were made as \(state.products), now as \(products): last bits will differ \
        from those of a run that never stopped.
        """)
      state.products = products
    }
    if checkpoints.contains(path) { try checkpoints.removeAll(after: state.step) }
    if configuration.resume == path { try takeOver(path) }
  }

  /// - Throws: `RunError` (configuration) where `--init_from` names other weights than the run began with.
  private func checkFirstWeights(_ stored: RunState, _ path: String) throws {
    guard let file = configuration.initFrom, file != stored.firstWeights?.path else { return }
    let given = try RunState.FirstWeights(path: file)
    guard given.checksum != stored.firstWeights?.checksum else { return }
    let first = stored.firstWeights.map { "with those of \($0.path)" } ?? "with random weights"
    throw RunError.configuration(
      """
      \(path) belongs to a run that began \(first), not with those of --init_from \(file).
      Leave --init_from out to go on with it, or give another --output_dir, or --resume never to start over.
      """)
  }

  /// The weights that lie beside a checkpoint which the user has named may be those of another folder, or
  /// of a later epoch.
  private func takeOver(_ path: String) throws {
    let folder = configuration.outputFolder
    let best =
      URL(fileURLWithPath: path).resolvingSymlinksInPath()
      .deletingLastPathComponent().deletingLastPathComponent().path + "/best.safetensors"
    let ownBest = "\(folder)/best.safetensors"
    // What the run has evaluated so far; a branch that averages no longer goes on from the trained weights.
    let evaluated = try storedAverage(SafetensorsFile(path: slicesPath(path))) ?? parameters
    let deployed = replica.average == nil ? parameters : evaluated
    try weightFile.write(deployed.base, to: "\(folder)/model.safetensors")
    // The checkpoint may hold them itself.
    if state.bestEpoch > 0, state.stepInEpoch == 0, state.bestEpoch == state.epoch - 1 {
      state.bestChecksum = try weightFile.write(evaluated.base, to: ownBest)
      return
    }
    guard let expected = state.bestChecksum, try weightFile.checksum(of: best) == expected else {
      if state.bestEpoch > 0 {
        say(
          "Note: the best weights up to this checkpoint, of epoch \(state.bestEpoch), are not there any"
            + " more; best.safetensors will be the best from here on.")
      }
      if !isAtEnd { (state.bestTop1, state.bestEpoch, state.bestChecksum) = (-1, 0, nil) }
      try? FileManager.default.removeItem(atPath: ownBest)
      return
    }
    guard !checkpoints.contains(path), let data = FileManager.default.contents(atPath: best) else {
      return
    }
    try AtomicFile.write(data, to: ownBest)
  }

  private func slicesPath(_ checkpoint: String) -> String { "\(checkpoint)/optimizer.safetensors" }

  /// Rank 0 reads the optimizer's moments and the average, every rank keeps its slices.
  private func spreadSlices(_ path: String?) throws {
    let file = try group.together { try path.map { try SafetensorsFile(path: slicesPath($0)) } }
    for slice in replica.slices {
      let whole = try group.together {
        guard let file else { return FloatSlab(count: parameters.count) }
        // A branch that begins to average begins with the weights.
        if slice.name == WeightAverage.name { return try storedAverage(file) ?? parameters }
        return try stored(slice.name, file)
      }
      try group.broadcast(whole.base, count: whole.count)
      replica.exchange.pickSlices(of: whole.base, into: slice.slab.base)
    }
  }

  /// - Returns: nil for a checkpoint of a run that did not average.
  private func storedAverage(_ file: SafetensorsFile) throws -> FloatSlab? {
    let holdsOne = file.tensors.contains { $0.name.hasPrefix("\(WeightAverage.name).") }
    return holdsOne ? try stored(WeightAverage.name, file) : nil
  }

  private func stored(_ name: String, _ file: SafetensorsFile) throws -> FloatSlab {
    let whole = FloatSlab(count: parameters.count)
    for place in replica.layout.places {
      let values = try file.floats("\(name).\(place.spec.name)")
      guard values.count == place.spec.count else {
        throw RunError(
          .checkpointDamaged, "\(file.path): \(place.spec.name) has \(values.count) values.")
      }
      (whole.base + place.offset).update(from: values, count: values.count)
    }
    return whole
  }
}
