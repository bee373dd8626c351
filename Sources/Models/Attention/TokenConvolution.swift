// A convolution over tokens in the place of attention: one branch of `BranchConv`.
import CKernels
import Tensors

// B images, T tokens, Q output tokens, D width, H heads, d = D/H, k kernel size.

/// U = x · W_xᵀ + b_x, split into heads; Y[t, c] = b[c] + Σ_r Σ_c' w[c, c', r] · U[t + r − (k−1)/2, c'],
/// with zeros beyond the ends and the same w and b for every head; heads merged, then W_o and its bias.
///
/// The rows of all heads of all images lie in one column, with k − 1 rows of zeros between one and the
/// next. So tap r of the kernel is a single matrix product of all rows, r rows further on, and nothing
/// is gathered; results that fall between the heads are not read.
public final class TokenConvolution: AttentionLayer {
  public let parameters: [ParameterSpec]
  /// The reference mixes up tokens and channels of a head's output, so that all of it is needed.
  public let needsAllTokens: Bool

  private let width: Int
  private let tokens: Int
  private let heads: Int
  private let headWidth: Int
  private let kernelSize: Int
  /// The taps that can reach a token: of a kernel much longer than the sequence, its middle.
  private let firstTap: Int
  private let taps: Int
  /// Rows of zeros before and after a head's tokens.
  private let before: Int
  private let after: Int
  private let offsets: Offsets
  /// U [B, H, Q + k − 1, d], with k for `taps` here and below: zeros before and after the tokens.
  private let padded: KeptRows
  /// Merged heads before W_o [B·Q, D].
  private let merged: KeptRows
  private let kernel: ScratchRegion  // the taps that count [k, d, d]
  // Of a forward pass.
  private let results: ScratchRegion  // Y [B, H, Q + k − 1, d]
  private let projected: ScratchRegion  // U as it comes from W_x [B·reach, D]
  // Of a backward pass.
  private let dKernel: ScratchRegion  // [k, d, d]
  private let dResults: ScratchRegion  // k − 1 rows of zeros, then dY [B, H, Q + k − 1, d]
  private let dPadded: ScratchRegion  // [B, H, Q + k − 1, d]
  private let dense: ScratchRegion  // dMerged [B·Q, D], then dU [B·reach, D]

  private struct Offsets {
    let inputBias: Int
    let kernel: Int
    let kernelBias: Int
    let output: Int
    let outputBias: Int
  }

  init(_ shape: LayerShape, scratch: Scratch) {
    let (c, capacity) = (shape.configuration, shape.capacity)
    precondition(shape.width % c.numHeads == 0 && c.kernelSize > 0)
    width = shape.width
    tokens = shape.tokens
    heads = c.numHeads
    headWidth = width / heads
    kernelSize = c.kernelSize
    needsAllTokens = c.referenceQuirks
    let middle = (kernelSize - 1) / 2
    firstTap = max(0, middle - (tokens - 1))
    taps = min(kernelSize, middle + tokens) - firstTap
    before = middle - firstTap
    after = taps - 1 - before
    let square = headWidth * headWidth
    parameters = Self.parameters(shape)
    let kernel = width * width + width
    let output = kernel + square * kernelSize + headWidth
    offsets = Offsets(
      inputBias: width * width, kernel: kernel, kernelBias: output - headWidth, output: output,
      outputBias: output + width * width)
    padded = KeptRows(
      scratch, count: capacity * heads * (tokens + taps - 1), width: headWidth, place: .projected)
    merged = KeptRows(scratch, count: capacity * tokens, width: width, place: .merged)
    let column = capacity * width * (tokens + taps - 1)
    var layout = scratch.layout()
    self.kernel = layout.floats(taps * square)
    var forward = layout
    results = forward.floats(column)
    projected = forward.floats(capacity * tokens * width)
    dKernel = layout.floats(taps * square)
    dResults = layout.floats((taps - 1) * headWidth + column)
    dPadded = layout.floats(column)
    dense = layout.floats(capacity * tokens * width)
  }

  /// Tokens that the outputs read.
  private func reach(_ outputTokens: Int) -> Int { min(tokens, outputTokens + after) }

  public func operations(outputTokens: Int) -> Int {
    2 * width * width * (reach(outputTokens) + outputTokens)
      + 2 * outputTokens * taps * headWidth * width
  }

  public func forward(_ pass: LayerPass, input: Rows, output: Rows) {
    let wanted = pass.outputTokens
    precondition(wanted == tokens || !needsAllTokens)
    let (d, k) = (headWidth, taps)
    let reach = reach(wanted)
    let (kernel, y) = (kernel.base, results.base)
    let u = projected.rows(stride: width)

    for run in runs(pass, reach: reach) {
      Linear.forward(
        rows: run.count, inputs: width, outputs: width, x: input.from(row: run.token),
        weight: pass.parameters, y: u.from(row: run.row))
    }
    ck_add_bias(
      u.base, pass.parameters + offsets.inputBias, pass.images * reach, width, width)
    let length = wanted + k - 1
    for index in 0..<pass.images * heads {
      let window = padded.working.row(index * length)
      window.update(repeating: 0, count: before * d)
      copy(
        u.from(row: index / heads * reach).columns(from: index % heads * d),
        to: Rows(window + before * d, stride: d), rows: reach)
      (window + (before + reach) * d).update(
        repeating: 0, count: (length - before - reach) * d)
    }

    let positions = padded.keep(rows: pass.images * heads * length)
    pack(pass.parameters + offsets.kernel, into: kernel)
    // What lies past the last head's outputs would read past the end.
    let rows = pass.images * heads * length - (k - 1)
    for r in 0..<k {
      Linear.forward(
        rows: rows, inputs: d, outputs: d, x: positions.from(row: r),
        weight: kernel + r * d * d, y: Rows(y, stride: d), beta: r == 0 ? 0 : 1)
    }
    ck_add_bias(y, pass.parameters + offsets.kernelBias, rows, d, d)
    for index in 0..<pass.images * heads {
      let target = mergedHead(merged.working.base, index: index, rows: wanted)
      let own = y + index * length * d
      if needsAllTokens {
        for t in 0..<tokens {
          for c in 0..<d { target.row(t)[c] = own[c * tokens + t] }
        }
      } else {
        copy(Rows(own, stride: d), to: target, rows: wanted)
      }
    }
    Linear.forward(
      rows: pass.images * wanted, inputs: width, outputs: width,
      x: merged.keep(rows: pass.images * wanted), weight: pass.parameters + offsets.output,
      bias: pass.parameters + offsets.outputBias, y: output)
  }

  public func backward(_ pass: LayerPass, input: Rows, dOutput: Rows, dInput: Rows) {
    let gradients = pass.gradients!
    let wanted = pass.outputTokens
    let (d, k) = (headWidth, taps)
    let reach = reach(wanted)
    let length = wanted + k - 1
    let column = pass.images * heads * length
    let accumulate: Int32 = pass.accumulate ? 1 : 0
    let (kernel, dKernel) = (kernel.base, dKernel.base)
    let dY = dResults.base + (k - 1) * d
    let (dPadded, dense) = (dPadded.base, dense.base)

    Linear.backwardWeight(
      rows: pass.images * wanted, inputs: width, outputs: width, dY: dOutput,
      x: merged.kept, dWeight: gradients + offsets.output,
      beta: pass.gradientBeta)
    Linear.backwardBias(
      rows: pass.images * wanted, outputs: width, dY: dOutput,
      dBias: gradients + offsets.outputBias, accumulate: pass.accumulate)
    Linear.backwardInput(
      rows: pass.images * wanted, inputs: width, outputs: width, dY: dOutput,
      weight: pass.parameters + offsets.output, dX: Rows(dense, stride: width))

    // Zeros follow every head, and stand before the first.
    dResults.base.update(repeating: 0, count: (k - 1) * d)
    for index in 0..<pass.images * heads {
      let own = dY + index * length * d
      let source = mergedHead(dense, index: index, rows: wanted)
      if needsAllTokens {
        for t in 0..<tokens {
          for c in 0..<d { own[c * tokens + t] = source.row(t)[c] }
        }
      } else {
        copy(source, to: Rows(own, stride: d), rows: wanted)
      }
      (own + wanted * d).update(repeating: 0, count: (k - 1) * d)
    }

    pack(pass.parameters + offsets.kernel, into: kernel)
    ck_column_sums(gradients + offsets.kernelBias, dY, column, d, d, accumulate)
    for r in 0..<k {
      Linear.backwardWeight(
        rows: column - (k - 1), inputs: d, outputs: d, dY: Rows(dY, stride: d),
        x: padded.kept.from(row: r), dWeight: dKernel + r * d * d, beta: 0)
      Linear.backwardInput(
        rows: column, inputs: d, outputs: d, dY: Rows(dY - r * d, stride: d),
        weight: kernel + r * d * d, dX: Rows(dPadded, stride: d), beta: r == 0 ? 0 : 1)
    }
    unpack(dKernel, into: gradients + offsets.kernel, accumulate: pass.accumulate)

    let dU = Rows(dense, stride: width)
    for index in 0..<pass.images * heads {
      copy(
        Rows(dPadded + (index * length + before) * d, stride: d),
        to: dU.from(row: index / heads * reach).columns(from: index % heads * d), rows: reach)
    }
    ck_column_sums(
      gradients + offsets.inputBias, dU.base, pass.images * reach, width, width, accumulate)
    for run in runs(pass, reach: reach) {
      Linear.backwardWeight(
        rows: run.count, inputs: width, outputs: width, dY: dU.from(row: run.row),
        x: input.from(row: run.token), dWeight: gradients,
        beta: run.row == 0 ? pass.gradientBeta : 1)
      Linear.backwardInput(
        rows: run.count, inputs: width, outputs: width, dY: dU.from(row: run.row),
        weight: pass.parameters, dX: dInput.from(row: run.token))
      for t in run.count..<max(run.count, tokens) {
        dInput.row(run.token + t).update(repeating: 0, count: width)
      }
    }
  }

  /// The tokens that count as runs of rows: all at once, or the first `reach` of every image.
  private func runs(_ pass: LayerPass, reach: Int) -> [(token: Int, row: Int, count: Int)] {
    if reach == tokens { return [(0, 0, pass.images * tokens)] }
    return (0..<pass.images).map { ($0 * tokens, $0 * reach, reach) }
  }

  /// Head `index` (image by image) in merged rows.
  private func mergedHead(_ base: UnsafeMutablePointer<Float>, index: Int, rows: Int) -> Rows {
    Rows(base + index / heads * rows * width + index % heads * headWidth, stride: width)
  }

  private func copy(_ source: Rows, to target: Rows, rows: Int) {
    for row in 0..<rows { target.row(row).update(from: source.row(row), count: headWidth) }
  }

  /// The taps of w [c, c', r] that count, as [r, c, c'].
  private func pack(_ w: UnsafePointer<Float>, into packed: UnsafeMutablePointer<Float>) {
    let square = headWidth * headWidth
    for pair in 0..<square {
      let source = w + pair * kernelSize + firstTap
      for r in 0..<taps { packed[r * square + pair] = source[r] }
    }
  }

  private func unpack(
    _ packed: UnsafePointer<Float>, into w: UnsafeMutablePointer<Float>, accumulate: Bool
  ) {
    let square = headWidth * headWidth
    if !accumulate { w.update(repeating: 0, count: square * kernelSize) }
    for pair in 0..<square {
      let target = w + pair * kernelSize + firstTap
      for r in 0..<taps { target[r] += packed[r * square + pair] }
    }
  }
}

extension TokenConvolution: LayerFacts {
  static func parameters(_ s: LayerShape) -> [ParameterSpec] {
    let (width, taps) = (s.width, s.configuration.kernelSize)
    let headWidth = width / s.configuration.numHeads
    let fanIn = headWidth * taps
    return [
      .linear("W_x.weight", outputs: width, inputs: width),
      .bias("W_x.bias", outputs: width, fanIn: width),
      ParameterSpec("conv.weight", [headWidth, headWidth, taps], .uniform(fanIn: fanIn)),
      .bias("conv.bias", outputs: headWidth, fanIn: fanIn),
      .linear("W_o.weight", outputs: width, inputs: width),
      .bias("W_o.bias", outputs: width, fanIn: width),
    ]
  }

  /// U and merged heads.
  static func leastKept(_ s: LayerShape) -> Double { 2 * Double(s.width) }

  static func leastScratch(_ s: LayerShape) -> Double { 0 }

  static func make(_ s: LayerShape, scratch: Scratch) -> any AttentionLayer {
    TokenConvolution(s, scratch: scratch)
  }
}
