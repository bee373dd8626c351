// The seam between training and whatever computes gradients.

/// One compute thread's model: parameters and a micro-batch in; loss, hits and a gradient slab out.
/// Training knows nothing else about how a model computes.
public protocol Engine: AnyObject {
  var layout: ParameterLayout { get }
  /// Most images in one pass.
  var capacity: Int { get }
  /// Constants that weight files carry beside the parameters, by the reference's names.
  var buffers: [LayerBuffer] { get }
  /// Floating-point operations per image of one forward pass, and of a training pass.
  var operationsPerImage: Int { get }
  var trainingOperationsPerImage: Int { get }
  /// Time of all training passes so far, zero unless measured.
  var seconds: EngineSeconds { get }

  /// Forward and backward pass of one micro-batch. The gradient is that of the sum of the images' losses, times
  /// the pass's `lossWeight`.
  ///
  /// - Parameters:
  ///   - images: [count, 3, S, S], normalised; `labels`: class numbers.
  ///   - ready: called with the length of the finished beginning of the gradient slab each time it
  ///     has grown, ending with the whole length.
  /// - Returns: sums over the images, of losses too.
  func train(
    _ pass: TrainingPass, images: UnsafePointer<Float>, labels: UnsafePointer<Int32>, count: Int,
    ready: ((Int) -> Void)?
  ) -> BatchStatistics

  /// Sums of losses and hits of `count` images, as `train` takes them, without gradients.
  func evaluate(
    images: UnsafePointer<Float>, labels: UnsafePointer<Int32>, count: Int,
    parameters: UnsafePointer<Float>, criterion: Criterion
  ) -> BatchStatistics

  /// Forward pass in evaluation mode: logits [count, C], valid until the next call.
  func logits(
    images: UnsafePointer<Float>, count: Int, parameters: UnsafePointer<Float>
  ) -> UnsafePointer<Float>
}
