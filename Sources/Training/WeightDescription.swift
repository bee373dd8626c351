// What weights are: their model, and the data they were trained on.
import Collectives
import Datasets
import Diagnostics
import Foundation
import Models
import Reports
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
    let tensors = file.tensors.map { (name: $0.name, shape: $0.shape) }
    guard let model = ModelConfiguration(usualModelOf: tensors) else { return nil }
    self.init(model: model)
    isInferred = true
  }

  /// What the weights that a run begins with tell, as rank 0 reads it, on all ranks: others may not see them. A run
  /// that has begun needs the file no more, which may be another one by now: its checkpoints tell the same.
  ///
  /// - Parameters:
  ///   - path: nil for random weights.
  ///   - resume: as `RunConfiguration.resume`.
  ///   - output: the run's folder.
  /// - Throws: `SharedError`.
  public static func ofFirstWeights(
    _ path: String?, resume: String, output: String, group: ProcessGroup
  ) throws -> WeightDescription? {
    let told = try group.together { () -> [UInt8] in
      guard group.rank == 0, let path,
        let description = try ofFirstWeights(path, resume: resume, output: output)
      else { return [] }
      return [UInt8](try JSONEncoder().encode(description))
    }
    let heard = try group.broadcast(told)
    return heard.isEmpty
      ? nil : try JSONDecoder().decode(WeightDescription.self, from: Data(heard))
  }

  private static func ofFirstWeights(
    _ path: String, resume: String, output: String
  ) throws -> WeightDescription? {
    let startsOver = resume == "never" && Attempt.number == 0
    let checkpoints = CheckpointFolder(folder: output + "/checkpoints", keep: 1)
    let candidates = [
      startsOver ? nil : checkpoints.newestUndamaged,
      ["auto", "never"].contains(resume) ? nil : resume,
    ]
    let begun = candidates.compactMap { $0 }.first {
      (try? RunState(checkpoint: $0))?.firstWeights?.path == path
    }
    if let begun { return try WeightDescription(of: begun + "/weights.safetensors") }
    do {
      return try WeightDescription(of: path)
    } catch {
      // The trainer meets the same error, and tells it in the reports of the run that was there.
      if RunStatus(file: output + "/status.json") != nil { return nil }
      throw error
    }
  }
}
