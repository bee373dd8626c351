// How fast a data set loads, without a model.
import Diagnostics
import Tensors

/// Loads and transforms images one after the other on the calling thread, as a loader's worker does,
/// for about `seconds`, in an order of its own; damaged images are passed over.
///
/// - Returns: images per second of one core.
/// - Throws: what `Dataset.load` throws, but for `ImageError`.
public func measureLoader(
  _ dataset: any Dataset, transform: ImageTransform, seconds: Double
) throws -> Double {
  let image = ImageBuffer()
  let workspace = transform.makeWorkspace()
  let out = FloatSlab(count: 3 * transform.size * transform.size)
  func load(_ index: Int, epoch: Int) throws {
    do {
      _ = try dataset.load(index, into: image) {
        transform.region(width: $0, height: $1, epoch: epoch, index: index)
      }
      transform.apply(image, epoch: epoch, index: index, workspace: workspace, out: out.base)
    } catch is ImageError {}
  }
  // Warm-up: buffers grow to their size, files come into the page cache.
  for index in 0..<min(dataset.count, 100) { try load(index, epoch: 0) }
  let clock = Stopwatch()
  var elapsed = 0.0
  var count = 0
  for epoch in 1... {
    let order = EpochOrder(
      count: dataset.count, seed: transform.seed, epoch: epoch, shuffle: true)
    for position in 0..<dataset.count {
      try load(order[position], epoch: epoch)
      count += 1
      elapsed = clock.seconds
      if elapsed >= seconds { return Double(count) / elapsed }
    }
  }
  return Double(count) / max(elapsed, 1e-9)
}
