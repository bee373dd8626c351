// Neighborhood attention in one dimension (Hassani et al. 2023, arXiv:2204.07143; dilated: 2209.15001).
import CKernels
import Diagnostics
import Tensors

// B images, T tokens, Q output tokens, D width.

/// O = dropout(W · softmax(Q Kᵀ / √d over K neighbours) V + bias): every token sees exactly K keys of
/// its own dilation group, in a window that is shifted, not shrunk, at the ends. No dropout on the
/// probabilities.
public final class NeighborhoodAttention: AttentionLayer {
  public let parameters: [ParameterSpec]
  public let needsAllTokens = false

  private let width: Int
  private let dropout: Float
  private let attention: BandAttention
  private let frame: AttentionFrame
  /// Dropout keep mask of the output [B·Q, D].
  private let keep: UnsafeMutablePointer<UInt8>

  init(_ shape: LayerShape, scratch: Scratch) {
    let (c, tokens, capacity) = (shape.configuration, shape.tokens, shape.capacity)
    let (size, dilation, heads) = (c.neighbours, c.dilation, c.numHeads)
    precondition(shape.width % heads == 0 && size > 0 && dilation > 0 && size * dilation <= tokens)
    width = shape.width
    dropout = c.attentionDropout
    parameters = Self.parameters(shape)
    var layout = scratch.layout()
    attention = BandAttention(
      scratch: scratch, layout: &layout,
      pattern: .neighborhood(tokens: tokens, size: size, dilation: dilation), heads: heads,
      headWidth: width / heads, capacity: capacity, dropout: 0)
    frame = AttentionFrame(
      scratch: scratch, layout: &layout, width: width, inner: width, tokens: tokens,
      capacity: capacity)
    keep = .allocate(capacity: dropout > 0 ? capacity * tokens * width : 0)
  }

  deinit { keep.deallocate() }

  public func operations(outputTokens: Int) -> Int {
    frame.operations(outputTokens: outputTokens, reach: attention.reach(outputTokens))
      + attention.operations(outputTokens: outputTokens)
  }

  public func forward(_ pass: LayerPass, input: Rows, output: Rows) {
    let rows = pass.images * pass.outputTokens
    frame.forward(
      pass, input: input, output: output, reach: attention.reach(pass.outputTokens)
    ) { qkv, merged in
      attention.forward(pass, qkv: qkv, merged: merged)
    }
    ck_add_bias(
      output.base, pass.parameters + frame.parameterCount, rows, width, output.stride)
    guard pass.training && dropout > 0 else { return }
    let count = pass.outputTokens * width
    for image in 0..<pass.images {
      pass.randomness(.outputDropout, image: image)
        .fillKeepMask(keep + image * count, count: count, dropping: dropout)
    }
    applyKeep(output, rows: rows)
  }

  public func backward(_ pass: LayerPass, input: Rows, dOutput: Rows, dInput: Rows) {
    let rows = pass.images * pass.outputTokens
    if pass.training && dropout > 0 { applyKeep(dOutput, rows: rows) }
    ck_column_sums(
      pass.gradients! + frame.parameterCount, dOutput.base, rows, width, dOutput.stride,
      pass.accumulate ? 1 : 0)
    frame.backward(
      pass, input: input, dOutput: dOutput, dInput: dInput,
      reach: attention.reach(pass.outputTokens)
    ) { qkv, dMerged, dQkv in
      attention.backward(pass, qkv: qkv, dMerged: dMerged, dQkv: dQkv)
    }
  }

  private func applyKeep(_ y: Rows, rows: Int) {
    y.keep(
      rows: rows, width: width, mask: keep, maskStride: width, factor: 1 / (1 - dropout), into: y)
  }
}

extension NeighborhoodAttention: LayerFacts {
  static func validate(_ c: ModelConfiguration, tokens: Int) throws {
    try c.validateHeads()
    let (size, dilation) = (c.neighbours, c.dilation)
    guard size > 1, size * dilation <= tokens else {
      let most = tokens / dilation
      throw RunError.configuration(
        "--K is \(size): NeighborhoodAttention needs a kernel of at least 2, and of at most "
          + "\(tokens) tokens" + (dilation > 1 ? " / dilation \(dilation)" : "") + ".\n"
          + (most > 1 ? "Choose --K from 2 to \(most)." : "Choose smaller patches."))
    }
  }

  static func parameters(_ s: LayerShape) -> [ParameterSpec] {
    [
      .linear("qkv.weight", outputs: 3 * s.width, inputs: s.width),
      .linear("proj.weight", outputs: s.width, inputs: s.width),
      .bias("proj.bias", outputs: s.width, fanIn: s.width),
    ]
  }

  /// Queries, keys, values, merged heads; K probabilities a head.
  static func leastKept(_ s: LayerShape) -> Double {
    4 * Double(s.width) + Double(s.configuration.numHeads) * Double(s.configuration.neighbours)
  }

  static func leastScratch(_ s: LayerShape) -> Double { 0 }

  static func choices(_ c: ModelConfiguration) -> [String] { ["K=\(c.neighbours)"] }

  static func make(_ s: LayerShape, scratch: Scratch) -> any AttentionLayer {
    NeighborhoodAttention(s, scratch: scratch)
  }
}
