// What training asks of an engine for one micro-batch, and what it answers.

public enum Criterion: String, Codable, CaseIterable, Sendable {
  case crossEntropy = "CrossEntropy"
  /// One-hot targets, mean over all elements.
  case meanSquaredError = "MSE"
}

/// Exact sums over some images; they add up in any grouping but for the rounding of `loss`. A hit is one of the
/// label with the largest share.
public struct BatchStatistics: Equatable, Sendable {
  public var images = 0
  public var loss = 0.0
  public var top1 = 0
  public var top5 = 0

  public init() {}

  public static func += (left: inout BatchStatistics, right: BatchStatistics) {
    left.images += right.images
    left.loss += right.loss
    left.top1 += right.top1
    left.top5 += right.top5
  }
}

/// What else than their own labels the images of a micro-batch show: image i has target `shares`[i] on `labels`[i],
/// the rest on its own.
public struct LabelMixture {
  public var labels: UnsafePointer<Int32>
  public var shares: UnsafePointer<Float>

  public init(labels: UnsafePointer<Int32>, shares: UnsafePointer<Float>) {
    self.labels = labels
    self.shares = shares
  }
}

/// What is asked of the engine for one micro-batch.
public struct TrainingPass {
  public var parameters: UnsafePointer<Float>
  /// A whole gradient slab; overwritten, or added to with `accumulate`.
  public var gradients: UnsafeMutablePointer<Float>
  public var accumulate: Bool
  /// 1 / images of the global batch: gradients are those of the batch's mean loss.
  public var lossWeight: Double
  public var criterion: Criterion
  public var labelSmoothing: Double
  /// The classifier alone learns: gradients of all else are 0, and cost nothing.
  public var classifierOnly: Bool
  /// With images that are mixtures.
  public var mixture: LabelMixture?
  public var seed: UInt64
  /// Optimizer step, from 1.
  public var step: Int
  /// Position in the global batch of the micro-batch's first image; the others follow.
  public var firstPosition: Int

  public init(
    parameters: UnsafePointer<Float>, gradients: UnsafeMutablePointer<Float>, accumulate: Bool,
    lossWeight: Double, criterion: Criterion = .crossEntropy, labelSmoothing: Double = 0,
    classifierOnly: Bool = false, mixture: LabelMixture? = nil, seed: UInt64 = 0, step: Int = 1,
    firstPosition: Int = 0
  ) {
    self.parameters = parameters
    self.gradients = gradients
    self.accumulate = accumulate
    self.lossWeight = lossWeight
    self.criterion = criterion
    self.labelSmoothing = labelSmoothing
    self.classifierOnly = classifierOnly
    self.mixture = mixture
    self.seed = seed
    self.step = step
    self.firstPosition = firstPosition
  }
}
