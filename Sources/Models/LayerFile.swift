// A golden file: one layer's configuration, input and parameters, and the results to reproduce.
import Diagnostics
import Foundation

/// A tensor of a golden file.
public struct LayerTensor: Equatable, Sendable {
  public var shape: [Int]
  public var values: [Float]

  public init(shape: [Int], values: [Float]) {
    self.shape = shape
    self.values = values
  }
}

/// The content of a golden file. Metadata `config` holds the layer's configuration under the command
/// line's flag names, and `seq_length` (tokens), `batch` (images) and `semantics`; tensors are `input`,
/// `grad_output`, `param.*`, `output`, `grad_input` and `grad.*`, and `sample_index` where the
/// candidates of random sampling are given.
public struct LayerFile: Sendable {
  /// As the file was named.
  public let path: String
  /// Dropout is 0: golden results are without.
  public let configuration: ModelConfiguration
  public let tokens: Int
  public let images: Int
  /// Candidates to use instead of a draw.
  public let candidates: [Int32]?
  var tensors: [String: LayerTensor]

  public var width: Int { configuration.width }

  /// Of the layer that reproduces the results.
  var shape: LayerShape {
    LayerShape(
      configuration, width: width, tokens: tokens, capacity: images, candidates: candidates)
  }

  /// - Throws: `RunError` (code data) naming what is wrong with the file.
  public init(path: String, config: String, tensors: [String: LayerTensor]) throws {
    self.path = path
    self.tensors = tensors
    guard
      let object = try? JSONSerialization.jsonObject(with: Data(config.utf8)),
      var settings = object as? [String: Any]
    else {
      throw RunError.data(
        "\(path): metadata `config` is no JSON object.\nFound: \(config.prefix(60))")
    }
    func positive(_ key: String) throws -> Int {
      guard let number = settings[key] as? NSNumber, number.intValue > 0 else {
        throw RunError.data("\(path): config key `\(key)` is missing or no positive number.")
      }
      return number.intValue
    }
    tokens = try positive("seq_length")
    images = try positive("batch")
    _ = try positive("d_hidden")
    guard settings["layer"] is String else {
      throw RunError.data("\(path): config key `layer` is missing.")
    }
    let documented = settings["semantics"] as? String == "documented"
    // A placeholder where the layer has no layout.
    if settings["spatial_layout"] as? String == "-" { settings["spatial_layout"] = nil }
    if !documented {
      settings["reference_quirks"] = true
      if settings["convnn_heads"] == nil { settings["convnn_heads"] = settings["num_heads"] }
    }
    settings["dropout"] = 0
    settings["attention_dropout"] = 0
    // Tokens are a class token and a square grid of patches of one pixel.
    let side = Int(Double(tokens - 1).squareRoot().rounded())
    if side * side == tokens - 1 {
      settings["img_size"] = side
      settings["patch_size"] = 1
    }
    do {
      let data = try JSONSerialization.data(withJSONObject: settings)
      configuration = try JSONDecoder().decode(ModelConfiguration.self, from: data)
    } catch {
      throw RunError.data("\(path): config does not describe a layer: \(LayerFile.words(error))")
    }
    do { try configuration.validateLayer(tokens: tokens) } catch let error as RunError {
      throw RunError.data(
        "\(path): config describes a layer that cannot be made:\n\(error.message)")
    }
    let indices = tensors["sample_index"]?.values
    for value in indices ?? []
    where !(0..<Float(tokens)).contains(value) || value != value.rounded() {
      throw RunError.data("\(path): sample_index holds \(value), expected 0..<\(tokens).")
    }
    candidates = indices?.map { Int32($0) }
    try checkCandidates()
  }

  /// Given candidates are other ones than those that the configuration was checked with.
  private func checkCandidates() throws {
    guard let candidates, configuration.samplingType != .all else { return }
    guard Set(candidates).count == candidates.count else {
      throw RunError.data("\(path): sample_index names a token twice.")
    }
    let most = configuration.mostNeighbours(candidates: candidates.count)
    guard configuration.neighbours <= most else {
      throw RunError.data(
        "\(path): sample_index holds \(candidates.count) tokens, too few for K "
          + "\(configuration.neighbours): expected at most \(most) neighbours.")
    }
  }

  /// The tensor `name` of the given shape.
  func tensor(_ name: String, shape: [Int]) throws -> [Float] {
    guard let tensor = tensors[name] else {
      throw RunError.data("\(path): tensor \(name) is missing.")
    }
    guard tensor.shape == shape else {
      throw RunError.data(
        "\(path): tensor \(name) has shape \(tensor.shape), expected \(shape).")
    }
    return tensor.values
  }

  private static func words(_ error: any Error) -> String {
    switch error as? DecodingError {
    case .typeMismatch(_, let context), .valueNotFound(_, let context),
      .keyNotFound(_, let context), .dataCorrupted(let context):
      let key = context.codingPath.map(\.stringValue).joined(separator: ".")
      return key.isEmpty ? context.debugDescription : "\(key): \(context.debugDescription)"
    default: return "\(error)"
    }
  }
}
