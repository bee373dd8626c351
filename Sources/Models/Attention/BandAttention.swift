// Softmax attention in which every query sees a run of neighbours only.
import CKernels
import Tensors

// B images, T tokens, Q output tokens, H heads, d head width, I = H·d.

/// O = dropout(softmax(scale · Q Kᵀ over the allowed pairs)) V for every head: what Local,
/// Neighborhood and Sparse attention have in common, between their projections.
final class BandAttention {
  let heads: Int
  let headWidth: Int
  private let dropout: Float
  private let scale: Float
  private let allTokens: BandPlan
  private let classToken: BandPlan
  /// Softmax before dropout, per image and head in the plan's storage order.
  private let probabilities: ActivationSlab
  /// Those of one head, where they are not kept as floats.
  private let room: SharedRoom?
  /// Dropout keep masks, alike.
  private let keep: UnsafeMutablePointer<UInt8>
  /// Scores of the largest tile: probabilities after dropout, or their gradient.
  private let temporary: ScratchRegion

  /// - Parameters:
  ///   - layout: where temporaries of a call may lie.
  ///   - zeroKeys: see `BandPlan`.
  init(
    scratch: Scratch, layout: inout ScratchLayout, pattern: BandPattern, heads: Int,
    headWidth: Int, capacity: Int, dropout: Float, zeroKeys: ((Int) -> Int)? = nil
  ) {
    self.heads = heads
    self.headWidth = headWidth
    self.dropout = dropout
    scale = 1 / Float(headWidth).squareRoot()
    allTokens = BandPlan(pattern: pattern, queries: pattern.tokens, zeroKeys: zeroKeys)
    classToken = BandPlan(pattern: pattern, queries: 1, zeroKeys: zeroKeys)
    let count = capacity * heads * max(allTokens.storage, classToken.storage)
    probabilities = scratch.activations(count: count)
    room =
      scratch.element == .float
      ? nil
      : scratch.room(.attention, count: max(allTokens.storage, classToken.storage))
    keep = .allocate(capacity: dropout > 0 ? count : 0)
    temporary = layout.floats(max(allTokens.largestTile, classToken.largestTile))
  }

  deinit { keep.deallocate() }

  private func plan(_ outputTokens: Int) -> BandPlan {
    outputTokens == allTokens.queries ? allTokens : classToken
  }

  /// Tokens whose keys and values are read.
  func reach(_ outputTokens: Int) -> KeyReach { plan(outputTokens).reach }

  /// Floating-point operations per image.
  func operations(outputTokens: Int) -> Int {
    2 * 2 * plan(outputTokens).pairs * heads * headWidth
  }

  /// - Parameters:
  ///   - qkv: [B·T, 3I].
  ///   - merged: [B·Q, I], overwritten.
  func forward(_ pass: LayerPass, qkv: Rows, merged: Rows) {
    let plan = plan(pass.outputTokens)
    for image in 0..<pass.images {
      for head in 0..<heads {
        let work = work(pass, plan, image: image, head: head, qkv: qkv, output: merged)
        if let mask = work.mask {
          pass.randomness(.attentionDropout, image: image, part: head)
            .fillKeepMask(mask, count: plan.storage, dropping: dropout)
        }
        if plan.listLength > 0 { work.forwardLists(plan) } else { work.forwardTiles(plan) }
        if let room {
          kept(plan, image: image, head: head)
            .write(rows: 1, width: plan.storage, from: Rows(room.base, stride: plan.storage))
        }
      }
    }
  }

  /// dQkv [B·T, 3I] from dMerged [B·Q, I]; with Q = 1 only what `forward` read is written.
  func backward(_ pass: LayerPass, qkv: Rows, dMerged: Rows, dQkv: Rows) {
    let plan = plan(pass.outputTokens)
    for image in 0..<pass.images {
      for head in 0..<heads {
        let work = work(pass, plan, image: image, head: head, qkv: qkv, output: dMerged)
        if let room {
          kept(plan, image: image, head: head).read(
            rows: 1, width: plan.storage, into: Rows(room.base, stride: plan.storage))
        }
        let dQuery = dQkv.from(row: image * plan.tokens, column: head * headWidth)
        if plan.listLength > 0 {
          work.backwardLists(plan, dQuery: dQuery)
        } else {
          work.backwardTiles(plan, dQuery: dQuery)
        }
      }
    }
  }

  private func kept(_ plan: BandPlan, image: Int, head: Int) -> Rows {
    probabilities.rows(stride: plan.storage).from(row: image * heads + head)
  }

  private func work(
    _ pass: LayerPass, _ plan: BandPlan, image: Int, head: Int, qkv: Rows, output: Rows
  ) -> BandHead {
    let slot = (image * heads + head) * plan.storage
    let column = head * headWidth
    return BandHead(
      probabilities: room?.base ?? kept(plan, image: image, head: head).base,
      mask: pass.training && dropout > 0 ? keep + slot : nil,
      factor: 1 / (1 - dropout), scale: scale, width: headWidth, temporary: temporary.base,
      query: qkv.from(row: image * plan.tokens, column: column), inner: heads * headWidth,
      output: output.from(row: image * plan.queries, column: column))
  }
}
