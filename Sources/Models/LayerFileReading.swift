// Golden files from disk, and what the `verify` command asks of one.
import Diagnostics
import TensorFiles
import Tensors

extension LayerFile {
  /// - Throws: `RunError` (code data) when the file cannot be read or is no golden file.
  public init(path: String) throws {
    do {
      let file = try SafetensorsFile(path: path)
      guard let config = file.metadata["config"] else {
        throw RunError.data("\(path): no metadata `config`: this is no golden file of a layer.")
      }
      let tensors = try file.tensors.map { tensor in
        (tensor.name, LayerTensor(shape: tensor.shape, values: try file.floats(tensor.name)))
      }
      try self.init(path: path, config: config, tensors: Dictionary(uniqueKeysWithValues: tensors))
    } catch let error as RunError { throw RunError.data(error.message) }
  }
}

/// One golden file's verdict.
public struct LayerVerification: Sendable {
  public let comparison: LayerComparison
  public let passed: Bool
  /// The largest relative error.
  public var error: Double { comparison.worst.error }
}

/// Reads a golden file, runs the layer that `makeLayer` makes for it, forward and backward, and compares.
///
/// - Throws: `RunError` when the file is malformed, or when `makeLayer` throws it.
public func verifyLayerFile(
  _ path: String, tolerance: Double, precision: Precision = .single, makeLayer: LayerMaker
) throws -> LayerVerification {
  let comparison = try Matmul.with(precision) {
    try LayerFile(path: path).compare(makeLayer: makeLayer)
  }
  return LayerVerification(
    comparison: comparison, passed: comparison.passes(tolerance: tolerance))
}

/// Verifies a golden file with the layer that its configuration names.
public func verifyLayerFile(
  _ path: String, tolerance: Double, precision: Precision = .single
) throws -> LayerVerification {
  try verifyLayerFile(path, tolerance: tolerance, precision: precision) { file in
    file.shape.makeLayer(scratch: Scratch(precision: precision))
  }
}
