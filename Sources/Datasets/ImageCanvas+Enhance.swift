// Brightness, colour, contrast and sharpness: an image blended with one that lacks the property.

extension ImageCanvas {
  /// out = lacking + factor (image - lacking), cut off to a whole number from 0 to 255: as Pillow's
  /// ImageEnhance has it, in single precision. Factor 1 changes nothing.
  @inline(__always)
  private static func blend(_ lacking: UInt8, _ value: UInt8, _ factor: Float) -> UInt8 {
    let difference = Float(Int32(value) &- Int32(lacking))
    let sum = max(0, min(255, Float(lacking) + factor * difference))
    // The nearest whole number is in the last bits of this, and one too large where it is above: loops
    // of that become vectors, those of checked conversions do not.
    let nearest = Int32(bitPattern: (sum + 0x1p23).bitPattern & 0xFF)
    return UInt8(truncatingIfNeeded: Float(nearest) > sum ? nearest &- 1 : nearest)
  }

  /// Blends the image with the spare one.
  private func blendSpare(factor: Float) {
    let out = image.pixels
    let lacking = UnsafePointer(spare.pixels)
    for i in 0..<(3 * image.width * image.height) {
      out[i] = Self.blend(lacking[i], out[i], factor)
    }
  }

  /// Away from black.
  func brighten(factor: Float) { blendValues(with: 0, factor: factor) }

  /// Away from the mean gray of the whole image.
  func stretchContrast(factor: Float) {
    let count = image.width * image.height
    var total = 0
    var pixel = UnsafePointer(image.pixels)
    for _ in 0..<count {
      total += Int(Self.gray(pixel))
      pixel += 3
    }
    let mean = count > 0 ? UInt8(Double(total) / Double(count) + 0.5) : 0
    blendValues(with: mean, factor: factor)
  }

  /// Away from each pixel's gray.
  func saturate(factor: Float) {
    prepareSpare()
    var pixel = UnsafePointer(image.pixels)
    var out = spare.pixels
    for _ in 0..<(image.width * image.height) {
      let gray = Self.gray(pixel)
      (out[0], out[1], out[2]) = (gray, gray, gray)
      pixel += 3
      out += 3
    }
    blendSpare(factor: factor)
  }

  /// Away from the image smoothed by weights 1 1 1, 1 5 1, 1 1 1; its margin stays as it is.
  func sharpen(factor: Float) {
    let (width, height) = (image.width, image.height)
    guard width > 2, height > 2 else { return }
    prepareSpare()
    let stride = 3 * width
    let input = UnsafePointer(image.pixels)
    spare.pixels.update(from: input, count: stride * height)
    for y in 1..<(height - 1) {
      let row = input + stride * y
      let (above, below) = (row - stride, row + stride)
      let out = spare.pixels + stride * y
      for i in 3..<(stride - 3) {
        var sum = 5 &* UInt16(row[i]) &+ UInt16(row[i - 3]) &+ UInt16(row[i + 3])
        sum &+= UInt16(above[i - 3]) &+ UInt16(above[i]) &+ UInt16(above[i + 3])
        sum &+= UInt16(below[i - 3]) &+ UInt16(below[i]) &+ UInt16(below[i + 3])
        // Rounded; thirteenths are never in the middle.
        out[i] = UInt8(truncatingIfNeeded: (sum &+ 6) / 13)
      }
    }
    blendSpare(factor: factor)
  }

  private func blendValues(with lacking: UInt8, factor: Float) {
    for value in 0..<256 {
      let new = Self.blend(lacking, UInt8(value), factor)
      for c in 0..<3 { table[256 * c + value] = new }
    }
    applyTable()
  }

  /// ITU-R 601 luma, in 16 bits of fraction.
  @inline(__always)
  private static func gray(_ pixel: UnsafePointer<UInt8>) -> UInt8 {
    let sum = 19595 * UInt32(pixel[0]) + 38470 * UInt32(pixel[1]) + 7471 * UInt32(pixel[2])
    return UInt8(truncatingIfNeeded: (sum + 0x8000) >> 16)
  }
}
