// What Local, Neighborhood and Sparse attention are: a layer around softmax attention over a band.
import CKernels
import Tensors

// B images, T tokens, Q output tokens, D width, H heads, d head width, I = H·d.

/// y = softmax(Q Kᵀ / √d over the pattern's pairs) V per head, heads merged, then W_o, and its bias where
/// there is one; with dropout of the probabilities, or of y.
final class BandLayer: AttentionLayer, BufferOwning {
  /// What tells these layers apart, beside the names of their parameters.
  struct Traits {
    let pattern: BandPattern
    let headWidth: Int
    /// See `BandPlan`.
    var zeroKeys: ((Int) -> Int)?
    /// Turns queries and keys by their positions.
    var rotary: RotaryTable?
    var buffers: [LayerBuffer] = []
    /// A bias [D] follows W_o.
    var hasBias = false
    var dropout = Dropout.ofProbabilities
  }

  enum Dropout {
    case ofProbabilities, ofOutput
    /// Of probabilities, in evaluation too: a bug of the reference.
    case always
  }

  let parameters: [ParameterSpec]
  let needsAllTokens = false
  var buffers: [LayerBuffer] { traits.buffers }

  private let width: Int
  private let tokens: Int
  private let traits: Traits
  private let attention: BandAttention
  private let frame: AttentionFrame
  /// Of the output.
  private let dropout: Float
  /// Its keep mask [B·Q, D].
  private let keep: UnsafeMutablePointer<UInt8>

  init(_ shape: LayerShape, _ traits: Traits, parameters: [ParameterSpec], scratch: Scratch) {
    let (c, capacity) = (shape.configuration, shape.capacity)
    width = shape.width
    tokens = shape.tokens
    self.traits = traits
    self.parameters = parameters
    let dropsOutput = traits.dropout == .ofOutput
    dropout = dropsOutput ? c.attentionDropout : 0
    var layout = scratch.layout()
    attention = BandAttention(
      scratch: scratch, layout: &layout, pattern: traits.pattern, heads: c.numHeads,
      headWidth: traits.headWidth, capacity: capacity,
      dropout: dropsOutput ? 0 : c.attentionDropout, zeroKeys: traits.zeroKeys)
    frame = AttentionFrame(
      scratch: scratch, layout: &layout, width: width, inner: c.numHeads * traits.headWidth,
      tokens: tokens, capacity: capacity)
    keep = .allocate(capacity: dropout > 0 ? capacity * tokens * width : 0)
  }

  deinit { keep.deallocate() }

  func operations(outputTokens: Int) -> Int {
    frame.operations(outputTokens: outputTokens, reach: attention.reach(outputTokens))
      + attention.operations(outputTokens: outputTokens)
  }

  func forward(_ pass: LayerPass, input: Rows, output: Rows) {
    let rows = pass.images * pass.outputTokens
    frame.forward(
      pass, input: input, output: output, reach: attention.reach(pass.outputTokens)
    ) { qkv, merged in
      turn(qkv, pass, direction: 1)
      attention.forward(dropping(pass), qkv: qkv, merged: merged)
    }
    if traits.hasBias {
      ck_add_bias(
        output.base, pass.parameters + frame.parameterCount, rows, width, output.stride)
    }
    guard pass.training && dropout > 0 else { return }
    let count = pass.outputTokens * width
    for image in 0..<pass.images {
      pass.randomness(.outputDropout, image: image)
        .fillKeepMask(keep + image * count, count: count, dropping: dropout)
    }
    applyKeep(output, rows: rows)
  }

  func backward(_ pass: LayerPass, input: Rows, dOutput: Rows, dInput: Rows) {
    let rows = pass.images * pass.outputTokens
    if pass.training && dropout > 0 { applyKeep(dOutput, rows: rows) }
    if traits.hasBias {
      ck_column_sums(
        pass.gradients! + frame.parameterCount, dOutput.base, rows, width, dOutput.stride,
        pass.accumulate ? 1 : 0)
    }
    frame.backward(
      pass, input: input, dOutput: dOutput, dInput: dInput,
      reach: attention.reach(pass.outputTokens)
    ) { qkv, dMerged, dQkv in
      attention.backward(dropping(pass), qkv: qkv, dMerged: dMerged, dQkv: dQkv)
      turn(dQkv, pass, direction: -1)
    }
  }

  private func applyKeep(_ y: Rows, rows: Int) {
    y.keep(
      rows: rows, width: width, mask: keep, maskStride: width, factor: 1 / (1 - dropout), into: y)
  }

  /// Dropout in evaluation takes the numbers of step 0, which no training step has, so that two evaluations
  /// agree.
  private func dropping(_ pass: LayerPass) -> LayerPass {
    guard traits.dropout == .always && !pass.training else { return pass }
    var copy = pass
    copy.training = true
    copy.step = 0
    return copy
  }

  /// Turns the queries and keys that take part by their positions; back when `direction` is −1.
  private func turn(_ qkv: Rows, _ pass: LayerPass, direction: Float) {
    guard let rotary = traits.rotary else { return }
    let (heads, headWidth) = (attention.heads, attention.headWidth)
    let reach = attention.reach(pass.outputTokens)
    for image in 0..<pass.images {
      let query = qkv.row(image * tokens)
      ck_rotary_rows(
        query, rotary.queryCosine, rotary.querySine, pass.outputTokens, qkv.stride, heads,
        headWidth, direction)
      ck_rotary_rows(
        query + heads * headWidth, rotary.keyCosine, rotary.keySine, reach.count, qkv.stride, heads,
        headWidth, direction)
    }
  }
}

/// A kind of layer that is a `BandLayer`.
protocol BandKind: LayerFacts {
  static func traits(_ s: LayerShape) -> BandLayer.Traits

  static func headWidth(_ s: LayerShape) -> Int

  /// No more keys than a token sees at the least.
  static func leastSeen(_ s: LayerShape) -> Double
}

extension BandKind {
  static func headWidth(_ s: LayerShape) -> Int { s.width / s.configuration.numHeads }

  /// Queries, keys, values, merged heads; probabilities of all heads.
  static func leastKept(_ s: LayerShape) -> Double {
    let heads = Double(s.configuration.numHeads)
    return 4 * heads * Double(headWidth(s)) + heads * leastSeen(s)
  }

  /// Tiles of the scores are small.
  static func leastScratch(_ s: LayerShape) -> Double { 0 }

  static func make(_ s: LayerShape, scratch: Scratch) -> any AttentionLayer {
    BandLayer(s, traits(s), parameters: parameters(s), scratch: scratch)
  }
}
