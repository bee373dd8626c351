// Which rank the others wait for.

/// Watches how long the ranks compute, in windows of steps, and names one that is much slower than the
/// others: a host that is overloaded, throttled or out of memory makes all of them as slow.
struct RankPace {
  struct Finding: Equatable {
    let rank: Int
    /// Its time for a shard, divided by that of the median rank.
    let timesMedian: Double
    /// Steps of the window.
    let steps: ClosedRange<Int>
  }

  static let noteworthy = 1.5
  static let leastSteps = 10
  static let leastSeconds = 5.0

  /// Shards that the busiest thread of each rank computes.
  private let shards: [Int]
  private var sums: [Double]
  private var firstStep = 0
  private var steps = 0
  private var longest = 0.0

  init(shards: [Int]) {
    self.shards = shards
    sums = shards.map { _ in 0 }
  }

  /// - Parameter seconds: what each rank computed in step `step`.
  mutating func add(_ seconds: [Double], step: Int) {
    if steps == 0 { firstStep = step }
    steps += 1
    longest += seconds.max() ?? 0
    for rank in sums.indices { sums[rank] += seconds[rank] / Double(shards[rank]) }
  }

  /// Ends the window, unless it is too short to tell.
  ///
  /// - Returns: the slowest rank if it is noteworthy.
  mutating func close() -> Finding? {
    guard steps >= Self.leastSteps, longest >= Self.leastSeconds else { return nil }
    defer {
      sums = sums.map { _ in 0 }
      steps = 0
      longest = 0
    }
    let slowest = sums.indices.max { sums[$0] < sums[$1] }!
    // Of two ranks the faster one.
    let median = sums.sorted()[(sums.count - 1) / 2]
    let ratio = sums[slowest] / max(median, 1e-9)
    guard ratio > Self.noteworthy else { return nil }
    return Finding(rank: slowest, timesMedian: ratio, steps: firstStep...firstStep + steps - 1)
  }
}
