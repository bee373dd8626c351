// From a decoded image to the network's input: resize, augment, normalise, noise.
import CKernels
import Foundation
import Tensors

/// Which part of an image of any size becomes the square input.
public enum ImageFraming: String, Codable, Sendable, CaseIterable {
  /// The whole image, squashed to a square.
  case squash
  /// Training: random resized crop and flip; evaluation: shorter side to 256/224 of the size, then
  /// the centre.
  case standard
}

/// The fixed part of a transform; what is random is a function of (seed, epoch, index).
public struct ImageTransform: Sendable {
  public let size: Int
  public let framing: ImageFraming
  public let isTraining: Bool
  public let augment: Bool
  public let noise: Float
  /// In training; nil: off.
  public let randAugment: RandAugment?
  /// In training; nil: off.
  public let erasing: RandomErasing?
  public let seed: UInt64
  public let statistics: ChannelStatistics
  /// (v/255 - mean) / deviation for v in 0...255, three channels.
  private let table: [Float]

  /// - Parameters:
  ///   - size: side of the square input; images of this size stay as they are.
  ///   - augment: random crop with 4 px zero padding and horizontal flip, in training.
  ///   - noise: standard deviation of normal noise after normalisation, in training.
  public init(
    size: Int, framing: ImageFraming = .squash, isTraining: Bool, augment: Bool, noise: Float,
    randAugment: RandAugment? = nil, erasing: RandomErasing? = nil, seed: UInt64,
    statistics: ChannelStatistics
  ) {
    precondition(size > 0)
    self.size = size
    self.framing = framing
    self.isTraining = isTraining
    self.augment = augment
    self.noise = noise
    self.randAugment = randAugment
    self.erasing = erasing
    self.seed = seed
    self.statistics = statistics
    let m = statistics.mean
    let d = statistics.deviation
    table = [(m.0, d.0), (m.1, d.1), (m.2, d.2)].flatMap { mean, deviation in
      (0..<256).map { (Float($0) / 255 - mean) / deviation }
    }
  }

  /// Reusable memory of one thread.
  public final class Workspace {
    let resizer = ImageResizer()
    let resized = ImageBuffer()
    let canvas = ImageCanvas()
    let normal: FloatSlab

    /// - Parameter noise: whether as many normal numbers are needed as an image has values.
    public init(size: Int, noise: Bool) { normal = FloatSlab(count: noise ? 3 * size * size : 0) }
  }

  public func makeWorkspace() -> Workspace {
    Workspace(size: size, noise: isTraining && (noise > 0 || erasing != nil))
  }

  private func random(epoch: Int, index: Int) -> RandomSequence {
    RandomSequence(seed: seed, purpose: .augmentation, step: epoch, item: index)
  }

  /// What of an image of this size plays a part, shrunk as far as it may be without visible change.
  public func region(width: Int, height: Int, epoch: Int, index: Int) -> DecodingRegion {
    let plan = frame(width: width, height: height, epoch: epoch, index: index)
    let factor = min(
      plan.crop.width / max(plan.width, 1), plan.crop.height / max(plan.height, 1))
    // At least twice the resolution needed must be left for the filter to work on.
    let headroom = framing == .squash ? 4 : 2
    let reduction = [8, 4, 2].first { factor >= headroom * $0 } ?? 1
    let whole = DecodingRegion.whole(width: width, height: height, reduction: reduction)
    guard framing == .standard else { return whole }
    let crop = scaled(
      plan.crop, width: width, height: height, reducedWidth: whole.rectangle.width,
      reducedHeight: whole.rectangle.height)
    return DecodingRegion(
      reduction: reduction,
      rectangle: ImageResizer.inputs(
        crop: crop, width: plan.width, height: plan.height, wanted: plan.wanted))
  }

  /// The crop of the full image, the size that it is resized to, and the part of that wanted.
  func frame(width: Int, height: Int, epoch: Int, index: Int) -> (
    crop: PixelRectangle, width: Int, height: Int, wanted: PixelRectangle
  ) {
    let whole = PixelRectangle(x: 0, y: 0, width: width, height: height)
    let all = PixelRectangle(x: 0, y: 0, width: size, height: size)
    guard framing == .standard else { return (whole, size, size, all) }
    if isTraining {
      let crop = randomResizedCrop(
        width: width, height: height, random: random(epoch: epoch, index: index))
      return (crop, size, size, all)
    }
    let shorter = (256 * size + 112) / 224
    let (w, h) =
      width <= height ? (shorter, shorter * height / width) : (shorter * width / height, shorter)
    let x = Int((Double(w - size) / 2).rounded(.toNearestOrEven))
    let y = Int((Double(h - size) / 2).rounded(.toNearestOrEven))
    return (whole, w, h, PixelRectangle(x: x, y: y, width: size, height: size))
  }

  /// Writes planes [3, size, size] of an image.
  ///
  /// - Parameters: `epoch` and `index` are the key of all that is random: the image's number, and beyond their count
  ///   those of further views.
  public func apply(
    _ image: ImageBuffer, epoch: Int, index: Int, workspace: Workspace,
    out: UnsafeMutablePointer<Float>
  ) {
    var source = image
    if image.fullWidth != size || image.fullHeight != size || framing == .standard {
      let plan = frame(
        width: image.fullWidth, height: image.fullHeight, epoch: epoch, index: index)
      workspace.resizer.resize(
        image,
        crop: scaled(
          plan.crop, width: image.fullWidth, height: image.fullHeight,
          reducedWidth: image.reducedWidth, reducedHeight: image.reducedHeight),
        width: plan.width, height: plan.height, wanted: plan.wanted, into: workspace.resized)
      source = workspace.resized
    }
    var shiftX = 0
    var shiftY = 0
    var flip = false
    if isTraining && (augment || framing == .standard) {
      let words = random(epoch: epoch, index: index).words(block: 0)
      flip = words[2] >> 31 == 1
      if augment && framing == .squash {
        shiftY = Int((UInt64(words[0]) * 9) >> 32) - 4
        shiftX = Int((UInt64(words[1]) * 9) >> 32) - 4
      }
    }
    let randAugment = isTraining ? randAugment : nil
    if flip || shiftX != 0 || shiftY != 0 || randAugment != nil {
      let canvas = workspace.canvas
      canvas.draw(source, shiftX: shiftX, shiftY: shiftY, flip: flip)
      randAugment?.apply(
        to: canvas,
        random: RandomSequence(seed: seed, purpose: .randAugment, step: epoch, item: index))
      source = canvas.image
    }
    table.withUnsafeBufferPointer {
      ck_image_to_planes(out, size, source.pixels, source.stride, $0.baseAddress!)
    }
    guard isTraining else { return }
    let normal = workspace.normal.base
    if noise > 0 {
      RandomSequence(seed: seed, purpose: .noise, step: epoch, item: index)
        .fillNormal(normal, count: 3 * size * size, deviation: noise)
      for i in 0..<(3 * size * size) { out[i] += normal[i] }
    }
    erasing?.apply(
      to: out, size: size, seed: seed, epoch: epoch, index: index, normal: normal)
  }

  /// The crop in the pixels of an image that was shrunk while decoding.
  private func scaled(
    _ crop: PixelRectangle, width: Int, height: Int, reducedWidth: Int, reducedHeight: Int
  ) -> PixelRectangle {
    guard width != reducedWidth || height != reducedHeight else { return crop }
    func part(_ start: Int, _ length: Int, _ full: Int, _ reduced: Int) -> (Int, Int) {
      let ratio = Double(reduced) / Double(full)
      let low = min(Int((Double(start) * ratio).rounded()), reduced - 1)
      let high = min(max(Int((Double(start + length) * ratio).rounded()), low + 1), reduced)
      return (low, high - low)
    }
    let (x, columns) = part(crop.x, crop.width, width, reducedWidth)
    let (y, rows) = part(crop.y, crop.height, height, reducedHeight)
    return PixelRectangle(x: x, y: y, width: columns, height: rows)
  }
}

/// A crop of 8 % to 100 % of the area, with sides as 3:4 to 4:3, ten tries, else the middle: as
/// torchvision defines RandomResizedCrop. Try t uses block t + 1 of the sequence.
func randomResizedCrop(width: Int, height: Int, random: RandomSequence) -> PixelRectangle {
  let area = Double(width * height)
  let logRatio = log(4.0 / 3.0)
  for t in 0..<10 {
    let words = random.words(block: UInt32(t + 1))
    func uniform(_ i: Int) -> Double { Double(words[i]) * 0x1p-32 }
    let target = area * (0.08 + 0.92 * uniform(0))
    let aspect = exp(logRatio * (2 * uniform(1) - 1))
    let w = Int((target * aspect).squareRoot().rounded(.toNearestOrEven))
    let h = Int((target / aspect).squareRoot().rounded(.toNearestOrEven))
    guard w > 0, w <= width, h > 0, h <= height else { continue }
    let y = Int((UInt64(words[2]) * UInt64(height - h + 1)) >> 32)
    let x = Int((UInt64(words[3]) * UInt64(width - w + 1)) >> 32)
    return PixelRectangle(x: x, y: y, width: w, height: h)
  }
  var w = width
  var h = height
  if 4 * width < 3 * height {
    h = Int((Double(w) * 4 / 3).rounded(.toNearestOrEven))
  } else if 3 * width > 4 * height {
    w = Int((Double(h) * 4 / 3).rounded(.toNearestOrEven))
  }
  return PixelRectangle(x: (width - w) / 2, y: (height - h) / 2, width: w, height: h)
}
