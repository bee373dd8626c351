// From names on the command line to data sets.
import Diagnostics

/// `--dataset`.
public enum DatasetKind: String, Codable, Sendable, CaseIterable {
  case cifar10
  case cifar100
  case imagenet
  case shapes
}

/// Opens one split.
///
/// - Parameters:
///   - path: `--data_path`; not used for `shapes`.
///   - resize: `--resize`, 0 for the images' own size; `shapes` are drawn at this size (32 for 0).
///   - classNames: of the model that is to be evaluated, where they are known: a folder's own must be the same.
/// - Throws: `RunError`: data for missing or damaged files, configuration for a size that the data
///   set cannot have.
public func openDataset(
  _ kind: DatasetKind, split: DatasetSplit, path: String, resize: Int, classNames: [String]? = nil
) throws -> any Dataset {
  switch kind {
  case .cifar10: return try CIFARDataset(.cifar10, split: split, path: path)
  case .cifar100: return try CIFARDataset(.cifar100, split: split, path: path)
  case .shapes: return ShapesDataset(split: split, size: resize > 0 ? resize : 32)
  case .imagenet:
    guard resize > 0 else {
      throw RunError.configuration(
        """
        --resize 0 (no resizing) cannot be used with --dataset imagenet, whose images differ in size.
        Give the side of the input, for example --resize 224.
        """)
    }
    return try ImageFolderDataset(split: split, path: path, classNames: classNames)
  }
}

/// The side of the network's input: `--resize`, or the data set's own when that is 0.
public func inputSize(of dataset: any Dataset, resize: Int) -> Int {
  resize > 0 ? resize : dataset.imageSize ?? 224
}

extension DatasetKind {
  /// Mean and deviation of the colours, which inputs are normalised by.
  public var statistics: ChannelStatistics {
    switch self {
    case .cifar10: return .cifar10
    case .cifar100: return .cifar100
    case .imagenet: return .imageNet
    case .shapes: return .shapes
    }
  }
}
