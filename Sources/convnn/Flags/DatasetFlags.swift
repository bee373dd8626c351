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
  @Option(
    name: .customLong("shuffle"), help: "New order every epoch (default: True), or file order.")
  var shuffle: Truth?
  @Option(
    name: .customLong("imagenet_transform"),
    help: "ImageNet images: squashed to a square, or cropped as usual (default: standard).")
  var imagenetTransform: ImageFraming?
  @Option(
    name: .customLong("normalization"),
    help: """
      Colours are normalised by the data set's mean and deviation, ImageNet's, or to -1...1 (default: dataset).
      """)
  var normalization: Normalization?
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
    (shuffle?.value).put(&c.shuffle)
    imagenetTransform.put(&c.imagenetTransform)
    normalization.put(&c.normalization)
    badImages.put(&c.badImages)
    if let workers { c.workers = workers }
  }
}
