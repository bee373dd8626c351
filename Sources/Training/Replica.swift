// One rank's copy of the model, and all that takes part in a step.
import Collectives
import Diagnostics
import Foundation
import Models
import Optimizers
import Tensors

/// Parameters, an engine per compute thread, the exchange and the optimizer of a data-parallel replica.
final class Replica {
  let plan: ShardPlan
  let engines: [any Engine]
  let parameters: FloatSlab
  /// What products keep of the parameters until the next update.
  let packed: PackedWeights
  let exchange: GradientExchange
  let optimizer: Optimizer
  /// With `--ema_decay`.
  let average: WeightAverage?
  /// With `--trace`.
  let timeline: Timeline?

  /// - Parameter c: validated, and fitted to its data set.
  /// - Throws: `RunError` (configuration) for more workers than shards or a layer that cannot be made.
  init(_ c: RunConfiguration, group: ProcessGroup) throws {
    // First of all: what comes after could fail on one rank, and the others would wait for it here.
    if c.trace { try group.barrier() }
    timeline = c.trace ? Timeline(rank: group.rank) : nil
    plan = try ShardPlan(shards: c.resolvedShards, ranks: group.size, threads: c.threads)
    engines = try (0..<c.threads).map { _ in try Self.makeEngine(c) }
    let layout = engines[0].layout
    parameters = FloatSlab(count: layout.count)
    layout.initialize(parameters.base, seed: c.seed)
    packed = PackedWeights(of: parameters)
    exchange = GradientExchange(
      group: group, plan: plan, count: layout.count, mode: c.reduce, type: c.reduceType,
      overlaps: c.overlap, bucketBlocks: c.bucketBlocks, timeline: timeline)
    optimizer = Optimizer(
      c.optimizer, owned: exchange.ownedRanges,
      parts: layout.places.map {
        Optimizer.Part(
          $0.range, decays: c.decayAll || $0.spec.decays,
          rateFactor: pow(c.layerDecay, Double(layout.levelsAbove($0))))
      },
      weightDecay: c.weightDecay, momentum: c.momentum)
    average =
      c.emaDecay > 0 ? WeightAverage(decay: c.emaDecay, owned: exchange.ownedRanges) : nil
    startAverage()
  }

  var layout: ParameterLayout { engines[0].layout }

  /// The engine of one compute thread.
  static func makeEngine(_ c: RunConfiguration) throws -> any Engine {
    try VisionTransformer(
      configuration: c.model, capacity: c.resolvedMicroBatch, precision: c.precision,
      recomputes: c.recompute)
  }
}
