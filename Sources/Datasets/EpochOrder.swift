// The order of an epoch's images: a function of (seed, epoch), the same on every rank.
import Tensors

/// Repeated augmentation (Hoffer et al. 2020, arXiv:1901.09335; as DeiT, arXiv:2012.12877, has it): a batch holds
/// several views, each augmented in its own way, of fewer images. An epoch has as many views as there are images, so it
/// sees about one in `times` of them.
public struct RepeatedViews: Equatable, Sendable {
  let times: Int
  let batch: Int

  /// - Parameters:
  ///   - times: views of an image in a batch.
  ///   - batch: views in a batch; in a batch that they do not divide, some images have one less.
  /// - Returns: nil for one view, which is no repetition.
  public init?(times: Int, batch: Int) {
    guard times > 1 else { return nil }
    self.times = times
    self.batch = batch
  }

  /// Whose view the epoch's number `position` is, in the order without repetitions, and which one: the views of an
  /// image lie far apart in its batch, so that no two of them are neighbours, which are mixed.
  func place(_ position: Int) -> (image: Int, view: Int) {
    let (step, place) = position.quotientAndRemainder(dividingBy: batch)
    let images = (batch + times - 1) / times
    return (step * images + place % images, place / images)
  }
}

/// `order[position]` is the data set's index of the epoch's image number `position`.
public struct EpochOrder: Sendable {
  public let count: Int
  private let permutation: [Int32]?
  private let views: RepeatedViews?

  /// - Parameters:
  ///   - shuffle: false for file order, every epoch.
  ///   - views: nil for every image once.
  public init(
    count: Int, seed: UInt64, epoch: Int, shuffle: Bool, views: RepeatedViews? = nil
  ) {
    self.count = count
    self.views = views
    permutation =
      shuffle
      ? RandomSequence(seed: seed, purpose: .sampleOrder, step: epoch).permutation(count: count)
      : nil
  }

  public subscript(position: Int) -> Int {
    precondition(position >= 0 && position < count)
    // Never beyond the position, so within the epoch.
    let image = views?.place(position).image ?? position
    return permutation.map { Int($0[image]) } ?? image
  }

  /// Which of the views of its image in this batch stands at `position`, from 0.
  public func view(at position: Int) -> Int { views?.place(position).view ?? 0 }
}
