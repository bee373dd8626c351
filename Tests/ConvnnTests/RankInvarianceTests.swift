// The promise: the same bits on any number of ranks and threads, killed and resumed or not.
import Files
import Foundation
import Tensors
import TestSupport
import Testing

@Suite("Rank invariance", .serialized) struct RankInvarianceTests {
  /// A small run with everything random switched on.
  static func flags(_ layer: String, steps: Int, folder: String) -> [String] {
    [
      "--layer", layer, "--dataset", "cifar10", "--data_path", goldenFolder.path, "--resize", "24",
      "--patch_size", "8", "--num_layers", "2", "--num_heads", "2", "--d_hidden", "32", "--d_mlp",
      "48", "--K", "3", "--batch_size", "20", "--shards", "8", "--micro_batch", "2", "--augment",
      "--noise", "0.1", "--dropout", "0.1", "--attention_dropout", "0.1", "--log_every", "1",
      "--num_epochs", "9", "--max_steps", "\(steps)", "--scheduler", "cosine",
      "--checkpoint_every", "2", "--seed", "5", "--output_dir", folder, "--no_progress",
      "--rand_augment", "9", "--random_erasing", "0.3",
    ]
  }

  static func weights(_ folder: String) throws -> String {
    try Checksum.hex(ofFile: folder + "/model.safetensors")
  }

  static func best(_ folder: String) throws -> String {
    try Checksum.hex(ofFile: folder + "/best.safetensors")
  }

  /// Metrics without what depends on the clock.
  static func numbers(_ folder: String) throws -> [String] {
    try ["step", "epoch"].flatMap { try metrics(folder, event: $0) }.map { line in
      line.keys.filter { !["seconds", "images_per_second"].contains($0) }.sorted()
        .map { "\($0)=\(line[$0]!)" }.joined(separator: " ")
    }
  }

  @Test(
    "ranks and threads change nothing",
    arguments: [
      "Attention", "KvtAttention", "Attention --reduce_dtype bf16", "Attention --use_amp",
      "ConvNNAttention --use_amp --sampling_type random --num_samples 6",
    ]
      // Wide enough for products that are split.
      + SingleProducts.available().map {
        "Attention --fp32_products \($0.rawValue) --d_hidden 128 --d_mlp 160"
      })
  func ranks(layer: String) throws {
    // Three steps an epoch: 7 steps and 3 epochs' lines.
    try expectSameBits(
      layer, steps: 7, lines: 10,
      ways: [(1, 1), (8, 1), (2, 1), (5, 1), (3, 1), (2, 2), (4, 1), (1, 3)])
  }

  private func expectSameBits(
    _ layer: String, steps: Int, lines: Int, ways: [(ranks: Int, threads: Int)]
  ) throws {
    let folder = try TemporaryFolder()
    let words = layer.split(separator: " ").map(String.init)
    let runs = ways.map { "\(folder.path)/\($0.ranks)x\($0.threads)" }
    let results = try Program.run(
      zip(ways, runs).map { way, run in
        (
          way.ranks,
          Self.flags(words[0], steps: steps, folder: run) + words.dropFirst()
            + ["--threads", "\(way.threads)"]
        )
      })
    for result in results { try #require(result.code == 0, "\(result.errors)") }
    let all = try runs.map { (try Self.weights($0), try Self.numbers($0)) }
    #expect(all[0].1.count == lines)
    #expect(all.allSatisfy { $0.0 == all[0].0 && $0.1 == all[0].1 })
  }

  static let otherLayers = [
    "ConvNNAttention", "ConvNNAttention --sampling_type random --num_samples 6",
    "ConvNNAttention --sampling_type spatial --num_samples 2 --convolution_type standard",
    "LocalAttention", "NeighborhoodAttention",
    "SparseAttention --sparse_mode local --sparse_context_window 4", "BranchConv",
    "BranchAttention --sampling_type random --num_samples 6",
    "Attention --mixup 0.8 --cutmix 1 --drop_path 0.4 --micro_batch 1 --aug_repeats 3",
    "Attention --mixup 0.8 --cutmix 1 --drop_path 0.4 --use_amp",
    "Attention --architecture vit --layer_decay 0.7",
    "Attention --architecture vit --layer_decay 0.7 --use_amp",
  ]

  @Test("every layer trains with the same bits", arguments: otherLayers)
  func layers(layer: String) throws {
    try expectSameBits(layer, steps: 2, lines: 3, ways: [(1, 1), (2, 2), (3, 1)])
  }

  @Test("the size of buckets changes nothing and is told") func buckets() throws {
    let folder = try TemporaryFolder()
    var all: [(String, [String])] = []
    let cases = [(1, "auto"), (2, "1"), (2, "2"), (2, "100"), (2, "auto"), (3, "1"), (3, "auto")]
    let runs = cases.map { "\(folder.path)/\($0)-\($1)" }
    // 2.1 million parameters, 8 MB: sizes of 1, 4 and 16 MB differ in the number of buckets.
    let results = try Program.run(
      zip(cases, runs).map {
        (
          ranks: $0.0,
          arguments: Self.flags("Attention", steps: 2, folder: $1)
            + ["--d_hidden", "256", "--d_mlp", "1536", "--bucket_mb", $0.1]
        )
      })
    for (((ranks, size), run), result) in zip(zip(cases, runs), results) {
      try #require(result.code == 0, "\(result.errors)")
      all.append((try Self.weights(run), try Self.numbers(run)))
      let told = try #require(try metrics(run, event: "start").first?["bucket_mb"] as? Int)
      let isMeasured = ranks > 1 && size == "auto"
      #expect(isMeasured ? [1, 4, 16].contains(told) : told == Int(size) ?? 4)
      let note = "buckets of \(told) MB, the best of 1, 4, 16 MB"
      #expect(result.errors.contains(note) == isMeasured)
      let arguments = try String(contentsOfFile: run + "/args.txt", encoding: .utf8)
      #expect(arguments.contains("bucket_mb: \(told)\n"))
    }
    #expect(all.allSatisfy { $0.0 == all[0].0 && $0.1 == all[0].1 })
  }

  @Test("gradients in bf16 give other bits, and no run goes on with the other kind")
  func reductionType() throws {
    let folder = try TemporaryFolder()
    for type in ["fp32", "bf16"] {
      let flags = Self.flags("Attention", steps: 2, folder: "\(folder.path)/\(type)")
      #expect(try Program.run(ranks: 2, flags + ["--reduce_dtype", type]).code == 0)
    }
    #expect(try Self.weights(folder.path + "/fp32") != Self.weights(folder.path + "/bf16"))
    let other = try Program.run(
      Self.flags("Attention", steps: 4, folder: folder.path + "/bf16"))
    #expect(other.code == 10)
    #expect(other.errors.contains("--reduce_dtype: bf16 in the checkpoint, fp32 now"))
  }

  @Test("another seed gives other bits") func seed() throws {
    let folder = try TemporaryFolder()
    for seed in ["5", "6"] {
      let flags = Self.flags("Attention", steps: 1, folder: folder.path + "/\(seed)")
      #expect(try Program.run(flags + ["--seed", seed]).code == 0)
    }
    #expect(try Self.weights(folder.path + "/5") != Self.weights(folder.path + "/6"))
  }

  @Test("killed and resumed on another number of ranks", arguments: [1, 4])
  func killed(laterRanks: Int) throws {
    let folder = try TemporaryFolder()
    let (whole, broken) = (folder.path + "/whole", folder.path + "/broken")
    #expect(try Program.run(Self.flags("Attention", steps: 7, folder: whole)).code == 0)
    let flags = Self.flags("Attention", steps: 7, folder: broken)
    let first = try Program.run(ranks: 2, flags + ["--inject", "kill:rank=1,step=6"])
    #expect(first.code != 0)
    #expect(status(broken)["state"] as? String == "running")
    let second = try Program.run(ranks: laterRanks, flags)
    try #require(second.code == 0, "\(second.errors)")
    #expect(try metrics(broken, event: "resume").map { $0["step"] as? Int } == [4])
    #expect(try Self.weights(broken) == Self.weights(whole))
    #expect(try Self.numbers(broken) == Self.numbers(whole))
    #expect(status(broken)["state"] as? String == "done")
  }

  @Test("a second run in the folder of a running one is refused, and harms nothing")
  func secondRun() throws {
    let folder = try TemporaryFolder()
    let (whole, shared) = (folder.path + "/whole", folder.path + "/shared")
    #expect(try Program.run(Self.flags("Attention", steps: 5, folder: whole)).code == 0)
    let flags = Self.flags("Attention", steps: 5, folder: shared)
    let first = try Program.start(flags + ["--inject", "slow:rank=0,step=4,seconds=600"])
    while first.process.isRunning, (try? metrics(shared, event: "epoch").count) ?? 0 < 1 {
      usleep(10_000)
    }
    let before = try Self.numbers(shared)
    for ranks in [nil, 2] {
      let second = try Program.run(ranks: ranks, flags + ["--resume", "never"])
      #expect(second.code == 10)
      let owner =
        "\(shared) is in use by another run (process \(first.process.processIdentifier) on"
      #expect(second.errors.contains(owner), "\(second.errors)")
    }
    #expect(status(shared)["state"] as? String == "running")
    #expect(try Self.numbers(shared) == before)
    // Dead without a word, and the folder is free.
    kill(first.process.processIdentifier, SIGKILL)
    let third = try Program.run(ranks: 2, flags)
    #expect(third.code == 0, "\(third.errors)")
    #expect(try Self.weights(shared) == Self.weights(whole))
    _ = first.finish()
  }

  @Test("stopped by a signal and resumed") func preempted() throws {
    let folder = try TemporaryFolder()
    let (whole, broken) = (folder.path + "/whole", folder.path + "/broken")
    #expect(try Program.run(Self.flags("Attention", steps: 12, folder: whole)).code == 0)
    let flags = Self.flags("Attention", steps: 12, folder: broken)
    // Slow steps, so that the signal comes before the end.
    let running = try Program.start(
      flags + ["--threads", "2", "--inject", "slow:rank=0,step=3,seconds=1"])
    while running.process.isRunning, (status(broken)["state"] as? String) != "running" {
      usleep(10_000)
    }
    kill(running.process.processIdentifier, SIGUSR1)
    let result = running.finish()
    #expect(result.code == 15, "\(result.errors)")
    let stopped = status(broken)
    #expect(stopped["state"] as? String == "preempted")
    let step = try #require(stopped["step"] as? Int)
    let name = String(format: "step-%08d", step)
    #expect(FileManager.default.fileExists(atPath: "\(broken)/checkpoints/\(name)/manifest.json"))
    #expect(try Program.run(ranks: 3, flags).code == 0)
    #expect(try Self.weights(broken) == Self.weights(whole))
    #expect(try Self.numbers(broken) == Self.numbers(whole))
  }

  @Test("more steps later are as good as at once") func extended() throws {
    let folder = try TemporaryFolder()
    let (whole, parts) = (folder.path + "/whole", folder.path + "/parts")
    #expect(try Program.run(Self.flags("Attention", steps: 8, folder: whole)).code == 0)
    for steps in [2, 5, 8] {
      #expect(try Program.run(Self.flags("Attention", steps: steps, folder: parts)).code == 0)
    }
    #expect(try Self.weights(parts) == Self.weights(whole))
    #expect(try Self.numbers(parts) == Self.numbers(whole))
    // Whole epochs end after 3 and 6 steps; what --max_steps cuts short is never the best for good.
    #expect(try Self.best(parts) == Self.best(whole))
    let again = try Program.run(Self.flags("Attention", steps: 8, folder: parts))
    #expect(again.code == 0 && again.errors.contains("is complete"))
  }
}
