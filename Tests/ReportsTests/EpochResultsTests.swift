// The line of an epoch.
import Testing

@testable import Reports

@Suite("Epoch results") struct EpochResultsTests {
  @Test("the line of an epoch, letter by letter") func epoch() {
    let train = SplitResult(loss: 1.5, top1: 50.123_46, top5: 100)
    let test = SplitResult(loss: 12.345_678_914, top1: 0, top5: 9.99999)
    #expect(
      epochLine(epoch: 7, seconds: 12.34567, train: train, test: test)
        == "[Epoch 007] Time: 12.3457s | [Train] Loss: 1.50000000 Accuracy: Top1: 50.1235%, "
        + "Top5: 100.0000% | [Test] Loss: 12.34567891 Accuracy: Top1: 0.0000%, Top5: 10.0000%")
    #expect(epochLine(epoch: 1234, seconds: 0, train: train, test: test).hasPrefix("[Epoch 1234] "))
  }
}
