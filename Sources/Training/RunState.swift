// Where a run stands between two steps.
import Diagnostics
import Files
import Foundation
import Optimizers
import Tensors

/// With the weights, their average and the optimizer's moments, everything needed to go on; it names no rank, so any
/// number of ranks can.
public struct RunState: Codable, Sendable {
  /// Optimizer steps done.
  public var step = 0
  /// Epoch under way (from 1) and steps done in it.
  public var epoch = 1
  public var stepInEpoch = 0
  /// Sums over the steps done in this epoch.
  public var training: EpochMeans
  /// Images in those steps that others stood in for.
  public var replacedImages = 0
  public var bestTop1 = -1.0
  public var bestEpoch = 0
  /// XXH64 of the tensors of `best.safetensors`.
  public var bestChecksum: String?
  public var epochSeconds: [Double] = []
  /// Seconds that earlier attempts spent on this epoch.
  public var secondsInEpoch = 0.0
  /// Of these, on the rank that waited longest, those in which a thread waited for images; not known to
  /// checkpoints of earlier versions.
  public var secondsWaiting: Double?
  /// The run had reached its end.
  public var finished = false
  public var schedule: LearningRateSchedule
  /// `RunConfiguration.numerics`, and fingerprints of the data.
  public var configuration: [ConfigurationItem]
  /// What made matrix products: `Matmul.arithmetic`.
  public var products: String
  /// The job of Slurm that wrote the checkpoint.
  public var job: String?
  /// The checkpoint of another folder that the run began with, as it was given.
  public var branchedFrom: String?
  /// The file that the run began with; nil for random weights.
  public var firstWeights: FirstWeights?

  public struct FirstWeights: Codable, Equatable, Sendable {
    /// As it was given.
    public let path: String
    /// XXH64 of the file.
    public let checksum: String

    /// - Throws: `RunError` (configuration) for a file that cannot be read.
    init(path: String) throws {
      self.path = path
      checksum = try Checksum.hex(ofFile: path)
    }
  }

  public struct ConfigurationItem: Codable, Equatable, Sendable {
    /// Without its dashes; what is no flag has a space in it.
    public let flag: String
    public let value: String
  }

  /// - Parameter data: fingerprints of the data by name, as "training data".
  init(_ c: RunConfiguration, data: KeyValuePairs<String, String> = [:]) {
    training = EpochMeans(meanOverBatches: c.model.referenceQuirks)
    schedule = LearningRateSchedule(
      kind: c.scheduler, base: c.learningRate, epochs: c.epochs, stepSize: c.stepSize,
      gamma: c.gamma, minimum: c.minimumRate, warmupEpochs: c.warmupEpochs, update: c.rateUpdate)
    configuration =
      c.numerics.map { ConfigurationItem(flag: $0.flag, value: $0.value) }
      + data.map { ConfigurationItem(flag: $0.key, value: $0.value) }
    products = Matmul.arithmetic(c.precision)
    job = Attempt.job
  }

  /// - Throws: `RunError` (checkpointDamaged) when `state.json` is none, or one that no run can have.
  public init(checkpoint path: String) throws {
    let data = FileManager.default.contents(atPath: "\(path)/state.json") ?? Data()
    guard let state = try? JSONDecoder().decode(RunState.self, from: data), state.isPossible else {
      throw RunError(
        .checkpointDamaged,
        "\(path)/state.json does not describe a run (of this program's version).\n"
          + "Start over with --resume never, or give another checkpoint.")
    }
    self = state
  }

  private var isPossible: Bool {
    let counts = [step, stepInEpoch, replacedImages, bestEpoch, schedule.warmupEpochs]
    let most = 1 << 48
    return counts.allSatisfy { (0..<most).contains($0) } && (1..<most).contains(epoch)
      && (1..<most).contains(schedule.epochs) && (1..<most).contains(schedule.stepSize)
      && stepInEpoch <= step
  }

  /// Before the first step of an epoch.
  mutating func beginEpoch(_ epoch: Int) {
    self.epoch = epoch
    stepInEpoch = 0
    secondsInEpoch = 0
    secondsWaiting = 0
    training.reset()
    replacedImages = 0
  }

  /// What differs from another run's configuration and data, one line each. A flag that the other run did not know
  /// yet had its default there.
  ///
  /// - Parameter chosen: of these flags; nil: of all.
  func differences(from stored: RunState, in chosen: Set<String>? = nil) -> [String] {
    let defaults = RunConfiguration().numerics
    func value(_ flag: String, _ items: [ConfigurationItem]) -> String {
      items.first { $0.flag == flag }?.value ?? defaults.first { $0.flag == flag }?.value
        ?? "(not known)"
    }
    var flags = configuration.map(\.flag)
    flags += stored.configuration.map(\.flag).filter { !flags.contains($0) }
    return flags.filter { chosen?.contains($0) ?? true }.compactMap { flag in
      let there = value(flag, stored.configuration)
      let here = value(flag, configuration)
      let name = flag.contains(" ") ? flag : "--\(flag)"
      return there == here ? nil : "\(name): \(there) in the checkpoint, \(here) now"
    }
  }
}
