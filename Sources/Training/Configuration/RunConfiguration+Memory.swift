// Whether a run can fit into the memory of its hosts.
import Collectives
import Diagnostics
import Foundation

extension RunConfiguration {
  /// Bytes that every rank needs at the least: weights; to train, partial sums of gradients, and moments and an
  /// average of the weights, of which `ranks` share the whole; activations and inputs of one micro-batch per thread.
  func leastBytes(ranks: Int, trains: Bool = true) -> (model: Double, activations: Double) {
    let plan = try? ShardPlan(shards: resolvedShards, ranks: ranks, threads: threads)
    let gradients = Double(plan?.gradientSlabs(rank: 0) ?? threads)
    let shared = emaDecay > 0 ? 3.0 : 2
    let slabs = 1 + (trains ? gradients + shared / Double(ranks) : 0)
    let images =
      Double(resolvedMicroBatch)
      * model.leastActivationsPerImage(recomputes: recompute, precision: precision)
    return (
      4 * model.parameterCount * slabs, 4 * Double(threads) * (images + model.leastScratch)
    )
  }

  /// - Parameters:
  ///   - ranks: of the run; `ranksHere`: of them on this host; `memory`: the host's, in bytes.
  ///   - trains: or only evaluates.
  /// - Throws: `RunError` (configuration) for a run that cannot fit.
  func checkMemory(
    ranks: Int, ranksHere: Int, memory: UInt64 = hostMemory, trains: Bool = true
  ) throws {
    let (model, activations) = leastBytes(ranks: ranks, trains: trains)
    let share = Double(memory) / Double(ranksHere)
    guard model + activations > share else { return }
    func gigabytes(_ bytes: Double) -> String { String(format: "%.3g GB", bytes * 1e-9) }
    throw RunError.configuration(
      """
      The run needs \(gigabytes(model + activations)) a rank at the least, but this host has \
      \(gigabytes(share)) for each of its \(ranksHere) ranks:
      \(gigabytes(model)) for weights\(trains ? ", gradients and the optimizer" : ""), \(gigabytes(activations)) for activations of \
      \(threads) x \(resolvedMicroBatch) images of \(self.model.imageSize) pixels.
      Choose smaller --d_hidden, --d_mlp, --num_layers, --resize, --micro_batch, larger \
      --patch_size, or fewer ranks and threads\(recompute ? "" : ", or give --recompute").
      """)
  }

  /// Memory of this host, or of the control group that the program runs in.
  private static var hostMemory: UInt64 {
    min(ProcessInfo.processInfo.physicalMemory, ControlGroup.current.memoryLimit ?? .max)
  }

  /// Ranks on this host, as mpirun tells.
  static var ranksHere: Int {
    let text = ProcessInfo.processInfo.environment["OMPI_COMM_WORLD_LOCAL_SIZE"]
    return max(1, text.flatMap { Int($0) } ?? 1)
  }
}
