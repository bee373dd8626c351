// What happens to an image that cannot be used, and the list of those.
import Diagnostics

/// `--on_bad_image`.
public enum BadImagePolicy: String, Sendable, CaseIterable {
  case stop
  case skip
}

/// One damaged image.
public struct BadImage: Sendable, Hashable, Codable {
  public let index: Int
  public let source: String
  public let reason: String

  public init(index: Int, source: String, reason: String) {
    self.index = index
    self.source = source
    self.reason = reason
  }
}

/// Damaged images in what consumers were given, not in what was only loaded ahead: so these numbers
/// depend on the work done, never on timing.
public struct BadImageTally: Sendable {
  /// Images that another one stood in for.
  public fileprivate(set) var replaced = 0
  /// Each damaged image once, by index.
  public fileprivate(set) var images: [Int: BadImage] = [:]

  mutating func add(_ batch: [BadImage], replaced count: Int) {
    replaced += count
    for image in batch { images[image.index] = image }
  }

  public var sorted: [BadImage] { images.values.sorted { $0.index < $1.index } }
}

extension BadImagePolicy {
  /// So many substitutes are tried before the data set is given up.
  static let attemptLimit = 100

  /// - Throws: `RunError` (data) when the policy is stop, or when substitutes were all damaged too.
  func check(_ image: BadImage, attempt: Int) throws {
    guard self == .skip else {
      throw RunError.data(
        """
        Image \(image.index) cannot be used: \(image.reason).
        File: \(image.source)
        Replace it, or go on without it: --on_bad_image skip
        """)
    }
    guard attempt < BadImagePolicy.attemptLimit else {
      throw RunError.data(
        """
        \(BadImagePolicy.attemptLimit) images in a row cannot be used, the last one: \(image.source)
        Reason: \(image.reason). Check the data set.
        """)
    }
  }
}
