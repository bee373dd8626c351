// RandAugment: which operations change a training image (Cubuk et al. 2020, arXiv:1909.13719).
import Tensors

/// A few operations an image, each drawn from all with equal chances, all of the same magnitude.
public struct RandAugment: Sendable {
  public static let magnitudes = 0...(ImageOperation.bins - 1)
  public static let operationCounts = 1...ImageOperation.allCases.count

  public let magnitude: Int
  public let operationCount: Int

  /// - Parameter operationCount: an image; the same one may be drawn again.
  public init(magnitude: Int, operationCount: Int = 2) {
    precondition(RandAugment.magnitudes.contains(magnitude))
    precondition(RandAugment.operationCounts.contains(operationCount))
    self.magnitude = magnitude
    self.operationCount = operationCount
  }

  /// Operation number `position` of an image and its strength with its sign: block `position` of the
  /// image's sequence decides.
  func choice(
    _ position: Int, random: RandomSequence, width: Int, height: Int
  ) -> (operation: ImageOperation, strength: Double) {
    let words = random.words(block: UInt32(position))
    let all = ImageOperation.allCases
    let operation = all[Int((UInt64(words[0]) * UInt64(all.count)) >> 32)]
    let strength = operation.strength(magnitude: magnitude, width: width, height: height)
    return (operation, operation.isSigned && words[1] >> 31 == 1 ? -strength : strength)
  }

  func apply(to canvas: ImageCanvas, random: RandomSequence) {
    for position in 0..<operationCount {
      let (operation, strength) = choice(
        position, random: random, width: canvas.image.width, height: canvas.image.height)
      canvas.apply(operation, strength: strength)
    }
  }
}
