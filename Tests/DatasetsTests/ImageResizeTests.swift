// Resizing against Pillow's results and against a plain double-precision filter.
import Foundation
import TestSupport
import Testing

@testable import Datasets

@Suite("Image resize") struct ImageResizeTests {
  @Test("every byte equals Pillow's") func golden() throws {
    let tensors = try readBytesTensors(goldenFolder.appendingPathComponent("resize.safetensors"))
    let resizer = ImageResizer()
    let source = ImageBuffer()
    let target = ImageBuffer()
    var checked = 0
    for (name, input) in tensors where name.hasPrefix("input_") {
      let expected = try #require(tensors["output_" + name.dropFirst(6)])
      source.assign(width: input.shape[1], height: input.shape[0], rgb: input.bytes)
      resizer.resize(source, width: expected.shape[1], height: expected.shape[0], into: target)
      #expect(target.bytes == expected.bytes, "\(name)")
      checked += 1
    }
    #expect(checked == 6)
  }

  /// One pass of the triangle filter in double precision, not rounded.
  func reference(_ values: [Double], to size: Int) -> [Double] {
    let scale = Double(values.count) / Double(size)
    let width = max(scale, 1)
    return (0..<size).map { i in
      let center = (Double(i) + 0.5) * scale
      var sum = 0.0
      var total = 0.0
      for (j, value) in values.enumerated() {
        let weight = max(0, 1 - abs((Double(j) + 0.5 - center) / width))
        sum += weight * value
        total += weight
      }
      return sum / total
    }
  }

  @Test(
    "agrees with the filter's formula at odd sizes",
    arguments: [
      (1, 1, 1, 1), (1, 1, 7, 5), (9, 1, 3, 4), (1, 13, 2, 1), (5, 7, 5, 21), (31, 17, 8, 17),
      (33, 65, 224, 3), (257, 3, 16, 16), (6, 6, 6, 6),
    ])
  func formula(width: Int, height: Int, toWidth: Int, toHeight: Int) {
    let source = randomImage(width: width, height: height, item: width * 1000 + height)
    let target = ImageBuffer()
    ImageResizer().resize(source, width: toWidth, height: toHeight, into: target)
    let bytes = source.bytes
    let result = target.bytes
    #expect(result.count == 3 * toWidth * toHeight)
    for c in 0..<3 {
      let rows = (0..<height).map { y in
        reference((0..<width).map { Double(bytes[3 * (y * width + $0) + c]) }, to: toWidth)
      }
      for x in 0..<toWidth {
        let column = reference(rows.map { $0[x] }, to: toHeight)
        for y in 0..<toHeight {
          // Half a unit of rounding in each pass.
          let difference = abs(Double(result[3 * (y * toWidth + x) + c]) - column[y])
          #expect(difference <= 1.001, "\(x), \(y), \(c)")
        }
      }
    }
  }

  @Test("a crop is resized as if cut out first, and a part equals that part of the whole")
  func cropAndPart() {
    let source = randomImage(width: 50, height: 41, item: 1)
    let crop = PixelRectangle(x: 7, y: 3, width: 29, height: 30)
    let cut = ImageBuffer()
    let bytes = source.bytes
    var inside: [UInt8] = []
    for y in 3..<33 {
      let start = 3 * (y * 50 + 7)
      inside += bytes[start..<(start + 87)]
    }
    cut.assign(width: 29, height: 30, rgb: inside)
    let whole = ImageBuffer()
    let cropped = ImageBuffer()
    let part = ImageBuffer()
    let resizer = ImageResizer()
    for (w, h) in [(16, 16), (29, 60), (58, 30), (29, 30), (64, 7)] {
      resizer.resize(cut, width: w, height: h, into: whole)
      resizer.resize(source, crop: crop, width: w, height: h, into: cropped)
      #expect(whole.bytes == cropped.bytes)
      let wanted = PixelRectangle(x: 5, y: 2, width: w - 9, height: h - 3)
      resizer.resize(source, crop: crop, width: w, height: h, wanted: wanted, into: part)
      let all = whole.bytes
      var expected: [UInt8] = []
      for y in 2..<h - 1 {
        let start = 3 * (y * w + 5)
        expected += all[start..<(start + 3 * wanted.width)]
      }
      #expect(part.bytes == expected)
    }
  }
}
