// The operations of RandAugment against torchvision's on Pillow's images, and against plain formulas.
import Foundation
import TestSupport
import Testing

@testable import Datasets

/// A canvas that holds the image, of any width and height.
func canvas(_ image: ImageBuffer) -> ImageCanvas {
  let canvas = ImageCanvas()
  canvas.image.assign(width: image.width, height: image.height, rgb: image.bytes)
  return canvas
}

@Suite("Image operations") struct ImageOperationTests {
  /// torchvision's names.
  static let names: [String: ImageOperation] = [
    "Identity": .identity, "ShearX": .shearX, "ShearY": .shearY, "TranslateX": .translateX,
    "TranslateY": .translateY, "Rotate": .rotate, "Brightness": .brightness, "Color": .color,
    "Contrast": .contrast, "Sharpness": .sharpness, "Posterize": .posterize,
    "Solarize": .solarize, "AutoContrast": .autoContrast, "Equalize": .equalize,
  ]

  // Made with torchvision 0.29, torch 2.15 and Pillow 13.0, by:
  //   def add(name, pixels, magnitudes, names=None):   # pixels: uint8 [height, width, 3]
  //     tensors[f"{name}.input"] = pixels
  //     space = RandAugment()._augmentation_space(31, pixels.shape[:2])
  //     for op, (bins, signed) in space.items():
  //       if names and op not in names: continue
  //       for m in magnitudes if bins.ndim else [0]:
  //         for sign in "+-" if signed else "+":
  //           strength = float(sign + "1") * float(bins[m]) if bins.ndim else 0.0
  //           out = _apply_op(Image.fromarray(pixels), op, strength, InterpolationMode.NEAREST, None)
  //           tensors[f"{name}.{op}.{sign}{m}"] = np.array(out)
  //   add("odd", waves, [0, 7, 20, 30])                # 23 x 17: sines, ramps and a hash
  //   add("flat", few, [0], ["AutoContrast", "Equalize"])   # 41 x 33: few values, a channel of one
  //   save_file(tensors, "randaugment.safetensors")
  @Test("every byte equals torchvision's and Pillow's") func golden() throws {
    let tensors = try readBytesTensors(
      goldenFolder.appendingPathComponent("randaugment.safetensors"))
    var checked: [ImageOperation: Int] = [:]
    for (name, expected) in tensors where !name.hasSuffix(".input") {
      let parts = name.split(separator: ".")
      let input = try #require(tensors[parts[0] + ".input"])
      let operation = try #require(Self.names[String(parts[1])])
      let (height, width) = (input.shape[0], input.shape[1])
      let image = ImageBuffer()
      image.assign(width: width, height: height, rgb: input.bytes)
      let canvas = canvas(image)
      let magnitude = try #require(Int(parts[2].dropFirst()))
      let strength = operation.strength(magnitude: magnitude, width: width, height: height)
      canvas.apply(operation, strength: parts[2].hasPrefix("-") ? -strength : strength)
      #expect(canvas.image.bytes == expected.bytes, "\(name)")
      checked[operation, default: 0] += 1
    }
    #expect(checked.count == 14)
    for (operation, count) in checked {
      let expected =
        [.autoContrast, .equalize].contains(operation) ? 2 : operation.isSigned ? 8 : 4
      #expect(count == (operation == .identity ? 1 : expected), "\(operation)")
    }
  }

  @Test("magnitude 0 changes nothing where the operation has a magnitude, but for white, solarized")
  func magnitudeZero() {
    let image = randomImage(width: 9, height: 6, item: 3)
    for operation in ImageOperation.allCases where ![.autoContrast, .equalize].contains(operation) {
      let canvas = canvas(image)
      canvas.apply(operation, strength: operation.strength(magnitude: 0, width: 9, height: 6))
      let expected = operation == .solarize ? image.bytes.map { $0 == 255 ? 0 : $0 } : image.bytes
      #expect(canvas.image.bytes == expected, "\(operation)")
    }
  }

  @Test(
    "each pixel of a moved image is the nearest one of the map, or black",
    arguments: [(1, 1), (2, 5), (7, 3), (33, 17), (64, 65)])
  func moves(width: Int, height: Int) {
    let image = randomImage(width: width, height: height, item: width)
    let bytes = image.bytes
    var maps = [AffineMap.shear(x: 0, y: 0)]
    for s in [-2.7, -0.3, 0.013, 0.3, 1.9] {
      maps += [.shear(x: s, y: 0), .shear(x: 0, y: s), .shear(x: s, y: -s / 3)]
      maps += [.translation(x: (10 * s).rounded(), y: 0), .translation(x: -1, y: s.rounded())]
      maps += [.rotation(degrees: 31 * s, width: width, height: height)]
    }
    for map in maps {
      let canvas = canvas(image)
      canvas.move(by: map)
      let moved = canvas.image.bytes
      var wrong = 0
      for y in 0..<height {
        for x in 0..<width {
          let (px, py) = (Double(x) + 0.5, Double(y) + 0.5)
          let u = map.xx * px + map.xy * py + map.x0
          let v = map.yx * px + map.yy * py + map.y0
          // Fixed point may decide otherwise where two pixels, or the margin, are equally near.
          let error = Double(width + height) * 0x1p-16
          if abs(u - u.rounded()) < error || abs(v - v.rounded()) < error { continue }
          let (i, j) = (Int(u.rounded(.down)), Int(v.rounded(.down)))
          let isInside = (0..<width).contains(i) && (0..<height).contains(j)
          for c in 0..<3 {
            let expected = isInside ? bytes[3 * (j * width + i) + c] : 0
            if moved[3 * (y * width + x) + c] != expected { wrong += 1 }
          }
        }
      }
      #expect(wrong == 0, "\(map)")
    }
  }

  @Test("quarter turns are exact", arguments: [1, 6, 9]) func quarterTurn(side: Int) {
    let image = randomImage(width: side, height: side, item: side)
    let bytes = image.bytes
    let canvas = canvas(image)
    canvas.move(by: .rotation(degrees: 90, width: side, height: side))
    let turned = (0..<3 * side * side).map { i -> UInt8 in
      let (y, x, c) = (i / (3 * side), i / 3 % side, i % 3)
      // Anticlockwise: the right column becomes the upper row.
      return bytes[3 * (x * side + side - 1 - y) + c]
    }
    #expect(canvas.image.bytes == turned)
  }

  @Test("canvases are drawn as the crop and flip of the transform are") func draws() {
    let size = 6
    let source = ImageBuffer()
    source.resize(width: size, height: size, padded: true)
    for i in 0..<(source.stride * size) { source.pixels[i] = UInt8(truncatingIfNeeded: 37 * i + 1) }
    let bytes = source.bytes
    let canvas = ImageCanvas()
    for shiftX in -7...7 {
      for shiftY in -7...7 {
        for flip in [false, true] {
          canvas.draw(source, shiftX: shiftX, shiftY: shiftY, flip: flip)
          let expected = (0..<3 * size * size).map { i -> UInt8 in
            let (y, x) = (i / (3 * size), i / 3 % size)
            let (row, column) = (y + shiftY, (flip ? size - 1 - x : x) + shiftX)
            let isInside = (0..<size).contains(row) && (0..<size).contains(column)
            return isInside ? bytes[3 * (row * size + column) + i % 3] : 0
          }
          #expect(canvas.image.bytes == expected, "\(shiftX), \(shiftY), \(flip)")
        }
      }
    }
  }
}
