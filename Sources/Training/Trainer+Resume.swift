// Going on from a checkpoint.
import Collectives
import Diagnostics
import Files
import Foundation
import Optimizers
import Reports
import TensorFiles
import Tensors

extension Trainer {
  /// Brings this rank to a checkpoint, whose run must be this one, or one that this one may branch from.
  ///
  /// - Throws: `RunError` (configuration, checkpointDamaged).
  func adopt(_ path: String) throws {
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
        try checkMoments(of: stored, path)
        stored.configuration = state.configuration
        let earlier = stored.schedule
        stored.schedule = state.schedule
        stored.schedule.goOn(from: earlier)
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
    let right = stored.firstWeights.map { "Give --init_from \($0.path)" } ?? "Leave --init_from out"
    throw RunError.configuration(
      """
      \(path) belongs to a run that began \(first), not with those of --init_from \(file).
      \(right) to go on with it, or give another --output_dir, or --resume never to start over.
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

  /// While the classifier alone learns, the optimizer counts steps and has no moments of the rest: that it would
  /// take for gradients of zero, and step too far for hundreds of steps.
  ///
  /// - Throws: `RunError` (configuration) if the rest is to learn from here on.
  private func checkMoments(of stored: RunState, _ path: String) throws {
    let isProbe = stored.configuration.contains {
      $0.flag == "layer_decay" && Double($0.value) == 0
    }
    guard isProbe, configuration.layerDecay > 0 else { return }
    throw RunError.configuration(
      """
      --layer_decay \(configuration.layerDecay): so far only the classifier has learned (--layer_decay 0 in \(path)), so \
      the optimizer knows nothing of the rest.
      Begin a run with its weights instead: --init_from \(path)/weights.safetensors.
      """)
  }

  private func slicesPath(_ checkpoint: String) -> String { "\(checkpoint)/optimizer.safetensors" }

  /// Rank 0 reads the optimizer's moments and the average, every rank keeps its slices.
  func spreadSlices(_ path: String?) throws {
    let file = try group.together { try path.map { try SafetensorsFile(path: slicesPath($0)) } }
    for slice in replica.slices {
      let whole = try group.together {
        guard let file else { return FloatSlab(count: parameters.count) }
        // A branch that begins to average begins with the weights.
        if slice.name == WeightAverage.name { return try storedAverage(file) ?? parameters }
        return try stored(slice.name, file)
      }
      try whole.use {
        try group.broadcast($0, count: whole.count)
        replica.exchange.pickSlices(of: $0, into: slice.slab.base)
      }
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
