// From the class tokens after the last block to logits: a norm, where the architecture has one, and a linear map.
import Tensors

// B images, T tokens, D width, C classes.

/// logits = W · norm(x) + b for the class token x of each image.
final class Classifier {
  private let width: Int
  private let classes: Int
  private let norm: LayerNorm?
  /// Gradients of what the norm returns and of what it reads [2, B, D].
  private let normGradients: FloatSlab
  private let logitSlab: FloatSlab

  init(_ c: ModelConfiguration, capacity: Int, scratch: Scratch) {
    width = c.width
    classes = c.numClasses
    norm =
      c.architecture.names.norm != nil
      ? LayerNorm(
        width: width, count: capacity, most: capacity * c.tokens,
        epsilon: c.architecture.normEpsilon, scratch: scratch) : nil
    normGradients = FloatSlab(count: norm == nil ? 0 : 2 * capacity * width)
    logitSlab = FloatSlab(count: capacity * classes)
  }

  /// [B, C]; the caller of `backward` puts their gradients in their place.
  var logits: UnsafeMutablePointer<Float> { logitSlab.base }

  /// Operations per image of a forward pass.
  var operations: Int { 2 * width * classes }

  /// - Parameter x: [B, D], kept by the caller until `backward`.
  func forward(
    _ pass: LayerPass, _ offsets: ParameterLayout.ClassifierOffsets, x: UnsafePointer<Float>
  ) {
    norm?.forward(x, parameters: pass.parameters + offsets.norm, rows: pass.images)
    Linear.forward(
      rows: pass.images, inputs: width, outputs: classes, x: input(x),
      weight: pass.parameters + offsets.weight, bias: pass.parameters + offsets.bias,
      y: Rows(logits, stride: classes))
  }

  /// Gradients of the linear map from those of the logits, which lie in their place.
  func backwardMap(
    _ pass: LayerPass, _ offsets: ParameterLayout.ClassifierOffsets, x: UnsafePointer<Float>
  ) {
    let (gradients, rows) = (pass.gradients!, pass.images)
    let dLogits = Rows(logits, stride: classes)
    Linear.backwardWeight(
      rows: rows, inputs: width, outputs: classes, dY: dLogits, x: input(x),
      dWeight: gradients + offsets.weight, beta: pass.gradientBeta)
    Linear.backwardBias(
      rows: rows, outputs: classes, dY: dLogits, dBias: gradients + offsets.bias,
      accumulate: pass.accumulate)
  }

  /// The norm's gradients, and x's, which takes the place of x.
  func backwardInput(
    _ pass: LayerPass, _ offsets: ParameterLayout.ClassifierOffsets, x: UnsafeMutablePointer<Float>
  ) {
    let (parameters, gradients) = (pass.parameters, pass.gradients!)
    let rows = pass.images
    let dLogits = Rows(logits, stride: classes)
    // Without a norm x is not read again.
    let dInput = norm == nil ? x : normGradients.base
    Linear.backwardInput(
      rows: rows, inputs: width, outputs: classes, dY: dLogits,
      weight: parameters + offsets.weight, dX: Rows(dInput, stride: width))
    guard let norm else { return }
    let dX = dInput + rows * width
    if !pass.accumulate { (gradients + offsets.norm).update(repeating: 0, count: 2 * width) }
    norm.backward(
      x, dY: dInput, parameters: parameters + offsets.norm, gradients: gradients + offsets.norm,
      dX: dX, rows: rows, adds: false)
    x.update(from: dX, count: rows * width)
  }

  private func input(_ x: UnsafePointer<Float>) -> Rows { norm?.rows ?? Rows(x, stride: width) }
}
