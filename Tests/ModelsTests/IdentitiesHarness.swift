// Runs one attention layer on plain arrays, for tests.
import Tensors

@testable import Models

/// Random numbers in [-1, 1).
func testNumbers(_ count: Int, item: Int) -> [Float] {
  var values = [Float](repeating: 0, count: count)
  values.withUnsafeMutableBufferPointer { buffer in
    guard let base = buffer.baseAddress else { return }
    RandomSequence(seed: 2024, purpose: .testInput, item: item)
      .fillUniform(base, count: count, low: -1, high: 1)
  }
  return values
}

/// What a test feeds to a layer.
struct LayerCase {
  var images: Int
  var tokens: Int
  var width: Int
  /// Q.
  var outputTokens: Int
  var training = false
  var step = 1
  var block = 0
  var firstPosition = 0
  var input: [Float]
  var dOutput: [Float]
  var parameters: [Float]

  init(layer: any AttentionLayer, images: Int, tokens: Int, width: Int, outputTokens: Int) {
    self.images = images
    self.tokens = tokens
    self.width = width
    self.outputTokens = outputTokens
    input = testNumbers(images * tokens * width, item: 1)
    dOutput = testNumbers(images * outputTokens * width, item: 2)
    parameters = []
    // Large enough for a softmax that is far from uniform.
    for (i, spec) in layer.parameters.enumerated() {
      let scale = 2 / Float(width).squareRoot()
      parameters += testNumbers(spec.count, item: 10 + i).map { $0 * scale }
    }
  }
}

struct LayerResult {
  var output: [Float]
  var dInput: [Float]
  var gradients: [Float]
}

/// Forward and backward. Result buffers start as NaN, except gradients that are to be added to; rows of
/// input and results lie `gap` floats apart, and what is between must stay untouched.
func runLayer(
  _ layer: any AttentionLayer, _ test: LayerCase, addingTo gradients: [Float]? = nil, gap: Int = 0
) -> LayerResult {
  let stride = test.width + gap
  let (rows, outputRows) = (test.images * test.tokens, test.images * test.outputTokens)
  let input = FloatSlab(count: rows * stride)
  let dOutput = FloatSlab(count: outputRows * stride)
  let output = FloatSlab(count: outputRows * stride)
  let dInput = FloatSlab(count: rows * stride)
  let parameters = FloatSlab(count: test.parameters.count)
  let dParameters = FloatSlab(count: test.parameters.count)
  for slab in [input, dOutput, output, dInput, dParameters] { slab.fill(.nan) }
  for row in 0..<rows {
    for c in 0..<test.width { input.base[row * stride + c] = test.input[row * test.width + c] }
  }
  for row in 0..<outputRows {
    for c in 0..<test.width { dOutput.base[row * stride + c] = test.dOutput[row * test.width + c] }
  }
  for i in 0..<test.parameters.count {
    parameters.base[i] = test.parameters[i]
    if let gradients { dParameters.base[i] = gradients[i] }
  }
  let pass = LayerPass(
    images: test.images, outputTokens: test.outputTokens, parameters: parameters.base,
    gradients: dParameters.base, accumulate: gradients != nil, training: test.training, seed: 7,
    step: test.step, block: test.block, firstPosition: test.firstPosition)
  layer.forward(
    pass, input: Rows(input.base, stride: stride), output: Rows(output.base, stride: stride))
  layer.backward(
    pass, input: Rows(input.base, stride: stride), dOutput: Rows(dOutput.base, stride: stride),
    dInput: Rows(dInput.base, stride: stride))
  func dense(_ slab: FloatSlab, rows: Int) -> [Float] {
    (0..<rows * test.width).map { slab.base[$0 / test.width * stride + $0 % test.width] }
  }
  for slab in [output, dInput] {
    for i in 0..<slab.count where i % stride >= test.width {
      precondition(slab.base[i].isNaN, "a layer wrote between its rows")
    }
  }
  return withExtendedLifetime((parameters, dParameters)) {
    LayerResult(
      output: dense(output, rows: outputRows), dInput: dense(dInput, rows: rows),
      gradients: (0..<dParameters.count).map { dParameters.base[$0] })
  }
}

/// ‖a − b‖ / ‖b‖; NaN when either has one.
func distance(_ a: [Float], _ b: [Float]) -> Double { distance(a, b.map(Double.init)) }

func distance(_ a: [Float], _ b: [Double]) -> Double {
  precondition(a.count == b.count)
  var (difference, size) = (0.0, 0.0)
  for i in 0..<a.count {
    difference += (Double(a[i]) - b[i]) * (Double(a[i]) - b[i])
    size += b[i] * b[i]
  }
  return (difference / max(size, 1e-30)).squareRoot()
}
