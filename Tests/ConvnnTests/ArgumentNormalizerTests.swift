// Spellings of flags.
import Models
import Testing

@testable import Training
@testable import convnn

@Suite("Argument spellings") struct ArgumentNormalizerTests {
  @Test(
    "rewritten for the parser",
    arguments: [
      ("--num-heads 3", "--num_heads 3"), ("--num-heads=3", "--num_heads=3"),
      ("--shuffle", "--shuffle=True"), ("--shuffle False", "--shuffle=False"),
      ("--shuffle --lr 1", "--shuffle=True --lr 1"), ("--no_shuffle", "--shuffle=False"),
      ("--no-softmax-topk-val --K 3", "--softmax_topk_val=False --K 3"),
      ("--augment --lr 1", "--augment=True --lr 1"), ("--no-augment", "--augment=False"),
      ("--num_samples -1", "--num_samples=-1"), ("--lr -1e-3", "--lr=-1e-3"),
      ("--no_progress", "--no_progress"), ("-h", "-h"),
      (
        "--compile-mode max-autotune",
        "--compile_mode max-autotune"
      ), ("--data_path=my-data/x=y", "--data_path=my-data/x=y"),
      ("evaluate --json", "evaluate --json"),
    ])
  func spelling(given: String, expected: String) {
    let words = given.split(separator: " ").map(String.init)
    #expect(normalizeArguments(words).joined(separator: " ") == expected)
  }
}

@Suite("Flags") struct FlagTests {
  func configuration(_ words: String) throws -> RunFlags {
    try RunFlags.parse(normalizeArguments(words.split(separator: " ").map(String.init)))
  }

  @Test("the last of a flag given twice counts") func last() throws {
    #expect(try configuration("--lr 1 --K 4 --lr 2 --K 5").configuration().learningRate == 2)
    #expect(try configuration("--lr 1 --K 4 --lr 2 --K 5").configuration().model.neighbours == 5)
  }

  @Test("defaults are the document's") func defaults() throws {
    let c = try configuration("").configuration()
    #expect(c.model.patchSize == 16 && c.model.numLayers == 12 && c.model.numHeads == 3)
    #expect(c.model.width == 192 && c.model.mlpWidth == 768 && c.model.dropout == 0.1)
    #expect(c.model.softmaxTopK && c.model.neighbours == 9 && c.model.sampleCount == -1)
    #expect(c.batchSize == 256 && c.epochs == 150 && c.learningRate == 1e-3)
    #expect(c.weightDecay == 1e-6 && c.clipNorm == 1 && c.resize == 224 && c.seed == 0)
  }

  @Test("flags beside a preset win") func preset() throws {
    let c = try configuration("--preset paper --seed 7 --num_heads 2").configuration()
    #expect(c.learningRate == 1e-4 && c.weightDecay == 1e-2 && c.model.spatialLayout == .linear)
    #expect(c.seed == 7 && c.model.numHeads == 2)
  }

  @Test("DeiT's learning rate follows the batch, and every number of it can run") func deit() throws
  {
    let c = try configuration("--preset deit").configuration()
    #expect(c.batchSize == 1024 && c.learningRate == 1e-3 && c.mixup == 0.8 && c.emaDecay > 0.9999)
    try c.validate()
    let small = try configuration("--batch_size 128 --preset deit --mixup 0").configuration()
    #expect(small.learningRate == 1.25e-4 && small.mixup == 0 && small.cutmix == 1)
    try small.validate()
    #expect(
      try configuration("--preset deit --batch_size 1 --shards 1").configuration().minimumRate
        < 1e-6)
  }

  @Test("the learning rate of fine-tuning follows the batch, and every number of it can run")
  func finetune() throws {
    let c = try configuration("--preset finetune --architecture vit").configuration()
    #expect(c.model.architecture == .vit && c.learningRate == 1e-3 && c.layerDecay == 0.75)
    try c.validate()
    let small = try configuration("--preset finetune --batch_size 64 --layer_decay 1")
      .configuration()
    #expect(small.learningRate == 2.5e-4 && small.layerDecay == 1 && small.epochs == 10)
  }

  @Test("presets leave a file's model alone, and what is given is reason enough")
  func presetAndBase() throws {
    var told = ModelConfiguration()
    (told.layer, told.numHeads, told.convnnHeads) = (.convNNAttention, 2, 2)
    (told.imageSize, told.spatialLayout, told.dropout) = (48, .grid, 0.3)
    let base = WeightDescription(model: told)
    let c = try configuration("--preset paper").configuration(base: base, trains: true)
    #expect(c.model.numHeads == 2 && c.model.convnnHeads == 2 && c.model.spatialLayout == .grid)
    #expect(c.resize == 48 && c.model.dropout == 0.1 && c.learningRate == 1e-4)
    #expect(
      try configuration("--preset paper --num_heads 1 --resize 32")
        .configuration(base: base, trains: true).model.numHeads == 1)
    for preset in ["deit", "finetune"] {
      let c = try configuration("--preset \(preset) --lr 5e-8").configuration()
      #expect(c.augment && c.minimumRate == 5e-8)
      try c.validate()
    }
  }

  @Test("a preset's augmentation can be left out") func plainPreset() throws {
    #expect(try configuration("--preset finetune").configuration().augment)
    for words in ["--augment False", "--no_augment"] {
      #expect(try !configuration("--preset finetune \(words)").configuration().augment)
    }
    #expect(try configuration("--preset paper --augment").configuration().augment)
    #expect(try configuration("--preset deit").configuration().randAugment == 9)
    let c = try configuration("--preset deit --rand_augment off").configuration()
    #expect(c.randAugment == nil)
    try c.validate()
    #expect(throws: (any Error).self) { try configuration("--rand_augment none") }
  }

  @Test("reference quirks take ConvNN's heads from --num_heads") func quirks() throws {
    #expect(try configuration("--reference_quirks").configuration().model.convnnHeads == 3)
    let given = "--reference_quirks --convnn_heads 2"
    #expect(try configuration(given).configuration().model.convnnHeads == 2)
    #expect(try configuration("").configuration().model.convnnHeads == 1)
  }
}
