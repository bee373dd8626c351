// k-NN attention (Wang et al. 2022, "KVT: k-NN attention for boosting vision transformers",
// arXiv:2106.00515): softmax over each query's K best keys.
import CKernels
import Tensors

// B images, T tokens, Q output tokens, D width, H heads, d = D/H, K neighbours.

/// O = dropout(softmax(the K largest of each row of Q Kᵀ / √d)) V per head, then proj. Ties go to the
/// lower index; the choice has no gradient. No biases.
///
/// After the choice only K entries of each row are kept. Where K is small beside T the sums run over key
/// lists; else the entries are spread into rows of zeros for dense products.
public final class KvtAttention: AttentionLayer {
  public let parameters: [ParameterSpec]
  public let needsAllTokens = false

  private let width: Int
  private let tokens: Int
  private let heads: Int
  private let headWidth: Int
  private let neighbours: Int
  private let usesLists: Bool
  private let dropout: Float
  private let frame: AttentionFrame
  /// Scores of all keys, or kept entries spread out [Q, T].
  private let dense: ScratchRegion
  /// Kept entries [Q, K]: probabilities after dropout, or their gradient.
  private let entries: ScratchRegion
  /// Softmax before dropout [B, H, Q, K], of the keys in `index`.
  private let probabilities: FloatSlab
  /// Chosen keys [B, H, Q, K], ascending.
  private let index: UnsafeMutablePointer<Int32>
  /// Dropout keep masks [B, H, Q, K].
  private let keep: UnsafeMutablePointer<UInt8>

  init(_ shape: LayerShape, scratch: Scratch) {
    let (c, capacity) = (shape.configuration, shape.capacity)
    precondition(shape.width % c.numHeads == 0 && c.neighbours > 0)
    width = shape.width
    tokens = shape.tokens
    heads = c.numHeads
    headWidth = width / heads
    neighbours = min(c.neighbours, tokens)
    // A pair in a list costs about three times a pair in a dense product, and spreading a fourth.
    usesLists = neighbours * 3 < tokens
    dropout = c.attentionDropout
    parameters = Self.parameters(shape)
    var layout = scratch.layout()
    dense = layout.floats(tokens * tokens)
    entries = layout.floats(tokens * neighbours)
    frame = AttentionFrame(
      scratch: scratch, layout: &layout, width: width, inner: width, tokens: tokens,
      capacity: capacity, keepsOrder: true)
    let chosen = capacity * heads * tokens * neighbours
    probabilities = FloatSlab(count: chosen)
    index = .allocate(capacity: chosen)
    index.initialize(repeating: 0, count: chosen)
    keep = .allocate(capacity: dropout > 0 ? chosen : 0)
  }

  deinit {
    index.deallocate()
    keep.deallocate()
  }

  /// Any token may be among a query's best.
  private var reach: KeyReach { KeyReach(count: tokens, step: 1) }

  private var scale: Float { 1 / Float(headWidth).squareRoot() }
  private var factor: Float { 1 / (1 - dropout) }

  public func operations(outputTokens: Int) -> Int {
    frame.operations(outputTokens: outputTokens, reach: reach)
      + 2 * outputTokens * (tokens + neighbours) * width
  }

  public func forward(_ pass: LayerPass, input: Rows, output: Rows) {
    frame.forward(pass, input: input, output: output, reach: reach) { qkv, merged in
      for image in 0..<pass.images {
        for head in 0..<heads {
          attend(pass, image: image, head: head, qkv: qkv, merged: merged)
        }
      }
    }
  }

  public func backward(_ pass: LayerPass, input: Rows, dOutput: Rows, dInput: Rows) {
    frame.backward(
      pass, input: input, dOutput: dOutput, dInput: dInput, reach: reach
    ) { qkv, dMerged, dQkv in
      for image in 0..<pass.images {
        for head in 0..<heads {
          attendBackward(
            pass, image: image, head: head, qkv: qkv, dMerged: dMerged, dQkv: dQkv)
        }
      }
    }
  }

  /// A head's columns of `merged` for one image.
  private func attend(_ pass: LayerPass, image: Int, head: Int, qkv: Rows, merged: Rows) {
    let wanted = pass.outputTokens
    let slot = (image * heads + head) * wanted * neighbours
    let p = probabilities.base + slot
    let products = products(slot: slot, rows: wanted)
    let scores = dense.base
    let q = qkv.from(row: image * tokens, column: head * headWidth)
    Matmul.multiply(
      rows: wanted, columns: tokens, inner: headWidth, a: q, b: q.columns(from: width),
      transposeB: true, c: Rows(scores, stride: tokens), keepsOrder: true)
    ck_select_largest(products.keys, scores, wanted, tokens, tokens, neighbours)
    ck_gather_columns(p, scores, tokens, products.keys, wanted, neighbours)
    ck_softmax_rows(p, wanted, neighbours, neighbours, scale)
    var shares = p
    if pass.training && dropout > 0 {
      let mask = keep + slot
      pass.randomness(.attentionDropout, image: image, part: head)
        .fillKeepMask(mask, count: wanted * neighbours, dropping: dropout)
      shares = entries.base
      ck_dropout_rows(shares, p, mask, wanted, neighbours, neighbours, factor)
    }
    products.sums(
      shares, y: q.columns(from: 2 * width),
      into: merged.from(row: image * wanted, column: head * headWidth))
  }

  /// A head's columns of `dQkv` for one image.
  private func attendBackward(
    _ pass: LayerPass, image: Int, head: Int, qkv: Rows, dMerged: Rows, dQkv: Rows
  ) {
    let wanted = pass.outputTokens
    let slot = (image * heads + head) * wanted * neighbours
    let p = probabilities.base + slot
    let products = products(slot: slot, rows: wanted)
    let q = qkv.from(row: image * tokens, column: head * headWidth)
    let dQ = dQkv.from(row: image * tokens, column: head * headWidth)
    let dO = dMerged.from(row: image * wanted, column: head * headWidth)
    let mask = pass.training && dropout > 0 ? keep + slot : nil
    let dScores = entries.base
    var shares = p
    if let mask {
      shares = entries.base
      ck_dropout_rows(shares, p, mask, wanted, neighbours, neighbours, factor)
    }
    products.scatter(shares, x: dO, into: dQ.columns(from: 2 * width))
    products.dots(dO, with: q.columns(from: 2 * width), into: dScores)
    ck_softmax_rows_backward(dScores, p, mask, wanted, neighbours, neighbours, scale, factor)
    products.sums(dScores, y: q.columns(from: width), into: dQ)
    products.scatter(dScores, x: q, into: dQ.columns(from: width))
  }

  private func products(slot: Int, rows: Int) -> KvtProducts {
    KvtProducts(
      keys: index + slot, rows: rows, tokens: tokens, neighbours: neighbours, width: headWidth,
      usesLists: usesLists, dense: dense.base)
  }
}

extension KvtAttention: LayerFacts {
  static func validate(_ c: ModelConfiguration, tokens: Int) throws {
    try c.validateHeads()
    try c.validateNeighbours(tokens: tokens)
  }

  static func parameters(_ s: LayerShape) -> [ParameterSpec] {
    [
      .linear("qkv.weight", outputs: 3 * s.width, inputs: s.width),
      .linear("proj.weight", outputs: s.width, inputs: s.width),
    ]
  }

  /// Queries, keys, values, merged heads; K probabilities a head.
  static func leastKept(_ s: LayerShape) -> Double {
    4 * Double(s.width) + Double(s.configuration.numHeads) * Double(s.configuration.neighbours)
  }

  static func leastScratch(_ s: LayerShape) -> Double { Double(s.tokens) * Double(s.tokens) }

  static func choices(_ c: ModelConfiguration) -> [String] { ["K=\(c.neighbours)"] }

  static func make(_ s: LayerShape, scratch: Scratch) -> any AttentionLayer {
    KvtAttention(s, scratch: scratch)
  }
}
