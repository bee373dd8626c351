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
  private let scratch: Scratch
  /// q, k and v side by side [B·T, 3D].
  private let projected: FloatSlab
  /// Softmax before dropout [B, H, Q, T].
  private let probabilities: FloatSlab
  /// Merged heads before W_o [B·Q, D].
  private let merged: FloatSlab
  /// Dropout keep masks [B, H, Q, T].
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
    dropout = configuration.attentionDropout
    parameters = ["W_q", "W_k", "W_v", "W_o"].map {
      .linear("\($0).weight", outputs: width, inputs: width)
    }
    self.scratch = scratch
    projected = FloatSlab(count: capacity * tokens * 3 * width)
    probabilities = FloatSlab(count: capacity * heads * tokens * tokens)
    merged = FloatSlab(count: capacity * tokens * width)
    keep = .allocate(capacity: dropout > 0 ? capacity * heads * tokens * tokens : 0)
    scratch.require(tokens * tokens + capacity * tokens * 4 * width)
  }

  deinit { keep.deallocate() }

  public func operations(outputTokens: Int) -> Int {
    let projections = 2 * width * width * (2 * tokens + 2 * outputTokens)
    return projections + 2 * 2 * outputTokens * tokens * width
  }

  public func forward(_ pass: LayerPass, input: Rows, output: Rows) {
    let all = pass.images * tokens
    let wanted = pass.outputTokens
    let square = width * width
    let qkv = Rows(projected.base, stride: 3 * width)
    if wanted == tokens {
      Linear.forward(
        rows: all, inputs: width, outputs: 3 * width, x: input, weight: pass.parameters, y: qkv)
    } else {
      // Queries of the first tokens only: one product over rows that lie T apart when Q = 1.
      precondition(wanted == 1)
      Linear.forward(
        rows: pass.images, inputs: width, outputs: width,
        x: Rows(input.base, stride: tokens * input.stride), weight: pass.parameters,
        y: Rows(qkv.base, stride: tokens * qkv.stride))
      Linear.forward(
        rows: all, inputs: width, outputs: 2 * width, x: input, weight: pass.parameters + square,
        y: qkv.columns(from: width))
    }

    let drops = pass.training && dropout > 0
    let factor = 1 / (1 - dropout)
    let scale = 1 / Float(headWidth).squareRoot()
    let dropped = scratch.base  // [Q, T]
    for image in 0..<pass.images {
      for head in 0..<heads {
        let index = image * heads + head
        let p = probabilities.base + index * wanted * tokens
        let q = qkv.base + image * tokens * qkv.stride + head * headWidth
        Matmul.multiply(
          rows: wanted, columns: tokens, inner: headWidth, a: q, aStride: qkv.stride,
          b: q + width, bStride: qkv.stride, transposeB: true, c: p, cStride: tokens)
        ck_softmax_rows(p, wanted, tokens, tokens, scale)
        if drops {
          let mask = keep + index * wanted * tokens
          pass.randomness(.attentionDropout, image: image, part: head)
            .fillKeepMask(mask, count: wanted * tokens, dropping: dropout)
          ck_dropout_rows(dropped, p, mask, wanted, tokens, tokens, factor)
        }
        Matmul.multiply(
          rows: wanted, columns: headWidth, inner: tokens, a: drops ? dropped : p, aStride: tokens,
          b: q + 2 * width, bStride: qkv.stride,
          c: merged.base + image * wanted * width + head * headWidth, cStride: width)
      }
    }
    Linear.forward(
      rows: pass.images * wanted, inputs: width, outputs: width,
      x: Rows(merged.base, stride: width),
      weight: pass.parameters + 3 * square, y: output)
  }

  public func backward(_ pass: LayerPass, input: Rows, dOutput: Rows, dInput: Rows) {
    let gradients = pass.gradients!
    let beta = pass.gradientBeta
    let all = pass.images * tokens
    let wanted = pass.outputTokens
    let square = width * width
    let qkv = Rows(projected.base, stride: 3 * width)
    let dropped = scratch.base  // [Q, T], then the gradient of the scores
    let dMerged = scratch.base + tokens * tokens  // [B·Q, D]
    let dProjected = Rows(dMerged + pass.images * wanted * width, stride: 3 * width)  // [B·T, 3D]

    Linear.backwardWeight(
      rows: pass.images * wanted, inputs: width, outputs: width, dY: dOutput,
      x: Rows(merged.base, stride: width), dWeight: gradients + 3 * square, beta: beta)
    Linear.backwardInput(
      rows: pass.images * wanted, inputs: width, outputs: width, dY: dOutput,
      weight: pass.parameters + 3 * square, dX: Rows(dMerged, stride: width))

    let drops = pass.training && dropout > 0
    let factor = 1 / (1 - dropout)
    let scale = 1 / Float(headWidth).squareRoot()
    for image in 0..<pass.images {
      for head in 0..<heads {
        let index = image * heads + head
        let p = probabilities.base + index * wanted * tokens
        let mask = drops ? keep + index * wanted * tokens : nil
        let q = qkv.base + image * tokens * qkv.stride + head * headWidth
        let dQ = dProjected.base + image * tokens * dProjected.stride + head * headWidth
        let dO = dMerged + image * wanted * width + head * headWidth
        if let mask { ck_dropout_rows(dropped, p, mask, wanted, tokens, tokens, factor) }
        Matmul.multiply(
          rows: tokens, columns: headWidth, inner: wanted, a: drops ? dropped : p, aStride: tokens,
          transposeA: true, b: dO, bStride: width, c: dQ + 2 * width, cStride: dProjected.stride)
        Matmul.multiply(
          rows: wanted, columns: tokens, inner: headWidth, a: dO, aStride: width,
          b: q + 2 * width, bStride: qkv.stride, transposeB: true, c: dropped, cStride: tokens)
        ck_softmax_rows_backward(dropped, p, mask, wanted, tokens, tokens, scale, factor)
        Matmul.multiply(
          rows: wanted, columns: headWidth, inner: tokens, a: dropped, aStride: tokens,
          b: q + width, bStride: qkv.stride, c: dQ, cStride: dProjected.stride)
        Matmul.multiply(
          rows: tokens, columns: headWidth, inner: wanted, a: dropped, aStride: tokens,
          transposeA: true, b: q, bStride: qkv.stride, c: dQ + width, cStride: dProjected.stride)
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
      let firstInputs = Rows(input.base, stride: tokens * input.stride)
      let firstQueries = Rows(dProjected.base, stride: tokens * dProjected.stride)
      Linear.backwardWeight(
        rows: pass.images, inputs: width, outputs: width, dY: firstQueries, x: firstInputs,
        dWeight: gradients, beta: beta)
      Linear.backwardWeight(
        rows: all, inputs: width, outputs: 2 * width, dY: dProjected.columns(from: width), x: input,
        dWeight: gradients + square, beta: beta)
      Linear.backwardInput(
        rows: all, inputs: width, outputs: 2 * width, dY: dProjected.columns(from: width),
        weight: pass.parameters + square, dX: dInput)
      Linear.backwardInput(
        rows: pass.images, inputs: width, outputs: width, dY: firstQueries,
        weight: pass.parameters, dX: Rows(dInput.base, stride: tokens * dInput.stride), beta: 1)
    }
  }
}
