// The learning rate of every epoch, or of every step.
import Foundation

public enum SchedulerKind: String, CaseIterable, Codable, Sendable {
  case step, cosine, plateau, none
}

/// When warm-up and the cosine change the rate.
public enum RateUpdate: String, CaseIterable, Codable, Sendable { case epoch, step }

/// Learning rates by epoch (from 1) or step. Warm-up is linear over the first epochs and multiplies the rest.
public struct LearningRateSchedule: Codable, Equatable, Sendable {
  public var kind = SchedulerKind.none
  public var base = 1e-3
  public var epochs = 150
  /// step: factor `gamma` every `stepSize` epochs.
  public var stepSize = 20
  public var gamma = 0.1
  public var minimum = 0.0
  public var warmupEpochs = 0
  /// Absent in checkpoints of earlier versions, which went by epochs.
  private var update: RateUpdate?
  /// plateau: what it has seen so far.
  private var best: Double?
  private var badEpochs = 0
  private var factor = 1.0

  public init(
    kind: SchedulerKind, base: Double, epochs: Int, stepSize: Int = 20, gamma: Double = 0.1,
    minimum: Double = 0, warmupEpochs: Int = 0, update: RateUpdate = .epoch
  ) {
    self.kind = kind
    self.base = base
    self.epochs = epochs
    self.stepSize = stepSize
    self.gamma = gamma
    self.minimum = minimum
    self.warmupEpochs = warmupEpochs
    self.update = update
  }

  /// The rate of epoch e, from 1. none: base; step: base · gamma^⌊(e−1)/stepSize⌋; cosine:
  /// min + (base − min)(1 + cos(π (e−1)/epochs))/2; plateau: base · 0.1^(how often the loss stood still, see
  /// `observe`). In the first w = `warmupEpochs` epochs times e/(w+1); never less than min.
  ///
  /// By step, with n steps an epoch and t the step of the run, from 1: cosine:
  /// min + (base − min)(1 + cos(π (t−1)/(n·epochs)))/2; in the first w epochs, of w·n steps, times t/(w·n+1). With
  /// n = 1 that is the same. Other kinds change with epochs all the same, but for their warm-up.
  ///
  /// - Parameters:
  ///   - stepInEpoch: steps done in this epoch, from 0; stepsPerEpoch: n. By epoch neither counts.
  public func rate(epoch: Int, stepInEpoch: Int = 0, stepsPerEpoch: Int = 1) -> Double {
    // In double precision, where no count of a checkpoint overflows.
    let steps = update == .step ? Double(stepsPerEpoch) : 1
    let within = update == .step ? Double(stepInEpoch) : 0
    let done = Double(epoch - 1) + within / steps
    var rate = base
    switch kind {
    case .none: break
    case .step: rate = base * pow(gamma, Double((epoch - 1) / stepSize))
    case .cosine:
      rate = minimum + (base - minimum) * (1 + cos(.pi * done / Double(epochs))) / 2
    case .plateau: rate = base * factor
    }
    if epoch <= warmupEpochs {
      rate *= (Double(epoch - 1) * steps + within + 1) / (Double(warmupEpochs) * steps + 1)
    }
    return max(rate, minimum)
  }

  /// Takes over what `earlier` has come to, where both are plateaus that began with the same rate.
  public mutating func goOn(from earlier: LearningRateSchedule) {
    epochs = earlier.epochs
    guard kind == .plateau, earlier.kind == .plateau, base == earlier.base else { return }
    (best, badEpochs, factor) = (earlier.best, earlier.badEpochs, earlier.factor)
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
