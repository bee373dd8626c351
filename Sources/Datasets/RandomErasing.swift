// Random erasing: a rectangle of a training image becomes noise (Zhong et al. 2020, arXiv:1708.04896).
import Foundation
import Tensors

/// Which rectangle is erased, and with what.
public struct RandomErasing: Sendable {
  /// That an image loses a rectangle.
  public let probability: Double

  public init(probability: Double) {
    precondition((0...1).contains(probability))
    self.probability = probability
  }

  /// A rectangle of 2 % to 33 % of the area, height : width from 0.3 to 3.3 with a uniform logarithm,
  /// anywhere in the image; ten tries for one with both sides shorter than the image's. As torchvision's
  /// RandomErasing defines it.
  ///
  /// - Parameter random: block 0 decides whether, block t + 1 has try t.
  /// - Returns: nil for an image that stays whole.
  func rectangle(width: Int, height: Int, random: RandomSequence) -> PixelRectangle? {
    guard Double(random.word(0)) * 0x1p-32 < probability else { return nil }
    let (lowest, highest) = (log(0.3), log(3.3))
    for t in 0..<10 {
      let words = random.words(block: UInt32(t + 1))
      func uniform(_ i: Int) -> Double { Double(words[i]) * 0x1p-32 }
      let area = Double(width * height) * (0.02 + (0.33 - 0.02) * uniform(0))
      let aspect = exp(lowest + (highest - lowest) * uniform(1))
      let h = Int((area * aspect).squareRoot().rounded(.toNearestOrEven))
      let w = Int((area / aspect).squareRoot().rounded(.toNearestOrEven))
      guard h < height, w < width else { continue }
      let y = Int((UInt64(words[2]) * UInt64(height - h + 1)) >> 32)
      let x = Int((UInt64(words[3]) * UInt64(width - w + 1)) >> 32)
      return PixelRectangle(x: x, y: y, width: w, height: h)
    }
    return nil
  }

  /// Fills the rectangle, if there is one, with standard normal numbers, another one for each pixel and
  /// channel.
  ///
  /// - Parameters:
  ///   - planes: [3, size, size], normalised.
  ///   - normal: memory for as many numbers.
  func apply(
    to planes: UnsafeMutablePointer<Float>, size: Int, seed: UInt64, epoch: Int, index: Int,
    normal: UnsafeMutablePointer<Float>
  ) {
    // Layer 0 chooses, layer 1 fills.
    func random(layer: Int) -> RandomSequence {
      RandomSequence(
        seed: seed, purpose: .randomErasing, layer: layer, step: epoch, item: index)
    }
    guard let r = rectangle(width: size, height: size, random: random(layer: 0)) else { return }
    random(layer: 1).fillNormal(normal, count: 3 * r.height * r.width)
    var from = normal
    for c in 0..<3 {
      for y in r.y..<(r.y + r.height) {
        (planes + (c * size + y) * size + r.x).update(from: from, count: r.width)
        from += r.width
      }
    }
  }
}
