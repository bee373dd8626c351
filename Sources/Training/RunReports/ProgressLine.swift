// The line that tells every few seconds how far an epoch is.
import Foundation

struct ProgressLine {
  static let seconds = 5.0

  private let configuration: RunConfiguration
  private let stepsPerEpoch: Int
  private var speed = SpeedMeter()

  init(_ configuration: RunConfiguration, stepsPerEpoch: Int) {
    self.configuration = configuration
    self.stepsPerEpoch = stepsPerEpoch
  }

  /// Forgets the time until now, in which there was other work than steps.
  mutating func restart() { speed.restart() }

  /// - Returns: the line, if it is time for one.
  mutating func text(
    after result: StepResult, state: RunState, learningRate: Double
  ) -> String? {
    speed.add(result.statistics.images)
    guard configuration.showProgress, speed.seconds > Self.seconds else { return nil }
    defer { speed.restart() }
    let left = Int(
      Double(stepsLeft(state) * configuration.batchSize) / speed.imagesPerSecond)
    return String(
      format:
        "epoch %3ld  step %5ld/%ld  loss %.4f  lr %.1e  norm %.2f  %.0f img/s  left %ld:%02ld:%02ld",
      state.epoch, state.stepInEpoch, stepsPerEpoch, result.meanLoss, learningRate,
      result.gradientNorm, speed.imagesPerSecond, left / 3600, left / 60 % 60, left % 60)
  }

  private func stepsLeft(_ state: RunState) -> Int {
    let left =
      stepsPerEpoch - state.stepInEpoch + stepsPerEpoch * (configuration.epochs - state.epoch)
    return configuration.maxSteps > 0 ? min(left, configuration.maxSteps - state.step) : left
  }
}
