// Multi-head self-attention of which only the class token's output is wanted: that of the last block.
import CKernels
import Tensors

// B images, T tokens, D width, H heads, d = D/H; W_k[h] and W_v[h] are the d rows of a head.

/// What `MultiHeadAttention` computes for its first token, without keys and values of the others. Since
/// q · (W_k[h] x) = (W_k[h]ᵀ q) · x, and Σ p W_v[h] x = W_v[h] Σ p x, per head
///
///     asked = W_k[h]ᵀ q,  p = softmax(asked · xᵀ / √d),  seen = dropout(p) x,  o = W_v[h] seen.
///
/// Two products of T · D² multiplications become two of T · D · H.
final class ClassTokenAttention {
  private let width: Int
  private let tokens: Int
  private let heads: Int
  private let headWidth: Int
  private let dropout: Float
  private let queries: FloatSlab  // [B, D]
  private let asked: FloatSlab  // [B, H, D]
  private let probabilities: FloatSlab  // before dropout [B, H, T]
  private let seen: FloatSlab  // [B, H, D]
  private let merged: FloatSlab  // [B, D]
  /// Dropout keep masks [B, H, T].
  private let keep: UnsafeMutablePointer<UInt8>
  private let shares: ScratchRegion  // after dropout, of one image [H, T]
  private let dScores: ScratchRegion  // of one image [H, T]
  private let pairs: ScratchRegion  // dSeen and asked [B, 2, H, D]
  private let dAsked: ScratchRegion  // [B, H, D]
  private let dMerged: ScratchRegion  // [B, D]
  private let dQueries: ScratchRegion  // [B, D]

  init(
    width: Int, tokens: Int, capacity: Int, heads: Int, dropout: Float, scratch: Scratch
  ) {
    self.width = width
    self.tokens = tokens
    self.heads = heads
    headWidth = width / heads
    self.dropout = dropout
    queries = FloatSlab(count: capacity * width)
    asked = FloatSlab(count: capacity * heads * width)
    probabilities = FloatSlab(count: capacity * heads * tokens)
    seen = FloatSlab(count: capacity * heads * width)
    merged = FloatSlab(count: capacity * width)
    keep = .allocate(capacity: dropout > 0 ? capacity * heads * tokens : 0)
    var layout = scratch.layout()
    shares = layout.floats(heads * tokens)
    dScores = layout.floats(heads * tokens)
    pairs = layout.floats(capacity * 2 * heads * width)
    dAsked = layout.floats(capacity * heads * width)
    dMerged = layout.floats(capacity * width)
    dQueries = layout.floats(capacity * width)
  }

  deinit { keep.deallocate() }

  /// Per image.
  var operations: Int { 2 * 4 * width * width + 2 * 2 * heads * tokens * width }

  private var scale: Float { 1 / Float(headWidth).squareRoot() }
  private var factor: Float { 1 / (1 - dropout) }

  /// Rows of all images [B, …] that belong to a head, of a slab [B, `count`, D].
  private func rows(_ base: UnsafeMutablePointer<Float>, head: Int, of count: Int) -> Rows {
    Rows(base + head * width, stride: count * width)
  }

  /// - Parameters: `input` [B·T, D] and `output` [B, D].
  func forward(_ pass: LayerPass, input: Rows, output: Rows) {
    let images = pass.images
    let square = width * width
    let (toKey, toValue) = (pass.parameters + square, pass.parameters + 2 * square)
    let queries = Rows(queries.base, stride: width)
    let merged = Rows(merged.base, stride: width)
    Linear.forward(
      rows: images, inputs: width, outputs: width, x: input.every(tokens), weight: pass.parameters,
      y: queries)
    for head in 0..<heads {
      Matmul.multiply(
        rows: images, columns: width, inner: headWidth,
        a: queries.columns(from: head * headWidth),
        b: Rows(toKey + head * headWidth * width, stride: width),
        c: rows(asked.base, head: head, of: heads))
    }
    for image in 0..<images { attend(pass, image, tokens: input.from(row: image * tokens)) }
    for head in 0..<heads {
      Linear.forward(
        rows: images, inputs: width, outputs: headWidth,
        x: rows(seen.base, head: head, of: heads), weight: toValue + head * headWidth * width,
        y: merged.columns(from: head * headWidth))
    }
    Linear.forward(
      rows: images, inputs: width, outputs: width, x: merged, weight: pass.parameters + 3 * square,
      y: output)
  }

  /// `seen` of one image, whose tokens are x [T, D].
  private func attend(_ pass: LayerPass, _ image: Int, tokens x: Rows) {
    let p = Rows(probabilities.base + image * heads * tokens, stride: tokens)  // [H, T]
    Matmul.multiply(
      rows: heads, columns: tokens, inner: width,
      a: Rows(asked.base + image * heads * width, stride: width), b: x, transposeB: true, c: p)
    ck_softmax_rows(p.base, heads, tokens, tokens, scale)
    var shares = p
    if pass.training && dropout > 0 {
      shares = self.shares.rows(stride: tokens)
      let mask = mask(image)
      for head in 0..<heads {
        pass.randomness(.attentionDropout, image: image, part: head)
          .fillKeepMask(mask + head * tokens, count: tokens, dropping: dropout)
      }
      ck_dropout_rows(shares.base, p.base, mask, heads, tokens, tokens, factor)
    }
    Matmul.multiply(
      rows: heads, columns: width, inner: tokens, a: shares, b: x,
      c: Rows(seen.base + image * heads * width, stride: width))
  }

  private func mask(_ image: Int) -> UnsafeMutablePointer<UInt8> { keep + image * heads * tokens }

  /// - Parameters: `dOutput` [B, D]; `dInput` [B·T, D], overwritten.
  func backward(_ pass: LayerPass, input: Rows, dOutput: Rows, dInput: Rows) {
    let images = pass.images
    let square = width * width
    let (toKey, toValue) = (pass.parameters + square, pass.parameters + 2 * square)
    let gradients = pass.gradients!
    let beta = pass.gradientBeta
    let queries = Rows(queries.base, stride: width)
    let (pairs, dAsked) = (pairs.base, dAsked.base)
    let dMerged = dMerged.rows(stride: width)
    let dQueries = dQueries.rows(stride: width)
    Linear.backwardWeight(
      rows: images, inputs: width, outputs: width, dY: dOutput, x: Rows(merged.base, stride: width),
      dWeight: gradients + 3 * square, beta: beta)
    Linear.backwardInput(
      rows: images, inputs: width, outputs: width, dY: dOutput,
      weight: pass.parameters + 3 * square, dX: dMerged)
    for head in 0..<heads {
      let (first, column) = (head * headWidth * width, head * headWidth)
      Linear.backwardWeight(
        rows: images, inputs: width, outputs: headWidth, dY: dMerged.columns(from: column),
        x: rows(seen.base, head: head, of: heads), dWeight: gradients + 2 * square + first,
        beta: beta)
      Linear.backwardInput(
        rows: images, inputs: width, outputs: headWidth, dY: dMerged.columns(from: column),
        weight: toValue + first, dX: rows(pairs, head: head, of: 2 * heads))
    }
    for image in 0..<images {
      attendBackward(
        pass, image, tokens: input.from(row: image * tokens),
        pairs: pairs + image * 2 * heads * width, dAsked: dAsked + image * heads * width,
        dTokens: dInput.from(row: image * tokens))
    }
    for head in 0..<heads {
      let (first, column) = (head * headWidth * width, head * headWidth)
      let dAsked = rows(dAsked, head: head, of: heads)
      Matmul.multiply(
        rows: headWidth, columns: width, inner: images, a: queries.columns(from: column),
        transposeA: true, b: dAsked, beta: beta, c: Rows(gradients + square + first, stride: width))
      Matmul.multiply(
        rows: images, columns: headWidth, inner: width, a: dAsked,
        b: Rows(toKey + first, stride: width), transposeB: true,
        c: dQueries.columns(from: column))
    }
    Linear.backwardWeight(
      rows: images, inputs: width, outputs: width, dY: dQueries, x: input.every(tokens),
      dWeight: gradients, beta: beta)
    Linear.backwardInput(
      rows: images, inputs: width, outputs: width, dY: dQueries, weight: pass.parameters,
      dX: dInput.every(tokens), beta: 1)
  }

  /// - Parameters:
  ///   - pairs: [2, H, D], the first half the gradient of `seen`; the second becomes `asked`.
  ///   - dTokens: dropout(p)ᵀ · dSeen + dScoresᵀ · asked, as one product.
  private func attendBackward(
    _ pass: LayerPass, _ image: Int, tokens x: Rows, pairs: UnsafeMutablePointer<Float>,
    dAsked: UnsafeMutablePointer<Float>, dTokens: Rows
  ) {
    let count = heads * tokens
    let p = probabilities.base + image * count
    let (shares, dScores) = (shares.base, dScores.base)
    let drops = pass.training && dropout > 0
    let mask = drops ? mask(image) : nil
    if let mask {
      ck_dropout_rows(shares, p, mask, heads, tokens, tokens, factor)
    } else {
      shares.update(from: p, count: count)
    }
    (pairs + heads * width).update(
      from: asked.base + image * heads * width, count: heads * width)
    Matmul.multiply(
      rows: heads, columns: tokens, inner: width, a: Rows(pairs, stride: width), b: x,
      transposeB: true, c: Rows(dScores, stride: tokens))
    ck_softmax_rows_backward(dScores, p, mask, heads, tokens, tokens, scale, factor)
    Matmul.multiply(
      rows: heads, columns: width, inner: tokens, a: Rows(dScores, stride: tokens), b: x,
      c: Rows(dAsked, stride: width))
    Matmul.multiply(
      rows: tokens, columns: width, inner: 2 * heads, a: Rows(shares, stride: tokens),
      transposeA: true, b: Rows(pairs, stride: width), c: dTokens)
  }
}
