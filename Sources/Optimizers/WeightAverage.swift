// Exponential moving average of the weights, of the slices that this rank owns.
import CKernels
import Tensors

/// After step t (from 1): average = d · average + (1 − d) · weights, with d = min(D, (1 + t)/(10 + t)), in single
/// precision. The decay begins low, so that the average of a short run does not carry its random start. As
/// TensorFlow's ExponentialMovingAverage with num_updates; the average itself: Polyak & Juditsky 1992,
/// https://doi.org/10.1137/0330046.
///
/// - Note: weights nearer to their average than 2^-24 / (1 − d) of it no longer move it.
public final class WeightAverage {
  /// Among the optimizer's state.
  public static let name = "average"
  /// The owned slices one after the other; whoever makes the average puts the first weights there.
  public let slab: FloatSlab
  private let owned: [Range<Int>]
  private let decay: Double

  /// - Parameters:
  ///   - decay: D, from 0 to below 1.
  ///   - owned: slices of the parameter slab, ascending.
  public init(decay: Double, owned: [Range<Int>]) {
    precondition(decay >= 0 && decay < 1)
    self.decay = decay
    self.owned = owned
    slab = FloatSlab(count: owned.reduce(0) { $0 + $1.count })
  }

  /// d of step `step`, from 1.
  static func decay(step: Int, most: Double) -> Double {
    min(most, (1 + Double(step)) / (10 + Double(step)))
  }

  /// - Parameter parameters: the whole slab, after step `step`.
  public func update(parameters: UnsafePointer<Float>, step: Int) {
    let share = Float(1 - Self.decay(step: step, most: decay))
    var place = slab.base
    for range in owned {
      ck_moving_average(place, parameters + range.lowerBound, range.count, share)
      place += range.count
    }
  }
}
