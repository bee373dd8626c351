// The flags of the data set.
import ArgumentParser
import Datasets
import Training

struct DatasetFlags: ParsableArguments {
  @Option(
    name: .customLong("dataset"),
    help: "Data set (default: cifar10); shapes is built in, imagenet means class folders.")
  var dataset: DatasetKind?
  @Option(name: .customLong("data_path"), help: "Folder of the data set (default: ./Data).")
  var dataPath: String?
  @Option(
    name: .customLong("resize"), help: "Side of the images, 0 for no resizing (default: 224).")
  var resize: Int?
  @Flag(name: .customLong("augment"), help: "Random crop and flip of training images.")
  var augment = false
  @Option(
    name: .customLong("noise"),
    help: "Standard deviation of Gaussian noise on training images (default: 0).")
  var noise: Double?
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
    name: .customLong("rand_augment"),
    help: "Magnitude of RandAugment on training images, 0 to 30 (default: off).")
  var randAugment: Int?
  @Option(
    name: .customLong("rand_augment_ops"),
    help: "Operations of RandAugment an image, 1 to 14 (default: 2).")
  var randAugmentOperations: Int?
  @Option(
    name: .customLong("random_erasing"),
    help: "Probability of erasing a rectangle of a training image (default: 0).")
  var randomErasing: Double?
  @Option(
    name: .customLong("shuffle"), help: "New order every epoch (default: True), or file order.")
  var shuffle: Truth?
  @Option(
    name: .customLong("imagenet_transform"),
    help: "ImageNet images: squashed to a square, or cropped as usual (default: standard).")
  var imagenetTransform: ImageFraming?
  @Option(
    name: .customLong("on_bad_image"),
    help: "A damaged image ends the run, or another one takes its place (default: stop).")
  var badImages: BadImagePolicy?
  @Option(
    name: .customLong("workers"),
    help: """
      Threads per rank that load images ahead (default: 1 for files to decode and large shapes, else 0: compute \
      threads load for themselves).
      """)
  var workers: Int?

  func apply(to c: inout RunConfiguration) {
    dataset.put(&c.dataset)
    dataPath.put(&c.dataPath)
    resize.put(&c.resize)
    if augment { c.augment = true }
    noise.put(&c.noise)
    mixup.put(&c.mixup)
    cutmix.put(&c.cutmix)
    if let randAugment { c.randAugment = randAugment }
    randAugmentOperations.put(&c.randAugmentOperations)
    randomErasing.put(&c.randomErasing)
    (shuffle?.value).put(&c.shuffle)
    imagenetTransform.put(&c.imagenetTransform)
    badImages.put(&c.badImages)
    if let workers { c.workers = workers }
  }
}
