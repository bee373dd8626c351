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
  private let projections: BandAttentionProjections
  private let scratch: Scratch
  /// q, k and v side by side [B·T, 3D].
  private let projected: KeptRows
  /// Softmax before dropout [B, H, Q, K], of the keys in `index`.
  private let probabilities: FloatSlab
  /// Merged heads before proj [B·Q, D].
  private let merged: KeptRows
  /// Chosen keys [B, H, Q, K], ascending.
  private let index: UnsafeMutablePointer<Int32>
  /// Dropout keep masks [B, H, Q, K].
  private let keep: UnsafeMutablePointer<UInt8>

  public init(
    configuration: ModelConfiguration, width: Int, tokens: Int, capacity: Int, heads: Int,
    scratch: Scratch
  ) {
    precondition(width % heads == 0 && configuration.neighbours > 0)
    self.width = width
    self.tokens = tokens
    self.heads = heads
    self.scratch = scratch
    headWidth = width / heads
    neighbours = min(configuration.neighbours, tokens)
    // A pair in a list costs about three times a pair in a dense product, and spreading a fourth.
    usesLists = neighbours * 3 < tokens
    dropout = configuration.attentionDropout
    parameters = [
      .linear("qkv.weight", outputs: 3 * width, inputs: width),
      .linear("proj.weight", outputs: width, inputs: width),
    ]
    projections = BandAttentionProjections(
      width: width, inner: width, tokens: tokens, keepsOrder: true)
    let chosen = capacity * heads * tokens * neighbours
    projected = KeptRows(
      scratch, count: capacity * tokens, width: 3 * width, place: .projected)
    probabilities = FloatSlab(count: chosen)
    merged = KeptRows(scratch, count: capacity * tokens, width: width, place: .merged)
    index = .allocate(capacity: chosen)
    index.initialize(repeating: 0, count: chosen)
    keep = .allocate(capacity: dropout > 0 ? chosen : 0)
    scratch.require(temporaryCount + capacity * tokens * 4 * width)
  }

  deinit {
    index.deallocate()
    keep.deallocate()
  }

  /// One matrix of scores and one of kept entries.
  private var temporaryCount: Int { tokens * tokens + tokens * neighbours }

  public func operations(outputTokens: Int) -> Int {
    projections.operations(outputTokens: outputTokens, reach: tokens)
      + 2 * outputTokens * (tokens + neighbours) * width + 2 * width * width * outputTokens
  }

  public func forward(_ pass: LayerPass, input: Rows, output: Rows) {
    let wanted = pass.outputTokens
    let qkv = projected.working
    projections.forward(pass, input: input, qkv: qkv, reach: tokens, step: 1)
    projected.keep(rows: pass.images * tokens)
    let drops = pass.training && dropout > 0
    let scale = 1 / Float(headWidth).squareRoot()
    let dense = scratch.base  // [Q, T]
    let dropped = scratch.base + tokens * tokens  // [Q, K]
    for image in 0..<pass.images {
      for head in 0..<heads {
        let slot = (image * heads + head) * wanted * neighbours
        let p = probabilities.base + slot
        let products = products(slot: slot, rows: wanted)
        let q = qkv.columns(from: head * headWidth).from(row: image * tokens)
        Matmul.multiply(
          rows: wanted, columns: tokens, inner: headWidth, a: q,
          b: q.columns(from: width), transposeB: true, c: Rows(dense, stride: tokens),
          keepsOrder: true)
        ck_select_largest(products.keys, dense, wanted, tokens, tokens, neighbours)
        ck_gather_columns(p, dense, tokens, products.keys, wanted, neighbours)
        ck_softmax_rows(p, wanted, neighbours, neighbours, scale)
        if drops {
          let mask = keep + slot
          pass.randomness(.attentionDropout, image: image, part: head)
            .fillKeepMask(mask, count: wanted * neighbours, dropping: dropout)
          ck_dropout_rows(dropped, p, mask, wanted, neighbours, neighbours, 1 / (1 - dropout))
        }
        products.sums(
          drops ? dropped : p, y: q.columns(from: 2 * width),
          into: Rows(merged.working.base + image * wanted * width + head * headWidth, stride: width)
        )
      }
    }
    Linear.forward(
      rows: pass.images * wanted, inputs: width, outputs: width,
      x: merged.keep(rows: pass.images * pass.outputTokens),
      weight: pass.parameters + 3 * width * width, y: output)
  }

  public func backward(_ pass: LayerPass, input: Rows, dOutput: Rows, dInput: Rows) {
    let wanted = pass.outputTokens
    let rows = pass.images * wanted
    let last = 3 * width * width
    let qkv = projected.restored(rows: pass.images * tokens)
    let dMerged = scratch.base + temporaryCount  // [B·Q, D]
    let dQkv = Rows(dMerged + rows * width, stride: 3 * width)  // [B·T, 3D]
    Linear.backwardWeight(
      rows: rows, inputs: width, outputs: width, dY: dOutput, x: merged.kept,
      dWeight: pass.gradients! + last, beta: pass.gradientBeta)
    Linear.backwardInput(
      rows: rows, inputs: width, outputs: width, dY: dOutput, weight: pass.parameters + last,
      dX: Rows(dMerged, stride: width))

    let drops = pass.training && dropout > 0
    let factor = 1 / (1 - dropout)
    let scale = 1 / Float(headWidth).squareRoot()
    let temporary = scratch.base + tokens * tokens  // [Q, K]
    for image in 0..<pass.images {
      for head in 0..<heads {
        let slot = (image * heads + head) * wanted * neighbours
        let p = probabilities.base + slot
        let mask = drops ? keep + slot : nil
        if let mask { ck_dropout_rows(temporary, p, mask, wanted, neighbours, neighbours, factor) }
        let products = products(slot: slot, rows: wanted)
        let q = qkv.columns(from: head * headWidth).from(row: image * tokens)
        let dQ = dQkv.columns(from: head * headWidth).from(row: image * tokens)
        let dO = Rows(dMerged + image * wanted * width + head * headWidth, stride: width)
        products.scatter(drops ? temporary : p, x: dO, into: dQ.columns(from: 2 * width))
        products.dots(dO, with: q.columns(from: 2 * width), into: temporary)
        ck_softmax_rows_backward(
          temporary, p, mask, wanted, neighbours, neighbours, scale, factor)
        products.sums(temporary, y: q.columns(from: width), into: dQ)
        products.scatter(temporary, x: q, into: dQ.columns(from: width))
      }
    }
    projections.backward(pass, input: input, dQkv: dQkv, dInput: dInput, reach: tokens, step: 1)
  }

  private func products(slot: Int, rows: Int) -> KvtProducts {
    KvtProducts(
      keys: index + slot, rows: rows, tokens: tokens, neighbours: neighbours, width: headWidth,
      usesLists: usesLists, dense: scratch.base)
  }
}
