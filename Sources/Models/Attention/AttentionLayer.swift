// What every attention layer is to the block around it.
import Tensors

// B images of a micro-batch, T tokens (class token first), Q output tokens, D width, H heads.

/// Everything about one pass of one micro-batch through one layer that is not an activation.
public struct LayerPass {
  /// B, at most the capacity that the layer was made for.
  public var images: Int
  /// Q: outputs are wanted for the first Q tokens of each image; T, or 1 in the last block, where only
  /// the class token is read. A layer that `needsAllTokens` is always asked for T.
  public var outputTokens: Int
  /// The layer's parameters, in the order of `parameters`, without gaps.
  public var parameters: UnsafePointer<Float>
  /// Their gradients, laid out alike (backward only).
  public var gradients: UnsafeMutablePointer<Float>?
  /// True: add to the gradients (a later micro-batch of a shard); false: overwrite whatever is there.
  public var accumulate: Bool
  /// Dropout and fresh random candidates only when training.
  public var training: Bool
  public var seed: UInt64
  /// Optimizer step, from 1.
  public var step: Int
  /// Block number, from 0.
  public var block: Int
  /// Position in the global batch of the micro-batch's first image; the others follow.
  public var firstPosition: Int
  /// Added to `part` in `randomness`: layers within one block must not share random numbers.
  public var firstPart = 0
  /// Heads (or other parts with random numbers of their own) that a layer may have.
  public static let partsOfBranch = 128

  public init(
    images: Int, outputTokens: Int, parameters: UnsafePointer<Float>,
    gradients: UnsafeMutablePointer<Float>? = nil, accumulate: Bool = false, training: Bool = false,
    seed: UInt64 = 0, step: Int = 0, block: Int = 0, firstPosition: Int = 0
  ) {
    self.images = images
    self.outputTokens = outputTokens
    self.parameters = parameters
    self.gradients = gradients
    self.accumulate = accumulate
    self.training = training
    self.seed = seed
    self.step = step
    self.block = block
    self.firstPosition = firstPosition
  }

  /// β of a weight gradient's matrix product.
  @inline(__always) public var gradientBeta: Float { accumulate ? 1 : 0 }

  /// The pass of a part of this layer whose parameters begin `offset` floats further on.
  public func part(offset: Int) -> LayerPass {
    var copy = self
    copy.parameters = parameters + offset
    copy.gradients = gradients.map { $0 + offset }
    return copy
  }

  /// Random numbers for image `image` of the micro-batch and head (or other part) `part`, below
  /// `partsOfBranch` in layers.
  public func randomness(_ purpose: RandomPurpose, image: Int, part: Int = 0) -> RandomSequence {
    RandomSequence(
      seed: seed, purpose: purpose, layer: block << 8 | (firstPart + part), step: step,
      item: firstPosition + image)
  }
}

/// An attention layer: owns what its forward pass keeps for the backward pass of one micro-batch (never
/// parameters), so one object serves one block of one compute thread.
///
/// Inputs and outputs are row-major: row b·T + t of the input is token t of image b; row b·Q + t of the
/// output likewise.
public protocol AttentionLayer: AnyObject {
  /// Parameters in slab order; names are those inside the block's `attention.`.
  var parameters: [ParameterSpec] { get }

  /// True when an output token depends on other tokens' intermediate outputs, so that Q must be T.
  var needsAllTokens: Bool { get }

  /// Floating-point operations (multiplications and additions) per image of the forward pass, in the
  /// matrix products and neighbour sums that the algorithm needs, for Q output tokens.
  func operations(outputTokens: Int) -> Int
  func backwardOperations(outputTokens: Int) -> Int

  /// - Parameters:
  ///   - input: [B·T, D], left untouched, and still the same when `backward` is called.
  ///   - output: [B·Q, D], overwritten.
  func forward(_ pass: LayerPass, input: Rows, output: Rows)

  /// - Parameters:
  ///   - dOutput: [B·Q, D]; may be used as scratch.
  ///   - dInput: [B·T, D], overwritten; parameter gradients go to `pass.gradients`.
  func backward(_ pass: LayerPass, input: Rows, dOutput: Rows, dInput: Rows)
}

extension AttentionLayer {
  /// As `operations`, of the backward pass: two products for each of the forward pass, unless the
  /// layer knows better.
  public func backwardOperations(outputTokens: Int) -> Int {
    2 * operations(outputTokens: outputTokens)
  }

  public var parameterCount: Int { parameters.reduce(0) { $0 + $1.count } }
}
