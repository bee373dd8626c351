// What rank 0 tells of a run: the files in the output folder and the lines on stderr.
import Collectives
import Diagnostics
import Files
import Foundation
import Models
import Reports
import Tensors

final class RunReports {
  private let configuration: RunConfiguration
  private let folder: String
  private let description: RunDescription
  private let hosts: [String]
  private let metrics: LineLog
  /// What metrics.jsonl holds.
  private var history: RunHistory
  private let results: LineLog
  private let badImages: BadImageList
  private var events: RunEvents
  private var page: RunPage
  private var position: (step: Int, epoch: Int)

  /// Since the last line of metrics.jsonl.
  private var speed = SpeedMeter()
  private var progress: ProgressLine
  private var pace: RankPace
  private var paceWindow = Stopwatch()
  /// The slow rank that has been named in this epoch.
  private var namedRank: Int?
  private var sinceStatus = Stopwatch()
  private var replacedInEvaluation = 0

  /// - Parameters:
  ///   - resumed: from a checkpoint of this folder: what lies before its step stays, what lies after it is
  ///     told again.
  ///   - complete: the run has ended before; all that was told of it stays.
  init(_ trainer: Trainer, resumed: Bool, complete: Bool) throws {
    configuration = trainer.configuration
    folder = configuration.outputFolder
    description = RunDescription(trainer)
    let state = trainer.state
    // Before an epoch's first step the last one is that of the epoch before.
    position = (state.step, max(state.stepInEpoch > 0 ? state.epoch : state.epoch - 1, 1))
    var history = RunHistory()
    metrics = try LineLog(path: "\(folder)/metrics.jsonl") { line in
      guard resumed, let record = MetricsRecord(line: line),
        complete || Self.isBefore(state, record)
      else { return false }
      history.add(record)
      return true
    }
    self.history = history
    hosts = trainer.group.hosts
    pace = RankPace(shards: trainer.step.shardsOfRanks)
    progress = ProgressLine(configuration, stepsPerEpoch: description.stepsPerEpoch)
    page = RunPage(path: "\(folder)/report.html", page: description.page)
    events = RunEvents(
      folder: folder, host: trainer.group.hostName, stepsPerEpoch: description.stepsPerEpoch)
    badImages = try BadImageList(path: "\(folder)/bad-images.txt", resumed: resumed)
    // Closing lines that an attempt was killed in the midst of are told again as a whole.
    let isTold = history.isDone
    results = try LineLog(path: "\(folder)/train_eval_results.txt") {
      resumed
        && (complete ? isTold || !Self.isClosing($0) : Self.isBefore(state, result: $0))
    }
    // Before any work is done, a file that cannot be written is worth an error; later these two never are.
    if Attempt.number == 0 {
      try events.open(history, step: position.step)
    } else {
      events.reopen(history, step: position.step)
    }
    if !resumed {
      try tell(
        .start(
          ranks: trainer.group.size, threads: configuration.threads,
          parameters: trainer.parameters.count, bucketMegabytes: configuration.bucketMegabytes))
      try results.write(description.resultsHeader)
    }
    if state.step > 0, !complete || !resumed { try tell(.resume(step: state.step)) }
    // What another command asks of a run that has ended is not what it was.
    guard !complete else { return }
    try AtomicFile.write(Data(description.arguments.utf8), to: "\(folder)/args.txt")
    try AtomicFile.write(Data(description.architecture.utf8), to: "\(folder)/model.txt")
    let running = status(.running)
    if Attempt.number == 0 {
      try page.write(history, running)
    } else {
      page.refresh(history, running)
    }
    try running.write(to: statusPath)
  }

  private static func isBefore(_ state: RunState, _ record: MetricsRecord) -> Bool {
    switch record {
    case .step(let record): record.step <= state.step
    case .slowRank(let record): record.step <= state.step
    case .epoch(let record): record.epoch < state.epoch
    case .data(let record): record.epoch < state.epoch
    case .done: false
    case .start, .resume, .other: true
    }
  }

  /// `done` writes it.
  private static func isClosing(_ line: String) -> Bool {
    line.hasPrefix("Average Epoch Time:") || line.hasPrefix("Max Accuracy:")
  }

  private static func isBefore(_ state: RunState, result line: String) -> Bool {
    if line.hasPrefix("GFLOPs") { return true }
    guard line.hasPrefix("[Epoch ") else { return false }
    return Int(line.dropFirst(7).prefix { $0.isNumber }).map { $0 < state.epoch } ?? false
  }

  private func tell(_ record: MetricsRecord) throws {
    try metrics.write(record.line)
    history.add(record)
    switch record {
    case .step(let record): events.write(record.scalars, step: record.step)
    case .epoch(let record): events.write(record.scalars, step: position.step)
    case .start, .resume, .data, .slowRank, .done, .other: break
    }
  }

  /// What has been told is on disk when this returns.
  func synchronize() throws {
    try metrics.synchronize()
    try results.synchronize()
    events.synchronize()
  }

  /// The status comes last: when it says that the run has ended, all else is there.
  private func tell(
    _ state: RunStatus.State, code: ExitCode = .done, reason: String = ""
  ) throws {
    let status = status(state, code: code, reason: reason)
    try badImages.sort()
    page.refresh(history, status)
    try status.write(to: statusPath)
  }

  private func status(
    _ state: RunStatus.State, code: ExitCode = .done, reason: String = ""
  ) -> RunStatus {
    RunStatus(
      state, step: position.step, epoch: position.epoch, exitCode: code, reason: reason)
  }

  private var statusPath: String { "\(folder)/status.json" }

  func begin() {
    say(description.summary)
    if configuration.reduce == .mpi {
      say("Note: --reduce mpi gives up the promise of equal bits on any number of ranks.")
    }
    speed.restart()
    progress.restart()
  }

  func step(_ result: StepResult, state: RunState, learningRate: Double) throws {
    position = (state.step, state.epoch)
    speed.add(result.statistics.images)
    try badImages.add(result.badImages, split: "train")
    if let line = progress.text(after: result, state: state, learningRate: learningRate) {
      say(line)
    }
    noteStep()
    pace.add(result.computing, step: state.step)
    if paceWindow.seconds > 60 { try notePace(state) }
    guard state.step % configuration.logEvery == 0 else { return }
    try tell(
      .step(
        .init(
          epoch: state.epoch, step: state.step, loss: result.meanLoss,
          gradientNorm: result.gradientNorm, learningRate: learningRate,
          imagesPerSecond: speed.imagesPerSecond)))
    speed.restart()
  }

  /// Once a second, for whoever looks after the run. A full disk must not end it here.
  private func noteStep() {
    guard sinceStatus.seconds > 1 else { return }
    try? status(.running).write(to: statusPath, durable: false)
    sinceStatus.restart()
  }

  /// Names a rank that holds up the others.
  private func notePace(_ state: RunState) throws {
    paceWindow.restart()
    guard let slow = pace.close(), slow.rank != namedRank else { return }
    namedRank = slow.rank
    try tell(
      .slowRank(
        .init(
          epoch: state.epoch, step: state.step, rank: slow.rank, host: hosts[slow.rank],
          timesMedian: slow.timesMedian)))
    say(
      String(
        format:
          "Note: rank %ld on %@ took %.1f times as long as the median rank in steps %ld to %ld; all wait"
          + " for it. Look at that host's load, clock, memory and data.",
        slow.rank, hosts[slow.rank], slow.timesMedian, slow.steps.lowerBound, slow.steps.upperBound)
    )
  }

  func evaluated(_ evaluator: Evaluator) throws {
    replacedInEvaluation = evaluator.replacedImages
    try badImages.add(evaluator.badImages, split: "test")
  }

  /// - Parameter peakMemory: of the rank that has taken most, in bytes.
  func epoch(
    _ state: RunState, learningRate: Double, test: SplitResult, peakMemory: Int
  ) throws {
    let seconds = state.epochSeconds.last ?? 0
    let train = state.training.result
    let imagesPerSecond = Double(state.training.images) / max(seconds, 1e-9)
    try results.write(epochLine(epoch: state.epoch, seconds: seconds, train: train, test: test))
    try tell(
      .epoch(
        .init(
          epoch: state.epoch, train: train, test: test, learningRate: learningRate,
          seconds: seconds, imagesPerSecond: imagesPerSecond,
          isPartial: state.stepInEpoch < description.stepsPerEpoch)))
    let secondsWaiting = state.secondsWaiting ?? 0
    let replaced = state.replacedImages + replacedInEvaluation
    try tell(
      .data(
        .init(
          epoch: state.epoch, secondsWaiting: secondsWaiting, badImages: replaced,
          peakMegabytes: peakMemory / 1_000_000)))
    say(
      String(
        format:
          "epoch %3ld  train loss %.4f top-1 %.2f %%  test loss %.4f top-1 %.2f %%  %.1f s  %.1f img/s"
          + "  waiting for data %.1f %%",
        state.epoch, train.loss, train.top1, test.loss, test.top1, seconds, imagesPerSecond,
        100 * secondsWaiting / max(seconds, 1e-9)))
    if replaced > 0 {
      say("           \(replaced) damaged images replaced by others, see \(badImages.path)")
    }
    replacedInEvaluation = 0
    try notePace(state)
    namedRank = nil
    events.reopen(history, step: position.step)
    try tell(.running)
    speed.restart()
    progress.restart()
  }

  func done(_ state: RunState) throws {
    let mean = state.epochSeconds.reduce(0, +) / Double(max(state.epochSeconds.count, 1))
    try results.write(String(format: "Average Epoch Time: %.4fs", mean))
    try results.write(
      String(format: "Max Accuracy: %.4f%% at Epoch %ld", state.bestTop1, state.bestEpoch))
    try tell(
      .done(.init(step: state.step, bestTop1: state.bestTop1, bestEpoch: state.bestEpoch)))
    try tell(.done, reason: "complete")
    let peak = history.data.values.map(\.peakMegabytes).max() ?? 0
    say(
      String(
        format: "Best test top-1 %.2f %% (epoch %ld). Peak memory of a rank %ld MB. Results: %@",
        state.bestTop1, state.bestEpoch, peak, folder))
  }

  func alreadyComplete(_ state: RunState) throws {
    if history.isDone {
      try badImages.sort()
      // Made of this command's flags, which may be others than the run's.
      let status = status(.done, reason: "complete")
      if !page.exists { page.refresh(history, status) }
      try status.write(to: statusPath)
    } else {
      // An attempt was killed at the very end. Its checkpoint leaves out a part of an epoch.
      var told = state
      if let last = history.epochs.last, last.isPartial {
        told.epochSeconds.append(last.seconds)
        if told.bestEpoch == 0 { (told.bestEpoch, told.bestTop1) = (last.epoch, last.test.top1) }
      }
      try done(told)
    }
    say("The run in \(folder) is complete (step \(position.step)). --resume never starts over.")
  }

  func preempted(_ state: RunState) throws {
    try tell(.preempted, code: .preempted, reason: "stopped by a signal after a checkpoint")
    say(
      "Stopped after step \(state.step), checkpoint written; the same command goes on from there.")
  }

  /// Best effort: the run is ending with another error already.
  func fail(_ error: any Error) {
    let (code, reason) = Self.ending(error)
    try? badImages.sort()
    let status = status(.failed, code: code, reason: reason)
    try? page.write(history, status)
    try? status.write(to: statusPath)
  }

  /// As `fail`, for a run whose reports are not open.
  static func fail(_ error: any Error, in folder: String) {
    let (code, reason) = ending(error)
    let path = "\(folder)/status.json"
    let last = RunStatus(file: path)
    try? RunStatus(
      .failed, step: last?.step ?? 0, epoch: last?.epoch ?? 1, exitCode: code, reason: reason
    ).write(to: path)
  }

  private static func ending(_ error: any Error) -> (code: ExitCode, reason: String) {
    let failure = (error as? SharedError)?.error ?? error as? RunError
    return (failure?.code ?? .rankDied, failure?.message ?? "\(error)")
  }
}
