// What weights are: their model, and the data they were trained on.
import Collectives
import Datasets
import Diagnostics
import Foundation
import Models
import TensorFiles

/// What a weights file tells beside its tensors' values.
public struct WeightDescription: Codable, Sendable {
  public var model: ModelConfiguration
  /// The file does not say so: the shapes of its tensors do.
  public var isInferred = false
  /// Absent in files of earlier versions.
  public var data: TrainingData?

  /// The data that weights were trained on: what turns an image into an input, an output into a class, and both
  /// into a loss.
  public struct TrainingData: Codable, Equatable, Sendable {
    public var dataset: DatasetKind
    public var imagenetTransform: ImageFraming
    public var classNames: [String]
    /// Absent in files of earlier versions.
    public var criterion: Criterion?
    /// Likewise.
    public var normalization: Normalization?

    enum CodingKeys: String, CodingKey {
      case dataset, criterion, normalization
      case imagenetTransform = "imagenet_transform"
      case classNames = "class_names"
    }
  }

  init(model: ModelConfiguration, data: TrainingData? = nil) {
    self.model = model
    self.data = data
  }

  /// - Returns: nil for a file that neither says nor shows what model its weights belong to.
  /// - Throws: `RunError` (configuration) for a file that cannot be read, or says what cannot be understood.
  public init?(of path: String) throws {
    let file = try SafetensorsFile(path: path)
    func decoded<T: Decodable>(_ key: String, as type: T.Type, describing what: String) throws -> T?
    {
      guard let text = file.metadata[key] else { return nil }
      do { return try JSONDecoder().decode(type, from: Data(text.utf8)) } catch {
        throw RunError.configuration(
          "\(path): its metadata `\(key)` does not describe \(what): \(text.prefix(80)).")
      }
    }
    if let model = try decoded("config", as: ModelConfiguration.self, describing: "a model") {
      self.init(
        model: model,
        data: try decoded("data", as: TrainingData.self, describing: "data to train on"))
      return
    }
    let shapes = Dictionary(
      file.tensors.map { ($0.name, $0.shape) }, uniquingKeysWith: { first, _ in first })
    guard let model = ModelConfiguration(usualModelOf: shapes) else { return nil }
    self.init(model: model)
    isInferred = true
  }

  /// What the weights that a run begins with tell, as rank 0 reads it, on all ranks: others may not see them.
  ///
  /// - Parameters:
  ///   - path: nil for random weights. A run that has a checkpoint needs the file no more: its own weights tell the
  ///     same.
  ///   - output: the run's folder.
  /// - Throws: `SharedError`.
  public static func ofFirstWeights(
    _ path: String?, output: String, group: ProcessGroup
  ) throws -> WeightDescription? {
    let told = try group.together { () -> [UInt8] in
      guard group.rank == 0, let path else { return [] }
      var weights = path
      if !FileManager.default.fileExists(atPath: path),
        let newest = CheckpointFolder(folder: output + "/checkpoints", keep: 1).newest
      {
        weights = newest + "/weights.safetensors"
      }
      guard let description = try WeightDescription(of: weights) else { return [] }
      return [UInt8](try JSONEncoder().encode(description))
    }
    let heard = try group.broadcast(told)
    return heard.isEmpty
      ? nil : try JSONDecoder().decode(WeightDescription.self, from: Data(heard))
  }
}
