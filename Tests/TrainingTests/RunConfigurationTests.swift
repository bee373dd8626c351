// What flags leave open, and which values are refused.
import Diagnostics
import Testing

@testable import Training

@Suite("Run configuration") struct RunConfigurationTests {
  @Test(
    "shards: the largest power of two <= batch / 8, 2 to 16",
    arguments: [(1, 2), (16, 2), (31, 2), (32, 4), (64, 8), (127, 8), (128, 16), (4096, 16)])
  func shards(batch: Int, expected: Int) {
    var c = RunConfiguration()
    c.batchSize = batch
    #expect(c.resolvedShards == expected)
    c.shards = 64
    #expect(c.resolvedShards == 64)
  }

  @Test(
    "micro-batch: at most 300 tokens, twice the images in mixed precision",
    arguments: [(16, 1, 2), (32, 6, 12), (8, 1, 2), (4, 1, 2), (224, 32, 64)])
  func microBatch(patch: Int, single: Int, mixed: Int) {
    var c = RunConfiguration()
    c.model.imageSize = 224
    c.model.patchSize = patch
    #expect(c.resolvedMicroBatch == single)
    c.precision = .mixed
    #expect(c.resolvedMicroBatch == mixed)
    c.batchSize = 5
    #expect(c.resolvedMicroBatch == min(5, mixed))
    c.microBatch = 3
    #expect(c.resolvedMicroBatch == 3)
  }

  @Test("every setting is told once, and told apart") func flags() {
    let c = RunConfiguration()
    let flags = (c.numerics + c.conduct).map(\.flag)
    #expect(Set(flags).count == flags.count)
    for flag in ["layer", "K", "lr", "batch_size", "shards", "micro_batch", "seed", "data_path"] {
      #expect(flags.contains(flag))
    }
    var other = c
    other.learningRate = 2e-3
    let differences = RunState(other).differences(from: RunState(c))
    #expect(differences == ["--lr: 0.001 in the checkpoint, 0.002 now"])
    other = c
    other.reduceType = .bf16
    #expect(
      RunState(other).differences(from: RunState(c)) == [
        "--reduce_dtype: fp32 in the checkpoint, bf16 now"
      ])
    // An earlier version trained as newer flags do by default.
    other = c
    other.emaDecay = 0.9
    var earlier = RunState(c)
    earlier.configuration.removeAll { $0.flag == "ema_decay" }
    #expect(RunState(c).differences(from: earlier).isEmpty)
    #expect(
      RunState(other).differences(from: earlier) == [
        "--ema_decay: 0.0 in the checkpoint, 0.9 now"
      ])
  }

  @Test("augmentation is part of the numerics, and a branch may change it") func augmentation() {
    var c = RunConfiguration()
    let plain = RunState(c)
    (c.randAugment, c.randAugmentOperations, c.randomErasing) = (9, 3, 0.25)
    #expect(throws: Never.self) { try c.validate() }
    let differences = [
      "--rand_augment: off in the checkpoint, 9 now",
      "--rand_augment_ops: 2 in the checkpoint, 3 now",
      "--random_erasing: 0.0 in the checkpoint, 0.25 now",
    ]
    #expect(RunState(c).differences(from: plain) == differences)
    #expect(RunState(c).differences(from: plain, in: RunConfiguration.branchFlags) == differences)
  }

  @Test("impossible numbers are refused") func refused() {
    let mistakes: [(inout RunConfiguration) -> Void] = [
      { $0.batchSize = 0 }, { $0.learningRate = .infinity }, { $0.learningRate = 0 },
      { $0.noise = -1 }, { $0.noise = .nan }, { $0.labelSmoothing = 1 }, { $0.shards = 12 },
      { $0.microBatch = -1 }, { $0.microBatch = 257 }, { $0.minimumRate = 1 }, { $0.workers = -1 },
      { $0.threads = 0 },
      { $0.stallTimeout = 0 }, { $0.clipNorm = -0.5 }, { $0.checkpointKeep = 0 },
      { $0.batchSize = .max }, { $0.threads = 100_000 }, { $0.shards = 1 << 20 },
      { $0.noise = 1e300 }, { $0.stallTimeout = 1e30 }, { $0.resize = 1 << 30 },
      { $0.bucketMegabytes = -1 }, { $0.emaDecay = 1 }, { $0.emaDecay = -0.1 },
      { $0.emaDecay = .nan },
      { $0.randAugment = 31 }, { $0.randAugment = -1 }, { $0.randAugmentOperations = 3 },
      { ($0.randAugment, $0.randAugmentOperations) = (9, 0) },
      { ($0.randAugment, $0.randAugmentOperations) = (9, 15) },
      { $0.randomErasing = 1.01 }, { $0.randomErasing = -0.1 }, { $0.randomErasing = .nan },
      { $0.model.patchSize = 0 }, { $0.resize = 225 }, { $0.model.width = 1 << 20 },
    ]
    #expect(throws: Never.self) { try RunConfiguration().validate() }
    for mistake in mistakes {
      var c = RunConfiguration()
      mistake(&c)
      let error = #expect(throws: RunError.self) { try c.validate() }
      #expect(error?.code == .configuration)
    }
  }
}

@Suite("Fault injection") struct FaultInjectionTests {
  @Test("specifications") func parse() throws {
    let fault = try FaultInjection("slow:rank=2,step=7,seconds=0.5")
    #expect(fault.kind == .slow && fault.rank == 2 && fault.step == 7 && fault.seconds == 0.5)
    for text in ["", "kill", "kill:rank=1", "kill:rank=x,step=1", "boom:rank=0,step=1", "kill:a=1"]
    {
      let error = #expect(throws: RunError.self) { try FaultInjection(text) }
      #expect(error?.code == .usage)
    }
  }
}
