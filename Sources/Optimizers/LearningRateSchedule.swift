// The learning rate of every epoch.
import Foundation

public enum SchedulerKind: String, CaseIterable, Codable, Sendable {
  case step, cosine, plateau, none
}

/// Learning rates by epoch (from 1). Warm-up is linear over the first epochs and multiplies the rest.
public struct LearningRateSchedule: Codable, Equatable, Sendable {
  public var kind = SchedulerKind.none
  public var base = 1e-3
  public var epochs = 150
  /// step: factor `gamma` every `stepSize` epochs.
  public var stepSize = 20
  public var gamma = 0.1
  public var minimum = 0.0
  public var warmupEpochs = 0
  /// plateau: what it has seen so far.
  private var best: Double?
  private var badEpochs = 0
  private var factor = 1.0

  public init(
    kind: SchedulerKind, base: Double, epochs: Int, stepSize: Int = 20, gamma: Double = 0.1,
    minimum: Double = 0, warmupEpochs: Int = 0
  ) {
    self.kind = kind
    self.base = base
    self.epochs = epochs
    self.stepSize = stepSize
    self.gamma = gamma
    self.minimum = minimum
    self.warmupEpochs = warmupEpochs
  }

  /// The rate of epoch e, from 1. none: base; step: base · gamma^⌊(e−1)/stepSize⌋; cosine:
  /// min + (base − min)(1 + cos(π (e−1)/epochs))/2; plateau: base · 0.1^(how often the loss stood still, see
  /// `observe`). In the first w = `warmupEpochs` epochs times e/(w+1); never less than min.
  public func rate(epoch: Int) -> Double {
    let done = Double(epoch - 1)
    var rate = base
    switch kind {
    case .none: break
    case .step: rate = base * pow(gamma, Double((epoch - 1) / stepSize))
    case .cosine:
      rate = minimum + (base - minimum) * (1 + cos(.pi * done / Double(epochs))) / 2
    case .plateau: rate = base * factor
    }
    if epoch <= warmupEpochs { rate *= Double(epoch) / Double(warmupEpochs + 1) }
    return max(rate, minimum)
  }

  /// plateau: a tenth of the rate when the test loss has not improved by 1e-4 (relative) for more than
  /// five epochs.
  public mutating func observe(testLoss: Double) {
    guard kind == .plateau else { return }
    if let best, testLoss >= best * (1 - 1e-4) {
      badEpochs += 1
    } else {
      best = testLoss
      badEpochs = 0
    }
    if badEpochs > 5 {
      factor *= 0.1
      badEpochs = 0
    }
  }
}
