// How large a model is, told before it is made.
import Tensors

// T tokens, D width, H heads, M MLP width, K neighbours, S image side, p patch side.

extension ModelConfiguration {
  /// Numbers in all parameters. Floating point, because nothing has been refused yet.
  public var parameterCount: Double {
    let (d, m, p) = (Double(width), Double(mlpWidth), Double(patchSize))
    let biases = architecture.hasAttentionBiases ? 4 * d : 0
    let block = attentionParameterCount + biases + 2 * d * m + m + d + 4 * d
    let positions = architecture.learnsPositions ? Double(tokens) * d : 0
    let norms =
      (architecture.names.patchNorm == nil ? 0 : 2 * d)
      + (architecture.names.norm == nil ? 0 : 2 * d)
    let embedding = d + 3 * p * p * d + d + positions
    return Double(numLayers) * block + embedding + norms + Double(numClasses) * (d + 1)
  }

  private var attentionParameterCount: Double {
    let d = Double(width)
    switch layer {
    case .attention, .kvtAttention, .sparseAttention: return 4 * d * d
    case .neighborhoodAttention: return 4 * d * d + d
    case .localAttention: return 4 * d * Double(numHeads * localHeadWidth)
    case .convNNAttention: return convnnParameterCount(width: d)
    case .branchConv, .branchAttention:
      let inner = Double(branchWidth)
      let other = d - inner
      let perHead = other / Double(numHeads)
      let conv1d = 2 * (other * other + other) + perHead * perHead * Double(kernelSize) + perHead
      return (inner > 0 ? convnnParameterCount(width: inner) : 0)
        + (other == 0 ? 0 : layer == .branchConv ? conv1d : 4 * other * other)
        + (inner > 0 && other > 0 ? d * d + d : 0)
    }
  }

  private func convnnParameterCount(width: Double) -> Double {
    let (d, k) = (width / Double(convnnHeads), Double(neighbours))
    // Channels that the convolution reads: a coordinate may be one more.
    let extra = coordinateEncoding || aggregationType == .both ? 1.0 : 0
    let convolution =
      switch convolutionType {
      case .depthwise: (d + extra) * k
      case .standard: d * (d + extra) * k
      case .depthwiseSeparable: (d + extra) * k + d * (d + extra)
      }
    return 4 * width * width + convolution
  }

  /// At least as many floats as a training pass keeps per image: inputs, activations, probabilities; of
  /// one block, not of all, where a block is computed again before its backward pass. In mixed precision
  /// they take half a float, and norms are made again.
  public func leastActivationsPerImage(recomputes: Bool, precision: Precision) -> Double {
    let (t, d, m, s) = (Double(tokens), Double(width), Double(mlpWidth), Double(imageSize))
    let (size, norm) = precision == .mixed ? (0.5, 0.0) : (1.0, d)
    let attention = t * (size * (projectionsPerToken + pairsPerToken) + norm)
    let block = attention + t * (size * (2 * m + d) + norm)
    let blocks = Double(recomputes ? min(numLayers - 1, 1) : numLayers - 1)
    // Standard attention keeps next to nothing of the last block.
    let last = layer == .attention || layer == .branchAttention ? t * norm : attention
    let inputs = Double(numLayers - 1) * t * d * (recomputes ? 1 : size)
    return 2 * 3 * s * s + t * (4 * d + size * m) + inputs + blocks * block + last
  }

  /// At least as many floats as one compute thread needs beside that: scores of one head of one image.
  public var leastScratch: Double {
    let t = Double(tokens)
    let samples = samplingType == .random && sampleCount > 0
    switch layer {
    case .attention: return 2 * t * t
    case .branchAttention: return branchWidth < width ? 2 * t * t : 0
    case .kvtAttention: return t * t
    case .convNNAttention:
      return samples ? t * Double(sampleCount) : samplingType == .all ? t * t : 0
    default: return 0
    }
  }

  /// Queries, keys, values and merged heads kept per token, or what a convolution keeps instead.
  private var projectionsPerToken: Double {
    switch layer {
    case .localAttention: return 4 * Double(numHeads * localHeadWidth)
    case .branchConv: return 4 * Double(branchWidth) + 2 * Double(width - branchWidth)
    default: return 4 * Double(width)
    }
  }

  /// Probabilities kept per token, all heads.
  private var pairsPerToken: Double {
    let (t, h, k) = (Double(tokens), Double(numHeads), Double(neighbours))
    switch layer {
    case .attention: return h * t
    case .kvtAttention, .neighborhoodAttention: return h * k
    case .localAttention: return h * min(t, Double(localWindow) + 1)
    case .sparseAttention:
      let window = Double(sparseContextWindow)
      switch sparseMode {
      case .all: return h * t
      case .local: return h * min(t, window / 2 + 1)
      case .strided: return h * max(1, t / window)
      }
    case .convNNAttention: return Double(convnnHeads) * k
    case .branchConv: return branchWidth > 0 ? Double(convnnHeads) * k : 0
    case .branchAttention:
      return (branchWidth > 0 ? Double(convnnHeads) * k : 0) + (branchWidth < width ? h * t : 0)
    }
  }
}
