// Weights as safetensors files with the reference's names.
import Datasets
import Diagnostics
import Foundation
import Models
import TensorFiles
import Tensors

/// What a weights file says of itself, beside its tensors.
public struct WeightDescription: Sendable {
  public var model: ModelConfiguration
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

    enum CodingKeys: String, CodingKey {
      case dataset, criterion
      case imagenetTransform = "imagenet_transform"
      case classNames = "class_names"
    }
  }
}

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

  private static let checksumKey = "xxh64"

  /// What `write` returned for a file, as the file tells it; nil for none.
  func checksum(of path: String) throws -> String? {
    guard FileManager.default.fileExists(atPath: path) else { return nil }
    return try SafetensorsFile(path: path).metadata[Self.checksumKey]
  }

  /// Fills `parameters` from a file; buffers in it are constants, which may be absent.
  ///
  /// - Parameter keepingHead: leaves the classifier as it is, and takes the file for one of other images too, whose
  ///   positions differ in number.
  /// - Throws: `RunError`: configuration, that lists missing, extra and misshapen tensors;
  ///   checkpointDamaged for tensors that are not those whose checksum the file has.
  public func read(
    into parameters: UnsafeMutablePointer<Float>, from path: String, keepingHead: Bool = false
  ) throws {
    let file = try SafetensorsFile(path: path)
    if let expected = file.metadata[Self.checksumKey] {
      let found = file.contentChecksum()
      guard found == expected else {
        throw RunError(
          .checkpointDamaged,
          """
          \(path) is damaged: its tensors have checksum \(found), expected \(expected).
          Bring it back from a copy, or take another one. If its tensors were changed on purpose, leave \
          \(Self.checksumKey) out of its metadata.
          """)
      }
    }
    func isHead(_ name: String) -> Bool { name.hasPrefix("classifier.") }
    var problems: [String] = []
    for place in places where !(keepingHead && isHead(place.spec.name)) {
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
    for buffer in buffers where !keepingHead {
      guard let entry = file[buffer.name], entry.shape != buffer.shape else { continue }
      problems.append("\(buffer.name) is \(entry.shape), expected \(buffer.shape)")
    }
    let known = Set(places.map(\.spec.name) + buffers.map(\.name))
    problems += file.tensors.filter { !known.contains($0.name) }
      .map { "\($0.name) has no place in this model" }
    guard !problems.isEmpty else { return }
    let more = problems.count > 3 ? "\nand \(problems.count - 3) more" : ""
    throw RunError.configuration(
      "\(path) does not fit the model (\(configuration.layer.rawValue), \(places.count) tensors):\n"
        + problems.prefix(3).joined(separator: "\n") + more
        + "\nGive the flags of the run that made the file, --resize and --patch_size among them; for other"
        + " classes or sizes of images: --init_from with --new_head.")
  }

  /// What a weights file says of itself, nil if it does not tell its model's configuration.
  public static func description(of path: String) throws -> WeightDescription? {
    let metadata = try SafetensorsFile(path: path).metadata
    func decoded<T: Decodable>(_ key: String, as type: T.Type, describing what: String) throws -> T?
    {
      guard let text = metadata[key] else { return nil }
      do { return try JSONDecoder().decode(type, from: Data(text.utf8)) } catch {
        throw RunError.configuration(
          "\(path): its metadata `\(key)` does not describe \(what): \(text.prefix(80)).")
      }
    }
    let model = try decoded("config", as: ModelConfiguration.self, describing: "a model")
    let data = try decoded(
      "data", as: WeightDescription.TrainingData.self, describing: "data to train on")
    return model.map { WeightDescription(model: $0, data: data) }
  }
}
