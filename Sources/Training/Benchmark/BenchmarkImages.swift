// Images that cost nothing to load, so that a benchmark measures training alone.
import Datasets

/// Noise at the network's own size, the same few images again and again.
final class BenchmarkImages: Dataset {
  let name = "benchmark"
  let split = DatasetSplit.train
  let count: Int
  let classNames: [String]
  let statistics = ChannelStatistics.shapes
  let imageSize: Int?
  let isSlow = false
  let fingerprint: String
  private let side: Int
  private let pixels: [UInt8]

  init(count: Int, side: Int, classes: Int) {
    self.count = count
    self.side = side
    imageSize = side
    classNames = (0..<classes).map { "class \($0)" }
    fingerprint = "benchmark \(count) \(side)"
    var state: UInt32 = 1
    pixels = (0..<3 * side * side).map { _ in
      state = state &* 1_664_525 &+ 1_013_904_223
      return UInt8(state >> 24)
    }
  }

  func load(
    _ index: Int, into image: ImageBuffer, region: DecodingRegion.Choice
  ) throws -> Int32 {
    image.assign(width: side, height: side, rgb: pixels)
    return Int32(index % classNames.count)
  }

  func source(of index: Int) -> String { "benchmark image \(index)" }
}
