// Convolutional nearest-neighbour attention (Kang & Farias 2025, "Attention via convolutional nearest
// neighbors", arXiv:2511.14137): each token's K most similar tokens, summed by a convolution.
import CKernels
import Tensors

// B images, T tokens, Q output tokens, D width, H heads, d = D/H, K neighbours, M candidates.

/// Per head, with q = W_q x, k = W_k x, v = W_v x: S[i, j] = similarity(k_i, q_j); the K best of row i
/// among the candidates, best first, ties to the lower token (or i itself first, with similarity 1, then
/// the K-1 best others, when candidates are sampled); weights w = softmax over the K values, or the
/// values; y_i = convolution over r of w[i, r] · v[neighbour(i, r)]; dropout on y; heads merged, then
/// W_o. No biases. Note the roles: k asks, q is searched.
///
/// The choice has no gradient, the chosen values have. Of the scores only K entries of each row outlive
/// the forward pass.
public final class ConvNNAttention: AttentionLayer {
  public let parameters: [ParameterSpec]
  public let needsAllTokens: Bool

  private let plan: ConvNNAttentionPlan
  private let dropout: Float
  private let candidates: ConvNNAttentionCandidates
  private let projections: ConvNNAttentionProjections
  private let neighbours: ConvNNAttentionNeighbours
  private let convolution: ConvNNAttentionConvolution
  private let headRows: HeadRows
  /// q, k and v side by side [B·T, 3D].
  private let projected: ActivationSlab
  /// In mixed precision, q and k as the search for neighbours sees them [B·T, 2D].
  private let searching: SharedRoom?
  /// q of candidates alone [B·M, D].
  private let searched: KeptRows
  /// Weights, and negative distances for euclidean similarity [B, H, Q, K].
  private let weights: FloatSlab
  private let distances: FloatSlab
  /// Merged heads before W_o, dropout included [B·Q, D].
  private let merged: ActivationSlab
  /// Neighbours as tokens, and the chosen ones as candidates [B, H, Q, K].
  private let tokenLists: UnsafeMutablePointer<Int32>
  private let rankLists: UnsafeMutablePointer<Int32>
  /// Dropout keep masks [B·Q, D].
  private let keep: UnsafeMutablePointer<UInt8>
  private let dWeights: ScratchRegion  // of one head [Q, K]
  private let dMerged: ScratchRegion  // [B·Q, D]
  private let dQkv: ScratchRegion  // [B·T, 3D]
  private let dSearched: ScratchRegion  // [B·M, D]

  init(_ shape: LayerShape, scratch: Scratch) {
    let plan = ConvNNAttentionPlan(shape)
    let (width, tokens, heads) = (plan.width, plan.tokens, plan.heads)
    let capacity = shape.capacity
    self.plan = plan
    parameters = Self.parameters(shape)
    needsAllTokens = plan.mixesTokens
    dropout = shape.configuration.attentionDropout
    candidates = ConvNNAttentionCandidates(plan: plan)
    var layout = scratch.layout()
    // Neighbours are chosen, then summed: one place for both.
    var sums = layout
    neighbours = ConvNNAttentionNeighbours(plan: plan, candidates: candidates, layout: &layout)
    convolution = ConvNNAttentionConvolution(plan: plan, layout: &sums, capacity: capacity)
    layout.skip(past: sums)
    dWeights = layout.floats(tokens * plan.neighbours)
    headRows = HeadRows(layout: &layout, tokens: tokens, width: plan.headWidth)
    layout.beginLine()
    projections = ConvNNAttentionProjections(plan: plan, layout: &layout, capacity: capacity)
    dMerged = layout.activations(capacity * tokens * width)
    dQkv = layout.activations(capacity * tokens * 3 * width)
    let searchedRows = plan.samples ? capacity * plan.candidateCount : 0
    dSearched = layout.floats(searchedRows * width)
    let pairs = capacity * heads * tokens * plan.neighbours
    projected = scratch.activations(count: capacity * tokens * 3 * width)
    searching =
      scratch.element == .float
      ? nil : scratch.room(.projected, count: capacity * tokens * 2 * width)
    searched = KeptRows(scratch, count: searchedRows, width: width, place: .candidates)
    weights = FloatSlab(count: pairs)
    distances = FloatSlab(count: plan.magnitude == .euclidean ? pairs : 0)
    merged = scratch.activations(count: capacity * tokens * width)
    tokenLists = .allocate(capacity: pairs)
    tokenLists.initialize(repeating: 0, count: pairs)
    let ranked = plan.samples ? pairs : 0
    rankLists = .allocate(capacity: ranked)
    rankLists.initialize(repeating: 0, count: ranked)
    keep = .allocate(capacity: dropout > 0 ? capacity * tokens * width : 0)
  }

  deinit {
    tokenLists.deallocate()
    rankLists.deallocate()
    keep.deallocate()
  }

  public func operations(outputTokens: Int) -> Int {
    plan.operations(outputTokens: outputTokens)
  }

  public func backwardOperations(outputTokens: Int) -> Int {
    plan.backwardOperations(outputTokens: outputTokens)
  }

  private func choice(slot: Int, rows: Int) -> ConvNNAttentionChoice {
    let first = slot * rows * plan.neighbours
    return ConvNNAttentionChoice(
      tokens: tokenLists + first, ranks: plan.samples ? rankLists + first : tokenLists + first,
      weights: weights.base + first,
      distances: plan.magnitude == .euclidean ? distances.base + first : distances.base)
  }

  /// q as it is searched, of one image and head: rows of candidates, or of all tokens.
  private func queries(
    _ q: Rows, _ searched: Rows, _ pass: LayerPass, image: Int, head: Int
  ) -> Rows {
    let extents = ConvNNAttentionProjections.Extents(plan: plan, outputTokens: pass.outputTokens)
    let column = head * plan.headWidth
    return extents.q == .candidates
      ? searched.from(row: image * plan.candidateCount, column: column)
      : q.from(row: image * plan.tokens, column: column)
  }

  public func forward(_ pass: LayerPass, input: Rows, output: Rows) {
    let (tokens, width, headWidth) = (plan.tokens, plan.width, plan.headWidth)
    let wanted = pass.outputTokens
    precondition(wanted == tokens || (wanted == 1 && !needsAllTokens))
    let kept = projected.rows(stride: 3 * width)
    let qk = searching.map { Rows($0.base, stride: 2 * width) } ?? kept
    let merged = merged.rows(stride: width)
    candidates.draw(pass)
    projections.forward(
      pass, input: input, qk: qk, v: kept.columns(from: 2 * width), searched: searched.working,
      candidates: candidates)
    if searching != nil { kept.write(rows: pass.images * tokens, width: 2 * width, from: qk) }
    searched.keep(rows: plan.samples ? pass.images * plan.candidateCount : 0)
    let kernels = pass.parameters + plan.convolutionOffset
    convolution.prepare(kernels)
    let drops = pass.training && dropout > 0
    for image in 0..<pass.images {
      if drops {
        pass.randomness(.attentionDropout, image: image)
          .fillKeepMask(
            keep + image * wanted * width, count: wanted * width, dropping: dropout)
      }
      for head in 0..<plan.heads {
        let slot = image * plan.heads + head
        let choice = choice(slot: slot, rows: wanted)
        let column = head * headWidth
        neighbours.choose(
          choice, rows: wanted, k: qk.from(row: image * tokens, column: width + column),
          q: queries(qk, searched.working, pass, image: image, head: head))
        let y = merged.from(row: image * wanted, column: column)
        let computed = headRows.target(y, .y)
        let unmerged = plan.mixesTokens ? headRows.rows(.merged) : computed
        convolution.forward(
          choice, slot: slot, rows: wanted, parameters: kernels,
          v: headRows.floats(
            kept.from(row: image * tokens, column: 2 * width + column), count: tokens, .v),
          y: unmerged)
        if plan.mixesTokens { mergeAsReference(unmerged.base, computed) }
        let mask = drops ? keep + image * wanted * width + column : nil
        computed.keep(
          rows: wanted, width: headWidth, mask: mask, maskStride: width, factor: factor, into: y)
      }
    }
    Linear.forward(
      rows: pass.images * wanted, inputs: width, outputs: width, x: merged,
      weight: pass.parameters + 3 * width * width, y: output)
  }

  private var factor: Float { 1 / (1 - dropout) }

  public func backward(_ pass: LayerPass, input: Rows, dOutput: Rows, dInput: Rows) {
    let (tokens, width, headWidth) = (plan.tokens, plan.width, plan.headWidth)
    let wanted = pass.outputTokens
    let rows = pass.images * wanted
    let gradients = pass.gradients!
    let last = 3 * width * width
    let kept = projected.rows(stride: 3 * width)
    let searched = searched.restored(
      rows: plan.samples ? pass.images * plan.candidateCount : 0)
    let dWeights = dWeights.base
    let dMerged = dMerged.rows(stride: width)
    let dQkv = dQkv.rows(stride: 3 * width)
    let dSearched = dSearched.rows(stride: width)
    Linear.backwardWeight(
      rows: rows, inputs: width, outputs: width, dY: dOutput, x: merged.rows(stride: width),
      dWeight: gradients + last, beta: pass.gradientBeta)
    Linear.backwardInput(
      rows: rows, inputs: width, outputs: width, dY: dOutput, weight: pass.parameters + last,
      dX: dMerged)

    let kernels = pass.parameters + plan.convolutionOffset
    let dKernels = gradients + plan.convolutionOffset
    let extents = ConvNNAttentionProjections.Extents(plan: plan, outputTokens: wanted)
    let (asking, searchedTokens) = (
      extents.rows(extents.k, plan: plan), extents.rows(extents.q, plan: plan)
    )
    convolution.beginBackward()
    for image in 0..<pass.images {
      for head in 0..<plan.heads {
        let slot = image * plan.heads + head
        let choice = choice(slot: slot, rows: wanted)
        let column = head * headWidth
        func part(_ rows: Rows, _ number: Int) -> Rows {
          rows.from(row: image * tokens, column: number * width + column)
        }
        let (dK, dV) = (part(dQkv, 1), part(dQkv, 2))
        let dQ = queries(dQkv, dSearched, pass, image: image, head: head)
        let rounded = dMerged.from(row: image * wanted, column: column)
        let dHead = headRows.target(rounded, .y)
        let mask = pass.training && dropout > 0 ? keep + image * wanted * width + column : nil
        rounded.keep(
          rows: wanted, width: headWidth, mask: mask, maskStride: width, factor: factor, into: dHead
        )
        let unmerged = plan.mixesTokens ? headRows.rows(.merged) : dHead
        if plan.mixesTokens { splitAsReference(dHead, unmerged.base) }
        convolution.backward(
          choice, slot: slot, rows: wanted, parameters: kernels, gradients: dKernels,
          pointwiseBeta: slot == 0 ? pass.gradientBeta : 1,
          v: headRows.floats(part(kept, 2), count: tokens, .v), dY: unmerged, dWeights: dWeights,
          dV: headRows.target(dV, .dV))
        headRows.finish(dV, count: tokens, .dV)
        neighbours.backward(
          choice, rows: wanted, k: headRows.floats(part(kept, 1), count: asking, .k),
          q: headRows.floats(
            queries(kept, searched, pass, image: image, head: head), count: searchedTokens, .q),
          dWeights: dWeights, dK: headRows.target(dK, .dK), dQ: headRows.target(dQ, .dQ))
        headRows.finish(dK, count: asking, .dK)
        headRows.finish(dQ, count: searchedTokens, .dQ)
      }
    }
    convolution.endBackward(dKernels, accumulate: pass.accumulate)
    projections.backward(
      pass, input: input, dQkv: dQkv, dSearched: dSearched, dInput: dInput,
      candidates: candidates)
  }

  /// The reference reads a head's output, stored [T, d], as [d, T].
  private func mergeAsReference(_ y: UnsafePointer<Float>, _ target: Rows) {
    for token in 0..<plan.tokens {
      let row = target.row(token)
      for c in 0..<plan.headWidth { row[c] = y[c * plan.tokens + token] }
    }
  }

  private func splitAsReference(_ source: Rows, _ dY: UnsafeMutablePointer<Float>) {
    for token in 0..<plan.tokens {
      let row = source.row(token)
      for c in 0..<plan.headWidth { dY[c * plan.tokens + token] = row[c] }
    }
  }
}
