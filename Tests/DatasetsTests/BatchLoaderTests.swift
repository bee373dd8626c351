// The transform and the loader: randomness by key, errors in order, substitutes.
import Diagnostics
import Foundation
import Synchronization
import Testing

@testable import Datasets

/// Images of any size made from their index; some cannot be loaded.
final class MadeUpDataset: Dataset {
  let name = "made-up"
  let split = DatasetSplit.train
  let count: Int
  let classNames = ["a", "b"]
  let statistics = ChannelStatistics.cifar10
  let imageSize: Int? = nil
  let isSlow: Bool
  let fingerprint = ""
  let bad: Set<Int>
  /// Is told every index that is loaded, in the loading thread.
  let onLoad: @Sendable (Int) -> Void

  init(
    count: Int, isSlow: Bool = true, bad: Set<Int> = [],
    onLoad: @escaping @Sendable (Int) -> Void = { _ in }
  ) {
    self.count = count
    self.isSlow = isSlow
    self.bad = bad
    self.onLoad = onLoad
  }

  func load(_ index: Int, into image: ImageBuffer, region: DecodingRegion.Choice) throws -> Int32 {
    onLoad(index)
    if bad.contains(index) { throw ImageError("made to fail") }
    let width = 5 + index % 7
    image.assign(width: width, height: 9, rgb: randomBytes(27 * width, item: index))
    return Int32(index)
  }

  func source(of index: Int) -> String { "file \(index)" }
}

@Suite("Batch loader") struct BatchLoaderTests {
  func transform(
    training: Bool = true, framing: ImageFraming = .squash, noise: Float = 0.1
  ) -> ImageTransform {
    ImageTransform(
      size: 8, framing: framing, isTraining: training, augment: training, noise: noise,
      randAugment: RandAugment(magnitude: 15), erasing: RandomErasing(probability: 0.5), seed: 5,
      statistics: .cifar10)
  }

  /// Two consumers on threads of their own; everything they saw, in order.
  func run(_ loader: BatchLoader, requests: [[LoadRequest]]) throws -> [[(Int32, [Float])]] {
    loader.start(consumers: requests.map { LoadRequests($0) })
    defer { loader.stop() }
    nonisolated(unsafe) var results = [[(Int32, [Float])]](repeating: [], count: requests.count)
    nonisolated(unsafe) var errors = [(any Error)?](repeating: nil, count: requests.count)
    let lock = NSLock()
    DispatchQueue.concurrentPerform(iterations: requests.count) { c in
      var seen: [(Int32, [Float])] = []
      do {
        while let batch = try loader.next(consumer: c) {
          for i in 0..<batch.count {
            let image = UnsafeBufferPointer(start: batch.images.base + i * 192, count: 192)
            seen.append((batch.labels[i], Array(image)))
          }
        }
      } catch {
        lock.withLock { errors[c] = error }
      }
      lock.withLock { results[c] = seen }
    }
    if let error = errors.compactMap({ $0 }).first { throw error }
    return results
  }

  func labels(_ batch: LoadedBatch) -> [Int32] { (0..<batch.count).map { batch.labels[$0] } }

  let requests = [
    [0..<3, 6..<9, 12..<14].map { LoadRequest(epoch: 2, positions: $0) },
    [3..<6, 9..<12].map { LoadRequest(epoch: 2, positions: $0) } + [
      LoadRequest(epoch: 3, positions: 0..<1)
    ],
  ]

  @Test("results do not depend on the number of workers", arguments: [1, 3]) func workers(n: Int)
    throws
  {
    for framing in ImageFraming.allCases {
      let data = MadeUpDataset(count: 14)
      func all(_ workers: Int) throws -> [[(Int32, [Float])]] {
        try run(
          BatchLoader(
            dataset: data, transform: transform(framing: framing), shuffle: true, maximumBatch: 3,
            workers: workers), requests: requests)
      }
      let inline = try all(0)
      let parallel = try all(n)
      for c in 0..<2 {
        #expect(inline[c].map(\.0) == parallel[c].map(\.0))
        #expect(inline[c].map(\.1) == parallel[c].map(\.1))
      }
      let seen = inline[0].map(\.0) + inline[1].dropLast().map(\.0)
      #expect(seen.sorted() == (0..<14).map { Int32($0) })
      #expect(seen != (0..<14).map { Int32($0) })
    }
  }

  @Test("views of an image differ in what is random, and only in that", arguments: [0, 3])
  func views(workers: Int) throws {
    func all(_ views: RepeatedViews?) throws -> [(label: Int32, image: [Float])] {
      try run(
        BatchLoader(
          dataset: MadeUpDataset(count: 12), transform: transform(framing: .standard),
          shuffle: true, maximumBatch: 3, views: views, workers: workers),
        requests: [[0..<3, 3..<6, 6..<9, 9..<12].map { LoadRequest(epoch: 2, positions: $0) }]
      )[0].map { ($0.0, $0.1) }
    }
    let (once, twice) = (try all(nil), try all(RepeatedViews(times: 2, batch: 6)))
    for (batch, image) in [(0, 0), (6, 3)].flatMap({ b, i in (0..<3).map { (b + $0, i + $0) } }) {
      #expect(twice[batch] == once[image])
      #expect(twice[batch + 3].label == once[image].label)
      #expect(twice[batch + 3].image != once[image].image)
    }
  }

  @Test("without shuffling the order is the file's, and no key changes an evaluation image")
  func evaluation() throws {
    let data = MadeUpDataset(count: 6, isSlow: false)
    let loader = BatchLoader(
      dataset: data, transform: transform(training: false), shuffle: false, maximumBatch: 6)
    let result = try run(
      loader, requests: [[0, 7].map { LoadRequest(epoch: $0, positions: 0..<6) }])
    #expect(result[0].map(\.0) == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5])
    #expect(result[0][3].1 == result[0][9].1)
  }

  @Test("a bad image stops the consumer that asked for it", arguments: [0, 2])
  func stopsOnBadImage(workers: Int) throws {
    let loader = BatchLoader(
      dataset: MadeUpDataset(count: 8, bad: [5]), transform: transform(), shuffle: false,
      maximumBatch: 2, workers: workers)
    defer { loader.stop() }
    loader.start(consumers: [
      LoadRequests([0..<2, 2..<4, 4..<6].map { LoadRequest(epoch: 0, positions: $0) })
    ])
    #expect(try loader.next(consumer: 0)?.count == 2)
    #expect(try loader.next(consumer: 0)?.count == 2)
    let error = #expect(throws: RunError.self) { _ = try loader.next(consumer: 0) }
    #expect(error?.code == .data)
    #expect(error?.message.contains("file 5") == true)
    #expect(error?.message.contains("made to fail") == true)
  }

  @Test("a skipped image gives way to the same other one everywhere") func skips() throws {
    let data = MadeUpDataset(count: 9, bad: [1, 4, 7])
    var seen: [[Int32]] = []
    for workers in [0, 2] {
      let loader = BatchLoader(
        dataset: data, transform: transform(), shuffle: false, maximumBatch: 9, workers: workers,
        badImagePolicy: .skip)
      let result = try run(loader, requests: [[LoadRequest(epoch: 1, positions: 0..<9)]])
      seen.append(result[0].map(\.0))
      let bad = loader.takeBadImages()
      #expect(bad.sorted.map(\.index) == [1, 4, 7])
      #expect(bad.replaced == 3)
      #expect(bad.sorted[0].reason == "made to fail")
      #expect(loader.takeBadImages().replaced == 0)
    }
    #expect(seen[0] == seen[1])
    #expect(seen[0][0] == 0 && seen[0][8] == 8)
    #expect(Set(seen[0]).isDisjoint(with: [1, 4, 7]))
    let hopeless = BatchLoader(
      dataset: MadeUpDataset(count: 2, bad: [0, 1]), transform: transform(), shuffle: false,
      maximumBatch: 2, badImagePolicy: .skip)
    #expect(throws: RunError.self) {
      try run(hopeless, requests: [[LoadRequest(epoch: 0, positions: 0..<2)]])
    }
  }

  @Test("a damaged image that was only loaded ahead is not counted") func loadedAhead() throws {
    let loaded = Atomic<Int>(0)
    let loader = BatchLoader(
      dataset: MadeUpDataset(count: 6, bad: [1, 3]) { _ in loaded.add(1, ordering: .relaxed) },
      transform: transform(), shuffle: false, maximumBatch: 2, workers: 2, badImagePolicy: .skip)
    defer { loader.stop() }
    loader.start(consumers: [
      LoadRequests([0..<2, 2..<4, 4..<6].map { LoadRequest(epoch: 0, positions: $0) })
    ])
    _ = try loader.next(consumer: 0)
    // Six images and two substitutes at least.
    while loaded.load(ordering: .relaxed) < 8 { usleep(1000) }
    #expect(loader.takeBadImages().sorted.map(\.index) == [1])
    _ = try loader.next(consumer: 0)
    let second = loader.takeBadImages()
    #expect(second.sorted.map(\.index).contains(3) && second.replaced == 1)
  }

  @Test("workers run ahead by three micro-batches at most, with less priority than compute threads")
  func ring() throws {
    let taken = Atomic<Int>(0)
    let loaded = Atomic<Int>(0)
    let tooFar = Atomic<Int>(0)
    let nice = Atomic<Int>(-1)
    let consumer = pthread_self()
    let data = MadeUpDataset(count: 40) { index in
      loaded.add(1, ordering: .relaxed)
      if index >= 2 * (taken.load(ordering: .relaxed) + 3) { tooFar.add(1, ordering: .relaxed) }
      if pthread_equal(pthread_self(), consumer) == 0 {
        nice.store(
          Int(getpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0)), ordering: .relaxed)
      }
    }
    let loader = BatchLoader(
      dataset: data, transform: transform(), shuffle: false, maximumBatch: 2, workers: 2)
    defer { loader.stop() }
    loader.start(consumers: [
      LoadRequests(count: 20) { LoadRequest(epoch: 0, positions: 2 * $0..<2 * $0 + 2) }
    ])
    // Full: three micro-batches of two images.
    while loaded.load(ordering: .relaxed) < 6 { usleep(1000) }
    #expect(nice.load(ordering: .relaxed) == 10)
    for step in 0..<20 {
      taken.store(step, ordering: .relaxed)
      let batch = try #require(try loader.next(consumer: 0))
      #expect(labels(batch).map { Int($0) } == [2 * step, 2 * step + 1])
    }
    #expect(tooFar.load(ordering: .relaxed) == 0)
    #expect(loaded.load(ordering: .relaxed) == 40)
  }

  @Test("waiting is counted where images were not ready, and only there") func waiting() throws {
    func waited(workers: Int, patient: Bool) throws -> Double {
      let loaded = Atomic<Int>(0)
      let loader = BatchLoader(
        dataset: MadeUpDataset(count: 2) { _ in
          usleep(2000)
          loaded.add(1, ordering: .relaxed)
        }, transform: transform(), shuffle: false, maximumBatch: 2, workers: workers)
      defer { loader.stop() }
      loader.start(consumers: [LoadRequests([LoadRequest(epoch: 0, positions: 0..<2)])])
      if patient {
        while loaded.load(ordering: .relaxed) < 2 { usleep(1000) }
        // The last image is handed over under the loader's lock.
        while loader.isLoading { usleep(100) }
      }
      _ = try loader.next(consumer: 0)
      return loader.waitedSeconds
    }
    #expect(try waited(workers: 0, patient: false) >= 0.004)
    #expect(try waited(workers: 1, patient: true) == 0)
  }

  @Test("a stretch can be left early and another begun") func restarts() throws {
    let loader = BatchLoader(
      dataset: MadeUpDataset(count: 20), transform: transform(), shuffle: false, maximumBatch: 4,
      workers: 2)
    defer { loader.stop() }
    for _ in 0..<20 {
      loader.start(consumers: [
        LoadRequests([0..<4, 4..<8, 8..<12].map { LoadRequest(epoch: 0, positions: $0) })
      ])
      #expect(try loader.next(consumer: 0).map(labels) == [0, 1, 2, 3])
    }
    loader.start(consumers: [LoadRequests([LoadRequest(epoch: 1, positions: 16..<20)])])
    #expect(try loader.next(consumer: 0).map(labels) == [16, 17, 18, 19])
    #expect(try loader.next(consumer: 0) == nil)
  }
}

@Suite("Image transform") struct ImageTransformTests {
  @Test("crop with zero padding, flip and normalisation follow their definition") func augments() {
    let image = randomImage(width: 6, height: 6, item: 0)
    let transform = ImageTransform(
      size: 6, isTraining: true, augment: true, noise: 0, seed: 3, statistics: .cifar100)
    let workspace = transform.makeWorkspace()
    let bytes = image.bytes
    let mean: [Float] = [0.5071, 0.4867, 0.4408]
    let deviation: [Float] = [0.2675, 0.2565, 0.2761]
    var met = Set<[Int]>()
    for epoch in 0..<400 {
      var out = [Float](repeating: 0, count: 108)
      out.withUnsafeMutableBufferPointer {
        transform.apply(
          image, epoch: epoch, index: 11, workspace: workspace, out: $0.baseAddress!)
      }
      func expected(_ dx: Int, _ dy: Int, _ flip: Bool) -> [Float] {
        (0..<108).map { i in
          let (c, y, x) = (i / 36, i / 6 % 6 + dy, (flip ? 5 - i % 6 : i % 6) + dx)
          let inside = (0..<6).contains(x) && (0..<6).contains(y)
          let value = inside ? Float(bytes[3 * (6 * y + x) + c]) : 0
          return (value / 255 - mean[c]) / deviation[c]
        }
      }
      var matches = 0
      for dx in -4...4 {
        for dy in -4...4 {
          for flip in [false, true] where expected(dx, dy, flip) == out {
            matches += 1
            met.insert([dx, dy, flip ? 1 : 0])
          }
        }
      }
      #expect(matches == 1, "epoch \(epoch)")
    }
    // 162 cases, 400 draws: 148 expected, 3.4 standard deviation at most.
    #expect(met.count > 130)
  }

  @Test("noise has the deviation asked for and is not used in evaluation") func noise() {
    let image = randomImage(width: 16, height: 16, item: 0)
    func planes(training: Bool, noise: Float, index: Int) -> [Float] {
      let transform = ImageTransform(
        size: 16, isTraining: training, augment: false, noise: noise, seed: 3,
        statistics: .cifar10)
      var out = [Float](repeating: 0, count: 768)
      out.withUnsafeMutableBufferPointer {
        transform.apply(
          image, epoch: 1, index: index, workspace: transform.makeWorkspace(),
          out: $0.baseAddress!)
      }
      return out
    }
    let plain = planes(training: true, noise: 0, index: 4)
    #expect(planes(training: false, noise: 0.5, index: 4) == plain)
    let noisy = planes(training: true, noise: 0.5, index: 4)
    #expect(noisy != planes(training: true, noise: 0.5, index: 5))
    let squares = zip(noisy, plain).reduce(0.0) { $0 + Double(($1.0 - $1.1) * ($1.0 - $1.1)) }
    // Standard error of a variance from 768 numbers: 5 %.
    #expect(abs(squares / 768 / 0.25 - 1) < 0.25)
  }

  @Test("random resized crops stay inside and have the sizes of the definition") func crops() {
    for (width, height) in [(500, 375), (100, 100), (1, 1), (300, 2), (3, 200)] {
      let transform = ImageTransform(
        size: 8, framing: .standard, isTraining: true, augment: true, noise: 0, seed: 1,
        statistics: .imageNet)
      var areas: [Double] = []
      for index in 0..<300 {
        let crop = transform.frame(width: width, height: height, epoch: 1, index: index).crop
        #expect(crop.x >= 0 && crop.y >= 0 && crop.width > 0 && crop.height > 0)
        #expect(crop.x + crop.width <= width && crop.y + crop.height <= height)
        areas.append(Double(crop.width * crop.height) / Double(width * height))
        if width == 500 {
          let ratio = Double(crop.width) / Double(crop.height)
          #expect(ratio > 0.73 && ratio < 1.36)
          #expect(areas.last! > 0.078)
        }
      }
      if width == 100 {
        let mean = areas.reduce(0, +) / 300
        #expect(mean > 0.4 && mean < 0.6)
      }
    }
  }

  @Test("evaluation resizes the shorter side to 256/224 of the size and takes the centre")
  func centreCrop() {
    let transform = ImageTransform(
      size: 224, framing: .standard, isTraining: false, augment: false, noise: 0, seed: 1,
      statistics: .imageNet)
    let plan = transform.frame(width: 500, height: 375, epoch: 0, index: 0)
    #expect(plan.width == 341 && plan.height == 256)
    // torchvision: int(round((341 - 224) / 2.0)) = 58 (58.5 to even), (256 - 224) / 2 = 16.
    #expect(plan.wanted == PixelRectangle(x: 58, y: 16, width: 224, height: 224))
    #expect(plan.crop == PixelRectangle(x: 0, y: 0, width: 500, height: 375))
  }
}
