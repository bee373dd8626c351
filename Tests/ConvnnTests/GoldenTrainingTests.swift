// Whole training runs, as a user starts them, against the runs of the original PyTorch code.
import Foundation
import TensorFiles
import Tensors
import TestSupport
import Testing

/// A run's golden record: what was configured, and what came out.
private struct Trajectory: Decodable {
  /// [loss, gradient norm before clipping] of every step.
  let steps: [[Double]]
  /// [train loss, train top-1, test loss, test top-1, learning rate] of every epoch, means over images.
  let epochs: [[Double]]
  /// The configuration, as far as it decides what is compared.
  let config: Choices

  struct Choices: Decodable {
    let layer: String
    let heads: Int
    let headMerge: String

    enum CodingKeys: String, CodingKey {
      case layer
      case heads = "num_heads"
      case headMerge = "head_merge"
    }

    /// The reference merges the heads of ConvNN and its convolution in a way of its own.
    var needsQuirks: Bool {
      ["ConvNNAttention", "BranchConv", "BranchAttention"].contains(layer) && heads > 1
        && headMerge == "reference"
    }
  }

  /// What a run reports of an epoch: its quirks take means over batches, of which only the loss of
  /// training is known here.
  func reported(epoch: Int) -> [String: Double] {
    let golden = epochs[epoch]
    guard config.needsQuirks else {
      let keys = ["train_loss", "train_top1", "test_loss", "test_top1", "lr"]
      return Dictionary(uniqueKeysWithValues: zip(keys, golden))
    }
    let perEpoch = steps.count / epochs.count
    let losses = steps[epoch * perEpoch..<(epoch + 1) * perEpoch].map { $0[0] }
    return ["train_loss": losses.reduce(0, +) / Double(perEpoch), "lr": golden[4]]
  }
}

@Suite("Golden training", .serialized) struct GoldenTrainingTests {
  static let runs = [
    "attention_adamw_cosine", "branch_attention_sgd_step", "convnn_adamw_none",
    "convnn_h3_spatial_adam_step", "kvt_adamw_cosine_resize48",
  ]

  @Test("every step of the reference is followed", arguments: runs)
  func trajectory(name: String) throws {
    let golden = goldenFolder.appendingPathComponent("training/\(name)")
    let folder = try TemporaryFolder()
    let expected = try JSONDecoder().decode(
      Trajectory.self, from: Data(contentsOf: golden.appendingPathComponent("trajectory.json")))
    let quirks = expected.config.needsQuirks ? ["--reference_quirks"] : []
    let ways = [(1, []), (2, []), (3, []), (1, ["--fp32_products", "openblas"])]
    let runs = ways.indices.map { "\(folder.path)/run-\($0)" }
    let results = try Program.run(
      zip(ways, runs).map { way, run in
        (
          way.0,
          try flags(golden) + quirks + way.1 + [
            "--data_path", goldenFolder.path, "--shuffle", "False", "--log_every", "1",
            "--shards", "4", "--init_from", golden.appendingPathComponent("init.safetensors").path,
            "--output_dir", run,
          ]
        )
      })
    // All test images as one batch, so that the mean over batches is the one over images.
    let evaluations = try Program.run(
      runs.map {
        (
          nil,
          [
            "evaluate", "--checkpoint", $0 + "/model.safetensors", "--data_path",
            goldenFolder.path, "--batch_size", "40", "--json",
          ]
        )
      })
    for (index, way) in ways.enumerated() {
      try #require(results[index].code == 0, "\(way): \(results[index].errors)")
      try #require(evaluations[index].code == 0, "\(way): \(evaluations[index].errors)")
      try compare(runs[index], evaluations[index].output, with: expected, golden, "\(way)")
    }
  }

  /// Compares a run, and what an evaluation of its weights says, with the golden record.
  private func compare(
    _ run: String, _ evaluation: String, with expected: Trajectory, _ golden: URL, _ way: String
  ) throws {
    let steps = try metrics(run, event: "step")
    try #require(steps.count == expected.steps.count, "\(way)")
    for (step, golden) in zip(steps, expected.steps) {
      // PyTorch in float32 stays within 6e-6 of these float64 runs.
      #expect(relative(step["loss"], golden[0]) < 2e-5, "\(way): loss of step \(step["step"]!)")
      #expect(
        relative(step["grad_norm"], golden[1]) < 1e-4, "\(way): norm of step \(step["step"]!)")
    }
    let epochs = try metrics(run, event: "epoch")
    try #require(epochs.count == expected.epochs.count, "\(way)")
    for (index, epoch) in epochs.enumerated() {
      for (key, value) in expected.reported(epoch: index) {
        #expect(relative(epoch[key], value) < 1e-4, "\(way): \(key) of epoch \(epoch["epoch"]!)")
      }
    }
    let last = try #require(expected.epochs.last)
    let measured = try JSONSerialization.jsonObject(with: Data(evaluation.utf8))
    let values = try #require(measured as? [String: Any])
    #expect(relative(values["loss"], last[2]) < 1e-4, "\(way)")
    #expect(relative(values["top1"], last[3]) < 1e-4, "\(way)")
    let ours = try SafetensorsFile(path: run + "/model.safetensors")
    let final = try SafetensorsFile(
      path: golden.appendingPathComponent("final.safetensors").path)
    #expect(Set(ours.tensors.map(\.name)) == Set(final.tensors.map(\.name)))
    for tensor in final.tensors {
      let a = try ours.floats(tensor.name)
      let b = try final.floats(tensor.name)
      #expect(ours[tensor.name]?.shape == tensor.shape)
      let distance = zip(a, b).reduce(0.0) { $0 + pow(Double($1.0) - Double($1.1), 2) }
      let size = b.reduce(0.0) { $0 + pow(Double($1), 2) }
      #expect(distance.squareRoot() <= 5e-4 * size.squareRoot(), "\(way): \(tensor.name)")
    }
  }

  /// Layers that choose neighbours are discontinuous: in these runs of 16 images a step, a relative
  /// change of the first weights by 2^-9, which is what rounding them does, moves the loss of single steps
  /// by 4 to 18 % and the mean over a run by up to 2 %, in single precision too. So of those layers the
  /// mean over several runs is held to 2 %, of the others each step.
  @Test("mixed precision stays near, on any number of ranks", arguments: runs)
  func mixedTrajectory(name: String) throws {
    let golden = goldenFolder.appendingPathComponent("training/\(name)")
    let folder = try TemporaryFolder()
    let expected = try JSONDecoder().decode(
      Trajectory.self, from: Data(contentsOf: golden.appendingPathComponent("trajectory.json")))
    let quirks = expected.config.needsQuirks ? ["--reference_quirks"] : []
    func losses(_ runs: [(ranks: Int, weights: String)]) throws -> [[Double]] {
      let outputs = runs.map { _ in "\(folder.path)/\(UUID().uuidString)" }
      let results = try Program.run(
        zip(runs, outputs).map { run, output in
          (
            run.ranks,
            try flags(golden) + quirks + [
              "--use_amp", "--data_path", goldenFolder.path, "--shuffle", "False", "--log_every",
              "1", "--shards", "4", "--init_from", run.weights, "--output_dir", output,
            ]
          )
        })
      var losses: [[Double]] = []
      for (result, output) in zip(results, outputs) {
        try #require(result.code == 0, "\(result.errors)")
        let steps = try metrics(output, event: "step")
        try #require(steps.count == expected.steps.count)
        losses.append(steps.compactMap { ($0["loss"] as? NSNumber)?.doubleValue })
      }
      return losses
    }
    let weights = golden.appendingPathComponent("init.safetensors").path
    let unchanged = try losses([(1, weights), (3, weights)])
    let alone = unchanged[0]
    #expect(unchanged[1] == alone)
    #expect(zip(alone, expected.steps).contains { relative($0, $1[0]) > 2e-5 })
    if expected.config.layer == "Attention" {
      for (loss, step) in zip(alone, expected.steps) { #expect(relative(loss, step[0]) < 0.02) }
      return
    }
    let changed = try (1...7).map { seed in
      let changed = "\(folder.path)/init-\(seed).safetensors"
      try change(weights, by: 0x1p-9, seed: UInt64(seed), to: changed)
      return (ranks: 1, weights: changed)
    }
    let all = alone + (try losses(changed)).joined()
    func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(values.count) }
    #expect(relative(mean(all), mean(expected.steps.map { $0[0] })) < 0.02)
  }

  /// Writes the weights of a file again, each times 1 + u, with u uniform below `most` in size.
  private func change(_ path: String, by most: Float, seed: UInt64, to changed: String) throws {
    let file = try SafetensorsFile(path: path)
    var tensors: [TensorToWrite] = []
    let values = try file.tensors.map { try file.floats($0.name) }
    let memory = UnsafeMutableBufferPointer<Float>.allocate(capacity: values.joined().count)
    defer { memory.deallocate() }
    guard var next = memory.baseAddress else { return }
    RandomSequence(seed: seed, purpose: .testInput)
      .fillUniform(next, count: memory.count, low: 1 - most, high: 1 + most)
    for (tensor, values) in zip(file.tensors, values) {
      tensors.append(TensorToWrite(name: tensor.name, shape: tensor.shape, values: next))
      for value in values {
        next.pointee *= value
        next += 1
      }
    }
    try writeSafetensors(to: changed, metadata: file.metadata, tensors: tensors)
  }

  private func relative(_ found: Any?, _ golden: Double) -> Double {
    guard let value = (found as? NSNumber)?.doubleValue else { return .infinity }
    return abs(value - golden) / max(abs(golden), 1e-12)
  }

  /// The run's configuration as flags.
  private func flags(_ golden: URL) throws -> [String] {
    let data = try Data(contentsOf: golden.appendingPathComponent("trajectory.json"))
    let object = try JSONSerialization.jsonObject(with: data) as? [String: Any]
    let config = try #require(object?["config"] as? [String: Any])
    let remarks = ["train_images", "test_images", "head_merge", "shuffle"]
    return config.keys.sorted().filter { !remarks.contains($0) }
      .flatMap { ["--\($0)", "\(config[$0]!)"] }
  }
}
