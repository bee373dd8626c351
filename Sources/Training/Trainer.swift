// A training run, from set-up to the last line of its reports.
import Collectives
import Datasets
import Diagnostics
import Foundation
import Models
import Optimizers
import Reports
import Tensors

/// The one place where the stages meet: data -> model -> exchange -> optimizer -> reports.
public final class Trainer {
  let configuration: RunConfiguration
  let group: ProcessGroup
  let train: any Dataset
  let test: any Dataset
  let replica: Replica
  let step: GradientStep
  let weightFile: WeightFile
  let evaluator: Evaluator
  let loaders: [BatchLoader]
  var state: RunState
  var checkpointFailure = FailureNote()
  /// Since a checkpoint was last tried.
  var sinceSaving = Stopwatch()
  /// Of the newest checkpoint that this attempt has written.
  var savedStep: Int?
  /// Of rank 0, on the output folder, to the end of the process.
  var lock: FileLock?

  /// Opens the data, checks the configuration and that all ranks agree; writes nothing.
  ///
  /// - Throws: `SharedError`, the same on all ranks.
  public init(_ given: RunConfiguration, group: ProcessGroup) throws {
    self.group = group
    var (c, train, test) = try group.together {
      try given.validate(ranks: group.size)
      // Not before it is known to be a time.
      group.stallTimeout = given.stallTimeout
      let train = try DataSetup.open(.train, given)
      let test = try DataSetup.open(.test, given)
      let c = try DataSetup.fit(given, to: train, ranks: group.size)
      _ = try ShardPlan(shards: c.resolvedShards, ranks: group.size, threads: c.threads)
      return (c, train, test)
    }
    try Agreement.checkRun(
      group, c, data: [train.fingerprint, test.fingerprint])
    if let choice = try c.settleBuckets(group), group.rank == 0 { say(choice.note) }
    configuration = c
    self.train = train
    self.test = test
    let replica = try group.together { [c] in try Replica(c, group: group) }
    self.replica = replica
    let trainLoader = DataSetup.loader(train, c, training: true)
    let testLoader = DataSetup.loader(test, c, training: false)
    loaders = [trainLoader, testLoader]
    step = GradientStep(group: group, replica: replica, loader: trainLoader, configuration: c)
    evaluator = Evaluator(
      group: group, engines: replica.engines, loader: testLoader, criterion: c.criterion,
      meanOverBatches: c.model.referenceQuirks ? c.batchSize : nil)
    weightFile = WeightFile(
      c.model, replica.engines[0],
      data: .init(
        dataset: c.dataset, imagenetTransform: c.imagenetTransform, classNames: train.classNames,
        criterion: c.criterion, normalization: c.normalization))
    state = RunState(
      c, data: ["training data": train.fingerprint, "test data": test.fingerprint])
  }

  deinit { for loader in loaders { loader.stop() } }

  /// Trains to the end, or to a stop request.
  ///
  /// - Returns: done, or preempted after a checkpoint.
  /// - Throws: `SharedError` for what all ranks know of, any other error for what this one alone does.
  public func run() throws -> ExitCode {
    let resumed = try begin()
    let reports = try group.together { try openReports(resumed: resumed) }
    do {
      return try runEpochs(reports)
    } catch {
      reports?.fail(error)
      throw error
    }
  }

  /// - Returns: nil on other ranks than 0.
  private func openReports(resumed: Bool) throws -> RunReports? {
    guard group.rank == 0 else { return nil }
    do {
      return try RunReports(self, resumed: resumed, complete: isComplete)
    } catch {
      if !isComplete { RunReports.fail(error, in: configuration.outputFolder) }
      throw error
    }
  }

  var parameters: FloatSlab { replica.parameters }

  var isAtEnd: Bool { isAtEnd(state) }

  private func isAtEnd(_ state: RunState) -> Bool {
    state.epoch > configuration.epochs
      || (configuration.maxSteps > 0 && state.step >= configuration.maxSteps)
  }

  var isComplete: Bool { state.finished && isAtEnd }

  /// The run was killed after `--max_steps` steps, before it had told what came of them.
  private var hasUnreportedEpoch: Bool { isAtEnd && state.stepInEpoch > 0 && !state.finished }

  private func runEpochs(_ reports: RunReports?) throws -> ExitCode {
    if isComplete {
      try reports?.alreadyComplete(state)
      return .done
    }
    state.finished = false
    reports?.begin()
    while !isAtEnd || hasUnreportedEpoch {
      let clock = Stopwatch()
      step.startLoading(epoch: state.epoch, fromStep: state.stepInEpoch)
      while state.stepInEpoch < step.perEpoch, !isAtEnd {
        let rate = learningRate(stepInEpoch: state.stepInEpoch)
        let result = try step.run(
          step: state.step + 1, batch: state.stepInEpoch, learningRate: rate,
          checkpointDue: isTimeForCheckpoint)
        state.step += 1
        state.stepInEpoch += 1
        state.training.add(result.statistics)
        state.replacedImages += result.replacedImages
        state.secondsWaiting = (state.secondsWaiting ?? 0) + result.secondsWaiting
        try reports?.step(result, state: state, learningRate: rate)
        if result.stopRequested && !isAtEnd {
          state.secondsInEpoch += clock.seconds
          try save(state, reports)
          return try preempted(state, reports)
        }
        if result.checkpointDue || isDue(configuration.checkpointEvery, state.step),
          state.stepInEpoch < step.perEpoch, !isAtEnd
        {
          var resumable = state
          resumable.secondsInEpoch += clock.seconds
          try saveIfPossible(resumable, reports)
        }
      }
      let isWhole = state.stepInEpoch == step.perEpoch
      // Of the last step, which an attempt before this one may have made.
      let rate = learningRate(stepInEpoch: state.stepInEpoch - 1)
      guard try isWhole ? finishEpoch(clock, rate, reports) : stopInMidEpoch(clock, rate, reports)
      else { return .preempted }
    }
    try writeTrace()
    try reports?.done(state)
    return .done
  }

  /// - Parameter stepInEpoch: of the epoch under way, from 0.
  private func learningRate(stepInEpoch: Int) -> Double {
    state.schedule.rate(
      epoch: state.epoch, stepInEpoch: stepInEpoch, stepsPerEpoch: step.perEpoch)
  }

  private func preempted(_ state: RunState, _ reports: RunReports?) throws -> ExitCode {
    try writeTrace()
    try reports?.preempted(state)
    return .preempted
  }

  /// Before the status says that the run has ended; which it has, with or without this file.
  private func writeTrace() throws {
    guard let timeline = replica.timeline else { return }
    do {
      try group.writeTrace(timeline, to: "\(configuration.outputFolder)/trace.json")
    } catch let shared as SharedError {
      if group.rank == 0 { say("Note: \(shared.error.message)") }
    }
  }

  private func isDue(_ every: Int, _ count: Int) -> Bool { every > 0 && count % every == 0 }

  private var keepsCheckpoints: Bool {
    configuration.checkpointEveryEpoch + configuration.checkpointEvery > 0
  }

  private var isTimeForCheckpoint: Bool {
    keepsCheckpoints && configuration.checkpointMinutes > 0
      && sinceSaving.seconds >= 60 * configuration.checkpointMinutes
  }

  /// - Returns: false if the run was asked to stop before the epoch was evaluated.
  private func finishEpoch(
    _ clock: Stopwatch, _ rate: Double, _ reports: RunReports?
  ) throws -> Bool {
    var next = state
    next.beginEpoch(state.epoch + 1)
    let endsRun = isAtEnd(next)
    let saves =
      isDue(configuration.checkpointEveryEpoch, state.epoch)
      || isDue(configuration.checkpointEvery, state.step) || (endsRun && keepsCheckpoints)
    guard let (test, weights) = try evaluate(clock, saves: saves, reports) else { return false }
    state.epochSeconds.append(state.secondsInEpoch + clock.seconds)
    let isBest = noteBest(test)
    state.schedule.observe(testLoss: test.loss)
    try tellEpoch(rate, test, weights, isBest: isBest, reports)
    state.beginEpoch(state.epoch + 1)
    state.finished = endsRun
    if saves { try endsRun ? save(state, reports) : saveIfPossible(state, reports) }
    return true
  }

  /// `--max_steps` was reached: what the epoch has so far is reported, and a later run with more
  /// steps goes on from here as if it had never stopped.
  ///
  /// - Returns: false if the run was asked to stop before that.
  private func stopInMidEpoch(
    _ clock: Stopwatch, _ rate: Double, _ reports: RunReports?
  ) throws -> Bool {
    var resumable = state
    resumable.secondsInEpoch += clock.seconds
    guard let (test, weights) = try evaluate(clock, saves: keepsCheckpoints, reports)
    else { return false }
    state.epochSeconds.append(state.secondsInEpoch + clock.seconds)
    // A later run forgets this evaluation, and has to find the best weights of whole epochs.
    let isBest = state.bestEpoch == 0 && noteBest(test)
    try tellEpoch(rate, test, weights, isBest: isBest, reports)
    state.finished = true
    resumable.finished = true
    if keepsCheckpoints { try save(resumable, reports) }
    return true
  }

  /// Evaluates the weights that the run is for, which may take long: so a checkpoint is written before.
  ///
  /// - Parameters:
  ///   - clock: of this attempt at the epoch.
  ///   - saves: or else only if the run is asked to stop.
  /// - Returns: with the weights, valid until the next checkpoint; nil if it was; then there is a checkpoint.
  private func evaluate(
    _ clock: Stopwatch, saves: Bool, _ reports: RunReports?
  ) throws -> (SplitResult, FloatSlab)? {
    var resumable = state
    resumable.secondsInEpoch += clock.seconds
    if saves { try saveIfPossible(resumable, reports) }
    group.phase = .evaluation(afterStep: state.step)
    let weights = try replica.deployedWeights()
    let means = try replica.timeline.span("evaluate", state.epoch) {
      try evaluator.evaluate(parameters: weights.slab.base, packed: weights.packed)
    }
    guard let means else {
      if !saves || savedStep != state.step { try save(resumable, reports) }
      _ = try preempted(resumable, reports)
      return nil
    }
    guard means.result.loss.isFinite else {
      throw SharedError(
        error: RunError(
          .notFinite,
          """
          After step \(state.step) the test loss is \(means.result.loss), a finite number was expected.
          \(notFiniteAdvice)
          """))
    }
    // Before the weights are written.
    try compareWeights(parameters)
    if replica.average != nil { try compareWeights(weights.slab) }
    state.secondsWaiting = (state.secondsWaiting ?? 0) + evaluator.secondsWaiting
    // Rank 0 writes files now.
    group.phase = .other
    try reports?.evaluated(evaluator)
    return (means.result, weights.slab)
  }

  private func noteBest(_ test: SplitResult) -> Bool {
    guard test.top1 > state.bestTop1 else { return false }
    state.bestTop1 = test.top1
    state.bestEpoch = state.epoch
    return true
  }

  /// What an epoch has come to, in the reports and as weights.
  private func tellEpoch(
    _ rate: Double, _ test: SplitResult, _ weights: FloatSlab, isBest: Bool,
    _ reports: RunReports?
  ) throws {
    let peaks = try group.allGather([Double(MemoryUse.peak)]).map { $0[0] }
    let folder = configuration.outputFolder
    try group.together {
      guard group.rank == 0 else { return }
      try reports?.epoch(
        state, learningRate: rate, test: test, peakMemory: Int(peaks.max() ?? 0))
      try weightFile.write(weights.base, to: "\(folder)/model.safetensors")
      guard isBest else { return }
      state.bestChecksum = try weightFile.write(weights.base, to: "\(folder)/best.safetensors")
    }
  }
}
