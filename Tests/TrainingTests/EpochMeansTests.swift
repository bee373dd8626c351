// Means over images, and over batches as the reference has them.
import Models
import Testing

@testable import Training

@Suite("Epoch means") struct EpochMeansTests {
  private func batch(_ images: Int, loss: Double, top1: Int, top5: Int) -> BatchStatistics {
    var b = BatchStatistics()
    b.images = images
    b.loss = loss
    b.top1 = top1
    b.top5 = top5
    return b
  }

  @Test("all images count alike, or all batches") func means() {
    var byImage = EpochMeans(meanOverBatches: false)
    var byBatch = EpochMeans(meanOverBatches: true)
    for b in [batch(8, loss: 16, top1: 4, top5: 8), batch(2, loss: 2, top1: 2, top5: 2)] {
      byImage.add(b)
      byBatch.add(b)
    }
    #expect(byImage.images == 10 && byBatch.images == 10)
    #expect(byImage.result.loss == 1.8)
    #expect(byImage.result.top1 == 60 && byImage.result.top5 == 100)
    #expect(byBatch.result.loss == 1.5)
    #expect(byBatch.result.top1 == 75 && byBatch.result.top5 == 100)
  }
}
