// `predict` in both precisions.
import Foundation
import TensorFiles
import Tensors
import TestSupport
import Testing

@Suite("Predictions") struct PredictTests {
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
