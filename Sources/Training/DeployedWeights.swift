// The weights that a run is for: those that it trains or, with `--ema_decay`, their average.
import Optimizers
import Tensors

/// What is evaluated, and written as model.safetensors and best.safetensors.
struct DeployedWeights {
  /// Of all parameters, on every rank.
  let slab: FloatSlab
  /// What products keep of them.
  let packed: PackedWeights
}

extension Replica {
  /// The trained weights, or their average put together from the slices of all ranks, which all ask for it
  /// at once: valid until the next step or checkpoint.
  func deployedWeights() throws -> DeployedWeights {
    guard let average else { return DeployedWeights(slab: parameters, packed: packed) }
    let whole = try exchange.gatherSlicesEverywhere(average.slab)
    // Those of the trained weights lie at other addresses; these last as long as an evaluation.
    return DeployedWeights(slab: whole, packed: PackedWeights(of: whole))
  }

  /// The average begins with the weights of this moment.
  func startAverage() {
    guard let average else { return }
    exchange.pickSlices(of: parameters.base, into: average.slab.base)
  }

  /// This rank's slices of all that a checkpoint holds beside the weights.
  var slices: [(name: String, slab: FloatSlab)] {
    optimizer.moments + (average.map { [(WeightAverage.name, $0.slab)] } ?? [])
  }
}
