// Multi-head self-attention of which only the class token's output is wanted: that of the last block.
import CKernels
import Tensors

// B images, T tokens, D width, H heads, d = D/H; W_k[h] and W_v[h] are the d rows of a head.

/// What `MultiHeadAttention` computes for its first token, without keys and values of the others. Since
/// q · (W_k[h] x) = (W_k[h]ᵀ q) · x, and Σ p W_v[h] x = W_v[h] Σ p x, per head
///
///     asked = W_k[h]ᵀ q,  p = softmax(asked · xᵀ / √d),  seen = dropout(p) x,  o = W_v[h] seen.
///
/// Two products of T · D² multiplications become two of T · D · H. With biases q has its own, b_k adds the same to
/// all scores of a head, which changes nothing, and o gains b_v[h] times the sum of dropout(p).
final class ClassTokenAttention {
  private let own: SelfAttentionParameters
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
  /// Of what is left of a head's probabilities after dropout [B, H].
  private let shareSums: FloatSlab
  /// Dropout keep masks [B, H, T].
  private let keep: UnsafeMutablePointer<UInt8>
  private let shares: ScratchRegion  // after dropout, of one image [H, T]
  private let dScores: ScratchRegion  // of one image [H, T]
  private let pairs: ScratchRegion  // dSeen and asked [B, 2, H, D]
  private let dAsked: ScratchRegion  // [B, H, D]
  private let dMerged: ScratchRegion  // [B, D]
  private let dQueries: ScratchRegion  // [B, D]

  init(
    _ own: SelfAttentionParameters, tokens: Int, capacity: Int, heads: Int, dropout: Float,
    scratch: Scratch
  ) {
    self.own = own
    width = own.width
    self.tokens = tokens
    self.heads = heads
    headWidth = width / heads
    self.dropout = dropout
    queries = FloatSlab(count: capacity * width)
    asked = FloatSlab(count: capacity * heads * width)
    probabilities = FloatSlab(count: capacity * heads * tokens)
    seen = FloatSlab(count: capacity * heads * width)
    merged = FloatSlab(count: capacity * width)
    shareSums = FloatSlab(count: capacity * heads)
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
    let (toKey, toValue) = (pass.parameters + own.keys, pass.parameters + own.values)
    func bias(_ offset: Int) -> UnsafePointer<Float>? {
      own.hasBiases ? pass.parameters + offset : nil
    }
    let queries = Rows(queries.base, stride: width)
    let merged = Rows(merged.base, stride: width)
    Linear.forward(
      rows: images, inputs: width, outputs: width, x: input.every(tokens), weight: pass.parameters,
      bias: bias(own.queryBias), y: queries)
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
    if let bias = bias(own.valueBias) { addValueBias(bias, images: images) }
    Linear.forward(
      rows: images, inputs: width, outputs: width, x: merged, weight: pass.parameters + own.output,
      bias: bias(own.outputBias), y: output)
  }

  /// o += b_v · Σ dropout(p) of every image and head.
  private func addValueBias(_ bias: UnsafePointer<Float>, images: Int) {
    forEachHead(images) { head, at in
      let (row, sum) = (merged.base + at, shareSums.base[head])
      for column in 0..<headWidth {
        row[column] += sum * bias[at % width + column]
      }
    }
  }

  /// Every head of every image: its number, and where its numbers begin in rows of D.
  private func forEachHead(_ images: Int, _ body: (_ head: Int, _ at: Int) -> Void) {
    for head in 0..<images * heads { body(head, head * headWidth) }
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
    if own.hasBiases { sumShares(image, shares) }
    Matmul.multiply(
      rows: heads, columns: width, inner: tokens, a: shares, b: x,
      c: Rows(seen.base + image * heads * width, stride: width))
  }

  private func sumShares(_ image: Int, _ shares: Rows) {
    for head in 0..<heads {
      let row = shares.row(head)
      var sum: Float = 0
      for token in 0..<tokens { sum += row[token] }
      shareSums.base[image * heads + head] = sum
    }
  }

  private func mask(_ image: Int) -> UnsafeMutablePointer<UInt8> { keep + image * heads * tokens }

  /// - Parameters: `dOutput` [B, D]; `dInput` [B·T, D], overwritten.
  func backward(_ pass: LayerPass, input: Rows, dOutput: Rows, dInput: Rows) {
    let images = pass.images
    let (toKey, toValue) = (pass.parameters + own.keys, pass.parameters + own.values)
    let gradients = pass.gradients!
    let beta = pass.gradientBeta
    let queries = Rows(queries.base, stride: width)
    let (pairs, dAsked) = (pairs.base, dAsked.base)
    let dMerged = dMerged.rows(stride: width)
    let dQueries = dQueries.rows(stride: width)
    Linear.backwardWeight(
      rows: images, inputs: width, outputs: width, dY: dOutput, x: Rows(merged.base, stride: width),
      dWeight: gradients + own.output, beta: beta)
    Linear.backwardInput(
      rows: images, inputs: width, outputs: width, dY: dOutput,
      weight: pass.parameters + own.output, dX: dMerged)
    for head in 0..<heads {
      let (first, column) = (head * headWidth * width, head * headWidth)
      Linear.backwardWeight(
        rows: images, inputs: width, outputs: headWidth, dY: dMerged.columns(from: column),
        x: rows(seen.base, head: head, of: heads), dWeight: gradients + own.values + first,
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
        transposeA: true, b: dAsked, beta: beta,
        c: Rows(gradients + own.keys + first, stride: width))
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
    if own.hasBiases { backwardBiases(pass, dOutput: dOutput) }
  }

  private func backwardBiases(_ pass: LayerPass, dOutput: Rows) {
    let gradients = pass.gradients!
    func sum(_ rows: Rows, _ offset: Int) {
      Linear.backwardBias(
        rows: pass.images, outputs: width, dY: rows, dBias: gradients + offset,
        accumulate: pass.accumulate)
    }
    sum(dOutput, own.outputBias)
    sum(dQueries.rows(stride: width), own.queryBias)
    // No score depends on b_k.
    if !pass.accumulate {
      (gradients + own.keyBias).update(repeating: 0, count: 2 * width)
    }
    let (dMerged, dBias) = (dMerged.base, gradients + own.valueBias)
    forEachHead(pass.images) { head, at in
      let sum = shareSums.base[head]
      for column in 0..<headWidth { dBias[at % width + column] += sum * dMerged[at + column] }
    }
  }

  /// What b_v adds to the gradient of dropout(p) [H, T], the same for all tokens; without dropout the softmax's
  /// gradient does not see it.
  private func addShareGradients(
    _ pass: LayerPass, _ image: Int, _ dShares: UnsafeMutablePointer<Float>
  ) {
    let dMerged = dMerged.base + image * width
    let bias = pass.parameters + own.valueBias
    for head in 0..<heads {
      var sum: Float = 0
      for column in head * headWidth..<(head + 1) * headWidth {
        sum += dMerged[column] * bias[column]
      }
      for token in head * tokens..<(head + 1) * tokens { dShares[token] += sum }
    }
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
    if drops && own.hasBiases { addShareGradients(pass, image, dScores) }
    ck_softmax_rows_backward(dScores, p, mask, heads, tokens, tokens, scale, factor)
    Matmul.multiply(
      rows: heads, columns: width, inner: tokens, a: Rows(dScores, stride: tokens), b: x,
      c: Rows(dAsked, stride: width))
    Matmul.multiply(
      rows: tokens, columns: width, inner: 2 * heads, a: Rows(shares, stride: tokens),
      transposeA: true, b: Rows(pairs, stride: width), c: dTokens)
  }
}
