// Everything that a run depends on.
import Collectives
import Conventions
import Datasets
import Diagnostics
import Foundation
import Models
import Optimizers
import Tensors

public struct RunConfiguration: Sendable {
  public var model = ModelConfiguration()

  public var dataset = DatasetKind.cifar10
  public var dataPath = "./Data"
  /// Side of the network's input; 0: the images' own.
  public var resize = 224
  public var normalization = Normalization.dataset
  public var augment = false
  public var noise = 0.0
  /// Parameters of beta distributions, see `ImageMixing`; 0 = off.
  public var mixup = 0.0
  public var cutmix = 0.0
  /// Magnitude of RandAugment; nil: off.
  public var randAugment: Int?
  /// Of RandAugment, an image.
  public var randAugmentOperations = 2
  /// Probability that a training image loses a rectangle.
  public var randomErasing = 0.0
  /// Views of an image in a batch, see `RepeatedViews`.
  public var augmentationRepeats = 1
  public var shuffle = true
  public var imagenetTransform = ImageFraming.standard
  public var badImages = BadImagePolicy.stop

  public var batchSize = RunConventions.batchSize
  public var epochs = 150
  public var maxSteps = 0
  public var criterion = Criterion.crossEntropy
  public var labelSmoothing = 0.0
  public var optimizer = OptimizerKind.adamw
  public var learningRate = 1e-3
  public var weightDecay = 1e-6
  public var decayAll = true
  /// Factor of the learning rate for every level between a parameter and the output.
  public var layerDecay = 1.0
  public var momentum = 0.9
  public var clipNorm = 1.0
  /// Of the average of the weights that is deployed in their place; 0 = none.
  public var emaDecay = 0.0
  public var scheduler = SchedulerKind.none
  public var stepSize = 20
  public var gamma = 0.1
  public var warmupEpochs = 0
  public var minimumRate = 0.0
  public var rateUpdate = RateUpdate.epoch
  public var seed: UInt64 = 0

  /// 0: a function of the batch size.
  public var shards = 0
  /// 0: a function of the model.
  public var microBatch = 0
  public var reduce = ReductionMode.invariant
  /// Of the model's matrix products.
  public var precision = Precision.single
  /// In what form gradients travel between ranks; part of the numerics on one rank too.
  public var reduceType = ReductionType.fp32
  /// Compute activations again in the backward pass instead of keeping them.
  public var recompute = false
  /// Exchange gradients while the backward pass goes on.
  public var overlap = true
  /// Megabytes of gradients that travel together; 0: measured at start.
  public var bucketMegabytes = 0
  public var threads = 1
  /// Data-loading threads per rank; nil: chosen by the data set.
  public var workers: Int?
  public var stallTimeout = 300.0
  public var fault: FaultInjection?

  public var outputFolder = ""
  /// auto, never, or a checkpoint's folder.
  public var resume = "auto"
  public var initFrom: String?
  /// The classifier does not come from there.
  public var newHead = false
  public var checkpointEvery = 0
  public var checkpointEveryEpoch = 1
  /// Where there are checkpoints, also after so many minutes without one; 0 = off.
  public var checkpointMinutes = 30.0
  public var checkpointKeep = 2
  public var logEvery = 10
  public var showProgress = true
  /// Write `trace.json`.
  public var trace = false

  public init() {}

  public var resolvedShards: Int {
    shards > 0 ? shards : RunConventions.shards(ofBatch: batchSize)
  }

  var mixing: ImageMixing? { ImageMixing(mixup: mixup, cutmix: cutmix, seed: seed) }

  /// At most 300 tokens a pass: enough rows for the matrix products to run at full speed, and little
  /// memory for activations. Up to 400 in wide models, whose weights take longer to fetch. Twice as many
  /// images in mixed precision, where each takes half the memory, and products end sooner than weights
  /// come.
  public var resolvedMicroBatch: Int {
    guard microBatch == 0 else { return microBatch }
    let tokens = min(400, max(300, model.width))
    let images = max(1, min(32, tokens / model.tokens))
    return min(precision == .mixed ? 2 * images : images, batchSize)
  }
}
