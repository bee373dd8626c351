// Adam, AdamW and SGD on the slice of the parameters that this rank owns.
import CKernels
import Foundation
import Tensors

public enum OptimizerKind: String, CaseIterable, Codable, Sendable { case adam, sgd, adamw }

/// Optimizer state of some slices. Formulas and defaults are PyTorch's: betas 0.9 and 0.999, eps 1e-8;
/// adam and sgd add decay to the gradient, adamw shrinks the parameters (Loshchilov & Hutter 2019,
/// arXiv:1711.05101).
public final class Optimizer {
  public let kind: OptimizerKind
  /// State tensors by PyTorch's names, each as long as the slices together.
  public let moments: [(name: String, slab: FloatSlab)]
  /// Runs of owned elements that are updated alike: where they lie in the parameters and in the state.
  private let pieces: [(part: Part, place: Int)]
  private let weightDecay: Double
  private let momentum: Double

  /// Parameters that are updated alike.
  public struct Part: Sendable {
    /// In the whole slab.
    public var range: Range<Int>
    /// Whether weight decay applies.
    public let decays: Bool
    /// Of the learning rate, from 0 (stay as they are) to 1.
    public let rateFactor: Double

    public init(_ range: Range<Int>, decays: Bool = true, rateFactor: Double = 1) {
      self.range = range
      self.decays = decays
      self.rateFactor = rateFactor
    }
  }

  /// - Parameters:
  ///   - owned: slices of the parameter slab, ascending.
  ///   - parts: of the whole slab, one behind the other.
  public init(
    _ kind: OptimizerKind, owned: [Range<Int>], parts: [Part],
    weightDecay: Double, momentum: Double
  ) {
    self.kind = kind
    self.weightDecay = weightDecay
    self.momentum = momentum
    let names = kind == .sgd ? ["momentum_buffer"] : ["exp_avg", "exp_avg_sq"]
    moments = names.map { ($0, FloatSlab(count: owned.reduce(0) { $0 + $1.count })) }
    var place = 0
    pieces = owned.flatMap { slice in
      defer { place += slice.count }
      return parts.compactMap { part in
        var piece = part
        piece.range = part.range.clamped(to: slice)
        return piece.range.isEmpty
          ? nil : (piece, place + piece.range.lowerBound - slice.lowerBound)
      }
    }
  }

  /// One step t, with rate η (times a part's factor), decay λ (0 where none applies) and gradients g times `clip`:
  /// adam: g += λp; m = 0.9 m + 0.1 g; v = 0.999 v + 0.001 g²; p −= η/(1−0.9^t) · m / (√(v/(1−0.999^t)) + 1e-8);
  /// adamw: the same without λp in g, after p *= 1 − ηλ; sgd: g += λp; b = g in the first step, else
  /// `momentum` · b + g; p −= ηb.
  ///
  /// - Parameters:
  ///   - parameters: the whole slab; `gradients`: the owned slices only, one after the other.
  ///   - clip: factor on every gradient; `step`: from 1.
  public func update(
    parameters: UnsafeMutablePointer<Float>, gradients: UnsafePointer<Float>, learningRate: Double,
    clip: Float, step: Int
  ) {
    for (part, at) in pieces {
      let count = part.range.count
      let p = parameters + part.range.lowerBound
      let g = gradients + at
      let decay = part.decays ? weightDecay : 0
      let rate = learningRate * part.rateFactor
      switch kind {
      case .sgd:
        ck_sgd(
          p, g, moments[0].slab.base + at, count, clip, Float(decay), Float(momentum),
          Float(rate), step == 1 ? 1 : 0)
      case .adam, .adamw:
        let coupled = kind == .adam ? Float(decay) : 0
        let keep = kind == .adamw ? Float(1 - rate * decay) : 1
        ck_adam(
          p, g, moments[0].slab.base + at, moments[1].slab.base + at, count, clip, coupled,
          keep, Float(rate / (1 - pow(0.9, Double(step)))),
          Float((1 - pow(0.999, Double(step))).squareRoot()))
      }
    }
  }
}

/// Factor that brings a gradient of norm `norm` to at most `maximum`: maximum / (norm + 1e-6), at most
/// 1; a maximum of 0 turns clipping off.
public func clipFactor(norm: Double, maximum: Double) -> Float {
  maximum > 0 ? Float(min(1, maximum / (norm + 1e-6))) : 1
}
