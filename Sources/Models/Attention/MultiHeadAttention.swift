// Standard multi-head self-attention (Vaswani et al. 2017, arXiv:1706.03762, section 3.2).
import CKernels
import Tensors

// B images, T tokens, D width, H heads, d = D/H.

/// O = dropout(softmax(Q Kᵀ / √d)) V per head; heads merged, then W_o. With biases or without, as the
/// architecture has it. Where only the class token's output is wanted, a `ClassTokenAttention` computes it.
public final class MultiHeadAttention: AttentionLayer {
  public var parameters: [ParameterSpec] { own.specs }
  public let needsAllTokens = false

  let width: Int
  let tokens: Int
  let heads: Int
  let headWidth: Int
  let dropout: Float
  private let own: SelfAttentionParameters
  private let capacity: Int
  /// From a row of scores to the next, in whole cache lines: products store rows that begin within one
  /// more slowly.
  private let pitch: Int
  private let scratch: Scratch
  // Made when first used: the last block wants the class token only.
  /// q, k and v side by side [B·T, 3D].
  private lazy var projected = scratch.activations(count: capacity * tokens * 3 * width)
  /// Softmax before dropout [B, H, T, T], padded as scores are.
  private lazy var probabilities = scratch.activations(count: capacity * heads * tokens * pitch)
  /// Merged heads before W_o [B·T, D].
  private lazy var merged = scratch.activations(count: capacity * tokens * width)
  /// Dropout keep masks [B, H, T, T]; in mixed precision one [T, T], drawn again by the backward pass.
  private let keep: UnsafeMutablePointer<UInt8>
  private let classToken: ClassTokenAttention
  // Of one head, padded as scores are: softmax after dropout, then the scores' gradient [T, T]; softmax in
  // floats where it is kept rounded [T, T].
  private let dropped: ScratchRegion
  private let expanded: ScratchRegion
  private let dMerged: ScratchRegion  // [B·T, D]
  private let dProjected: ScratchRegion  // [B·T, 3D]

  init(_ shape: LayerShape, scratch: Scratch) {
    let c = shape.configuration
    precondition(shape.width % c.numHeads == 0)
    width = shape.width
    tokens = shape.tokens
    heads = c.numHeads
    headWidth = width / heads
    capacity = shape.capacity
    pitch = (tokens + 15) / 16 * 16
    dropout = c.attentionDropout
    own = SelfAttentionParameters(shape)
    self.scratch = scratch
    let masks = scratch.element == .float ? capacity * heads : 1
    keep = .allocate(capacity: dropout > 0 ? masks * tokens * tokens : 0)
    classToken = ClassTokenAttention(
      own, tokens: tokens, capacity: capacity, heads: heads, dropout: dropout, scratch: scratch)
    var layout = scratch.layout()
    dropped = layout.floats(tokens * pitch)
    expanded = layout.floats(tokens * pitch)
    dMerged = layout.activations(capacity * tokens * width)
    dProjected = layout.activations(capacity * tokens * 3 * width)
  }

  deinit { keep.deallocate() }

  public func operations(outputTokens: Int) -> Int {
    if outputTokens < tokens { return classToken.operations }
    return 2 * 4 * width * width * tokens + 2 * 2 * tokens * tokens * width
  }

  /// Softmax of image and head number `index` [T, T].
  private func kept(_ index: Int) -> Rows {
    probabilities.rows(stride: pitch).from(row: index * tokens)
  }

  private func mask(_ index: Int) -> UnsafeMutablePointer<UInt8> {
    scratch.element == .float ? keep + index * tokens * tokens : keep
  }

  private func draw(_ pass: LayerPass, image: Int, head: Int) {
    pass.randomness(.attentionDropout, image: image, part: head)
      .fillKeepMask(mask(image * heads + head), count: tokens * tokens, dropping: dropout)
  }

  public func forward(_ pass: LayerPass, input: Rows, output: Rows) {
    guard pass.outputTokens == tokens else {
      precondition(pass.outputTokens == 1)
      return classToken.forward(pass, input: input, output: output)
    }
    let all = pass.images * tokens
    let qkv = projected.rows(stride: 3 * width)
    Linear.forward(
      rows: all, inputs: width, outputs: 3 * width, x: input, weight: pass.parameters,
      bias: own.hasBiases ? pass.parameters + own.queryBias : nil, y: qkv)

    let drops = pass.training && dropout > 0
    let factor = 1 / (1 - dropout)
    let scale = 1 / Float(headWidth).squareRoot()
    let heads = merged.rows(stride: width)
    let (dropped, expanded) = (dropped.rows(stride: pitch), expanded.rows(stride: pitch))
    for image in 0..<pass.images {
      for head in 0..<self.heads {
        let index = image * self.heads + head
        let kept = kept(index)
        // What is kept as floats is computed in place.
        let p = kept.element == .float ? kept : expanded
        let q = qkv.from(row: image * tokens, column: head * headWidth)
        Matmul.multiply(
          rows: tokens, columns: tokens, inner: headWidth, a: q, b: q.columns(from: width),
          transposeB: true, c: p)
        ck_softmax_rows(p.base, tokens, tokens, pitch, scale)
        if kept.element != .float { kept.write(rows: tokens, width: tokens, from: p) }
        if drops {
          draw(pass, image: image, head: head)
          ck_dropout_rows(dropped.base, p.base, mask(index), tokens, tokens, pitch, factor)
        }
        Matmul.multiply(
          rows: tokens, columns: headWidth, inner: tokens,
          a: drops ? dropped : kept, b: q.columns(from: 2 * width),
          c: heads.from(row: image * tokens, column: head * headWidth))
      }
    }
    Linear.forward(
      rows: all, inputs: width, outputs: width, x: heads, weight: pass.parameters + own.output,
      bias: own.hasBiases ? pass.parameters + own.outputBias : nil, y: output)
  }

  public func backward(_ pass: LayerPass, input: Rows, dOutput: Rows, dInput: Rows) {
    guard pass.outputTokens == tokens else {
      return classToken.backward(pass, input: input, dOutput: dOutput, dInput: dInput)
    }
    let gradients = pass.gradients!
    let beta = pass.gradientBeta
    let all = pass.images * tokens
    let qkv = projected.rows(stride: 3 * width)
    let (dropped, expanded) = (dropped.rows(stride: pitch), expanded.rows(stride: pitch))
    let dMerged = dMerged.rows(stride: width)
    let dProjected = dProjected.rows(stride: 3 * width)

    Linear.backwardWeight(
      rows: all, inputs: width, outputs: width, dY: dOutput,
      x: merged.rows(stride: width), dWeight: gradients + own.output, beta: beta)
    Linear.backwardInput(
      rows: all, inputs: width, outputs: width, dY: dOutput,
      weight: pass.parameters + own.output, dX: dMerged)
    if own.hasBiases {
      Linear.backwardBias(
        rows: all, outputs: width, dY: dOutput, dBias: gradients + own.outputBias,
        accumulate: pass.accumulate)
    }

    let drops = pass.training && dropout > 0
    let factor = 1 / (1 - dropout)
    let scale = 1 / Float(headWidth).squareRoot()
    for image in 0..<pass.images {
      for head in 0..<heads {
        let index = image * heads + head
        let kept = kept(index)
        if kept.element != .float { kept.read(rows: tokens, width: tokens, into: expanded) }
        let p = kept.element == .float ? kept : expanded
        if drops && kept.element != .float { draw(pass, image: image, head: head) }
        let mask = drops ? mask(index) : nil
        let q = qkv.from(row: image * tokens, column: head * headWidth)
        let dQ = dProjected.from(row: image * tokens, column: head * headWidth)
        let dO = dMerged.from(row: image * tokens, column: head * headWidth)
        if let mask { ck_dropout_rows(dropped.base, p.base, mask, tokens, tokens, pitch, factor) }
        Matmul.multiply(
          rows: tokens, columns: headWidth, inner: tokens,
          a: drops ? dropped : kept, transposeA: true, b: dO,
          c: dQ.columns(from: 2 * width))
        Matmul.multiply(
          rows: tokens, columns: tokens, inner: headWidth, a: dO, b: q.columns(from: 2 * width),
          transposeB: true, c: dropped)
        ck_softmax_rows_backward(
          dropped.base, p.base, mask, tokens, tokens, pitch, scale, factor)
        Matmul.multiply(
          rows: tokens, columns: headWidth, inner: tokens, a: dropped, b: q.columns(from: width),
          c: dQ)
        Matmul.multiply(
          rows: tokens, columns: headWidth, inner: tokens, a: dropped, transposeA: true, b: q,
          c: dQ.columns(from: width))
      }
    }

    Linear.backwardWeight(
      rows: all, inputs: width, outputs: 3 * width, dY: dProjected, x: input, dWeight: gradients,
      beta: beta)
    Linear.backwardInput(
      rows: all, inputs: width, outputs: 3 * width, dY: dProjected, weight: pass.parameters,
      dX: dInput)
    if own.hasBiases {
      Linear.backwardBias(
        rows: all, outputs: 3 * width, dY: dProjected, dBias: gradients + own.queryBias,
        accumulate: pass.accumulate)
    }
  }
}

extension MultiHeadAttention: LayerFacts {
  static func parameters(_ s: LayerShape) -> [ParameterSpec] { SelfAttentionParameters(s).specs }

  /// Queries, keys, values, merged heads; the softmax of all heads.
  static func leastKept(_ s: LayerShape) -> Double {
    4 * Double(s.width) + Double(s.configuration.numHeads) * Double(s.tokens)
  }

  /// `ClassTokenAttention` keeps next to nothing.
  static func leastKeptLast(_ s: LayerShape) -> Double { 0 }

  static func leastScratch(_ s: LayerShape) -> Double { 2 * Double(s.tokens) * Double(s.tokens) }

  static func make(_ s: LayerShape, scratch: Scratch) -> any AttentionLayer {
    MultiHeadAttention(s, scratch: scratch)
  }
}
