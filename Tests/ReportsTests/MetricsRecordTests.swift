// The lines of metrics.jsonl: letter by letter, and read back.
import Foundation
import Testing

@testable import Reports

func stepRecord(_ step: Int) -> MetricsRecord.StepRecord {
  .init(
    epoch: (step - 1) / 3 + 1, step: step, loss: 2.5 / Double(step), gradientNorm: 1.25,
    learningRate: 1e-3, imagesPerSecond: 100 + Double(step))
}

func epochRecord(_ epoch: Int, top1: Double = 50) -> MetricsRecord.EpochRecord {
  .init(
    epoch: epoch, train: SplitResult(loss: 2 / Double(epoch), top1: 40, top5: 90),
    test: SplitResult(loss: 1.5, top1: top1, top5: 95), learningRate: 1e-3, seconds: 12.5,
    imagesPerSecond: 400)
}

@Suite("Lines of metrics.jsonl") struct MetricsRecordTests {
  /// Scripts look for these words, in this order and spelling.
  static let lines = [
    #"{"event":"start","ranks":2,"threads":3,"parameters":1234,"bucket_mb":4}"#,
    #"{"event":"resume","step":4}"#,
    #"{"event":"step","epoch":1,"step":3,"loss":0.1,"grad_norm":1.5,"lr":1e-05,"images_per_second":100.0}"#,
    #"{"event":"epoch","epoch":2,"train_loss":1.5,"train_top1":40.0,"train_top5":90.25,"test_loss":null,"#
      + #""test_top1":0.1,"test_top5":95.0,"lr":0.001,"seconds":12.5,"images_per_second":400.0}"#,
    #"{"event":"data","epoch":2,"seconds_waiting":0.25,"bad_images":3,"peak_memory_mb":300}"#,
    #"{"event":"slow_rank","epoch":2,"step":40,"rank":3,"host":"node-b","times_median":2.5}"#,
    #"{"event":"done","step":9,"best_top1":66.5,"best_epoch":2}"#,
  ]

  @Test("read and written again", arguments: lines) func roundTrip(line: String) throws {
    #expect(try #require(MetricsRecord(line: line)).line == line)
  }

  @Test("what is no number is null, and NaN again") func notFinite() throws {
    var record = stepRecord(7)
    record.loss = .nan
    record.gradientNorm = .infinity
    let line = MetricsRecord.step(record).line
    #expect(line.contains(#""loss":null,"grad_norm":null,"#))
    guard case .step(let read)? = MetricsRecord(line: line) else {
      Issue.record("no step")
      return
    }
    #expect(read.loss.isNaN && read.gradientNorm.isNaN && read.learningRate == 1e-3)
  }

  @Test(
    "no records",
    arguments: [
      "", "{", "null", "[1]", "3", #"{"event":"step","epoch":1}"#, #"{"event":"step","step":1.5}"#,
      #"{"event":"epoch","epoch":"1"}"#, #"{"event":"resume"}"#, #"{"event":"data"}"#,
      #"{"event":7}"#,
    ])
  func none(line: String) {
    #expect(MetricsRecord(line: line) == nil)
  }

  @Test("events of another version are something else") func other() {
    for line in [#"{"event":"checkpoint","step":1}"#, #"{"epoch":1}"#] {
      guard case .other? = MetricsRecord(line: line) else {
        Issue.record("\(line)")
        continue
      }
    }
  }

  @Test("the best epoch is the first with the highest top-1") func best() {
    var history = RunHistory()
    #expect(history.best == nil)
    for (index, top1) in [10, 30, .nan, 20, 30, 0].enumerated() {
      history.add(.epoch(epochRecord(index + 1, top1: top1)))
    }
    #expect(history.best?.epoch == 2)
  }
}
