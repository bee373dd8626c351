// Recipes: several flags at once.
import ArgumentParser
import Training

/// `--preset`; flags given beside it win.
enum Preset: String, CaseIterable, ExpressibleByArgument {
  /// The published runs.
  case paper
  /// What DeiT was trained with (Touvron et al. 2021, arXiv:2012.12877, table 9), but with torchvision's RandAugment,
  /// which is milder, and rates by step.
  case deit
  /// Pretrained weights on another data set: the parts of that recipe that a few epochs can use, with learning rates
  /// that fall from level to level (Clark et al. 2020, arXiv:2003.10555; for images Bao et al. 2021, arXiv:2106.08254).
  case finetune

  /// - Parameters: what is given beside it: `batchSize`, on which the learning rate may depend, and
  ///   `learningRate`, below which the least one stays.
  func apply(to c: inout RunConfiguration, batchSize: Int?, learningRate: Double?) {
    c.optimizer = .adamw
    switch self {
    case .paper:
      c.resize = 224
      c.learningRate = 1e-4
      c.weightDecay = 1e-2
      c.scheduler = .none
      c.batchSize = 256
      c.epochs = 150
      c.model.numHeads = 1
      c.model.convnnHeads = 1
      c.model.dropout = 0.1
      c.model.attentionDropout = 0.1
      c.augment = false
      c.seed = 42
      c.model.spatialLayout = .linear
    case .deit:
      c.resize = 224
      Self.applyUsualRecipe(to: &c)
      c.batchSize = 1024
      c.epochs = 300
      c.learningRate = 5e-4 * Double(batchSize ?? c.batchSize) / 512
      c.minimumRate = min(1e-5, learningRate ?? c.learningRate)
      c.warmupEpochs = 5
      c.clipNorm = 0
      c.mixup = 0.8
      c.cutmix = 1
      c.randAugment = 9
      c.randomErasing = 0.25
      c.augmentationRepeats = 3
      c.emaDecay = 0.99996
    case .finetune:
      Self.applyUsualRecipe(to: &c)
      c.batchSize = 256
      c.epochs = 10
      c.learningRate = 1e-3 * Double(batchSize ?? c.batchSize) / 256
      c.minimumRate = min(1e-6, learningRate ?? c.learningRate)
      c.warmupEpochs = 1
      c.layerDecay = 0.75
    }
  }

  /// What transformers for images are trained with since DeiT, from nothing or from other weights.
  private static func applyUsualRecipe(to c: inout RunConfiguration) {
    c.weightDecay = 0.05
    c.decayAll = false
    c.scheduler = .cosine
    c.rateUpdate = .step
    c.labelSmoothing = 0.1
    c.model.dropout = 0
    c.model.attentionDropout = 0
    c.model.dropPath = 0.1
    c.augment = true
  }
}
