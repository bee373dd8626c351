// RandAugment and random erasing: what is chosen, and that nothing else changes.
import Foundation
import Tensors
import Testing

@testable import Datasets

private func planes(
  _ image: ImageBuffer, _ transform: ImageTransform, epoch: Int = 1, index: Int = 0
) -> [Float] {
  var out = [Float](repeating: .nan, count: 3 * transform.size * transform.size)
  out.withUnsafeMutableBufferPointer {
    transform.apply(
      image, epoch: epoch, index: index, workspace: transform.makeWorkspace(),
      out: $0.baseAddress!)
  }
  return out
}

@Suite("RandAugment") struct RandAugmentTests {
  func transform(
    _ size: Int, training: Bool = true, augment: Bool = true, _ randAugment: RandAugment?
  ) -> ImageTransform {
    ImageTransform(
      size: size, isTraining: training, augment: augment, noise: 0, randAugment: randAugment,
      seed: 7, statistics: .cifar10)
  }

  func random(_ index: Int, epoch: Int = 1) -> RandomSequence {
    RandomSequence(seed: 7, purpose: .randAugment, step: epoch, item: index)
  }

  @Test("strengths are torchvision's, signs and operations equally frequent") func choices() {
    // torchvision 0.29: float(RandAugment()._augmentation_space(31, (224, 320))[name][0][9]), and
    // int(…) of it where the operation takes whole numbers.
    let strengths: [ImageOperation: Double] = [
      .identity: 0, .shearX: 0.09000000357627869, .shearY: 0.09000000357627869, .translateX: 43,
      .translateY: 30, .rotate: 9, .brightness: 0.26999998092651367,
      .color: 0.26999998092651367, .contrast: 0.26999998092651367,
      .sharpness: 0.26999998092651367, .posterize: 7, .solarize: 178.5, .autoContrast: 0,
      .equalize: 0,
    ]
    for (operation, strength) in strengths {
      #expect(operation.strength(magnitude: 9, width: 320, height: 224) == strength)
    }
    let augment = RandAugment(magnitude: 9)
    var counts: [ImageOperation: [Int]] = [:]
    for index in 0..<14_000 {
      for position in 0..<2 {
        let (operation, strength) = augment.choice(
          position, random: random(index), width: 320, height: 224)
        let expected = operation.strength(magnitude: 9, width: 320, height: 224)
        #expect(strength == expected || (operation.isSigned && strength == -expected))
        counts[operation, default: [0, 0]][strength < 0 ? 1 : 0] += 1
      }
    }
    for operation in ImageOperation.allCases {
      let (positive, negative) = (counts[operation]![0], counts[operation]![1])
      // 2000 expected of 28,000: five standard deviations are 215; of half of them, 112.
      #expect(abs(positive + negative - 2000) < 215, "\(operation)")
      #expect(
        operation.isSigned ? abs(positive - negative) < 224 : negative == 0, "\(operation)")
    }
  }

  @Test("operations follow each other on the cropped and mirrored pixels") func sequence() {
    let image = randomImage(width: 12, height: 12, item: 1)
    let augment = RandAugment(magnitude: 12, operationCount: 3)
    let shared = transform(12, augment)
    let workspace = shared.makeWorkspace()
    var changed = 0
    for index in 0..<60 {
      // The planes without it, back as bytes.
      let plain = planes(image, transform(12, nil), index: index)
      let (means, deviations) = (
        ChannelStatistics.cifar10.mean, ChannelStatistics.cifar10.deviation
      )
      let mean = [means.0, means.1, means.2]
      let deviation = [deviations.0, deviations.1, deviations.2]
      let cropped = (0..<432).map { i -> UInt8 in
        let (c, pixel) = (i % 3, i / 3)
        let value: Float = plain[144 * c + pixel] * deviation[c] + mean[c]
        return UInt8((value * 255).rounded())
      }
      let canvas = ImageCanvas()
      canvas.image.assign(width: 12, height: 12, rgb: cropped)
      for position in 0..<3 {
        let (operation, strength) = augment.choice(
          position, random: random(index), width: 12, height: 12)
        canvas.apply(operation, strength: strength)
      }
      let bytes = canvas.image.bytes
      let expected = (0..<432).map { i -> Float in
        let (c, pixel) = (i / 144, i % 144)
        let value = Float(bytes[3 * pixel + c])
        return (value / 255 - mean[c]) / deviation[c]
      }
      // One workspace for all: nothing is left behind by the image before.
      var out = [Float](repeating: .nan, count: 432)
      out.withUnsafeMutableBufferPointer {
        shared.apply(image, epoch: 1, index: index, workspace: workspace, out: $0.baseAddress!)
      }
      #expect(out == expected, "image \(index)")
      if out != plain { changed += 1 }
    }
    #expect(changed > 50)
  }

  @Test("evaluation images stay as they are, and training needs no --augment") func onlyTraining() {
    let image = randomImage(width: 12, height: 12, item: 1)
    let augment = RandAugment(magnitude: 20)
    let plain = planes(image, transform(12, training: false, nil))
    #expect(planes(image, transform(12, training: false, augment)) == plain)
    let results = Set(
      (0..<20).map { planes(image, transform(12, augment: false, augment), index: $0) })
    #expect(results.count > 15)
    #expect(planes(image, transform(12, augment: false, nil)) == plain)
  }
}

@Suite("Random erasing") struct RandomErasingTests {
  func transform(
    _ size: Int, training: Bool = true, probability: Double?, noise: Float = 0
  ) -> ImageTransform {
    ImageTransform(
      size: size, isTraining: training, augment: true, noise: noise,
      erasing: probability.map { RandomErasing(probability: $0) }, seed: 7, statistics: .cifar10)
  }

  func random(_ index: Int) -> RandomSequence {
    RandomSequence(seed: 7, purpose: .randomErasing, step: 1, item: index)
  }

  @Test("rectangles have the sizes, shapes and places of the definition") func rectangles() {
    let erasing = RandomErasing(probability: 0.25)
    var found: [PixelRectangle] = []
    for index in 0..<8000 {
      let (width, height) = (300, 200)
      guard let r = erasing.rectangle(width: width, height: height, random: random(index)) else {
        continue
      }
      found.append(r)
      #expect(r.x >= 0 && r.y >= 0 && r.x + r.width <= width && r.y + r.height <= height)
      #expect(r.width < width && r.height < height)
      // Sides are rounded: half a pixel of 19 and more.
      let area = Double(r.width * r.height) / Double(width * height)
      #expect(area > 0.02 * 0.95 && area < 0.33 * 1.01)
      let aspect = Double(r.height) / Double(r.width)
      #expect(aspect > 0.3 * 0.97 && aspect < 3.3 * 1.03)
    }
    // 2000 expected: five standard deviations are 194.
    #expect(abs(found.count - 2000) < 194)
    let areas = found.map { Double($0.width * $0.height) / 60_000 }
    #expect(areas.min()! < 0.025 && areas.max()! > 0.31)
    // A mean of 0.175 for sides that always fit; tall rectangles that do not are drawn again.
    let mean = areas.reduce(0, +) / Double(areas.count)
    #expect(mean > 0.15 && mean < 0.185)
    #expect(found.contains { $0.x == 0 } && found.contains { $0.y == 0 })
    #expect(found.contains { $0.x + $0.width == 300 } && found.contains { $0.y + $0.height == 200 })
    let tall = found.filter { $0.height > $0.width }.count
    #expect(tall > found.count / 4 && tall < found.count * 3 / 4)
  }

  @Test("at 0 no image is erased, at 1 each one") func certain() {
    for index in 0..<200 {
      let never = RandomErasing(probability: 0)
      #expect(never.rectangle(width: 32, height: 32, random: random(index)) == nil)
      let always = RandomErasing(probability: 1)
      #expect(always.rectangle(width: 32, height: 32, random: random(index)) != nil)
      // Too small for any: a rectangle without pixels.
      let none = always.rectangle(width: 1, height: 1, random: random(index))
      #expect((none?.width ?? 0) * (none?.height ?? 0) == 0)
    }
  }

  @Test("the rectangle is filled with normal numbers, the rest stays", arguments: [Float(0), 0.1])
  func fills(noise: Float) {
    let size = 24
    let image = randomImage(width: size, height: size, item: 1)
    let transform = transform(size, probability: 0.5, noise: noise)
    var erased = 0
    var values: [Float] = []
    for index in 0..<200 {
      let plain = planes(image, self.transform(size, probability: nil, noise: noise), index: index)
      let out = planes(image, transform, index: index)
      let r = RandomErasing(probability: 0.5).rectangle(
        width: size, height: size, random: random(index))
      for i in 0..<out.count {
        let (y, x) = (i / size % size, i % size)
        if let r, (r.x..<r.x + r.width).contains(x), (r.y..<r.y + r.height).contains(y) {
          #expect(out[i] != plain[i])
          values.append(out[i])
        } else if out[i] != plain[i] {
          Issue.record("image \(index), value \(i) outside the rectangle")
        }
      }
      if r != nil { erased += 1 }
    }
    // 100 expected: four standard deviations are 28.
    #expect(abs(erased - 100) < 28)
    // About 29,000 numbers: standard errors 0.006 and 0.008.
    let mean = values.map(Double.init).reduce(0, +) / Double(values.count)
    let square = values.map { Double($0 * $0) }.reduce(0, +) / Double(values.count)
    #expect(values.count > 20_000 && abs(mean) < 0.03 && abs(square - 1) < 0.04)
    // Another number for each: repeats are chance, few among single-precision ones.
    #expect(Set(values).count > values.count * 99 / 100)
  }

  @Test("evaluation images are never erased") func evaluation() {
    let image = randomImage(width: 16, height: 16, item: 2)
    let plain = planes(image, transform(16, training: false, probability: nil))
    for index in 0..<20 {
      #expect(
        planes(image, transform(16, training: false, probability: 1), index: index) == plain)
    }
  }
}
