// What users and hosts do wrong: one message, the documented exit code, on any number of ranks.
import Foundation
import TensorFiles
import TestSupport
import Testing

struct Mistake: CustomTestStringConvertible, Sendable {
  let flags: [String]
  let code: Int32
  /// What the message has to name.
  let words: [String]
  var testDescription: String { flags.joined(separator: " ") }

  init(_ flags: String, _ code: Int32, _ words: String...) {
    self.flags = flags.split(separator: " ").map(String.init)
    self.code = code
    self.words = words
  }
}

@Suite("Mistakes") struct MistakeTests {
  static let small = [
    "--dataset", "shapes", "--resize", "16", "--patch_size", "8", "--num_layers", "1", "--d_hidden",
    "24", "--d_mlp", "24", "--batch_size", "32", "--max_steps", "1", "--no_progress",
  ]

  @Test(
    "a mistake ends all ranks at once",
    arguments: [
      Mistake("--bogus 1", 2, "--bogus"), Mistake("--K many", 2, "--K", "many"),
      Mistake("--layer Foo", 2, "--layer", "Foo", "SparseAttention"),
      Mistake("--shuffle maybe", 2, "--shuffle", "maybe"),
      Mistake("--inject explode:rank=0,step=1", 2, "--inject"),
      Mistake("--batch_size 0", 10, "--batch_size", "0"),
      Mistake("--batch_size -3", 10, "--batch_size", "-3"),
      Mistake("--lr nan", 10, "--lr", "nan"), Mistake("--lr inf", 10, "--lr", "inf"),
      Mistake("--criterion MSE --label_smoothing 0.1", 10, "--label_smoothing", "CrossEntropy"),
      Mistake("--ema_decay 1", 10, "--ema_decay", "1.0", "below 1"),
      Mistake("--lr_update batch", 2, "--lr_update", "batch", "step"),
      Mistake("--inject kill:rank=3,step=1", 10, "--inject", "rank 3"),
      Mistake("--clip_grad_norm=-1", 10, "--clip_grad_norm", "-1"),
      Mistake("--num_heads 5", 10, "--num_heads", "5", "24"),
      Mistake("--patch_size 5", 10, "--patch_size", "5", "16"),
      Mistake("--dropout 1", 10, "--dropout"), Mistake("--shards 3", 10, "--shards", "3"),
      Mistake("--shards 1 --threads 2", 10, "--shards"),
      Mistake("--reduce_dtype fp16", 2, "--reduce_dtype", "fp16", "bf16"),
      Mistake("--reduce mpi --reduce_dtype bf16", 10, "--reduce_dtype", "--reduce invariant"),
      Mistake("--amp_unit gpu", 2, "--amp_unit", "gpu", "portable"),
      Mistake(
        "--use_amp --amp_strict --amp_unit portable", 10, "--amp_strict", "AVX512-BF16"),
      Mistake("--use_amp --d_mlp 16392", 10, "--d_mlp", "16392", "16384"),
      Mistake("--fp32_products fast", 2, "--fp32_products", "split"),
      Mistake("--bucket_mb -1", 10, "--bucket_mb", "-1"),
      Mistake("--bucket_mb small", 2, "--bucket_mb", "small"),
      Mistake("--device cuda", 10, "--device", "cuda"),
      Mistake("--init_from nowhere.safetensors", 10, "nowhere.safetensors"),
      Mistake("--init_from /tmp", 10, "/tmp", "directory"),
      Mistake("--checkpoint some.safetensors", 10, "--test_only", "--init_from", "--resume"),
      Mistake("--dataset cifar10 --data_path nowhere", 11, "nowhere", "./launch data cifar10"),
      Mistake("--layer KvtAttention --K 6", 10, "--K", "6", "5"),
      Mistake("--K 99999999999999999999", 2, "--K"), Mistake("--patch_size 0", 10, "--patch_size"),
      Mistake("--num_layers 9223372036854775807", 10, "--num_layers", "65535"),
      Mistake("--d_hidden -24", 10, "--d_hidden", "-24"),
      Mistake("--attention_dropout nan", 10, "--attention_dropout", "nan"),
      Mistake("--noise 1e300", 10, "--noise", "1e+300"),
      Mistake("--rand_augment -1", 10, "--rand_augment", "-1", "0 to 30"),
      Mistake("--rand_augment_ops 3", 10, "--rand_augment_ops 3", "--rand_augment,"),
      Mistake("--aug_repeats 3 --shuffle False", 10, "--aug_repeats 3", "--shuffle"),
      Mistake("--batch_size 4 --aug_repeats 5", 10, "--aug_repeats 5", "--batch_size 4"),
      Mistake(
        "--batch_size 4 --shards 1 --aug_repeats 3 --mixup 1", 10, "--aug_repeats 3",
        "--aug_repeats 2"),
      Mistake("--aug_repeats 0", 10, "--aug_repeats", "0", "1 to 1024"),
      Mistake("--random_erasing 1.5", 10, "--random_erasing", "1.5", "0 to 1"),
      Mistake("--batch_size 9223372036854775807", 10, "--batch_size"),
      Mistake("--stall_timeout 1e30", 10, "--stall_timeout"),
      Mistake("--stall_timeout -1", 10, "--stall_timeout", "-1"),
      Mistake("--threads 100000", 10, "--threads"), Mistake("--shards 1048576", 10, "--shards"),
      Mistake("--micro_batch 33", 10, "--micro_batch", "33", "32"),
      Mistake("--resize 1000000000", 10, "--resize"),
      Mistake("--d_hidden 1048576 --num_heads 1 --d_mlp 1048576", 10, "GB", "--d_hidden"),
      Mistake("--resize 16384 --patch_size 4", 10, "GB", "--patch_size"),
      Mistake("--layer NeighborhoodAttention --K 1", 10, "--K", "2 to 5"),
      Mistake("--layer ConvNNAttention --K 6", 10, "--K", "5 tokens"),
      Mistake(
        "--layer ConvNNAttention --K 4 --sampling_type random --num_samples 3", 10, "--K",
        "3 candidates"),
      Mistake(
        "--layer ConvNNAttention --K 2 --sampling_type spatial --num_samples 3", 10,
        "--num_samples", "2 x 2"),
      Mistake("--layer BranchConv --K 3 --branch_ratio nan", 10, "--branch_ratio", "nan"),
      Mistake("--layer BranchAttention --K 3 --branch_ratio 0.2", 10, "--branch_ratio", "0.25"),
      Mistake("--dataset imagenet --data_path nowhere --resize 0", 10, "--resize"),
      Mistake("--architecture resnet", 2, "--architecture", "resnet", "vit"),
      Mistake(
        "--architecture vit --layer KvtAttention", 10, "--architecture vit", "KvtAttention"),
      Mistake("--architecture vit --reference_quirks", 10, "--reference_quirks"),
      Mistake("--layer_decay 1.5", 10, "--layer_decay", "1.5", "0", "1"),
      Mistake("--normalization mine", 2, "--normalization", "mine", "imagenet"),
      Mistake(
        "--architecture convnn --init_from \(goldenFolder.path)/vit/timm.safetensors", 10,
        "--architecture vit"),
    ])
  func mistake(_ mistake: Mistake) throws {
    // On several ranks, where starting takes long, a third of them, whichever these are.
    let isOneOfThree = mistake.flags.joined().utf8.reduce(0) { $0 + Int($1) } % 3 == 0
    for ranks in isOneOfThree ? [nil, 3] : [nil] {
      let folder = try TemporaryFolder()
      let run = folder.path + "/run"
      let result = try Program.run(
        ranks: ranks, Self.small + ["--output_dir", run] + mistake.flags)
      #expect(result.code == mistake.code, "\(result.errors)")
      let messages = result.errors.components(separatedBy: "Error: ")
      #expect(messages.count == 2, "one message: \(result.errors)")
      // mpirun's own words follow after a line of dashes.
      let message = (messages.last ?? "").components(separatedBy: "\n-----")[0]
      for word in mistake.words { #expect(message.contains(word), "\(message)") }
      let lines = message.split(separator: "\n").count
      #expect(lines <= 6, "\(message)")
      #expect(!FileManager.default.fileExists(atPath: run + "/metrics.jsonl"))
    }
  }

  @Test("weights that are not finite replace no checkpoint", arguments: [nil, 2])
  func infiniteWeights(ranks: Int?) throws {
    let folder = try TemporaryFolder()
    let flags =
      Self.small.dropLast(3) + [
        "--batch_size", "5000", "--num_epochs", "3", "--scheduler", "step", "--lr_step", "1",
        "--lr_gamma", "1e38", "--checkpoint_keep", "1", "--no_progress", "--output_dir",
        folder.path,
      ]
    let result = try Program.run(ranks: ranks, Array(flags))
    #expect(result.code == 12 && result.errors.contains("--lr"), "\(result.errors)")
    let left = try FileManager.default.contentsOfDirectory(atPath: folder.path + "/checkpoints")
    #expect(left == ["step-00000002"])
  }

  @Test("a truncated data file is named", arguments: [nil, 2]) func truncated(ranks: Int?) throws {
    let folder = try TemporaryFolder()
    let data = folder.path + "/cifar-10-batches-bin"
    try FileManager.default.copyItem(
      atPath: goldenFolder.appendingPathComponent("cifar-10-batches-bin").path, toPath: data)
    let file = data + "/data_batch_3.bin"
    let bytes = try Data(contentsOf: URL(fileURLWithPath: file))
    try bytes.dropLast(100).write(to: URL(fileURLWithPath: file))
    let result = try Program.run(
      ranks: ranks,
      Self.small + [
        "--dataset", "cifar10", "--data_path", folder.path, "--output_dir", folder.path + "/run",
      ])
    #expect(result.code == 11)
    #expect(result.errors.contains("data_batch_3.bin"))
  }

  @Test("a weights file that describes an impossible model", arguments: [nil, 2])
  func impossibleWeights(ranks: Int?) throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/w.safetensors"
    let possible = ["img_size": "16", "patch_size": "8", "d_hidden": "24"]
    let changes: [([String: String], String)] = [
      (["num_heads": "5"], "--num_heads 5 does not divide --d_hidden 24"),
      (["patch_size": "0"], "--patch_size is 0"), (["img_size": "-8"], "--resize"),
      (["num_layers": "1e99"], "num_layers"), (["d_mlp": "4611686018427387904"], "--d_mlp"),
      (["layer": "\"KvtAttention\"", "K": "6"], "--K 6"),
    ]
    for (change, words) in changes {
      let config = possible.merging(change) { $1 }.map { "\"\($0)\":\($1)" }
      try writeSafetensors(
        to: path, metadata: ["config": "{\(config.joined(separator: ","))}"], tensors: [])
      let evaluation = try Program.run(
        ranks: ranks, ["evaluate", "--dataset", "shapes", "--checkpoint", path])
      let prediction = try Program.run(["predict", "--checkpoint", path, path])
      for result in [evaluation, prediction] {
        #expect(result.code == 10 && result.errors.contains(words), "\(result.errors)")
      }
    }
  }

  @Test("a gradient that is not finite") func notFinite() throws {
    let folder = try TemporaryFolder()
    let result = try Program.run(
      ranks: 2,
      Self.small + [
        "--max_steps", "4", "--inject", "nan:rank=1,step=3", "--output_dir", folder.path + "/run",
      ])
    #expect(result.code == 12)
    #expect(result.errors.contains("Step 3"))
    #expect(status(folder.path + "/run")["exit_code"] as? Int == 12)
  }

  @Test("weights that differ between ranks") func bitflip() throws {
    let folder = try TemporaryFolder()
    let result = try Program.run(
      ranks: 3,
      Self.small + [
        "--max_steps", "4", "--inject", "bitflip:rank=1,step=2", "--output_dir",
        folder.path + "/run",
      ])
    #expect(result.code == 13)
    #expect(result.errors.contains("rank 1 (\(ProcessInfo.processInfo.hostName))"))
  }

  @Test("a rank that stands still is told of, then named, and no other one is")
  func stalled() throws {
    let folder = try TemporaryFolder()
    // Some wait for it in the exchange, some in the gather after it, with those who wait in the exchange.
    let result = try Program.run(
      ranks: 4,
      Self.small + [
        "--max_steps", "4", "--inject", "stop:rank=2,step=3", "--stall_timeout", "4",
        "--output_dir", folder.path + "/run",
      ])
    #expect(result.code == 14)
    let host = ProcessInfo.processInfo.hostName
    let lines = result.errors.components(separatedBy: "\n")
    for (word, seconds) in [("Waiting", 2), ("Stalled", 4)] {
      let told = lines.filter { $0.hasPrefix("\(word): ") }
      #expect(told.count == 1, "\(result.errors)")
      #expect(
        told.first?.contains(" \(seconds) s for rank 2 on \(host) in step 3 (") == true,
        "\(result.errors)")
    }
  }

  @Test("other flags on resume are refused, fewer words than six lines") func resume() throws {
    let folder = try TemporaryFolder()
    let flags = Self.small + ["--output_dir", folder.path + "/run"]
    #expect(try Program.run(flags).code == 0)
    let before = try Data(contentsOf: URL(fileURLWithPath: folder.path + "/run/model.safetensors"))
    let result = try Program.run(flags + ["--max_steps", "2", "--lr", "0.5"])
    #expect(result.code == 10)
    #expect(result.errors.contains("--lr: 0.001 in the checkpoint, 0.5 now"))
    let after = try Data(contentsOf: URL(fileURLWithPath: folder.path + "/run/model.safetensors"))
    #expect(before == after)
    // What may differ: how long, and how often to save.
    #expect(try Program.run(flags + ["--max_steps", "2", "--checkpoint_keep", "5"]).code == 0)
  }

  @Test("damaged checkpoints: the older one, then none") func damagedCheckpoints() throws {
    let folder = try TemporaryFolder()
    let run = folder.path + "/run"
    let flags = Self.small + ["--checkpoint_every", "1", "--output_dir", run]
    #expect(try Program.run(flags + ["--max_steps", "2"]).code == 0)
    func damage(_ step: Int) throws {
      let name = String(format: "step-%08d", step)
      let file = URL(fileURLWithPath: "\(run)/checkpoints/\(name)/weights.safetensors")
      var bytes = try Data(contentsOf: file)
      bytes[bytes.count - 7] ^= 4
      try bytes.write(to: file)
    }
    try damage(2)
    let older = try Program.run(ranks: 2, flags + ["--max_steps", "3"])
    #expect(older.code == 0 && older.errors.contains("damaged"))
    #expect(try metrics(run, event: "resume").map { $0["step"] as? Int } == [1])
    try damage(2)
    try damage(3)
    let none = try Program.run(ranks: 2, flags + ["--max_steps", "4"])
    #expect(none.code == 17)
    #expect(none.errors.contains("step-00000003"))
  }
}
