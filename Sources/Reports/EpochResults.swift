// How an epoch went, and its line in `train_eval_results.txt`.
import Foundation

/// Losses and accuracies (percent) of one epoch on one split.
public struct SplitResult: Codable, Sendable {
  public var loss: Double
  public var top1: Double
  public var top5: Double

  public init(loss: Double, top1: Double, top5: Double) {
    self.loss = loss
    self.top1 = top1
    self.top5 = top5
  }

  var text: String {
    String(format: "Loss: %.8f Accuracy: Top1: %.4f%%, Top5: %.4f%%", loss, top1, top5)
  }
}

/// One line of `train_eval_results.txt`.
public func epochLine(epoch: Int, seconds: Double, train: SplitResult, test: SplitResult) -> String
{
  String(format: "[Epoch %03ld] Time: %.4fs", epoch, seconds)
    + " | [Train] \(train.text) | [Test] \(test.text)"
}
