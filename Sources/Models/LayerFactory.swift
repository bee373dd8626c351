// From `--layer` to the layer.

/// The attention layer that a configuration names, for rows of `width` features and `tokens` tokens.
///
/// - Parameters:
///   - c: `validateLayer` accepts it.
///   - candidates: tokens that random sampling would otherwise draw.
func makeAttentionLayer(
  _ c: ModelConfiguration, width: Int, tokens: Int, capacity: Int, scratch: Scratch,
  candidates: [Int32]? = nil
) -> any AttentionLayer {
  switch c.layer {
  case .attention:
    return MultiHeadAttention(
      configuration: c, width: width, tokens: tokens, capacity: capacity, heads: c.numHeads,
      scratch: scratch)
  case .convNNAttention:
    return ConvNNAttention(
      configuration: c, width: width, tokens: tokens, capacity: capacity, heads: c.convnnHeads,
      scratch: scratch, candidates: candidates)
  case .kvtAttention:
    return KvtAttention(
      configuration: c, width: width, tokens: tokens, capacity: capacity, heads: c.numHeads,
      scratch: scratch)
  case .localAttention:
    return LocalAttention(
      configuration: c, width: width, tokens: tokens, capacity: capacity, heads: c.numHeads,
      scratch: scratch)
  case .neighborhoodAttention:
    return NeighborhoodAttention(
      configuration: c, width: width, tokens: tokens, capacity: capacity, heads: c.numHeads,
      scratch: scratch)
  case .sparseAttention:
    return SparseAttention(
      configuration: c, width: width, tokens: tokens, capacity: capacity, heads: c.numHeads,
      scratch: scratch)
  case .branchConv, .branchAttention:
    return makeBranchingLayer(
      c, width: width, tokens: tokens, capacity: capacity, scratch: scratch, candidates: candidates)
  }
}

/// ConvNN on the first ⌊r·D⌋ channels; a convolution over tokens, or attention, on the others.
private func makeBranchingLayer(
  _ c: ModelConfiguration, width: Int, tokens: Int, capacity: Int, scratch: Scratch,
  candidates: [Int32]?
) -> BranchingLayer {
  let first = c.branchWidth
  var branches: [BranchingLayer.Branch] = []
  if first > 0 {
    var convnn = c
    convnn.layer = .convNNAttention
    branches.append(
      BranchingLayer.Branch(
        name: "convnn", width: first,
        layer: makeAttentionLayer(
          convnn, width: first, tokens: tokens, capacity: capacity, scratch: scratch,
          candidates: candidates)))
  }
  let second = width - first
  if second > 0 {
    let layer: any AttentionLayer =
      c.layer == .branchConv
      ? TokenConvolution(
        configuration: c, width: second, tokens: tokens, capacity: capacity, heads: c.numHeads,
        scratch: scratch)
      : MultiHeadAttention(
        configuration: c, width: second, tokens: tokens, capacity: capacity, heads: c.numHeads,
        scratch: scratch)
    branches.append(
      BranchingLayer.Branch(
        name: c.layer == .branchConv ? "conv1d" : "attention", width: second, layer: layer))
  }
  return BranchingLayer(branches, tokens: tokens, capacity: capacity)
}
