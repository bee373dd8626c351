// `predict` in both precisions.
import Foundation
import TensorFiles
import Tensors
import TestSupport
import Testing

@Suite("Predictions") struct PredictTests {
  @Test("normalisation, size and names of classes are those of the weights") func data() throws {
    let folder = try TemporaryFolder()
    let run = folder.path + "/run"
    try #require(try Program.run(MistakeTests.small + ["--output_dir", run]).code == 0)
    let image = try folder.write("image", ImageFolderRunTests.file(3, 20, 31))
    func predict(_ flags: [String], _ name: String = "model") throws -> ProgramResult {
      try Program.run(
        ["predict", "--checkpoint", "\(run)/\(name).safetensors", image, "--top", "10"] + flags)
    }
    let plain = try predict([])
    #expect(plain.code == 0 && plain.output.contains("stripes"), "\(plain.errors)")
    #expect(plain.errors == "")
    #expect(try predict(["--dataset", "shapes"]).output == plain.output)
    let other = try predict(["--dataset", "cifar10"])
    #expect(
      other.output != plain.output && other.errors.contains("trained on shapes, not on cifar10"))

    // Weights from elsewhere say nothing of themselves.
    let file = try SafetensorsFile(path: run + "/model.safetensors")
    let values = try file.tensors.map { ($0, try file.floats($0.name)) }
    func write(_ name: String, _ change: (Float) -> Float) throws {
      let slabs = values.map { entry, numbers in
        let slab = FloatSlab(count: numbers.count)
        slab.base.update(from: numbers.map(change), count: numbers.count)
        return (entry, slab)
      }
      try withExtendedLifetime(slabs) {
        try writeSafetensors(
          to: "\(run)/\(name).safetensors", metadata: [:],
          tensors: slabs.map {
            TensorToWrite(name: $0.0.name, shape: $0.0.shape, values: $0.1.base)
          })
      }
    }
    try write("foreign") { $0 }
    let model = [
      "--num_layers", "1", "--d_hidden", "24", "--d_mlp", "24", "--patch_size", "8", "--resize",
      "16",
    ]
    let foreign = try predict(model + ["--dataset", "shapes"], "foreign")
    #expect(foreign.output == plain.output, "\(foreign.errors)")
    let assumed = try predict(model, "foreign")
    #expect(assumed.errors.contains("do not say what they were trained on: cifar10 is assumed"))
    let misfit = try predict(model.dropLast(1) + ["32"], "foreign")
    #expect(misfit.code == 10 && misfit.errors.contains("positional_encoding.pe"))

    try write("broken") { _ in .nan }
    #expect(try predict(model, "broken").code == 12)
    let evaluated = try Program.run(
      ["evaluate", "--checkpoint", run + "/broken.safetensors", "--dataset", "shapes"] + model)
    #expect(evaluated.code == 12 && evaluated.errors.contains("finite"))
  }

  @Test("an image that cannot be read does not cost the others") func badImage() throws {
    let folder = try TemporaryFolder()
    let run = folder.path + "/run"
    try #require(try Program.run(MistakeTests.small + ["--output_dir", run]).code == 0)
    let good = try (2..<4).map {
      try folder.write("image\($0)", ImageFolderRunTests.file($0, 20, 31))
    }
    let bad = try folder.write("bad", [1, 2, 3])
    let result = try Program.run(
      ["predict", "--checkpoint", run + "/model.safetensors", good[0], bad, good[1]])
    #expect(result.code == 11)
    #expect(result.errors.contains("Error: \(bad)"), "\(result.errors)")
    // Each with its five classes.
    let lines = result.output.split(separator: "\n").map(String.init)
    #expect(lines.count == 12 && lines[0] == good[0] && lines[6] == good[1], "\(result.output)")
  }

  @Test("a damaged weights file, and none", arguments: ["evaluate", "predict"])
  func damaged(command: String) throws {
    let folder = try TemporaryFolder()
    let run = folder.path + "/run"
    try #require(try Program.run(MistakeTests.small + ["--output_dir", run]).code == 0)
    let checkpoint = run + "/checkpoints/step-00000001"
    let path = URL(fileURLWithPath: checkpoint + "/weights.safetensors")
    var bytes = try Data(contentsOf: path)
    bytes[bytes.count - 9] ^= 64
    try bytes.write(to: path)
    let image = try folder.write("image", ImageFolderRunTests.file(3, 20, 31))
    func use(_ checkpoint: String) throws -> ProgramResult {
      try Program.run(
        [command, "--checkpoint", checkpoint] + (command == "predict" ? [image] : []))
    }
    let result = try use(checkpoint)
    #expect(result.code == 17 && result.errors.contains("checksum"), "\(result.errors)")
    for missing in [folder.path, folder.path + "/nothing"] {
      let result = try use(missing)
      #expect(result.code == 10 && result.errors.contains("there is no \(missing)"))
    }
  }

  @Test("--use_amp computes in mixed precision, near single precision") func mixed() throws {
    let folder = try TemporaryFolder()
    let run = folder.path + "/run"
    let training = try Program.run(MistakeTests.small + ["--output_dir", run])
    try #require(training.code == 0, "\(training.errors)")
    let (images, side) = (5, 16)
    let input = FloatSlab(count: images * 3 * side * side)
    RandomSequence(seed: 3, purpose: .testInput).fillNormal(input.base, count: input.count)
    try writeSafetensors(
      to: folder.path + "/input", metadata: [:],
      tensors: [TensorToWrite(name: "input", shape: [images, 3, side, side], values: input.base)])
    func logits(_ flags: [String]) throws -> [Float] {
      let output = folder.path + "/output"
      let result = try Program.run(
        [
          "predict", "--checkpoint", run + "/model.safetensors", "--input",
          folder.path + "/input", "--output", output,
        ] + flags)
      try #require(result.code == 0, "\(result.errors)")
      #expect(
        result.errors.contains("saves memory, but no time") == flags.contains("portable"))
      return try SafetensorsFile(path: output).floats("logits")
    }
    let single = try logits([])
    for flags in [["--use_amp"], ["--use_amp", "--amp_unit", "portable"]] {
      if flags.count == 1 && ProductUnit.best == .portable { continue }
      let mixed = try logits(flags)
      #expect(mixed != single)
      let scale = single.map(abs).max() ?? 0
      // Roundings to eight bits, a few products deep.
      for (a, b) in zip(mixed, single) { #expect(abs(a - b) < 0.05 * scale) }
    }
  }
}
