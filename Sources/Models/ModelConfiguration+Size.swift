// How large a model is, told before it is made.
import Tensors

// T tokens, D width, M MLP width, S image side.

extension ModelConfiguration {
  /// Numbers in all parameters. Floating point, because those of all blocks may be too many for 64 bits.
  public var parameterCount: Double {
    var single = self
    single.numLayers = 1
    let layout = ParameterLayout(configuration: single)
    return Double(layout.count) + Double(numLayers - 1) * Double(layout.blocks[0].count)
  }

  /// At least as many floats as a training pass keeps per image: inputs, activations, probabilities; of
  /// one block, not of all, where a block is computed again before its backward pass. In mixed precision
  /// they take half a float, and norms are made again.
  public func leastActivationsPerImage(recomputes: Bool, precision: Precision) -> Double {
    let (t, d, m, s) = (Double(tokens), Double(width), Double(mlpWidth), Double(imageSize))
    let (size, norm) = precision == .mixed ? (0.5, 0.0) : (1.0, d)
    let shape = LayerShape(self)
    let attention = t * (size * layer.facts.leastKept(shape) + norm)
    let block = attention + t * (size * (2 * m + d) + norm)
    let blocks = Double(recomputes ? min(numLayers - 1, 1) : numLayers - 1)
    let last = t * (size * layer.facts.leastKeptLast(shape) + norm)
    let inputs = Double(numLayers - 1) * t * d * (recomputes ? 1 : size)
    return 2 * 3 * s * s + t * (4 * d + size * m) + inputs + blocks * block + last
  }

  /// At least as many floats as one compute thread needs beside that.
  public var leastScratch: Double { layer.facts.leastScratch(LayerShape(self)) }
}
