// What compute threads train on, prefetched by background threads.
import Diagnostics
import Foundation
import Tensors

/// What one call asks for: positions of an epoch's order, which become one micro-batch or a few.
public struct LoadRequest: Sendable, Equatable {
  public let epoch: Int
  public let positions: Range<Int>

  public init(epoch: Int, positions: Range<Int>) {
    self.epoch = epoch
    self.positions = positions
  }
}

/// What a consumer will ask for, in order. Made when it is needed: an epoch of ImageNet is a million requests.
public struct LoadRequests {
  let count: Int
  let request: (Int) -> LoadRequest

  /// - Parameter request: the one with a number in 0..<count.
  public init(count: Int, request: @escaping (Int) -> LoadRequest) {
    self.count = count
    self.request = request
  }

  public init(_ list: [LoadRequest]) { self.init(count: list.count) { list[$0] } }
}

/// Images and labels of one request; valid until the consumer's next call.
public final class LoadedBatch: @unchecked Sendable {
  /// [count, 3, size, size], planar.
  public let images: FloatSlab
  public private(set) var request = LoadRequest(epoch: 0, positions: 0..<0)
  public let labels: UnsafeMutablePointer<Int32>
  /// Of mixed images: the label of the image that each was mixed with, and its share.
  public let otherLabels: UnsafeMutablePointer<Int32>
  public let otherShares: UnsafeMutablePointer<Float>
  public var count: Int { request.positions.count }

  // Guarded by the loader's lock.
  fileprivate var claimed = 0
  fileprivate var finished = 0
  fileprivate var failure: (position: Int, error: any Error)?
  fileprivate var bad: [BadImage] = []
  fileprivate var replaced = 0

  fileprivate init(capacity: Int, imageFloats: Int) {
    images = FloatSlab(count: capacity * imageFloats)
    labels = .allocate(capacity: capacity)
    labels.initialize(repeating: 0, count: capacity)
    otherLabels = .allocate(capacity: capacity)
    otherLabels.initialize(repeating: 0, count: capacity)
    otherShares = .allocate(capacity: capacity)
    otherShares.initialize(repeating: 0, count: capacity)
  }

  deinit {
    labels.deallocate()
    otherLabels.deallocate()
    otherShares.deallocate()
  }

  fileprivate func begin(_ request: LoadRequest) {
    self.request = request
    claimed = 0
    finished = 0
    failure = nil
    bad = []
    replaced = 0
  }
}

/// Loads what consumers will ask for, in their order. Every image is a function of (data set, seed,
/// epoch, position) alone, so results do not depend on the number of workers or on timing.
///
/// A consumer that finds its batch unfinished loads the rest itself, so it never waits for an
/// image that nobody has begun, and zero workers means loading in the consumer's own thread.
public final class BatchLoader: @unchecked Sendable {
  public let dataset: any Dataset
  public let transform: ImageTransform
  public let shuffle: Bool
  public let workerCount: Int
  public let maximumBatch: Int
  /// Images 2i and 2i + 1 of a request are mixed; an odd last one is not.
  public let mixing: ImageMixing?
  /// Nil: an epoch has every image once.
  public let views: RepeatedViews?
  public let badImagePolicy: BadImagePolicy
  private let imageFloats: Int
  private let depth: Int
  private let condition = NSCondition()
  private var stopping = false
  private var consumers: [Consumer] = []
  private var orders: [Int: EpochOrder] = [:]
  private var inFlight = 0
  private var liveWorkers = 0
  private var tally = BadImageTally()

  /// A consumer's requests and its ring of batches: request k lies in slot k % depth.
  private final class Consumer {
    var requests = LoadRequests([])
    var slots: [LoadedBatch] = []
    /// Requests given out, the last of which may still be in use.
    var taken = 0
    var released = 0
    /// Requests that have a slot.
    var begun = 0
    var waitedSeconds = 0.0
    let workspace: LoadWorkspace
    init(workspace: LoadWorkspace) { self.workspace = workspace }
  }

  private final class LoadWorkspace {
    let image = ImageBuffer()
    let transform: ImageTransform.Workspace
    init(_ transform: ImageTransform) { self.transform = transform.makeWorkspace() }
  }

  /// Starts the background threads; nothing is loaded before `start`.
  ///
  /// - Parameters:
  ///   - shuffle: a new order every epoch, or the data set's.
  ///   - maximumBatch: most images of one request.
  ///   - mixing: nil: images stay what they are.
  ///   - views: nil: an epoch has every image once.
  ///   - workers: background threads; nil chooses one for data that must be decoded, else none.
  public init(
    dataset: any Dataset, transform: ImageTransform, shuffle: Bool, maximumBatch: Int,
    mixing: ImageMixing? = nil, views: RepeatedViews? = nil, workers: Int? = nil,
    badImagePolicy: BadImagePolicy = .stop
  ) {
    self.dataset = dataset
    self.transform = transform
    self.shuffle = shuffle
    self.maximumBatch = maximumBatch
    self.mixing = mixing
    self.views = views
    workerCount = workers ?? (dataset.isSlow ? 1 : 0)
    depth = workerCount == 0 ? 1 : 3
    imageFloats = 3 * transform.size * transform.size
    self.badImagePolicy = badImagePolicy
    liveWorkers = workerCount
    for i in 0..<workerCount {
      let thread = Thread { [self] in work() }
      thread.name = "loader \(i)"
      thread.start()
    }
  }

  /// Ends the background threads; no other call may follow.
  public func stop() {
    condition.lock()
    stopping = true
    condition.broadcast()
    while liveWorkers > 0 { condition.wait() }
    condition.unlock()
  }

  /// Begins a stretch (an epoch, an evaluation): what each consumer will ask for, in order. What is
  /// left of an earlier stretch is dropped. No consumer may be inside `next`.
  public func start(consumers requests: [LoadRequests]) {
    condition.lock()
    defer { condition.unlock() }
    for consumer in consumers { consumer.requests = LoadRequests([]) }
    while inFlight > 0 { condition.wait() }
    while consumers.count < requests.count {
      consumers.append(Consumer(workspace: LoadWorkspace(transform)))
    }
    orders = [:]
    for (consumer, list) in zip(consumers, requests) {
      consumer.requests = list
      consumer.taken = 0
      consumer.released = 0
      consumer.begun = 0
      while consumer.slots.count < depth {
        consumer.slots.append(LoadedBatch(capacity: maximumBatch, imageFloats: imageFloats))
      }
      fill(consumer)
    }
    condition.broadcast()
  }

  /// The consumer's next batch, nil after its last; takes the previous one back.
  ///
  /// - Throws: the error of the batch's first bad image, whoever loaded it.
  public func next(consumer number: Int) throws -> LoadedBatch? {
    let consumer = consumers[number]
    condition.lock()
    consumer.released = consumer.taken
    fill(consumer)
    guard consumer.taken < consumer.requests.count else {
      condition.unlock()
      return nil
    }
    let slot = consumer.slots[consumer.taken % depth]
    consumer.taken += 1
    if workerCount > 0 { condition.broadcast() }
    if slot.finished < slot.count {
      let clock = Stopwatch()
      while slot.claimed < slot.count { loadSome(slot, consumer.workspace) }
      while slot.finished < slot.count { condition.wait() }
      consumer.waitedSeconds += clock.seconds
    }
    let failure = slot.failure
    tally.add(slot.bad, replaced: slot.replaced)
    condition.unlock()
    if let failure { throw failure.error }
    return slot
  }

  /// Seconds that consumers spent in `next` on images that were not ready, since the loader began.
  public var waitedSeconds: Double {
    condition.lock()
    defer { condition.unlock() }
    return consumers.reduce(0) { $0 + $1.waitedSeconds }
  }

  /// Whether an image is being loaded right now.
  var isLoading: Bool {
    condition.lock()
    defer { condition.unlock() }
    return inFlight > 0
  }

  /// Damaged images in all batches that consumers got since the last call.
  public func takeBadImages() -> BadImageTally {
    condition.lock()
    defer { condition.unlock() }
    defer { tally = BadImageTally() }
    return tally
  }

  /// Puts waiting requests into free slots. Called with the lock held.
  private func fill(_ consumer: Consumer) {
    while consumer.begun < consumer.requests.count, consumer.begun - consumer.released < depth {
      let request = consumer.requests.request(consumer.begun)
      precondition(request.positions.count <= maximumBatch)
      if orders[request.epoch] == nil {
        orders[request.epoch] = EpochOrder(
          count: dataset.count, seed: transform.seed, epoch: request.epoch, shuffle: shuffle,
          views: views)
      }
      consumer.slots[consumer.begun % depth].begin(request)
      consumer.begun += 1
    }
  }

  /// Loads the next image of `slot`, or the next two, if they are to be mixed. Called, and returns, with the lock
  /// held.
  private func loadSome(_ slot: LoadedBatch, _ workspace: LoadWorkspace) {
    let images = slot.claimed..<min(slot.claimed + (mixing == nil ? 1 : 2), slot.count)
    slot.claimed = images.upperBound
    inFlight += 1
    let request = slot.request
    let order = orders[request.epoch]!
    condition.unlock()
    var failure: (position: Int, error: any Error)?
    var bad: [BadImage] = []
    var replaced = 0
    for i in images where failure == nil {
      let known = bad.count
      let position = request.positions.lowerBound + i
      do {
        slot.labels[i] = try load(
          order[position], view: order.view(at: position), epoch: request.epoch, workspace,
          out: slot.images.base + i * imageFloats, bad: &bad)
      } catch {
        failure = (i, error)
      }
      replaced += bad.count > known ? 1 : 0
    }
    if let mixing, failure == nil { mix(images, of: slot, mixing) }
    condition.lock()
    slot.bad += bad
    slot.replaced += replaced
    if let failure, slot.failure.map({ failure.position < $0.position }) ?? true {
      slot.failure = failure
    }
    slot.finished += images.count
    inFlight -= 1
    if slot.finished == slot.count || inFlight == 0 { condition.broadcast() }
  }

  /// Mixes a pair; by itself, the last image of a request is another one's in no part.
  private func mix(_ images: Range<Int>, of slot: LoadedBatch, _ mixing: ImageMixing) {
    let (first, last) = (images.lowerBound, images.upperBound - 1)
    var share: Float = 0
    if first < last {
      share = mixing.mix(
        slot.images.base + first * imageFloats, slot.images.base + last * imageFloats,
        size: transform.size, epoch: slot.request.epoch,
        position: slot.request.positions.lowerBound + first)
    }
    (slot.otherLabels[first], slot.otherLabels[last]) = (slot.labels[last], slot.labels[first])
    (slot.otherShares[first], slot.otherShares[last]) = (share, share)
  }

  /// Image `index`, or by the policy the one that stands in for it: the first usable one of a
  /// sequence that is a function of (seed, epoch, index).
  ///
  /// - Parameter view: which of several views, that differ in what is random.
  private func load(
    _ index: Int, view: Int, epoch: Int, _ workspace: LoadWorkspace,
    out: UnsafeMutablePointer<Float>,
    bad: inout [BadImage]
  ) throws -> Int32 {
    var at = index
    for attempt in 0... {
      let key = at + view * dataset.count
      do {
        let label = try dataset.load(at, into: workspace.image) {
          transform.region(width: $0, height: $1, epoch: epoch, index: key)
        }
        transform.apply(
          workspace.image, epoch: epoch, index: key, workspace: workspace.transform, out: out)
        return label
      } catch let error as ImageError {
        let image = BadImage(index: at, source: dataset.source(of: at), reason: error.reason)
        try badImagePolicy.check(image, attempt: attempt)
        bad.append(image)
        at = RandomSequence(
          seed: transform.seed, purpose: .augmentation, layer: 1, step: epoch, item: index
        ).integer(attempt, below: dataset.count)
      }
    }
    fatalError("unreachable")
  }

  private func work() {
    // Decoding yields to compute threads: on Linux, who = 0 means the calling thread.
    setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 10)
    let workspace = LoadWorkspace(transform)
    condition.lock()
    while !stopping {
      if let slot = nextSlot() {
        loadSome(slot, workspace)
      } else {
        condition.wait()
      }
    }
    liveWorkers -= 1
    condition.broadcast()
    condition.unlock()
  }

  /// The begun batch nearest to its use that has an image nobody has claimed.
  private func nextSlot() -> LoadedBatch? {
    for ahead in 0...depth {
      for consumer in consumers {
        let k = max(consumer.taken - 1, 0) + ahead
        guard k < consumer.begun, k < consumer.requests.count, k >= consumer.released else {
          continue
        }
        let slot = consumer.slots[k % depth]
        if slot.claimed < slot.count { return slot }
      }
    }
    return nil
  }
}
