// Pillow's antialiased bilinear resize of 8-bit images, byte for byte: horizontal pass, then
// vertical, triangle filter as wide as the shrinking factor, fixed-point weights of 22 bits.
import CKernels
import Foundation

/// Weights of one axis: output i is a weighted sum of `taps[i]` inputs from `first[i]` on.
final class ResizeAxis {
  let inputSize: Int
  let outputSize: Int
  let outputs: Range<Int>
  let weightWidth: Int
  let first: UnsafeMutablePointer<Int32>
  let taps: UnsafeMutablePointer<Int32>
  let weights: UnsafeMutablePointer<Int32>
  /// Inputs that any output needs.
  let inputs: Range<Int>

  /// - Parameter outputs: the outputs wanted out of `outputSize`.
  init(inputSize: Int, outputSize: Int, outputs: Range<Int>) {
    precondition(inputSize > 0 && outputs.lowerBound >= 0 && outputs.upperBound <= outputSize)
    precondition(!outputs.isEmpty)
    self.inputSize = inputSize
    self.outputSize = outputSize
    self.outputs = outputs
    let (scale, filterScale) = ResizeAxis.scales(inputSize, outputSize)
    let one = Double(1 << Int(ck_resize_weight_bits))
    let support = filterScale
    weightWidth = Int(support.rounded(.up)) * 2 + 1
    first = .allocate(capacity: outputs.count)
    taps = .allocate(capacity: outputs.count)
    weights = .allocate(capacity: outputs.count * weightWidth)
    weights.initialize(repeating: 0, count: outputs.count * weightWidth)
    var raw = [Double](repeating: 0, count: weightWidth)
    for (i, output) in outputs.enumerated() {
      let center = (Double(output) + 0.5) * scale
      let reach = ResizeAxis.inputs(of: output, inputSize: inputSize, outputSize: outputSize)
      let (low, high) = (reach.lowerBound, reach.upperBound)
      var total = 0.0
      for t in 0..<(high - low) {
        let distance = abs((Double(t + low) - center + 0.5) * (1 / filterScale))
        raw[t] = distance < 1 ? 1 - distance : 0
        total += raw[t]
      }
      for t in 0..<(high - low) {
        let weight = total == 0 ? raw[t] : raw[t] / total
        weights[i * weightWidth + t] = Int32(0.5 + weight * one)
      }
      first[i] = Int32(low)
      taps[i] = Int32(high - low)
    }
    inputs = ResizeAxis.inputs(of: outputs, inputSize: inputSize, outputSize: outputSize)
    // Rows or columns before the first needed one are cut off by the caller.
    for i in 0..<outputs.count { first[i] -= Int32(inputs.lowerBound) }
  }

  /// Inputs per output, and how far the filter is stretched.
  private static func scales(_ inputSize: Int, _ outputSize: Int) -> (Double, Double) {
    let scale = Double(inputSize) / Double(outputSize)
    return (scale, max(scale, 1))
  }

  private static func inputs(of output: Int, inputSize: Int, outputSize: Int) -> Range<Int> {
    let (scale, support) = scales(inputSize, outputSize)
    let center = (Double(output) + 0.5) * scale
    return max(Int(center - support + 0.5), 0)..<min(Int(center + support + 0.5), inputSize)
  }

  /// Inputs that any of the outputs needs.
  static func inputs(of outputs: Range<Int>, inputSize: Int, outputSize: Int) -> Range<Int> {
    let first = inputs(of: outputs.lowerBound, inputSize: inputSize, outputSize: outputSize)
    let last = inputs(of: outputs.upperBound - 1, inputSize: inputSize, outputSize: outputSize)
    return first.lowerBound..<last.upperBound
  }

  deinit {
    first.deallocate()
    taps.deallocate()
    weights.deallocate()
  }
}

/// A rectangle of pixels.
public struct PixelRectangle: Sendable, Equatable {
  public var x: Int
  public var y: Int
  public var width: Int
  public var height: Int

  public init(x: Int, y: Int, width: Int, height: Int) {
    self.x = x
    self.y = y
    self.width = width
    self.height = height
  }

  func contains(_ other: PixelRectangle) -> Bool {
    other.width > 0 && other.height > 0 && other.x >= x && other.x + other.width <= x + width
      && other.y >= y && other.y + other.height <= y + height
  }
}

/// Resizes images, keeping the weights of recent sizes. Belongs to one thread at a time.
public final class ImageResizer {
  private var axes: [ResizeAxis] = []
  private let between = ImageBuffer()

  public init() {}

  private func axis(_ inputSize: Int, _ outputSize: Int, _ outputs: Range<Int>) -> ResizeAxis {
    if let i = axes.firstIndex(where: {
      $0.inputSize == inputSize && $0.outputSize == outputSize && $0.outputs == outputs
    }) {
      return axes[i]
    }
    if axes.count == 8 { axes.removeFirst() }
    let axis = ResizeAxis(inputSize: inputSize, outputSize: outputSize, outputs: outputs)
    axes.append(axis)
    return axis
  }

  /// The pixels of a rectangle `crop` that its part `wanted` after resizing to `width` x `height`
  /// depends on.
  static func inputs(
    crop: PixelRectangle, width: Int, height: Int, wanted: PixelRectangle
  ) -> PixelRectangle {
    let columns = ResizeAxis.inputs(
      of: wanted.x..<(wanted.x + wanted.width), inputSize: crop.width, outputSize: width)
    let rows = ResizeAxis.inputs(
      of: wanted.y..<(wanted.y + wanted.height), inputSize: crop.height, outputSize: height)
    return PixelRectangle(
      x: crop.x + columns.lowerBound, y: crop.y + rows.lowerBound, width: columns.count,
      height: rows.count)
  }

  /// The part `wanted` (default all) of `source`'s rectangle `crop` (default all) resized to
  /// `width` x `height`; pixels outside the crop play no part. Both are rectangles of the whole
  /// image, of which `source` need hold no more than `inputs`.
  public func resize(
    _ source: ImageBuffer, crop: PixelRectangle? = nil, width: Int, height: Int,
    wanted: PixelRectangle? = nil, into target: ImageBuffer
  ) {
    let crop =
      crop
      ?? PixelRectangle(x: 0, y: 0, width: source.reducedWidth, height: source.reducedHeight)
    let wanted = wanted ?? PixelRectangle(x: 0, y: 0, width: width, height: height)
    let held = PixelRectangle(x: source.x, y: source.y, width: source.width, height: source.height)
    precondition(
      held.contains(
        ImageResizer.inputs(crop: crop, width: width, height: height, wanted: wanted)))
    let start = source.pixels + (crop.y - source.y) * source.stride + 3 * (crop.x - source.x)
    target.resize(width: wanted.width, height: wanted.height, padded: true)
    if crop.width == width && crop.height == height {
      for y in 0..<wanted.height {
        let row = start + (wanted.y + y) * source.stride + 3 * wanted.x
        (target.pixels + y * target.stride).update(from: row, count: 3 * wanted.width)
      }
      return
    }
    let columns = axis(crop.width, width, wanted.x..<(wanted.x + wanted.width))
    let rows = axis(crop.height, height, wanted.y..<(wanted.y + wanted.height))
    // An axis whose size stays has weights that copy it exactly, so its pass may be left out.
    if crop.width == width {
      // Whole vectors are read from each row; the slack of the buffer covers the last one.
      ck_resize_vertical(
        target.pixels, target.stride, start + rows.inputs.lowerBound * source.stride + 3 * wanted.x,
        source.stride, 3 * wanted.width, wanted.height, rows.first, rows.taps, rows.weights,
        rows.weightWidth)
      return
    }
    let top = start + rows.inputs.lowerBound * source.stride + 3 * columns.inputs.lowerBound
    let narrow = crop.height == height ? target : between
    if narrow === between {
      between.resize(width: wanted.width, height: rows.inputs.count, padded: true)
    }
    ck_resize_horizontal(
      narrow.pixels, narrow.stride, top, source.stride, narrow.height, wanted.width, columns.first,
      columns.taps, columns.weights, columns.weightWidth)
    guard narrow === between else { return }
    ck_resize_vertical(
      target.pixels, target.stride, between.pixels, between.stride, 3 * wanted.width, wanted.height,
      rows.first, rows.taps, rows.weights, rows.weightWidth)
  }
}
