// Pretrained weights of another library on other data, as a user would.
import Foundation
import TensorFiles
import TestSupport
import Testing

@testable import Training

@Suite("Fine-tuning") struct FineTuningTests {
  private let pretrained = goldenFolder.appendingPathComponent("vit").path
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func train(_ run: String, library: String, ranks: Int? = nil, _ flags: [String] = [])
    throws -> SafetensorsFile
  {
    try train(run, file: "\(pretrained)/\(library).safetensors", ranks: ranks, flags)
  }

  private func start(_ run: String, file: String, ranks: Int?, _ flags: [String]) throws
    -> ProgramResult
  {
    try Program.run(
      ranks: ranks,
      [
        "--preset", "finetune", "--init_from",
        file, "--new_head", "--normalization", "half",
        "--dataset", "cifar10", "--data_path", goldenFolder.path, "--resize", "24",
        "--batch_size", "20",
        "--shards", "4", "--num_epochs", "2", "--no_progress", "--output_dir",
        "\(folder.path)/\(run)",
      ] + flags)
  }

  private func train(_ run: String, file: String, ranks: Int? = nil, _ flags: [String] = []) throws
    -> SafetensorsFile
  {
    let result = try start(run, file: file, ranks: ranks, flags)
    try #require(result.code == 0, "\(result.errors)")
    return try SafetensorsFile(path: "\(folder.path)/\(run)/model.safetensors")
  }

  @Test("the classifier alone learns where nothing else has a learning rate") func probe() throws {
    let result = try train("probe", library: "torchvision", ["--layer_decay", "0"])
    let source = try SafetensorsFile(path: pretrained + "/timm.safetensors")
    let body = source.tensors.map(\.name).filter { !$0.hasPrefix("head.") }
    #expect(body.count == 3 * 12 + 6)
    for name in body where name != "pos_embed" {
      #expect(try result.floats(name) == source.floats(name), "\(name)")
    }
    // Of 3 x 3 patches instead of 4 x 4.
    #expect(result["pos_embed"]?.shape == [1, 10, 24])
    #expect(result["head.weight"]?.shape == [10, 24])
    #expect(try Set(result.floats("head.bias")).count == 10)
    // The optimizer has no moments of the rest.
    let checkpoint = "\(folder.path)/probe/checkpoints/step-00000006"
    let refused = try start(
      "rest", file: pretrained + "/torchvision.safetensors", ranks: nil, ["--resume", checkpoint])
    let words = "--init_from \(checkpoint)/weights.safetensors"
    #expect(refused.code == 10 && refused.errors.contains(words), "\(refused.errors)")
    #expect(refused.errors.contains("--layer_decay 0.75"))
  }

  @Test("a run goes on when the weights that it began with are gone") func weightsAreGone() throws {
    let whole = try train("whole", library: "timm")
    let copy = folder.path + "/copy.safetensors"
    let files = FileManager.default
    try files.copyItem(atPath: pretrained + "/timm.safetensors", toPath: copy)
    _ = try train("parts", file: copy, ["--max_steps", "2"])
    try files.removeItem(atPath: copy)
    // In another folder, too.
    let checkpoint = folder.path + "/parts/checkpoints/step-00000002"
    let branch = try train("branch", file: copy, ["--resume", checkpoint, "--max_steps", "0"])
    // And when another file has the name.
    try files.copyItem(
      atPath: goldenFolder.path + "/training/attention_adamw_cosine/init.safetensors", toPath: copy)
    let parts = try train("parts", file: copy, ranks: 2, ["--max_steps", "0"])
    #expect(parts.contentChecksum() == whole.contentChecksum())
    #expect(branch.contentChecksum() == whole.contentChecksum())
  }

  @Test("a run's weights tell the next one its model, but not how it was trained") func ownWeights()
    throws
  {
    let first = folder.path + "/first"
    let result = try Program.run(
      MistakeTests.small + [
        "--layer", "KvtAttention", "--K", "3", "--num_heads", "2", "--dropout", "0.3",
        "--attention_dropout", "0.2", "--drop_path", "0.1", "--normalization", "half",
        "--criterion", "MSE", "--output_dir", first,
      ])
    try #require(result.code == 0, "\(result.errors)")
    let second = folder.path + "/second"
    let next = try Program.run(
      ranks: 2,
      [
        "--init_from", first + "/model.safetensors", "--batch_size", "32", "--max_steps", "1",
        "--K", "2", "--output_dir", second, "--no_progress",
      ])
    try #require(next.code == 0, "\(next.errors)")
    let flags = try String(contentsOfFile: second + "/args.txt", encoding: .utf8)
    for line in [
      "layer: KvtAttention", "num_heads: 2", "d_hidden: 24", "resize: 16", "dataset: shapes",
      "normalization: half", "K: 2", "dropout: 0.1", "attention_dropout: 0.1", "drop_path: 0",
      "criterion: CrossEntropy",
    ] {
      #expect(flags.contains("\n\(line)\n"), "\(line) in \(flags)")
    }
  }

  @Test("files of all three libraries predict the same") func predicts() throws {
    let image = try folder.write("image", ImageFolderRunTests.file(3, 20, 31))
    let outputs = try ["timm", "huggingface", "torchvision"].map { library in
      let result = try Program.run(
        ["predict", "--checkpoint", "\(pretrained)/\(library).safetensors", image])
      #expect(result.code == 0, "\(result.errors)")
      #expect(result.errors.contains("--num_heads 3, --normalization dataset"))
      return result.output
    }
    #expect(outputs[0].contains("class 4") && Set(outputs).count == 1)
  }

  @Test("levels learn the less the further down they are") func levels() throws {
    let result = try train(
      "levels", library: "timm", ["--layer_decay", "0.1", "--weight_decay", "0"])
    let source = try SafetensorsFile(path: pretrained + "/timm.safetensors")
    // A step of Adam moves every number by about the rate.
    func moved(_ name: String) throws -> Double {
      let (after, before) = (try result.floats(name), try source.floats(name))
      return zip(after, before).reduce(0) { $0 + Double(abs($1.0 - $1.1)) } / Double(after.count)
    }
    let weights =
      (0..<3).reversed().map { "blocks.\($0).mlp.fc1.bias" }
      + ["patch_embed.proj.bias"]
    let distances = try weights.map(moved)
    for (above, below) in zip(distances, distances.dropFirst()) {
      #expect(below > 0 && below < 0.3 * above, "\(distances)")
    }
  }

  @Test(
    "the same bits on any number of ranks, whoever wrote the weights; they tell all of themselves")
  func evaluates() throws {
    let first = try train("first", library: "timm")
    _ = try train("second", library: "huggingface", ranks: 3)
    #expect(
      try RankInvarianceTests.weights("\(folder.path)/first")
        == RankInvarianceTests.weights("\(folder.path)/second"))
    #expect(first.metadata["data"]?.contains("\"normalization\":\"half\"") == true)
    let evaluated = try Program.run(
      [
        "evaluate", "--checkpoint", "\(folder.path)/first/model.safetensors", "--data_path",
        goldenFolder.path, "--json",
      ])
    #expect(evaluated.code == 0, "\(evaluated.errors)")
    let loss = try #require(
      try metrics("\(folder.path)/first", event: "epoch").last?["test_loss"] as? Double)
    let found =
      try JSONSerialization.jsonObject(with: Data(evaluated.output.utf8)) as? [String: Any]
    #expect(found?["loss"] as? Double == loss)
    // The normalisation matters, so it did come from the file.
    let other = try Program.run(
      [
        "evaluate", "--checkpoint", "\(folder.path)/first/model.safetensors", "--data_path",
        goldenFolder.path, "--json", "--normalization", "dataset",
      ])
    #expect(other.code == 0 && other.output != evaluated.output, "\(other.errors)")
  }
}
