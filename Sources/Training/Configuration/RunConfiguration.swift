// Everything that a run depends on.
import Collectives
import Conventions
import Datasets
import Diagnostics
import Foundation
import Models
import Optimizers
import Tensors

/// Flags in effect; what each does, its help tells. Names follow the field, not the flags; `numerics` and `conduct` map
/// one to the other.
public struct RunConfiguration: Sendable {
  public var model = ModelConfiguration()

  public var dataset = DatasetKind.cifar10
  /// The folder that holds the data set's own.
  public var dataPath = "./Data"
  /// Side of the network's input in pixels; 0: the images' own.
  public var resize = 224
  public var normalization = Normalization.dataset
  /// Random crop and flip.
  public var augment = false
  /// Standard deviation of Gaussian noise on normalised training images; 0 = off.
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

  /// Images of a step, over all ranks.
  public var batchSize = RunConventions.batchSize
  public var epochs = 150
  /// Optimizer steps of the whole run; 0 = no limit.
  public var maxSteps = 0
  public var criterion = Criterion.crossEntropy
  /// Share of the target that all classes share.
  public var labelSmoothing = 0.0
  public var optimizer = OptimizerKind.adamw
  /// Of the schedule's beginning, after warm-up.
  public var learningRate = 1e-3
  /// λ of `Optimizer`.
  public var weightDecay = 1e-6
  /// Also biases, norms, class token and positions.
  public var decayAll = true
  /// Factor of the learning rate for every level between a parameter and the output.
  public var layerDecay = 1.0
  /// Of sgd.
  public var momentum = 0.9
  /// Largest norm of the whole gradient; 0 = no clipping.
  public var clipNorm = 1.0
  /// Of the average of the weights that is deployed in their place; 0 = none.
  public var emaDecay = 0.0
  public var scheduler = SchedulerKind.none
  /// Epochs between the decays of the schedule step, and their factor.
  public var stepSize = 20
  public var gamma = 0.1
  public var warmupEpochs = 0
  /// Lowest learning rate of the schedule.
  public var minimumRate = 0.0
  public var rateUpdate = RateUpdate.epoch
  public var seed: UInt64 = 0

  /// Parts of a batch, a power of two; 0: a function of the batch size.
  public var shards = 0
  /// Images of one pass through the model; 0: a function of the model.
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
  /// Compute threads per rank.
  public var threads = 1
  /// Data-loading threads per rank; nil: chosen by the data set.
  public var workers: Int?
  /// Seconds without a message after which waiting for other ranks counts as a stall.
  public var stallTimeout = 300.0
  /// For tests of what survives.
  public var fault: FaultInjection?

  public var outputFolder = ""
  /// auto, never, or a checkpoint's folder.
  public var resume = "auto"
  /// A weights file to begin with.
  public var initFrom: String?
  /// The classifier does not come from there.
  public var newHead = false
  /// Steps, and epochs, from one checkpoint to the next; 0 = off.
  public var checkpointEvery = 0
  public var checkpointEveryEpoch = 1
  /// Where there are checkpoints, also after so many minutes without one; 0 = off.
  public var checkpointMinutes = 30.0
  public var checkpointKeep = 2
  /// Steps from one line of metrics.jsonl to the next.
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
