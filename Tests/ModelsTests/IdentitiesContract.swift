// What every attention layer owes the block around it, whatever its mathematics.
import Foundation
import Testing

@testable import Models

func exponential(_ x: Double) -> Double { exp(x) }

/// The class token alone gives the first row of all; gradients are added when asked; an image's result
/// depends on its position in the global batch, not in the micro-batch.
func expectLayerContract(
  _ layer: any AttentionLayer, images: Int, tokens: Int, width: Int,
  sourceLocation: SourceLocation = #_sourceLocation
) {
  let all = LayerCase(
    layer: layer, images: images, tokens: tokens, width: width, outputTokens: tokens)
  let allResult = runLayer(layer, all)
  let first = LayerCase(
    layer: layer, images: images, tokens: tokens, width: width, outputTokens: 1)
  let firstResult = runLayer(layer, first)

  // The same with gradients of zero for all other tokens.
  var masked = all
  masked.dOutput = [Float](repeating: 0, count: all.dOutput.count)
  var firstRows: [Float] = []
  for image in 0..<images {
    for c in 0..<width {
      firstRows.append(allResult.output[image * tokens * width + c])
      masked.dOutput[image * tokens * width + c] = first.dOutput[image * width + c]
    }
  }
  let maskedResult = runLayer(layer, masked)
  #expect(distance(firstResult.output, firstRows) < 1e-6, sourceLocation: sourceLocation)
  #expect(
    distance(firstResult.dInput, maskedResult.dInput) < 2e-6, sourceLocation: sourceLocation)
  #expect(
    distance(firstResult.gradients, maskedResult.gradients) < 2e-6, sourceLocation: sourceLocation)

  for test in [all, first] {
    let base = testNumbers(test.parameters.count, item: 55)
    let plain = runLayer(layer, test).gradients
    let added = runLayer(layer, test, addingTo: base).gradients
    #expect(
      distance(added, zip(base, plain).map { $0 + $1 }) < 1e-6, sourceLocation: sourceLocation)
  }

  // The last image alone, at its own position.
  for test in [all, first] {
    var many = test
    many.training = true
    var one = many
    let last = images - 1
    one.images = 1
    one.firstPosition = last
    one.input = Array(many.input[(last * tokens * width)...])
    one.dOutput = Array(many.dOutput[(last * test.outputTokens * width)...])
    let oneOutput = runLayer(layer, one).output
    let manyOutput = Array(runLayer(layer, many).output[(last * test.outputTokens * width)...])
    #expect(distance(oneOutput, manyOutput) < 1e-6, sourceLocation: sourceLocation)
  }
}

/// With dropout: the gradient belongs to the forward pass with the same mask, another step has another
/// mask, and the mean over masks is the result without dropout.
///
/// - Parameter move: of every number in the difference quotients; small where the layer chooses keys.
func expectDropout(
  _ layer: any AttentionLayer, images: Int, tokens: Int, width: Int, move: Double = 1e-3,
  sourceLocation: SourceLocation = #_sourceLocation
) {
  for outputTokens in [tokens, 1] {
    var test = LayerCase(
      layer: layer, images: images, tokens: tokens, width: width, outputTokens: outputTokens)
    let without = runLayer(layer, test).output
    test.training = true
    let result = runLayer(layer, test)
    #expect(runLayer(layer, test).output == result.output, sourceLocation: sourceLocation)
    #expect(distance(result.output, without) > 0.01, sourceLocation: sourceLocation)
    var next = test
    next.step = 2
    #expect(distance(runLayer(layer, next).output, result.output) > 0.01)

    func loss(_ changed: LayerCase) -> Double {
      zip(runLayer(layer, changed).output, test.dOutput).reduce(0) {
        $0 + Double($1.0) * Double($1.1)
      }
    }
    // Central differences in single precision: a hundredth is near enough, for a gradient with another
    // mask would be off by a tenth or more.
    func slope(_ path: WritableKeyPath<LayerCase, [Float]>, _ gradient: [Float]) {
      let size = gradient.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
      let step = Float(move / size * Double(gradient.count).squareRoot())
      var (ahead, behind) = (test, test)
      for i in 0..<gradient.count {
        ahead[keyPath: path][i] += step * gradient[i]
        behind[keyPath: path][i] -= step * gradient[i]
      }
      let numeric = (loss(ahead) - loss(behind)) / (2 * Double(step))
      #expect(abs(numeric / (size * size) - 1) < 0.01, sourceLocation: sourceLocation)
    }
    slope(\.input, result.dInput)
    slope(\.parameters, result.gradients)

    var mean = [Double](repeating: 0, count: without.count)
    let trials = 400
    for step in 1...trials {
      test.step = step
      for (i, value) in runLayer(layer, test).output.enumerated() { mean[i] += Double(value) }
    }
    // The deviation of one run is below 1, so that of the mean is below 1/20.
    #expect(distance(without, mean.map { $0 / Double(trials) }) < 0.1)
  }
}
