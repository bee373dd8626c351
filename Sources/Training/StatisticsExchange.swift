// Losses and hits of all shards, on all ranks, in one fixed order.
import Collectives
import Models

extension ProcessGroup {
  /// Every rank's statistics in the order of their numbers, and every rank's extra values.
  ///
  /// - Parameters:
  ///   - own: this rank's statistics, or why it has none.
  ///   - extra: equally many on all ranks.
  ///   - range: which numbers a rank has.
  /// - Throws: `SharedError` on all ranks when one of them failed.
  func gatherStatistics(
    _ own: Result<[BatchStatistics], any Error>, extra: [Double], range: (Int) -> Range<Int>
  ) throws -> (statistics: [BatchStatistics], extra: [[Double]]) {
    let most = (0..<size).map { range($0).count }.max()!
    let failed = (try? own.get()) == nil
    let extra = extra + [failed ? 1 : 0]
    var mine = extra
    for value in (try? own.get()) ?? [] {
      mine += [value.loss, Double(value.top1), Double(value.top5), Double(value.images)]
    }
    mine += [Double](repeating: 0, count: extra.count + 4 * most - mine.count)
    let all = try allGather(mine)
    if all.contains(where: { $0[extra.count - 1] > 0 }) { _ = try together { try own.get() } }
    let statistics = all.enumerated().flatMap { rank, values in
      (0..<range(rank).count).map { index in
        let at = extra.count + 4 * index
        var statistics = BatchStatistics()
        statistics.loss = values[at]
        statistics.top1 = Int(values[at + 1])
        statistics.top5 = Int(values[at + 2])
        statistics.images = Int(values[at + 3])
        return statistics
      }
    }
    return (statistics, all.map { Array($0.prefix(extra.count - 1)) })
  }
}
