// The lines of metrics.jsonl, written and read back.
import Foundation

/// One line of `metrics.jsonl`. What JSON cannot hold (NaN, infinity) is written as null and read as NaN.
public enum MetricsRecord: Sendable {
  case start(ranks: Int, threads: Int, parameters: Int, bucketMegabytes: Int)
  case resume(step: Int)
  case step(StepRecord)
  case epoch(EpochRecord)
  case data(DataRecord)
  case slowRank(SlowRankRecord)
  case done(DoneRecord)
  /// An event of another version of the program.
  case other

  public struct StepRecord: Sendable {
    public var epoch: Int
    public var step: Int
    /// Mean over the global batch.
    public var loss: Double
    /// Before clipping.
    public var gradientNorm: Double
    public var learningRate: Double
    public var imagesPerSecond: Double

    public init(
      epoch: Int, step: Int, loss: Double, gradientNorm: Double, learningRate: Double,
      imagesPerSecond: Double
    ) {
      self.epoch = epoch
      self.step = step
      self.loss = loss
      self.gradientNorm = gradientNorm
      self.learningRate = learningRate
      self.imagesPerSecond = imagesPerSecond
    }
  }

  public struct EpochRecord: Sendable {
    public var epoch: Int
    public var train: SplitResult
    public var test: SplitResult
    public var learningRate: Double
    /// Training and evaluation.
    public var seconds: Double
    public var imagesPerSecond: Double
    /// Of an epoch that `--max_steps` has cut short.
    public var isPartial: Bool

    public init(
      epoch: Int, train: SplitResult, test: SplitResult, learningRate: Double, seconds: Double,
      imagesPerSecond: Double, isPartial: Bool = false
    ) {
      self.epoch = epoch
      self.train = train
      self.test = test
      self.learningRate = learningRate
      self.seconds = seconds
      self.imagesPerSecond = imagesPerSecond
      self.isPartial = isPartial
    }
  }

  /// How an epoch was fed, and what it took.
  public struct DataRecord: Sendable {
    public var epoch: Int
    public var secondsWaiting: Double
    public var badImages: Int
    /// Of the rank that has taken most since its start.
    public var peakMegabytes: Int

    public init(epoch: Int, secondsWaiting: Double, badImages: Int, peakMegabytes: Int) {
      self.epoch = epoch
      self.secondsWaiting = secondsWaiting
      self.badImages = badImages
      self.peakMegabytes = peakMegabytes
    }
  }

  /// A rank that the others waited for, up to this step.
  public struct SlowRankRecord: Sendable {
    public var epoch: Int
    public var step: Int
    public var rank: Int
    public var host: String
    /// Its time, divided by that of the median rank.
    public var timesMedian: Double

    public init(epoch: Int, step: Int, rank: Int, host: String, timesMedian: Double) {
      self.epoch = epoch
      self.step = step
      self.rank = rank
      self.host = host
      self.timesMedian = timesMedian
    }
  }

  public struct DoneRecord: Sendable {
    public var step: Int
    /// Percent.
    public var bestTop1: Double
    public var bestEpoch: Int

    public init(step: Int, bestTop1: Double, bestEpoch: Int) {
      self.step = step
      self.bestTop1 = bestTop1
      self.bestEpoch = bestEpoch
    }
  }
}

extension MetricsRecord {
  /// The line, without its end.
  public var line: String {
    switch self {
    case .start(let ranks, let threads, let parameters, let bucketMegabytes):
      return jsonObject([
        ("event", .text("start")), ("ranks", .integer(ranks)), ("threads", .integer(threads)),
        ("parameters", .integer(parameters)), ("bucket_mb", .integer(bucketMegabytes)),
      ])
    case .resume(let step):
      return jsonObject([("event", .text("resume")), ("step", .integer(step))])
    case .step(let r):
      return jsonObject([
        ("event", .text("step")), ("epoch", .integer(r.epoch)), ("step", .integer(r.step)),
        ("loss", .number(r.loss)), ("grad_norm", .number(r.gradientNorm)),
        ("lr", .number(r.learningRate)), ("images_per_second", .number(r.imagesPerSecond)),
      ])
    case .epoch(let r):
      let partial: [(String, JSONValue)] = r.isPartial ? [("partial", .truth(true))] : []
      return jsonObject(
        [
          ("event", .text("epoch")), ("epoch", .integer(r.epoch)),
          ("train_loss", .number(r.train.loss)), ("train_top1", .number(r.train.top1)),
          ("train_top5", .number(r.train.top5)), ("test_loss", .number(r.test.loss)),
          ("test_top1", .number(r.test.top1)), ("test_top5", .number(r.test.top5)),
          ("lr", .number(r.learningRate)), ("seconds", .number(r.seconds)),
          ("images_per_second", .number(r.imagesPerSecond)),
        ] + partial)
    case .data(let r):
      return jsonObject([
        ("event", .text("data")), ("epoch", .integer(r.epoch)),
        ("seconds_waiting", .number(r.secondsWaiting)), ("bad_images", .integer(r.badImages)),
        ("peak_memory_mb", .integer(r.peakMegabytes)),
      ])
    case .slowRank(let r):
      return jsonObject([
        ("event", .text("slow_rank")), ("epoch", .integer(r.epoch)), ("step", .integer(r.step)),
        ("rank", .integer(r.rank)), ("host", .text(r.host)),
        ("times_median", .number(r.timesMedian)),
      ])
    case .done(let r):
      return jsonObject([
        ("event", .text("done")), ("step", .integer(r.step)), ("best_top1", .number(r.bestTop1)),
        ("best_epoch", .integer(r.bestEpoch)),
      ])
    case .other: return jsonObject([])
    }
  }

  /// - Returns: nil for a line that is none: no JSON object, or without a number that its event must have.
  public init?(line: String) {
    guard let fields = try? JSONDecoder().decode(Fields.self, from: Data(line.utf8)) else {
      return nil
    }
    switch fields.event {
    case "start":
      self = .start(
        ranks: fields.ranks ?? 0, threads: fields.threads ?? 0, parameters: fields.parameters ?? 0,
        bucketMegabytes: fields.bucketMegabytes ?? 0)
    case "resume":
      guard let step = fields.step else { return nil }
      self = .resume(step: step)
    case "step":
      guard let epoch = fields.epoch, let step = fields.step else { return nil }
      self = .step(
        StepRecord(
          epoch: epoch, step: step, loss: fields.loss ?? .nan,
          gradientNorm: fields.gradientNorm ?? .nan, learningRate: fields.lr ?? .nan,
          imagesPerSecond: fields.imagesPerSecond ?? .nan))
    case "epoch":
      guard let epoch = fields.epoch else { return nil }
      self = .epoch(
        EpochRecord(
          epoch: epoch,
          train: SplitResult(
            loss: fields.trainLoss ?? .nan, top1: fields.trainTop1 ?? .nan,
            top5: fields.trainTop5 ?? .nan),
          test: SplitResult(
            loss: fields.testLoss ?? .nan, top1: fields.testTop1 ?? .nan,
            top5: fields.testTop5 ?? .nan),
          learningRate: fields.lr ?? .nan, seconds: fields.seconds ?? .nan,
          imagesPerSecond: fields.imagesPerSecond ?? .nan, isPartial: fields.partial ?? false))
    case "data":
      guard let epoch = fields.epoch else { return nil }
      self = .data(
        DataRecord(
          epoch: epoch, secondsWaiting: fields.secondsWaiting ?? .nan,
          badImages: fields.badImages ?? 0, peakMegabytes: fields.peakMegabytes ?? 0))
    case "slow_rank":
      guard let step = fields.step, let rank = fields.rank else { return nil }
      self = .slowRank(
        SlowRankRecord(
          epoch: fields.epoch ?? 0, step: step, rank: rank, host: fields.host ?? "",
          timesMedian: fields.timesMedian ?? .nan))
    case "done":
      guard let step = fields.step else { return nil }
      self = .done(
        DoneRecord(
          step: step, bestTop1: fields.bestTop1 ?? .nan, bestEpoch: fields.bestEpoch ?? 0))
    default: self = .other
    }
  }

  private struct Fields: Decodable {
    let event, host: String?
    let partial: Bool?
    let ranks, threads, parameters, bucketMegabytes, epoch, step, badImages, bestEpoch: Int?
    let rank, peakMegabytes: Int?
    let loss, gradientNorm, lr, imagesPerSecond, seconds, secondsWaiting, bestTop1: Double?
    let timesMedian: Double?
    let trainLoss, trainTop1, trainTop5, testLoss, testTop1, testTop5: Double?

    enum CodingKeys: String, CodingKey {
      case event, partial, ranks, threads, parameters, epoch, step, loss, lr, seconds, rank, host
      case peakMegabytes = "peak_memory_mb"
      case timesMedian = "times_median"
      case badImages = "bad_images"
      case bucketMegabytes = "bucket_mb"
      case bestEpoch = "best_epoch"
      case bestTop1 = "best_top1"
      case gradientNorm = "grad_norm"
      case imagesPerSecond = "images_per_second"
      case secondsWaiting = "seconds_waiting"
      case trainLoss = "train_loss"
      case trainTop1 = "train_top1"
      case trainTop5 = "train_top5"
      case testLoss = "test_loss"
      case testTop1 = "test_top1"
      case testTop5 = "test_top5"
    }
  }
}

/// What `metrics.jsonl` tells of a run, in its order.
public struct RunHistory: Sendable {
  public private(set) var steps: [MetricsRecord.StepRecord] = []
  public private(set) var epochs: [MetricsRecord.EpochRecord] = []
  /// By epoch.
  public private(set) var data: [Int: MetricsRecord.DataRecord] = [:]
  /// Steps after which the run was taken up again.
  public private(set) var resumes: [Int] = []
  /// The run's end has been told.
  public private(set) var isDone = false

  public init() {}

  public mutating func add(_ record: MetricsRecord) {
    switch record {
    case .resume(let step): resumes.append(step)
    case .step(let record): steps.append(record)
    case .epoch(let record): epochs.append(record)
    case .data(let record): data[record.epoch] = record
    case .done: isDone = true
    case .start, .slowRank, .other: break
    }
  }

  /// The first epoch with the highest test top-1, as `best.safetensors` has it: of whole ones, if there
  /// are any.
  public var best: MetricsRecord.EpochRecord? {
    let whole = epochs.filter { !$0.isPartial }
    return (whole.isEmpty ? epochs : whole).reduce(nil) { best, record in
      record.test.top1 > (best?.test.top1 ?? -1) ? record : best
    }
  }
}
