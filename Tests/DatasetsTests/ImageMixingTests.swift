// mixup and CutMix against their definitions, by themselves and in the loader.
import Diagnostics
import Foundation
import Testing

@testable import Datasets

@Suite("Mixing of images") struct ImageMixingTests {
  private func image(_ size: Int, _ item: Int) -> [Float] {
    randomBytes(3 * size * size, item: item).map { Float($0) / 64 - 2 }
  }

  @Test("a pair is blended, or exchanges a rectangle", arguments: [1, 5, 8, 17], [0, 1, 2])
  func pair(size: Int, kind: Int) throws {
    let mixing = try #require(
      ImageMixing(mixup: kind == 1 ? 0 : 0.8, cutmix: kind == 0 ? 0 : 1, seed: 3))
    var (blended, exchanged) = (0, 0)
    for position in 0..<60 {
      let (a, b) = (image(size, 2 * position), image(size, 2 * position + 1))
      var (x, y) = (a, b)
      let share = mixing.mix(&x, &y, size: size, epoch: 2, position: position)
      switch mixing.choice(epoch: 2, position: position, size: size) {
      case .blend(let chosen):
        blended += 1
        #expect(share == chosen)
        for i in a.indices {
          // Two roundings of products and one of their sum, of numbers below 2.
          let s = Double(share)
          #expect(abs(Double(x[i]) - ((1 - s) * Double(a[i]) + s * Double(b[i]))) < 4 * 0x1p-23)
          #expect(abs(Double(y[i]) - ((1 - s) * Double(b[i]) + s * Double(a[i]))) < 4 * 0x1p-23)
        }
      case .exchange(let part):
        exchanged += 1
        #expect(share == Float(part.width * part.height) / Float(size * size))
        for i in a.indices {
          let (row, column) = (i / size % size, i % size)
          let isInside =
            (part.y..<part.y + part.height).contains(row)
            && (part.x..<part.x + part.width).contains(column)
          #expect(x[i] == (isInside ? b[i] : a[i]) && y[i] == (isInside ? a[i] : b[i]))
        }
      }
    }
    #expect(kind == 0 ? exchanged == 0 : exchanged > 15)
    #expect(kind == 1 ? blended == 0 : blended > 15)
  }

  @Test("rectangles lie anywhere, with sides of the root of the share") func rectangles() throws {
    let mixing = try #require(ImageMixing(mixup: 0, cutmix: 1, seed: 9))
    var covered = [Int](repeating: 0, count: 64)
    var whole = 0
    var shares = 0.0
    for position in 0..<4000 {
      guard case .exchange(let part) = mixing.choice(epoch: 1, position: position, size: 64) else {
        Issue.record("blended")
        continue
      }
      #expect(part.x >= 0 && part.x + part.width <= 64 && part.y >= 0 && part.y + part.height <= 64)
      for x in part.x..<part.x + part.width { covered[x] += 1 }
      // Not cut off at a border, it is a square.
      if part.x > 0, part.x + part.width < 64, part.y > 0, part.y + part.height < 64 {
        #expect(part.width == part.height)
        whole += 1
      }
      shares += Double(part.width * part.height) / 4096
    }
    #expect(whole > 500)
    // Of a side r a border cuts off r²/4 of r on the average, so that of the share s = r², uniform, there
    // remains ∫ (r − r²/4)² ds = 1/2 − 1/5 + 1/48; whole pixels take a little more.
    #expect(abs(shares / 4000 - (0.5 - 0.2 + 1.0 / 48)) < 0.02)
    // Symmetric, and more in the middle.
    #expect(covered.min()! > 800 && abs(covered[0] - covered[63]) < 250)
    #expect(covered[32] > covered[0] + 300)
  }

  @Test("neither is no mixing") func off() {
    #expect(ImageMixing(mixup: 0, cutmix: 0, seed: 1) == nil)
  }
}

extension BatchLoaderTests {
  private func mixed(
    _ requests: [Range<Int>], workers: Int = 0, count: Int = 15, bad: Set<Int> = [],
    mixing: ImageMixing?
  ) throws -> [(label: Int32, other: Int32, share: Float, image: [Float])] {
    let loader = BatchLoader(
      dataset: MadeUpDataset(count: count, bad: bad), transform: transform(), shuffle: true,
      maximumBatch: 8, mixing: mixing, workers: workers, badImagePolicy: bad.isEmpty ? .stop : .skip
    )
    defer { loader.stop() }
    loader.start(consumers: [
      LoadRequests(requests.map { LoadRequest(epoch: 3, positions: $0) })
    ])
    var seen: [(label: Int32, other: Int32, share: Float, image: [Float])] = []
    while let batch = try loader.next(consumer: 0) {
      for i in 0..<batch.count {
        seen.append(
          (
            batch.labels[i], batch.otherLabels[i], batch.otherShares[i],
            Array(UnsafeBufferPointer(start: batch.images.base + i * 192, count: 192))
          ))
      }
    }
    return seen
  }

  @Test(
    "pairs of a request are mixed, the odd last image is not", arguments: [0, 3], [false, true])
  func mixes(workers: Int, hasBad: Bool) throws {
    let mixing = try #require(ImageMixing(mixup: 0.8, cutmix: 1, seed: 5))
    let bad: Set = hasBad ? [2, 9] : []
    let requests = [0..<4, 4..<11, 11..<15]
    let plain = try mixed(requests, bad: bad, mixing: nil)
    let found = try mixed(requests, workers: workers, bad: bad, mixing: mixing)
    #expect(found.map(\.label) == plain.map(\.label))
    for request in requests {
      for first in stride(from: request.lowerBound, to: request.upperBound, by: 2) {
        guard first + 1 < request.upperBound else {
          #expect(found[first].share == 0 && found[first].other == found[first].label)
          #expect(found[first].image == plain[first].image)
          continue
        }
        var (a, b) = (plain[first].image, plain[first + 1].image)
        let share = mixing.mix(&a, &b, size: 8, epoch: 3, position: first)
        #expect(found[first].image == a && found[first + 1].image == b)
        #expect(found[first].share == share && found[first + 1].share == share)
        #expect(found[first].other == plain[first + 1].label)
        #expect(found[first + 1].other == plain[first].label)
      }
    }
    #expect(Set(found.map(\.share)).count > 5)
  }

  @Test("a damaged image of a pair stops the consumer", arguments: [0, 1], [0, 2])
  func mixedBadImage(place: Int, workers: Int) throws {
    let order = EpochOrder(count: 6, seed: 5, epoch: 3, shuffle: true)
    let loader = BatchLoader(
      dataset: MadeUpDataset(count: 6, bad: [order[2 + place]]), transform: transform(),
      shuffle: true, maximumBatch: 2,
      mixing: ImageMixing(mixup: 1, cutmix: 0, seed: 5), workers: workers)
    defer { loader.stop() }
    loader.start(consumers: [
      LoadRequests([0..<2, 2..<4, 4..<6].map { LoadRequest(epoch: 3, positions: $0) })
    ])
    #expect(try loader.next(consumer: 0)?.count == 2)
    let error = #expect(throws: RunError.self) { _ = try loader.next(consumer: 0) }
    #expect(error?.message.contains("file \(order[2 + place])") == true)
  }
}
