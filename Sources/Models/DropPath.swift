// Stochastic depth: a block's branch is left out for some images of a training step.
import Tensors

/// Drop path (Huang et al. 2016, arXiv:1603.09382): in training x + f(x) becomes x for an image with probability
/// p_l, else x + f(x) / (1 − p_l), drawn apart for the attention and the MLP of every block. Of L blocks, block l
/// (from 0) has p_l = p · l / (L − 1), as timm has it; a single block has 0.
struct DropPath {
  /// p.
  let probability: Float
  /// L.
  let blocks: Int

  enum Branch: Int {
    case attention, mlp
  }

  /// What a pass makes of a branch.
  func draw(_ pass: LayerPass, _ branch: Branch) -> BranchUse {
    guard pass.training, probability > 0, pass.block > 0 else {
      return BranchUse(images: pass.images, factors: nil)
    }
    let p = probability * Float(pass.block) / Float(blocks - 1)
    let factors = (0..<pass.images).map { image -> Float in
      pass.randomness(.dropPath, image: image).uniform(branch.rawValue) < p ? 0 : 1 / (1 - p)
    }
    return BranchUse(images: pass.images, factors: factors)
  }
}

/// Which images of a micro-batch take a branch.
struct BranchUse {
  let images: Int
  /// Of the branch's output, by image, 0 where it is left out; nil: 1 for all.
  let factors: [Float]?

  /// Some image takes the branch; or else nothing of it need be computed.
  var isTaken: Bool { factors?.contains { $0 > 0 } ?? true }

  /// Runs of images with the same factor.
  func forEachRun(_ body: (_ images: Range<Int>, _ factor: Float) -> Void) {
    guard let factors else { return body(0..<images, 1) }
    for (image, factor) in factors.enumerated() { body(image..<image + 1, factor) }
  }
}

extension UnsafeMutablePointer<Float> {
  /// The gradients of a branch that no image has taken.
  func zero(_ range: Range<Int>) {
    (self + range.lowerBound).update(repeating: 0, count: range.count)
  }
}
