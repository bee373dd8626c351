// An image that operations change, one after the other.
import Foundation

/// An 8-bit RGB image and the memory to change it in, used again for the next one; belongs to one
/// thread at a time.
///
/// Every operation gives Pillow's bytes; what lies outside a moved image is black.
final class ImageCanvas {
  /// Without padding between rows.
  private(set) var image = ImageBuffer()
  /// Of the image's size while an operation runs: what the image is made from, or blended with.
  private(set) var spare = ImageBuffer()
  /// New values of 0...255, for three channels.
  let table = UnsafeMutablePointer<UInt8>.allocate(capacity: 768)
  /// Pixels of each value, for three channels.
  let histogram = UnsafeMutablePointer<Int>.allocate(capacity: 768)

  deinit {
    table.deallocate()
    histogram.deallocate()
  }

  /// - Parameter strength: as `ImageOperation.strength` has it, with a sign where there is one.
  func apply(_ operation: ImageOperation, strength: Double) {
    switch operation {
    case .identity: break
    case .shearX: move(by: .shear(x: strength, y: 0))
    case .shearY: move(by: .shear(x: 0, y: strength))
    case .translateX: move(by: .translation(x: strength, y: 0))
    case .translateY: move(by: .translation(x: 0, y: strength))
    case .rotate: move(by: .rotation(degrees: strength, width: image.width, height: image.height))
    case .brightness: brighten(factor: Float(1 + strength))
    case .color: saturate(factor: Float(1 + strength))
    case .contrast: stretchContrast(factor: Float(1 + strength))
    case .sharpness: sharpen(factor: Float(1 + strength))
    case .posterize: posterize(bits: Int(strength))
    case .solarize: solarize(from: strength)
    case .autoContrast: autoContrast()
    case .equalize: equalize()
    }
  }

  /// Draws a crop of the square `source`, padded with zeros, of its own size: pixel (x, y) is the source's
  /// (x + shiftX, y + shiftY); mirrored then, with `flip`.
  func draw(_ source: ImageBuffer, shiftX: Int, shiftY: Int, flip: Bool) {
    let size = source.width
    precondition(source.height == size)
    image.resize(width: size, height: size)
    let rows = image.pixels
    // Columns of the result, before mirroring, that come from the source.
    let begin = min(max(0, -shiftX), size)
    let end = max(begin, min(size, size - shiftX))
    for y in 0..<size {
      let out = rows + 3 * size * y
      let isInside = (0..<size).contains(y + shiftY)
      if !isInside || end - begin < size { memset(out, 0, 3 * size) }
      guard isInside, begin < end else { continue }
      let input = source.pixels + (y + shiftY) * source.stride + 3 * (begin + shiftX)
      guard flip else {
        memcpy(out + 3 * begin, input, 3 * (end - begin))
        continue
      }
      var to = out + 3 * (size - 1 - begin)
      var from = input
      for _ in begin..<end {
        (to[0], to[1], to[2]) = (from[0], from[1], from[2])
        from += 3
        to -= 3
      }
    }
  }

  /// Makes the image the spare one, and an image of the same size in its place, contents undefined.
  func exchange() {
    swap(&image, &spare)
    image.resize(width: spare.width, height: spare.height)
  }

  /// Gives the spare image the size of the image.
  func prepareSpare() { spare.resize(width: image.width, height: image.height) }
}
