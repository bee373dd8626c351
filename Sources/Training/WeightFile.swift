// Weights as safetensors files with the reference's names.
import Datasets
import Diagnostics
import Files
import Foundation
import Models
import TensorFiles
import Tensors

/// Weights of a model in memory, and how they get to and from files.
public struct WeightFile {
  public let configuration: ModelConfiguration
  /// What the weights are trained on; only files to be written need it.
  let data: WeightDescription.TrainingData?
  let places: [ParameterPlace]
  let buffers: [LayerBuffer]

  public init(
    _ configuration: ModelConfiguration, _ engine: any Engine,
    data: WeightDescription.TrainingData? = nil
  ) {
    self.configuration = configuration
    self.data = data
    places = engine.layout.places
    buffers = engine.buffers
  }

  /// Writes all parameters and buffers, sorted by name. As metadata: the configuration, what data the
  /// weights belong to, and the tensors' checksum. The bytes depend on nothing but these and the weights.
  ///
  /// - Returns: the checksum.
  @discardableResult
  public func write(_ parameters: UnsafePointer<Float>, to path: String) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    var metadata = [
      "config": String(decoding: try encoder.encode(configuration), as: UTF8.self), "format": "pt",
    ]
    if let data { metadata["data"] = String(decoding: try encoder.encode(data), as: UTF8.self) }
    let buffers = self.buffers.map { buffer in
      let slab = FloatSlab(count: buffer.values.count)
      slab.base.update(from: buffer.values, count: buffer.values.count)
      return (buffer, slab)
    }
    let tensors =
      (places.map {
        TensorToWrite(name: $0.spec.name, shape: $0.spec.shape, values: parameters + $0.offset)
      }
      + buffers.map { TensorToWrite(name: $0.0.name, shape: $0.0.shape, values: $0.1.base) })
      .sorted { $0.name < $1.name }
    return try withExtendedLifetime(buffers) {
      let checksum = Checksum.hex(of: tensors.map(\.bytes))
      metadata[Self.checksumKey] = checksum
      try writeSafetensors(to: path, metadata: metadata, tensors: tensors)
      return checksum
    }
  }

  static let checksumKey = "xxh64"

  /// What `write` returned for a file, as the file tells it; nil for none.
  func checksum(of path: String) throws -> String? {
    guard FileManager.default.fileExists(atPath: path) else { return nil }
    return try SafetensorsFile(path: path).metadata[Self.checksumKey]
  }
}
