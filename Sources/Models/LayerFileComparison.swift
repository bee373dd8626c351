// Runs a layer on a golden file and says how far its results lie from the golden ones.
import Diagnostics
import Foundation
import Tensors

/// Makes the layer of a golden file, for `file.images` images of `file.tokens` tokens of `file.width`
/// channels, with `file.candidates` as its fixed candidates if there are any.
public typealias LayerMaker = (LayerFile) throws -> any AttentionLayer

/// Relative errors ‖ours − golden‖ / ‖golden‖ of one golden file's results.
public struct LayerComparison: Sendable {
  public struct Entry: Equatable, Sendable {
    public let tensor: String
    public let error: Double
  }

  /// `output`, `grad_input`, and `grad.*` in the layer's order.
  public let entries: [Entry]

  /// The entry with the largest error; one that is not a number counts as largest.
  public var worst: Entry {
    entries.reduce(entries[0]) { worst, entry in
      worst.error.isNaN || entry.error <= worst.error ? worst : entry
    }
  }

  /// True when every error is at most `tolerance`.
  public func passes(tolerance: Double) -> Bool { worst.error <= tolerance }
}

extension LayerFile {
  /// Forward and backward with the file's parameters, against the file's results.
  ///
  /// - Throws: `RunError` (code data) when a tensor is missing, misshapen or unknown to the layer.
  public func compare(makeLayer: LayerMaker) throws -> LayerComparison {
    let rows = [images, tokens, width]
    let input = try tensor("input", shape: rows)
    let dOutput = try tensor("grad_output", shape: rows)
    let goldenOutput = try tensor("output", shape: rows)
    let goldenDInput = try tensor("grad_input", shape: rows)
    let layer = try makeLayer(self)
    let parameters = FloatSlab(count: layer.parameterCount)
    var goldenGradients: [(name: String, offset: Int, values: [Float])] = []
    var offset = 0
    for spec in layer.parameters {
      let values = try tensor("param.\(spec.name)", shape: spec.shape)
      for i in 0..<values.count { parameters.base[offset + i] = values[i] }
      let gradient = try tensor("grad.\(spec.name)", shape: spec.shape)
      goldenGradients.append(("grad.\(spec.name)", offset, gradient))
      offset += spec.count
    }
    let known = Set(layer.parameters.map(\.name) + layer.ownedBuffers.map(\.name))
    for name in tensors.keys.sorted() {
      for prefix in ["param.", "grad."] where name.hasPrefix(prefix) {
        guard known.contains(String(name.dropFirst(prefix.count))) else {
          throw RunError.data(
            "\(path): tensor \(name) belongs to no parameter of \(configuration.layer.rawValue).")
        }
      }
    }

    // Results start as NaN, so that what the layer leaves out cannot pass.
    let count = rows.reduce(1, *)
    let (x, dY) = (FloatSlab(count: count), FloatSlab(count: count))
    let (output, dInput) = (FloatSlab(count: count), FloatSlab(count: count))
    let gradients = FloatSlab(count: layer.parameterCount)
    for i in 0..<count {
      x.base[i] = input[i]
      dY.base[i] = dOutput[i]
    }
    for slab in [output, dInput, gradients] { slab.fill(.nan) }
    let pass = LayerPass(
      images: images, outputTokens: tokens, parameters: parameters.base, gradients: gradients.base,
      firstPosition: 0)
    withExtendedLifetime((parameters, x, dY)) {
      layer.forward(
        pass, input: Rows(x.base, stride: width), output: Rows(output.base, stride: width))
      layer.backward(
        pass, input: Rows(x.base, stride: width), dOutput: Rows(dY.base, stride: width),
        dInput: Rows(dInput.base, stride: width))
    }

    let results =
      [("output", UnsafePointer(output.base), goldenOutput)]
      + [("grad_input", UnsafePointer(dInput.base), goldenDInput)]
      + goldenGradients.map { ($0.name, UnsafePointer(gradients.base + $0.offset), $0.values) }
    return withExtendedLifetime((output, dInput, gradients)) {
      LayerComparison(
        entries: results.map { name, ours, golden in
          LayerComparison.Entry(tensor: name, error: relativeError(ours, golden))
        })
    }
  }
}

/// ‖ours − golden‖ / ‖golden‖; ‖ours‖ where the golden tensor is zero.
private func relativeError(_ ours: UnsafePointer<Float>, _ golden: [Float]) -> Double {
  var difference = 0.0
  var size = 0.0
  for i in 0..<golden.count {
    let distance = Double(ours[i]) - Double(golden[i])
    difference += distance * distance
    size += Double(golden[i]) * Double(golden[i])
  }
  return size > 0 ? (difference / size).squareRoot() : difference.squareRoot()
}
