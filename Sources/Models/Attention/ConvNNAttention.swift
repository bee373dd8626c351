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
  private let scratch: Scratch
  /// q, k and v side by side [B·T, 3D].
  private let projected: KeptRows
  /// q of candidates alone [B·M, D].
  private let searched: KeptRows
  /// Weights, and negative distances for euclidean similarity [B, H, Q, K].
  private let weights: FloatSlab
  private let distances: FloatSlab
  /// Merged heads before W_o, dropout included [B·Q, D].
  private let merged: KeptRows
  /// Neighbours as tokens, and the chosen ones as candidates [B, H, Q, K].
  private let tokenLists: UnsafeMutablePointer<Int32>
  private let rankLists: UnsafeMutablePointer<Int32>
  /// Dropout keep masks [B·Q, D].
  private let keep: UnsafeMutablePointer<UInt8>

  /// - Parameter candidates: tokens that random sampling would otherwise draw.
  /// - Throws: `RunError` (configuration) where options and sizes do not fit together.
  public init(
    configuration: ModelConfiguration, width: Int, tokens: Int, capacity: Int, heads: Int,
    scratch: Scratch, candidates given: [Int32]? = nil
  ) throws {
    let plan = try ConvNNAttentionPlan(
      configuration: configuration, width: width, tokens: tokens, heads: heads, candidates: given)
    self.plan = plan
    self.scratch = scratch
    parameters = plan.parameters
    needsAllTokens = plan.mixesTokens
    dropout = configuration.attentionDropout
    candidates = ConvNNAttentionCandidates(plan: plan)
    projections = ConvNNAttentionProjections(plan: plan)
    neighbours = ConvNNAttentionNeighbours(plan: plan, candidates: candidates)
    convolution = ConvNNAttentionConvolution(plan: plan, capacity: capacity)
    let pairs = capacity * heads * tokens * plan.neighbours
    projected = KeptRows(
      scratch, count: capacity * tokens, width: 3 * width, place: .projected)
    searched = KeptRows(
      scratch, count: plan.samples ? capacity * plan.candidateCount : 0, width: width,
      place: .candidates)
    weights = FloatSlab(count: pairs)
    distances = FloatSlab(count: plan.magnitude == .euclidean ? pairs : 0)
    merged = KeptRows(scratch, count: capacity * tokens, width: width, place: .merged)
    tokenLists = .allocate(capacity: pairs)
    tokenLists.initialize(repeating: 0, count: pairs)
    let ranked = plan.samples ? pairs : 0
    rankLists = .allocate(capacity: ranked)
    rankLists.initialize(repeating: 0, count: ranked)
    keep = .allocate(capacity: dropout > 0 ? capacity * tokens * width : 0)
    scratch.require(
      temporaryCount + projections.scratchCount(capacity: capacity)
        + capacity * (tokens * 4 + (plan.samples ? plan.candidateCount : 0)) * width)
  }

  deinit {
    tokenLists.deallocate()
    rankLists.deallocate()
    keep.deallocate()
  }

  /// One image and head: what is beneath the parts, a head before the reference's merge, the weights'
  /// gradient.
  private var temporaryCount: Int {
    partCount + plan.tokens * (plan.headWidth + plan.neighbours)
  }

  private var partCount: Int {
    max(
      ConvNNAttentionNeighbours.scratchCount(plan), ConvNNAttentionConvolution.scratchCount(plan))
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
    _ qkv: Rows, _ searched: UnsafeMutablePointer<Float>, _ pass: LayerPass, image: Int, head: Int
  ) -> Rows {
    let extents = ConvNNAttentionProjections.Extents(plan: plan, outputTokens: pass.outputTokens)
    let column = head * plan.headWidth
    return extents.q == .candidates
      ? Rows(searched + image * plan.candidateCount * plan.width + column, stride: plan.width)
      : Rows(qkv.row(image * plan.tokens) + column, stride: qkv.stride)
  }

  public func forward(_ pass: LayerPass, input: Rows, output: Rows) {
    let (width, headWidth) = (plan.width, plan.headWidth)
    let wanted = pass.outputTokens
    precondition(wanted == plan.tokens || (wanted == 1 && !needsAllTokens))
    let qkv = projected.working
    let candidateRows = plan.samples ? pass.images * plan.candidateCount : 0
    let room = scratch.base
    let unmerged = Rows(room + partCount, stride: headWidth)  // [T, d]
    candidates.draw(pass)
    projections.forward(
      pass, input: input, qkv: qkv, searched: searched.working, candidates: candidates,
      room: scratch.base + temporaryCount)
    projected.keep(rows: pass.images * plan.tokens)
    searched.keep(rows: candidateRows)
    let kernels = pass.parameters + plan.convolutionOffset
    convolution.prepare(kernels)
    for image in 0..<pass.images {
      for head in 0..<plan.heads {
        let slot = image * plan.heads + head
        let choice = choice(slot: slot, rows: wanted)
        let k = Rows(
          qkv.row(image * plan.tokens) + width + head * headWidth, stride: qkv.stride)
        neighbours.choose(
          choice, rows: wanted, k: k,
          q: queries(qkv, searched.working.base, pass, image: image, head: head), room: room)
        let y = Rows(merged.working.base + image * wanted * width + head * headWidth, stride: width)
        convolution.forward(
          choice, slot: slot, rows: wanted, parameters: kernels, v: k.columns(from: width),
          y: plan.mixesTokens ? unmerged : y, room: room)
        if plan.mixesTokens { mergeAsReference(unmerged.base, y) }
      }
      if pass.training && dropout > 0 {
        let count = wanted * width
        let (y, mask) = (merged.working.base + image * count, keep + image * count)
        pass.randomness(.attentionDropout, image: image)
          .fillKeepMask(mask, count: count, dropping: dropout)
        ck_apply_keep(y, y, mask, count, 1 / (1 - dropout))
      }
    }
    Linear.forward(
      rows: pass.images * wanted, inputs: width, outputs: width,
      x: merged.keep(rows: pass.images * wanted), weight: pass.parameters + 3 * width * width,
      y: output)
  }

  public func backward(_ pass: LayerPass, input: Rows, dOutput: Rows, dInput: Rows) {
    let (width, headWidth) = (plan.width, plan.headWidth)
    let wanted = pass.outputTokens
    let rows = pass.images * wanted
    let gradients = pass.gradients!
    let last = 3 * width * width
    let qkv = projected.restored(rows: pass.images * plan.tokens)
    let searched = searched.restored(
      rows: plan.samples ? pass.images * plan.candidateCount : 0)
    let room = scratch.base
    let unmerged = Rows(room + partCount, stride: headWidth)  // [T, d]
    let dWeights = room + partCount + plan.tokens * headWidth  // [Q, K]
    let gathered = room + temporaryCount  // [B·M, D]
    let dMerged = gathered + projections.scratchCount(capacity: pass.images)  // [B·Q, D]
    let dQkv = Rows(dMerged + rows * width, stride: 3 * width)  // [B·T, 3D]
    let dSearched = dQkv.row(pass.images * plan.tokens)  // [B·M, D]
    Linear.backwardWeight(
      rows: rows, inputs: width, outputs: width, dY: dOutput, x: merged.kept,
      dWeight: gradients + last, beta: pass.gradientBeta)
    Linear.backwardInput(
      rows: rows, inputs: width, outputs: width, dY: dOutput, weight: pass.parameters + last,
      dX: Rows(dMerged, stride: width))

    let kernels = pass.parameters + plan.convolutionOffset
    let dKernels = gradients + plan.convolutionOffset
    convolution.beginBackward()
    for image in 0..<pass.images {
      if pass.training && dropout > 0 {
        let count = wanted * width
        let d = dMerged + image * count
        ck_apply_keep(d, d, keep + image * count, count, 1 / (1 - dropout))
      }
      for head in 0..<plan.heads {
        let slot = image * plan.heads + head
        let choice = choice(slot: slot, rows: wanted)
        let k = Rows(
          qkv.row(image * plan.tokens) + width + head * headWidth, stride: qkv.stride)
        let dK = Rows(
          dQkv.row(image * plan.tokens) + width + head * headWidth, stride: dQkv.stride)
        let dMergedHead = Rows(
          dMerged + image * wanted * width + head * headWidth, stride: width)
        if plan.mixesTokens { splitAsReference(dMergedHead, unmerged.base) }
        convolution.backward(
          choice, slot: slot, rows: wanted, parameters: kernels, gradients: dKernels,
          pointwiseBeta: slot == 0 ? pass.gradientBeta : 1, v: k.columns(from: width),
          dY: plan.mixesTokens ? unmerged : dMergedHead, dWeights: dWeights,
          dV: dK.columns(from: width), room: room)
        neighbours.backward(
          choice, rows: wanted, k: k,
          q: queries(qkv, searched.base, pass, image: image, head: head), dWeights: dWeights,
          dK: dK, dQ: queries(dQkv, dSearched, pass, image: image, head: head), room: room)
      }
    }
    convolution.endBackward(dKernels, accumulate: pass.accumulate)
    projections.backward(
      pass, input: input, dQkv: dQkv, dSearched: Rows(dSearched, stride: width), dInput: dInput,
      candidates: candidates, room: gathered)
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
