// Damaged checkpoints: with their old checksums, which must betray the damage, and with new ones, so
// that the readers behind the checksums meet it.
import Diagnostics
import Foundation
import Models
import TensorFiles
import Tensors

/// The first byte of an input says which file the rest is.
struct CheckpointFuzzReader: FuzzReader {
  let inputs: [[UInt8]]
  private static let names = [
    "state.json", "weights.safetensors", "optimizer.safetensors", "manifest.json",
  ]
  private let path: String
  private let whole: [[UInt8]]
  private let weightFile: WeightFile
  private let parameters: FloatSlab

  /// Writes a checkpoint of a small model into `folder`.
  init(_ folder: String) throws {
    var c = RunConfiguration()
    c.model.imageSize = 8
    c.model.patchSize = 4
    c.model.numLayers = 1
    c.model.width = 4
    c.model.mlpWidth = 4
    c.model.numHeads = 1
    c.model.numClasses = 2
    let engine = try VisionTransformer(configuration: c.model, capacity: 1)
    let parameters = FloatSlab(count: engine.layout.count)
    let weightFile = WeightFile(c.model, engine)
    self.parameters = parameters
    self.weightFile = weightFile
    let checkpoints = CheckpointFolder(folder: folder + "/checkpoints", keep: 1)
    try checkpoints.save(step: 3) { folder in
      try weightFile.write(parameters.base, to: folder + "/weights.safetensors")
      try writeSafetensors(
        to: folder + "/optimizer.safetensors", metadata: [:],
        tensors: engine.layout.places.map {
          TensorToWrite(
            name: "m.\($0.spec.name)", shape: $0.spec.shape, values: parameters.base + $0.offset)
        })
      try JSONEncoder().encode(RunState(c)).write(
        to: URL(fileURLWithPath: folder + "/state.json"))
    }
    let path = folder + "/checkpoints/step-00000003"
    self.path = path
    whole = try Self.names.map {
      [UInt8](try Data(contentsOf: URL(fileURLWithPath: "\(path)/\($0)")))
    }
    inputs = whole.enumerated().map { [UInt8($0)] + $1 }
  }

  private func write(_ bytes: some Collection<UInt8>, _ file: Int) throws {
    try Data(bytes).write(to: URL(fileURLWithPath: "\(path)/\(Self.names[file])"))
  }

  func read(_ bytes: [UInt8], number: Int) throws {
    guard let first = bytes.first else { return }
    let file = Int(first) % Self.names.count
    let content = bytes.dropFirst()
    try write(content, file)
    defer {
      for i in [file, 3] { try? write(whole[i], i) }
    }
    let isManifest = file == 3
    if !isManifest {
      let isDamaged = !content.elementsEqual(whole[file])
      guard (CheckpointFolder.damage(path) != nil) == isDamaged else {
        throw FuzzFinding("\(Self.names[file]): its checksum does not tell damage from none")
      }
      try CheckpointFolder.seal(path)
    }
    guard CheckpointFolder.damage(path) == nil else {
      guard isManifest else { throw FuzzFinding("a checkpoint sealed anew is called damaged") }
      return
    }
    _ = try RunState(checkpoint: path)
    _ = try WeightDescription(of: path + "/weights.safetensors")
    try weightFile.read(into: parameters.base, from: path + "/weights.safetensors")
    let moments = try SafetensorsFile(path: path + "/optimizer.safetensors")
    for tensor in moments.tensors { _ = try moments.floats(tensor.name) }
  }
}
