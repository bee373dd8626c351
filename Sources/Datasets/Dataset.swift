// What every data set offers: numbered images with labels.

public enum DatasetSplit: String, Sendable, CaseIterable {
  case train
  case test
}

/// Mean and standard deviation per colour channel, of values in 0...1.
public struct ChannelStatistics: Sendable, Equatable {
  public let mean: (Float, Float, Float)
  public let deviation: (Float, Float, Float)

  public init(mean: (Float, Float, Float), deviation: (Float, Float, Float)) {
    self.mean = mean
    self.deviation = deviation
  }

  public static func == (a: ChannelStatistics, b: ChannelStatistics) -> Bool {
    a.mean == b.mean && a.deviation == b.deviation
  }

  public static let cifar10 = ChannelStatistics(
    mean: (0.4914, 0.4822, 0.4465), deviation: (0.2470, 0.2435, 0.2616))
  public static let cifar100 = ChannelStatistics(
    mean: (0.5071, 0.4867, 0.4408), deviation: (0.2675, 0.2565, 0.2761))
  public static let imageNet = ChannelStatistics(
    mean: (0.485, 0.456, 0.406), deviation: (0.229, 0.224, 0.225))
  public static let shapes = ChannelStatistics(
    mean: (0.5, 0.5, 0.5), deviation: (0.25, 0.25, 0.25))
}

/// `--normalization`: by which mean and deviation of the colours inputs are normalised.
public enum Normalization: String, Codable, Sendable, CaseIterable {
  /// The data set's own.
  case dataset
  /// ImageNet's, whatever the data set, as most pretrained weights expect.
  case imagenet
  /// Values in -1...1, as weights trained by Google's code expect.
  case half

  public func statistics(of dataset: DatasetKind) -> ChannelStatistics {
    switch self {
    case .dataset: return dataset.statistics
    case .imagenet: return .imageNet
    case .half: return ChannelStatistics(mean: (0.5, 0.5, 0.5), deviation: (0.5, 0.5, 0.5))
    }
  }
}

/// Numbered images with labels. Any number of threads may load at once, each into its own buffer.
public protocol Dataset: AnyObject, Sendable {
  var name: String { get }
  var split: DatasetSplit { get }
  var count: Int { get }
  var classNames: [String] { get }
  var statistics: ChannelStatistics { get }
  /// Side of the images when all are squares of one size, else nil.
  var imageSize: Int? { get }
  /// True when loading takes about a millisecond or more, so that background threads pay.
  var isSlow: Bool { get }
  /// 64-bit hash of the data, equal on two hosts only if they hold the same data.
  var fingerprint: String { get }

  /// Puts image `index` into `image` and returns its label.
  ///
  /// - Parameter region: what of an image of the width and height given is wanted; a data set may
  ///   put in more (`image` says what it holds).
  /// - Throws: `ImageError` for one damaged image, `RunError` (data) for anything else.
  func load(
    _ index: Int, into image: ImageBuffer, region: DecodingRegion.Choice
  ) throws -> Int32

  /// Where image `index` comes from, for messages.
  func source(of index: Int) -> String
}

extension Dataset {
  public func load(_ index: Int, into image: ImageBuffer) throws -> Int32 {
    try load(index, into: image, region: DecodingRegion.everything)
  }
}

/// One image that cannot be used.
public struct ImageError: Error, CustomStringConvertible, Sendable, Equatable {
  public let reason: String
  public init(_ reason: String) { self.reason = reason }
  public var description: String { reason }
}
