// Standard multi-head self-attention (Vaswani et al. 2017, arXiv:1706.03762, section 3.2).
import CKernels
import Tensors

// B images, T tokens, Q output tokens, D width, H heads, d = D/H.

/// O = dropout(softmax(Q Kᵀ / √d)) V per head; heads merged, then W_o. No biases.
public final class MultiHeadAttention: AttentionLayer {
  public let parameters: [ParameterSpec]
  public let needsAllTokens = false

  let width: Int
  let tokens: Int
  let heads: Int
  let headWidth: Int
  let dropout: Float
  /// From a row of scores to the next, in whole cache lines: products store rows that begin within one
  /// more slowly.
  private let pitch: Int
  private let scratch: Scratch
  /// q, k and v side by side [B·T, 3D].
  private let projected: ActivationSlab
  /// Softmax before dropout [B, H, Q, T], padded as scores are.
  private let probabilities: ActivationSlab
  /// Merged heads before W_o [B·Q, D].
  private let merged: ActivationSlab
  /// Dropout keep masks [B, H, Q, T]; in mixed precision one [Q, T], drawn again by the backward pass.
  private let keep: UnsafeMutablePointer<UInt8>

  public init(
    configuration: ModelConfiguration, width: Int, tokens: Int, capacity: Int, heads: Int,
    scratch: Scratch
  ) {
    precondition(width % heads == 0)
    self.width = width
    self.tokens = tokens
    self.heads = heads
    headWidth = width / heads
    pitch = (tokens + 15) / 16 * 16
    dropout = configuration.attentionDropout
    parameters = ["W_q", "W_k", "W_v", "W_o"].map {
      .linear("\($0).weight", outputs: width, inputs: width)
    }
    self.scratch = scratch
    projected = scratch.activations(count: capacity * tokens * 3 * width)
    probabilities = scratch.activations(count: capacity * heads * tokens * pitch)
    merged = scratch.activations(count: capacity * tokens * width)
    let masks = scratch.element == .float ? capacity * heads : 1
    keep = .allocate(capacity: dropout > 0 ? masks * tokens * tokens : 0)
    scratch.require(
      2 * tokens * pitch + scratch.floats(for: capacity * tokens * width)
        + scratch.floats(for: capacity * tokens * 3 * width))
  }

  deinit { keep.deallocate() }

  public func operations(outputTokens: Int) -> Int {
    let projections = 2 * width * width * (2 * tokens + 2 * outputTokens)
    return projections + 2 * 2 * outputTokens * tokens * width
  }

  /// Softmax of image and head number `index` [Q, T].
  private func kept(_ index: Int, wanted: Int) -> Rows {
    probabilities.rows(stride: pitch).from(row: index * wanted)
  }

  private func mask(_ index: Int, wanted: Int) -> UnsafeMutablePointer<UInt8> {
    scratch.element == .float ? keep + index * wanted * tokens : keep
  }

  private func draw(_ pass: LayerPass, image: Int, head: Int) {
    pass.randomness(.attentionDropout, image: image, part: head)
      .fillKeepMask(
        mask(image * heads + head, wanted: pass.outputTokens), count: pass.outputTokens * tokens,
        dropping: dropout)
  }

  public func forward(_ pass: LayerPass, input: Rows, output: Rows) {
    let all = pass.images * tokens
    let wanted = pass.outputTokens
    let square = width * width
    let qkv = projected.rows(stride: 3 * width)
    if wanted == tokens {
      Linear.forward(
        rows: all, inputs: width, outputs: 3 * width, x: input, weight: pass.parameters, y: qkv)
    } else {
      // Queries of the first tokens only: one product over rows that lie T apart when Q = 1.
      precondition(wanted == 1)
      Linear.forward(
        rows: pass.images, inputs: width, outputs: width, x: input.every(tokens),
        weight: pass.parameters, y: qkv.every(tokens))
      Linear.forward(
        rows: all, inputs: width, outputs: 2 * width, x: input, weight: pass.parameters + square,
        y: qkv.columns(from: width))
    }

    let drops = pass.training && dropout > 0
    let factor = 1 / (1 - dropout)
    let scale = 1 / Float(headWidth).squareRoot()
    let heads = merged.rows(stride: width)
    for image in 0..<pass.images {
      for head in 0..<self.heads {
        let index = image * self.heads + head
        let kept = kept(index, wanted: wanted)
        // What is kept as floats is computed in place.
        let p = kept.element == .float ? kept : Rows(scratch.base, stride: pitch)  // [Q, T]
        let dropped = Rows(scratch.base + tokens * pitch, stride: pitch)  // [Q, T]
        let q = qkv.from(row: image * tokens, column: head * headWidth)
        Matmul.multiply(
          rows: wanted, columns: tokens, inner: headWidth, a: q, b: q.columns(from: width),
          transposeB: true, c: p)
        ck_softmax_rows(p.base, wanted, tokens, pitch, scale)
        if kept.element != .float { kept.write(rows: wanted, width: tokens, from: p) }
        if drops {
          draw(pass, image: image, head: head)
          ck_dropout_rows(
            dropped.base, p.base, mask(index, wanted: wanted), wanted, tokens, pitch, factor)
        }
        Matmul.multiply(
          rows: wanted, columns: headWidth, inner: tokens,
          a: drops ? dropped : kept, b: q.columns(from: 2 * width),
          c: heads.from(row: image * wanted, column: head * headWidth))
      }
    }
    Linear.forward(
      rows: pass.images * wanted, inputs: width, outputs: width, x: heads,
      weight: pass.parameters + 3 * square, y: output)
  }

  public func backward(_ pass: LayerPass, input: Rows, dOutput: Rows, dInput: Rows) {
    let gradients = pass.gradients!
    let beta = pass.gradientBeta
    let all = pass.images * tokens
    let wanted = pass.outputTokens
    let square = width * width
    let qkv = projected.rows(stride: 3 * width)
    let dropped = Rows(scratch.base, stride: pitch)  // [Q, T], then the gradient of the scores
    let expanded = dropped.from(row: tokens)  // [Q, T]
    let rest = expanded.row(tokens)
    let element = scratch.element
    let dMerged = Rows(rest, stride: width, element: element)  // [B·Q, D]
    let dProjected = Rows(  // [B·T, 3D]
      rest + scratch.floats(for: pass.images * wanted * width), stride: 3 * width, element: element)

    Linear.backwardWeight(
      rows: pass.images * wanted, inputs: width, outputs: width, dY: dOutput,
      x: merged.rows(stride: width), dWeight: gradients + 3 * square, beta: beta)
    Linear.backwardInput(
      rows: pass.images * wanted, inputs: width, outputs: width, dY: dOutput,
      weight: pass.parameters + 3 * square, dX: dMerged)

    let drops = pass.training && dropout > 0
    let factor = 1 / (1 - dropout)
    let scale = 1 / Float(headWidth).squareRoot()
    for image in 0..<pass.images {
      for head in 0..<heads {
        let index = image * heads + head
        let kept = kept(index, wanted: wanted)
        if kept.element != .float { kept.read(rows: wanted, width: tokens, into: expanded) }
        let p = kept.element == .float ? kept : expanded
        if drops && kept.element != .float { draw(pass, image: image, head: head) }
        let mask = drops ? mask(index, wanted: wanted) : nil
        let q = qkv.from(row: image * tokens, column: head * headWidth)
        let dQ = dProjected.from(row: image * tokens, column: head * headWidth)
        let dO = dMerged.from(row: image * wanted, column: head * headWidth)
        if let mask { ck_dropout_rows(dropped.base, p.base, mask, wanted, tokens, pitch, factor) }
        Matmul.multiply(
          rows: tokens, columns: headWidth, inner: wanted,
          a: drops ? dropped : kept, transposeA: true, b: dO,
          c: dQ.columns(from: 2 * width))
        Matmul.multiply(
          rows: wanted, columns: tokens, inner: headWidth, a: dO, b: q.columns(from: 2 * width),
          transposeB: true, c: dropped)
        ck_softmax_rows_backward(
          dropped.base, p.base, mask, wanted, tokens, pitch, scale, factor)
        Matmul.multiply(
          rows: wanted, columns: headWidth, inner: tokens, a: dropped, b: q.columns(from: width),
          c: dQ)
        Matmul.multiply(
          rows: tokens, columns: headWidth, inner: wanted, a: dropped, transposeA: true, b: q,
          c: dQ.columns(from: width))
      }
    }

    if wanted == tokens {
      Linear.backwardWeight(
        rows: all, inputs: width, outputs: 3 * width, dY: dProjected, x: input, dWeight: gradients,
        beta: beta)
      Linear.backwardInput(
        rows: all, inputs: width, outputs: 3 * width, dY: dProjected, weight: pass.parameters,
        dX: dInput)
    } else {
      let firstQueries = dProjected.every(tokens)
      Linear.backwardWeight(
        rows: pass.images, inputs: width, outputs: width, dY: firstQueries,
        x: input.every(tokens), dWeight: gradients, beta: beta)
      Linear.backwardWeight(
        rows: all, inputs: width, outputs: 2 * width, dY: dProjected.columns(from: width), x: input,
        dWeight: gradients + square, beta: beta)
      Linear.backwardInput(
        rows: all, inputs: width, outputs: 2 * width, dY: dProjected.columns(from: width),
        weight: pass.parameters + square, dX: dInput)
      Linear.backwardInput(
        rows: pass.images, inputs: width, outputs: width, dY: firstQueries,
        weight: pass.parameters, dX: dInput.every(tokens), beta: 1)
    }
  }
}
