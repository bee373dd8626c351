// The order of an epoch's images: a function of (seed, epoch), the same on every rank.
import Tensors

/// `order[position]` is the data set's index of the epoch's image number `position`.
public struct EpochOrder: Sendable {
  public let count: Int
  private let permutation: [Int32]?

  /// - Parameter shuffle: false for file order, every epoch.
  public init(count: Int, seed: UInt64, epoch: Int, shuffle: Bool) {
    self.count = count
    permutation =
      shuffle
      ? RandomSequence(seed: seed, purpose: .sampleOrder, step: epoch).permutation(count: count)
      : nil
  }

  public subscript(position: Int) -> Int {
    precondition(position >= 0 && position < count)
    return permutation.map { Int($0[position]) } ?? position
  }
}
