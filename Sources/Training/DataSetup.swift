// From the flags to data sets and loaders.
import Datasets
import Diagnostics
import Models

enum DataSetup {
  /// - Parameter data: what the weights to be evaluated were trained on, where that is known.
  /// - Throws: `RunError` for data that is missing or damaged, or flags that do not suit it.
  static func open(
    _ split: DatasetSplit, _ c: RunConfiguration,
    trainedOn data: WeightDescription.TrainingData? = nil
  ) throws -> any Dataset {
    try openDataset(
      c.dataset, split: split, path: c.dataPath, resize: c.resize,
      classNames: data.flatMap { $0.dataset == c.dataset ? $0.classNames : nil })
  }

  /// The configuration with what follows from the data set.
  ///
  /// - Throws: `RunError` (configuration) for a model that cannot be made or cannot fit.
  static func fit(
    _ c: RunConfiguration, to dataset: any Dataset, ranks: Int, trains: Bool = true
  ) throws -> RunConfiguration {
    var c = c
    c.model.imageSize = inputSize(of: dataset, resize: c.resize)
    c.model.numClasses = dataset.classNames.count
    try c.validateModel(ranks: ranks, trains: trains)
    return c
  }

  static func transform(
    _ dataset: any Dataset, _ c: RunConfiguration, training: Bool
  ) -> ImageTransform {
    ImageTransform(
      size: c.model.imageSize, framing: c.dataset == .imagenet ? c.imagenetTransform : .squash,
      isTraining: training, augment: c.augment, noise: Float(c.noise),
      randAugment: c.randAugment.map {
        RandAugment(magnitude: $0, operationCount: c.randAugmentOperations)
      },
      erasing: c.randomErasing > 0 ? RandomErasing(probability: c.randomErasing) : nil,
      seed: c.seed, statistics: c.normalization.statistics(of: c.dataset))
  }

  static func loader(
    _ dataset: any Dataset, _ c: RunConfiguration, training: Bool
  ) -> BatchLoader {
    let mixing = training ? c.mixing : nil
    // Both images of a pair are loaded together, and a micro-batch may be a single one.
    let isOdd = c.resolvedMicroBatch % 2 == 1
    return BatchLoader(
      dataset: dataset, transform: transform(dataset, c, training: training),
      shuffle: training && c.shuffle,
      maximumBatch: mixing != nil && isOdd ? 2 * c.resolvedMicroBatch : c.resolvedMicroBatch,
      mixing: mixing,
      views: training ? RepeatedViews(times: c.augmentationRepeats, batch: c.batchSize) : nil,
      workers: c.workers, badImagePolicy: c.badImages)
  }
}

extension RunConfiguration {
  /// Fits the model to images and classes of the usual kind when no data set is opened.
  public mutating func fitWithoutData() {
    model.imageSize = resize > 0 ? resize : 32
    model.numClasses = dataset.usualClassCount
  }
}

extension DatasetKind {
  fileprivate var usualClassCount: Int {
    switch self {
    case .cifar10, .shapes: return 10
    case .cifar100: return 100
    case .imagenet: return 1000
    }
  }
}
