// Weights as safetensors files with the reference's names.
import Diagnostics
import Foundation
import Models
import TensorFiles
import Tensors

/// Weights of a model in memory, and how they get to and from files.
public struct WeightFile {
  public let configuration: ModelConfiguration
  let places: [ParameterPlace]
  let buffers: [LayerBuffer]

  public init(_ configuration: ModelConfiguration, _ engine: any Engine) {
    self.configuration = configuration
    places = engine.layout.places
    buffers = engine.buffers
  }

  /// Writes all parameters and buffers, sorted by name, with the configuration as metadata: the bytes
  /// depend on nothing but the weights and the configuration.
  public func write(_ parameters: UnsafePointer<Float>, to path: String) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    let config = String(decoding: try encoder.encode(configuration), as: UTF8.self)
    let buffers = self.buffers.map { buffer in
      let slab = FloatSlab(count: buffer.values.count)
      slab.base.update(from: buffer.values, count: buffer.values.count)
      return (buffer, slab)
    }
    let tensors =
      places.map {
        TensorToWrite(name: $0.spec.name, shape: $0.spec.shape, values: parameters + $0.offset)
      }
      + buffers.map { TensorToWrite(name: $0.0.name, shape: $0.0.shape, values: $0.1.base) }
    try withExtendedLifetime(buffers) {
      try writeSafetensors(
        to: path, metadata: ["config": config, "format": "pt"],
        tensors: tensors.sorted { $0.name < $1.name })
    }
  }

  /// Fills `parameters` from a file; buffers in it are constants and may be absent.
  ///
  /// - Throws: `RunError` (configuration) that lists missing, extra and misshapen tensors.
  public func read(into parameters: UnsafeMutablePointer<Float>, from path: String) throws {
    let file = try SafetensorsFile(path: path)
    var problems: [String] = []
    for place in places {
      guard let entry = file[place.spec.name] else {
        problems.append("\(place.spec.name) is missing")
        continue
      }
      guard entry.shape == place.spec.shape else {
        problems.append("\(place.spec.name) is \(entry.shape), expected \(place.spec.shape)")
        continue
      }
      let values = try file.floats(entry.name)
      (parameters + place.offset).update(from: values, count: values.count)
    }
    let known = Set(places.map(\.spec.name) + buffers.map(\.name))
    problems += file.tensors.filter { !known.contains($0.name) }
      .map { "\($0.name) has no place in this model" }
    guard !problems.isEmpty else { return }
    let more = problems.count > 3 ? "\nand \(problems.count - 3) more" : ""
    throw RunError.configuration(
      "\(path) does not fit the model (\(configuration.layer.rawValue), \(places.count) tensors):\n"
        + problems.prefix(3).joined(separator: "\n") + more
        + "\nGive the flags of the run that made the file.")
  }

  /// The model configuration that a weights file carries, nil if it has none.
  public static func configuration(of path: String) throws -> ModelConfiguration? {
    guard let text = try SafetensorsFile(path: path).metadata["config"] else { return nil }
    do {
      return try JSONDecoder().decode(ModelConfiguration.self, from: Data(text.utf8))
    } catch {
      throw RunError.configuration(
        "\(path): its metadata `config` does not describe a model: \(text.prefix(80)).")
    }
  }
}
