// The tokens that may be chosen as neighbours under random and spatial sampling.
import Tensors

/// The M candidates of one pass, shared by batch and heads. Not used where every token is a candidate.
final class ConvNNAttentionCandidates {
  let count: Int
  private let total: Int
  private let isDrawn: Bool
  private let keepsOrder: Bool
  /// Candidate tokens [M], ascending, so that ties go to the lower token; in the reference's order
  /// under its quirks, where coordinates go by that order.
  let tokens: UnsafeMutablePointer<Int32>
  /// Position in `tokens` of every token, or -1 [T].
  let position: UnsafeMutablePointer<Int32>
  /// A permutation in the making [T].
  private let order: UnsafeMutablePointer<Int32>

  init(plan: ConvNNAttentionPlan) {
    count = plan.samples ? plan.candidateCount : 0
    total = plan.samples ? plan.tokens : 0
    isDrawn = plan.samples && plan.fixedCandidates == nil
    keepsOrder = plan.quirks
    tokens = .allocate(capacity: count)
    tokens.initialize(repeating: 0, count: count)
    position = .allocate(capacity: total)
    position.initialize(repeating: -1, count: total)
    order = .allocate(capacity: total)
    order.initialize(repeating: 0, count: total)
    if plan.samples, let fixed = plan.fixedCandidates { set(keepsOrder ? fixed : fixed.sorted()) }
  }

  deinit {
    tokens.deallocate()
    position.deallocate()
    order.deallocate()
  }

  private func set(_ list: [Int32]) {
    for (rank, token) in list.enumerated() {
      tokens[rank] = token
      position[Int(token)] = Int32(rank)
    }
  }

  /// Draws M tokens without replacement: in training anew for every step and block, in evaluation
  /// always the same ones.
  func draw(_ pass: LayerPass) {
    guard isDrawn else { return }
    let sequence = RandomSequence(
      seed: pass.training ? pass.seed : 0, purpose: .candidateSampling, layer: pass.block << 8,
      step: pass.training ? pass.step : 0)
    for token in 0..<total {
      order[token] = Int32(token)
      position[token] = -1
    }
    // The first M places of a Fisher–Yates permutation.
    for rank in 0..<count {
      let other = rank + sequence.integer(rank, below: total - rank)
      (order[rank], order[other]) = (order[other], order[rank])
      position[Int(order[rank])] = Int32(rank)
    }
    if keepsOrder {
      tokens.update(from: order, count: count)
      return
    }
    var rank = 0
    for token in 0..<total where position[token] >= 0 {
      tokens[rank] = Int32(token)
      position[token] = Int32(rank)
      rank += 1
    }
  }
}
