// The drawn data set and the order of epochs.
import Testing

@testable import Datasets

@Suite("Shapes") struct ShapesTests {
  @Test("an image depends on its number alone") func pure() throws {
    let data = ShapesDataset(split: .train)
    let a = ImageBuffer()
    let b = ImageBuffer()
    let label = try data.load(17, into: a)
    _ = try data.load(3, into: b)
    #expect(a.bytes != b.bytes)
    #expect(try data.load(17, into: b) == label)
    #expect(a.bytes == b.bytes)
    #expect(data.count == 10_000)
  }

  @Test("train and test images differ, and classes are even") func classes() throws {
    let image = ImageBuffer()
    var seen = Set<[UInt8]>()
    var counts = [Int](repeating: 0, count: 10)
    for split in DatasetSplit.allCases {
      let data = ShapesDataset(split: split, size: 12, count: 1000)
      for i in 0..<1000 {
        counts[Int(try data.load(i, into: image))] += 1
        seen.insert(image.bytes)
      }
    }
    #expect(seen.count == 2000)
    // Binomial(2000, 0.1): standard deviation 13.4.
    for count in counts { #expect(count > 140 && count < 260) }
  }

  @Test("the same figure is drawn at every size") func sizes() throws {
    let small = ImageBuffer()
    let large = ImageBuffer()
    let shrunk = ImageBuffer()
    for i in 0..<30 {
      let a = try ShapesDataset(split: .test, size: 24).load(i, into: small)
      let b = try ShapesDataset(split: .test, size: 96).load(i, into: large)
      #expect(a == b)
      ImageResizer().resize(large, width: 24, height: 24, into: shrunk)
      let differences = zip(small.bytes, shrunk.bytes).map { abs(Int($0) - Int($1)) }
      // The noise differs; the drawing does not.
      #expect(differences.reduce(0, +) / differences.count < 24)
    }
  }
}

@Suite("Epoch order") struct EpochOrderTests {
  @Test("a permutation that differs by epoch and seed") func permutations() {
    func order(_ seed: UInt64, _ epoch: Int, shuffle: Bool = true) -> [Int] {
      let order = EpochOrder(count: 101, seed: seed, epoch: epoch, shuffle: shuffle)
      return (0..<101).map { order[$0] }
    }
    #expect(order(1, 1).sorted() == Array(0..<101))
    #expect(order(1, 1) == order(1, 1))
    #expect(order(1, 1) != order(1, 2))
    #expect(order(1, 1) != order(2, 1))
    #expect(order(1, 5, shuffle: false) == Array(0..<101))
  }

  @Test("a batch has several views of its images, which come from one order of the epoch")
  func views() {
    let plain = EpochOrder(count: 23, seed: 3, epoch: 2, shuffle: true)
    let order = EpochOrder(
      count: 23, seed: 3, epoch: 2, shuffle: true, views: RepeatedViews(times: 3, batch: 8))
    func batch(_ positions: Range<Int>) -> [[Int]] {
      positions.map { [order[$0], order.view(at: $0)] }
    }
    // Three images a batch, the last of which has two views only.
    for (step, positions) in [0..<8, 8..<16].enumerated() {
      let images = (0..<3).map { plain[3 * step + $0] }
      let views = [0, 1].flatMap { view in images.map { [$0, view] } }
      #expect(batch(positions) == views + images.prefix(2).map { [$0, 2] })
    }
    // What is left of the epoch.
    #expect(
      batch(16..<23)
        == [[6, 0], [7, 0], [8, 0], [6, 1], [7, 1], [8, 1], [6, 2]].map {
          [plain[$0[0]], $0[1]]
        })
    #expect(RepeatedViews(times: 1, batch: 8) == nil)
    // More views than a batch has places.
    let one = EpochOrder(
      count: 5, seed: 3, epoch: 2, shuffle: false, views: RepeatedViews(times: 9, batch: 2))
    #expect((0..<5).map { one[$0] } == [0, 0, 1, 1, 2])
  }
}
