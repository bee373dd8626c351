// The flags of what training makes of its images.
import ArgumentParser
import Training

struct AugmentationFlags: ParsableArguments {
  @Option(
    name: .customLong("augment"),
    help: "Random crop and flip of training images (default: False).")
  var augment: Truth?
  @Option(
    name: .customLong("noise"),
    help: "Standard deviation of Gaussian noise on training images (default: 0).")
  var noise: Double?
  @Option(
    name: .customLong("rand_augment"),
    help: "Magnitude of RandAugment on training images, 0 to 30, or off (default: off).")
  var randAugment: NumberOrOff?
  @Option(
    name: .customLong("rand_augment_ops"),
    help: "Operations of RandAugment an image, 1 to 14 (default: 2).")
  var randAugmentOperations: Int?
  @Option(
    name: .customLong("random_erasing"),
    help: "Probability of erasing a rectangle of a training image (default: 0).")
  var randomErasing: Double?
  @Option(
    name: .customLong("aug_repeats"),
    help: "Views of an image in a batch, each augmented in its own way (default: 1).")
  var repeats: Int?
  @Option(
    name: .customLong("mixup"),
    help: "Blends pairs of training images, with shares of Beta(A, A); 0 for not (default: 0).")
  var mixup: Double?
  @Option(
    name: .customLong("cutmix"),
    help: """
      Exchanges rectangles of pairs of training images, with shares of Beta(A, A); 0 for not (default: 0). With \
      --mixup, each half of the time.
      """)
  var cutmix: Double?

  func apply(to c: inout RunConfiguration) {
    (augment?.value).put(&c.augment)
    noise.put(&c.noise)
    if let randAugment { c.randAugment = randAugment.value }
    randAugmentOperations.put(&c.randAugmentOperations)
    randomErasing.put(&c.randomErasing)
    repeats.put(&c.augmentationRepeats)
    mixup.put(&c.mixup)
    cutmix.put(&c.cutmix)
  }
}
