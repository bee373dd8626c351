// Means of loss and accuracy over the batches of an epoch.
import Models
import Reports

/// Sums up batches. All images count alike, or, as the reference has it, all batches.
public struct EpochMeans: Codable, Equatable, Sendable {
  public private(set) var images = 0
  private var weight = 0.0
  private var loss = 0.0
  private var top1 = 0.0
  private var top5 = 0.0
  private let meanOverBatches: Bool

  init(meanOverBatches: Bool) { self.meanOverBatches = meanOverBatches }

  /// As new.
  mutating func reset() { self = EpochMeans(meanOverBatches: meanOverBatches) }

  mutating func add(_ batch: BatchStatistics) {
    let scale = meanOverBatches ? 1 / Double(batch.images) : 1
    images += batch.images
    weight += meanOverBatches ? 1 : Double(batch.images)
    loss += batch.loss * scale
    top1 += Double(batch.top1) * scale
    top5 += Double(batch.top5) * scale
  }

  /// Means; accuracies in percent.
  public var result: SplitResult {
    SplitResult(loss: loss / weight, top1: 100 * top1 / weight, top5: 100 * top5 / weight)
  }
}
