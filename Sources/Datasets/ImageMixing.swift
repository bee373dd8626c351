// mixup and CutMix: two training images, each with a part of the other.
import Foundation
import Tensors

/// How pairs of neighbours in an epoch's order are mixed: by mixup (Zhang et al. 2018, arXiv:1710.09412), by CutMix
/// (Yun et al. 2019, arXiv:1905.04899), or, where both are given, by one of them, each half of the time.
///
/// mixup: a, b become (1 − s) a + s b and (1 − s) b + s a, with 1 − s ~ Beta(α, α). CutMix: a and b exchange what lies
/// in a rectangle whose sides are √s of theirs, around a point anywhere in the image, as far as it lies inside; s is
/// then its share of the area. In both cases a has target s on b's label, and b on a's.
public struct ImageMixing: Sendable {
  /// α; 0: not used.
  public let mixup: Double
  public let cutmix: Double
  let seed: UInt64

  /// - Returns: nil if neither is used.
  public init?(mixup: Double, cutmix: Double, seed: UInt64) {
    guard mixup > 0 || cutmix > 0 else { return nil }
    self.mixup = mixup
    self.cutmix = cutmix
    self.seed = seed
  }

  /// What is made of one pair.
  enum Choice: Equatable {
    /// s.
    case blend(share: Float)
    case exchange(PixelRectangle)
  }

  /// - Parameter position: of the pair's first image in the epoch's order.
  func choice(epoch: Int, position: Int, size: Int) -> Choice {
    let random = RandomSequence(seed: seed, purpose: .mixing, step: epoch, item: position)
    let cuts = mixup == 0 || (cutmix > 0 && random.uniform(0) < 0.5)
    let share = 1 - random.beta(cuts ? cutmix : mixup, firstBlock: 1)
    guard cuts else { return .blend(share: Float(share)) }
    let side = Int(Double(size) * share.squareRoot())
    func part(_ center: Int) -> Range<Int> {
      (center - side / 2..<center - side / 2 + side).clamped(to: 0..<size)
    }
    let columns = part(random.integer(1, below: size))
    let rows = part(random.integer(2, below: size))
    return .exchange(
      PixelRectangle(
        x: columns.lowerBound, y: rows.lowerBound, width: columns.count, height: rows.count))
  }

  /// Mixes two images [3, size, size].
  ///
  /// - Returns: s.
  func mix(
    _ a: UnsafeMutablePointer<Float>, _ b: UnsafeMutablePointer<Float>, size: Int, epoch: Int,
    position: Int
  ) -> Float {
    switch choice(epoch: epoch, position: position, size: size) {
    case .blend(let share):
      let own = 1 - share
      for i in 0..<3 * size * size {
        let (x, y) = (a[i], b[i])
        a[i] = own * x + share * y
        b[i] = own * y + share * x
      }
      return share
    case .exchange(let part):
      for row in 0..<3 * part.height {
        let (channel, y) = row.quotientAndRemainder(dividingBy: part.height)
        let start = (channel * size + part.y + y) * size + part.x
        for i in start..<start + part.width { swap(&a[i], &b[i]) }
      }
      return Float(part.width * part.height) / Float(size * size)
    }
  }
}
