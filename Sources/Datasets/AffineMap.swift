// Where the pixels of a sheared, moved or rotated image come from.
import Foundation

/// Point (x, y) of the result shows the image at (xx x + xy y + x0, yx x + yy y + y0), in pixels with
/// the origin in the upper left corner of the first pixel.
struct AffineMap {
  var xx = 1.0
  var xy = 0.0
  var x0 = 0.0
  var yx = 0.0
  var yy = 1.0
  var y0 = 0.0

  /// Rows slide by x for each row down, columns by y for each column to the right; the corner stays.
  static func shear(x: Double, y: Double) -> AffineMap { AffineMap(xy: x, yx: y) }

  /// The image moves to the right and down.
  static func translation(x: Double, y: Double) -> AffineMap { AffineMap(x0: -x, y0: -y) }

  /// Anticlockwise about the middle of the image.
  static func rotation(degrees: Double, width: Int, height: Int) -> AffineMap {
    let angle = -degrees * Double.pi / 180
    let (cosine, sine) = (cos(angle), sin(angle))
    let (x, y) = (Double(width) / 2, Double(height) / 2)
    return AffineMap(
      xx: cosine, xy: sine, x0: x - cosine * x - sine * y,
      yx: -sine, yy: cosine, y0: y + sine * x - cosine * y)
  }
}

extension ImageCanvas {
  /// The nearest pixel of the image at each point of the map, black outside.
  ///
  /// In 16.16 fixed point, as Pillow's Image.transform(AFFINE, NEAREST) has it.
  func move(by map: AffineMap) {
    exchange()
    let (width, height) = (image.width, image.height)
    let input = UnsafePointer(spare.pixels)
    let (stepX, stepY) = (AffineMap.fixed(map.xx), AffineMap.fixed(map.yx))
    let (rowX, rowY) = (AffineMap.fixed(map.xy), AffineMap.fixed(map.yy))
    // Points are middles of pixels.
    var startX = AffineMap.fixed(map.x0 + map.xx * 0.5 + map.xy * 0.5)
    var startY = AffineMap.fixed(map.y0 + map.yx * 0.5 + map.yy * 0.5)
    for y in 0..<height {
      let out = image.pixels + 3 * width * y
      // Found once for a row, so that the loop over pixels need not look.
      let inside = AffineMap.inside(startX, step: stepX, side: width, among: 0..<width)
      let columns = AffineMap.inside(startY, step: stepY, side: height, among: inside)
      memset(out, 0, 3 * columns.lowerBound)
      memset(out + 3 * columns.upperBound, 0, 3 * (width - columns.upperBound))
      var to = out + 3 * columns.lowerBound
      var atX = startX + columns.lowerBound * stepX
      var atY = startY + columns.lowerBound * stepY
      for _ in columns {
        let from = input + 3 * (width * (atY >> 16) + (atX >> 16))
        (to[0], to[1], to[2]) = (from[0], from[1], from[2])
        to += 3
        atX += stepX
        atY += stepY
      }
      startX += rowX
      startY += rowY
    }
  }
}

extension AffineMap {
  fileprivate static func fixed(_ value: Double) -> Int {
    Int((value * 65536 + 0.5).rounded(.down))
  }

  /// Those i of `range` for which start + i step, in fixed point, lies in 0..<side.
  fileprivate static func inside(
    _ start: Int, step: Int, side: Int, among range: Range<Int>
  ) -> Range<Int> {
    // 0 <= start + i step <= last
    let last = (side << 16) - 1
    guard step != 0 else { return (0...last).contains(start) ? range : range.prefix(0) }
    let (low, high) = step > 0 ? (-start, last - start) : (start - last, start)
    let first = ceilingQuotient(low, abs(step))
    let end = ceilingQuotient(high + 1, abs(step))
    return (first..<max(first, end)).clamped(to: range)
  }

  /// The smallest whole number that is at least a / b; b > 0.
  private static func ceilingQuotient(_ a: Int, _ b: Int) -> Int {
    a > 0 ? (a - 1) / b + 1 : -(-a / b)
  }
}
