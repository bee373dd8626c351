// Instructions change speed, not bits: AVX2 and AVX-512 train to the same weights.
import Diagnostics
import Tensors
import TestSupport
import Testing

@testable import convnn

@Suite("CPU level") struct CPULevelTests {
  /// Rows longer than the longest vectors, and not whole numbers of them: 101 tokens.
  private static let wide = [
    "--resize", "40", "--patch_size", "4", "--d_hidden", "72", "--d_mlp", "150",
  ]

  @Test(
    "AVX2 and AVX-512 give the same bits", .enabled(if: VectorLevel.best == .avx512),
    arguments: [
      "Attention", "Attention --d_hidden 100 --num_heads 5 --d_mlp 333 --augment",
      "Attention --reduce_dtype bf16 --optimizer sgd --ema_decay 0.9",
      "Attention --use_amp --amp_unit portable",
      "ConvNNAttention --convolution_type standard",
      "ConvNNAttention --sampling_type random --num_samples 20 --magnitude_type euclidean",
      "ConvNNAttention --sampling_type spatial --num_samples 3 --magnitude_type cosine",
      "KvtAttention", "LocalAttention", "NeighborhoodAttention",
      "SparseAttention --sparse_mode strided", "BranchConv", "BranchAttention",
    ])
  func sameBits(layer: String) throws {
    let folder = try TemporaryFolder()
    let words = layer.split(separator: " ").map(String.init)
    var all: [(weights: String, numbers: [String])] = []
    for level in ["avx2", "avx512"] {
      let run = "\(folder.path)/\(level)"
      let result = try Program.run(
        ranks: 1,
        RankInvarianceTests.flags(words[0], steps: 3, folder: run) + Self.wide + words.dropFirst()
          + ["--cpu_level", level])
      try #require(result.code == 0, "\(result.errors)")
      all.append((try RankInvarianceTests.weights(run), try RankInvarianceTests.numbers(run)))
    }
    #expect(all[0].weights == all[1].weights)
    #expect(all[0].numbers == all[1].numbers && !all[0].numbers.isEmpty)
  }

  @Test(
    "without FMA last bits are others: the flag does something",
    .enabled(if: !VectorLevel.base.fuses && VectorLevel.best != .base))
  func base() throws {
    let folder = try TemporaryFolder()
    let weights = try ["auto", "base"].map { level in
      let run = "\(folder.path)/\(level)"
      let result = try Program.run(
        ranks: 1,
        RankInvarianceTests.flags("Attention", steps: 2, folder: run)
          + ["--cpu_level", level, "--fp32_products", "openblas"])
      try #require(result.code == 0, "\(result.errors)")
      return try RankInvarianceTests.weights(run)
    }
    #expect(weights[0] != weights[1])
  }

  @Test("instructions that the CPU does not have are refused")
  func missing() {
    let error = #expect(throws: RunError.self) { try LevelChoice.avx512.limit(best: .avx2) }
    #expect(error?.code == .configuration)
    #expect(error?.message.contains("--cpu_level avx512") == true)
    #expect(error?.message.contains("AVX2 at best") == true)
  }
}
