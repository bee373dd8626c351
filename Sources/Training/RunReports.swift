// What rank 0 tells of a run: the files in the output folder and the lines on stderr.
import Collectives
import Diagnostics
import Foundation
import Models
import Reports
import TensorFiles
import Tensors

final class RunReports {
  private let configuration: RunConfiguration
  private let folder: String
  private let trainer: RunDescription
  private let metrics: LineLog
  private let results: LineLog
  private var imagesSinceLine = 0
  private var lastLine = ContinuousClock.now
  private var lastProgress = ContinuousClock.now
  private var lastStatus = ContinuousClock.now
  private var imagesSinceProgress = 0
  private var secondsWaiting = 0.0
  private var lastEpoch = ContinuousClock.now
  private var replacedInEvaluation = 0
  private let badImages: BadImageList
  private var position: (step: Int, epoch: Int)

  init(_ trainer: Trainer, resumed: Bool) throws {
    configuration = trainer.configuration
    folder = configuration.outputFolder
    self.trainer = RunDescription(trainer)
    let state = trainer.state
    position = (state.step, state.epoch)
    metrics = try LineLog(path: "\(folder)/metrics.jsonl") {
      resumed && Self.isBefore(state, metric: $0)
    }
    badImages = BadImageList(path: "\(folder)/bad-images.txt", resumed: resumed)
    results = try LineLog(path: "\(folder)/train_eval_results.txt") {
      resumed && Self.isBefore(state, result: $0)
    }
    if resumed {
      try metrics.write(jsonObject([("event", .text("resume")), ("step", .integer(state.step))]))
    } else {
      try metrics.write(
        jsonObject([
          ("event", .text("start")), ("ranks", .integer(trainer.group.size)),
          ("threads", .integer(configuration.threads)),
          ("parameters", .integer(trainer.parameters.count)),
          ("bucket_mb", .integer(configuration.bucketMegabytes)),
        ]))
      try results.write(self.trainer.resultsHeader)
    }
    try AtomicFile.write(Data(self.trainer.arguments.utf8), to: "\(folder)/args.txt")
    try AtomicFile.write(Data(self.trainer.architecture.utf8), to: "\(folder)/model.txt")
    try status("running")
  }

  /// What lies after the resumed step is told again, so its lines go.
  private static func isBefore(_ state: RunState, metric line: String) -> Bool {
    guard let object = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
    else { return false }
    switch object["event"] as? String {
    case "step": return (object["step"] as? Int ?? .max) <= state.step
    case "epoch", "data": return (object["epoch"] as? Int ?? .max) < state.epoch
    case "done": return false
    default: return true
    }
  }

  private static func isBefore(_ state: RunState, result line: String) -> Bool {
    if line.hasPrefix("GFLOPs") { return true }
    guard line.hasPrefix("[Epoch ") else { return false }
    return Int(line.dropFirst(7).prefix { $0.isNumber }).map { $0 < state.epoch } ?? false
  }

  private func status(_ state: String, code: ExitCode = .done, reason: String = "") throws {
    try writeStatus(
      to: "\(folder)/status.json", state: state, step: position.step, epoch: position.epoch,
      exitCode: code.rawValue, reason: reason)
  }

  func begin() {
    say(trainer.summary)
    if configuration.reduce == .mpi {
      say("Note: --reduce mpi gives up the promise of equal bits on any number of ranks.")
    }
    lastLine = .now
    lastProgress = .now
    lastEpoch = .now
  }

  func step(_ result: StepResult, state: RunState, learningRate: Double) throws {
    position = (state.step, state.epoch)
    imagesSinceLine += result.statistics.images
    imagesSinceProgress += result.statistics.images
    secondsWaiting += result.secondsWaiting
    try badImages.add(result.badImages, split: "train")
    let loss = result.statistics.loss / Double(result.statistics.images)
    progress(result, state, loss: loss, learningRate: learningRate)
    noteStep()
    guard state.step % configuration.logEvery == 0 else { return }
    let speed = Double(imagesSinceLine) / max(lastLine.secondsUntilNow, 1e-9)
    try metrics.write(
      jsonObject([
        ("event", .text("step")), ("epoch", .integer(state.epoch)), ("step", .integer(state.step)),
        ("loss", .number(loss)), ("grad_norm", .number(result.gradientNorm)),
        ("lr", .number(learningRate)), ("images_per_second", .number(speed)),
      ]))
    imagesSinceLine = 0
    lastLine = .now
  }

  /// Once a second, for whoever looks after the run. A full disk must not end it here.
  private func noteStep() {
    guard lastStatus.secondsUntilNow > 1 else { return }
    try? writeStatus(
      to: "\(folder)/status.json", state: "running", step: position.step, epoch: position.epoch,
      exitCode: 0, reason: "", durable: false)
    lastStatus = .now
  }

  private func progress(
    _ result: StepResult, _ state: RunState, loss: Double, learningRate: Double
  ) {
    let seconds = lastProgress.secondsUntilNow
    guard configuration.showProgress, seconds > 5 else { return }
    let speed = Double(imagesSinceProgress) / seconds
    let total = trainer.stepsPerEpoch
    var stepsLeft = total - state.stepInEpoch + total * (configuration.epochs - state.epoch)
    if configuration.maxSteps > 0 {
      stepsLeft = min(stepsLeft, configuration.maxSteps - state.step)
    }
    let left = Int(Double(stepsLeft) * Double(configuration.batchSize) / speed)
    say(
      String(
        format:
          "epoch %3d  step %5d/%d  loss %.4f  lr %.1e  norm %.2f  %.0f img/s  left %d:%02d:%02d",
        state.epoch, state.stepInEpoch, total, loss, learningRate, result.gradientNorm, speed,
        left / 3600, left / 60 % 60, left % 60))
    imagesSinceProgress = 0
    lastProgress = .now
  }

  func evaluated(_ evaluator: Evaluator) throws {
    secondsWaiting += evaluator.secondsWaiting
    replacedInEvaluation = evaluator.replacedImages
    try badImages.add(evaluator.badImages, split: "test")
  }

  func epoch(_ state: RunState, learningRate: Double, test: SplitResult) throws {
    let seconds = state.epochSeconds.last ?? 0
    let train = state.training.result
    let speed = Double(state.training.images) / max(seconds, 1e-9)
    try results.write(epochLine(epoch: state.epoch, seconds: seconds, train: train, test: test))
    try metrics.write(
      jsonObject([
        ("event", .text("epoch")), ("epoch", .integer(state.epoch)),
        ("train_loss", .number(train.loss)), ("train_top1", .number(train.top1)),
        ("train_top5", .number(train.top5)), ("test_loss", .number(test.loss)),
        ("test_top1", .number(test.top1)), ("test_top5", .number(test.top5)),
        ("lr", .number(learningRate)), ("seconds", .number(seconds)),
        ("images_per_second", .number(speed)),
      ]))
    let replaced = state.replacedImages + replacedInEvaluation
    try metrics.write(
      jsonObject([
        ("event", .text("data")), ("epoch", .integer(state.epoch)),
        ("seconds_waiting", .number(secondsWaiting)), ("bad_images", .integer(replaced)),
      ]))
    say(
      String(
        format:
          "epoch %3d  train loss %.4f top-1 %.2f %%  test loss %.4f top-1 %.2f %%  %.1f s  %.1f img/s"
          + "  waiting for data %.1f %%",
        state.epoch, train.loss, train.top1, test.loss, test.top1, seconds, speed,
        100 * secondsWaiting / max(lastEpoch.secondsUntilNow, 1e-9)))
    if replaced > 0 {
      say("           \(replaced) damaged images replaced by others, see \(badImages.path)")
    }
    secondsWaiting = 0
    lastEpoch = .now
    replacedInEvaluation = 0
    try status("running")
    imagesSinceLine = 0
    lastLine = .now
    imagesSinceProgress = 0
    lastProgress = .now
  }

  func done(_ state: RunState) throws {
    let mean = state.epochSeconds.reduce(0, +) / Double(max(state.epochSeconds.count, 1))
    try results.write(String(format: "Average Epoch Time: %.4fs", mean))
    try results.write(
      String(format: "Max Accuracy: %.4f%% at Epoch %d", state.bestTop1, state.bestEpoch))
    try metrics.write(
      jsonObject([
        ("event", .text("done")), ("step", .integer(state.step)),
        ("best_top1", .number(state.bestTop1)), ("best_epoch", .integer(state.bestEpoch)),
      ]))
    try status("done", reason: "complete")
    say(
      String(
        format: "Best test top-1 %.2f %% (epoch %d). Results: %@", state.bestTop1,
        state.bestEpoch, folder))
  }

  func alreadyComplete() throws {
    try metrics.write(jsonObject([("event", .text("done")), ("step", .integer(position.step))]))
    try status("done", reason: "complete")
    say("The run in \(folder) is complete (step \(position.step)). --resume never starts over.")
  }

  func preempted(_ state: RunState) throws {
    try status("preempted", code: .preempted, reason: "stopped by a signal after a checkpoint")
    say(
      "Stopped after step \(state.step), checkpoint written; the same command goes on from there.")
  }

  /// Best effort: the run is ending with another error already.
  func fail(_ error: any Error) {
    let failure = (error as? SharedError)?.error ?? error as? RunError
    try? status(
      "failed", code: failure?.code ?? .rankDied, reason: failure?.message ?? "\(error)")
  }
}
