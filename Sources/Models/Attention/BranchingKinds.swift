// BranchConv and BranchAttention: which layers stand side by side, and on how many channels.
import Diagnostics

// D width, r `branchRatio`.

/// ConvNN on the first ⌊r·D⌋ channels, another layer on the others.
protocol BranchingKind: LayerFacts {
  /// What the names of its parameters begin with, and what it is.
  static var other: (name: String, kind: any LayerFacts.Type) { get }
}

enum BranchConv: BranchingKind {
  static var other: (name: String, kind: any LayerFacts.Type) { ("conv1d", TokenConvolution.self) }
}

enum BranchAttention: BranchingKind {
  static var other: (name: String, kind: any LayerFacts.Type) {
    ("attention", MultiHeadAttention.self)
  }
}

/// A branch that has channels.
private struct BranchPlan {
  let name: String
  let kind: any LayerFacts.Type
  let shape: LayerShape
}

extension BranchingKind {
  private static func branches(_ s: LayerShape) -> [BranchPlan] {
    let first = s.configuration.branchWidth
    let all = [
      BranchPlan(name: "convnn", kind: ConvNNAttention.self, shape: s.branch(width: first)),
      BranchPlan(name: other.name, kind: other.kind, shape: s.branch(width: s.width - first)),
    ]
    return all.filter { $0.shape.width > 0 }
  }

  static func validate(_ c: ModelConfiguration, tokens: Int) throws {
    try c.validateBranches()
    if c.branchWidth > 0 { try c.validateSampling(tokens: tokens) }
  }

  static func parameters(_ s: LayerShape) -> [ParameterSpec] {
    BranchingLayer.parameters(
      of: branches(s).map { ($0.name, $0.kind.parameters($0.shape)) }, width: s.width)
  }

  static func leastKept(_ s: LayerShape) -> Double {
    branches(s).reduce(0) { $0 + $1.kind.leastKept($1.shape) }
  }

  static func leastKeptLast(_ s: LayerShape) -> Double {
    branches(s).reduce(0) { $0 + $1.kind.leastKeptLast($1.shape) }
  }

  /// One branch computes after the other, in the same memory.
  static func leastScratch(_ s: LayerShape) -> Double {
    branches(s).reduce(0) { max($0, $1.kind.leastScratch($1.shape)) }
  }

  static func make(_ s: LayerShape, scratch: Scratch) -> any AttentionLayer {
    let made = branches(s).map { branch in
      BranchingLayer.Branch(
        name: branch.name, width: branch.shape.width,
        layer: branch.kind.make(branch.shape, scratch: scratch))
    }
    return BranchingLayer(made, tokens: s.tokens, capacity: s.capacity)
  }
}

extension ModelConfiguration {
  /// Channels of a branching layer that go through ConvNN, ⌊r·D⌋; the others go through the other
  /// branch. `branchRatio` must lie in 0...1.
  public var branchWidth: Int { Int(branchRatio * Double(width)) }

  fileprivate func validateBranches() throws {
    guard !branchesWork(convnn: branchWidth) || (branchWidth == 0 && branchRatio > 0) else {
      return
    }
    let found = branchWidth
    let below = stride(from: found, through: 0, by: -1).first(where: branchesWork)
    let above = stride(from: found + 1, through: width, by: 1).first(where: branchesWork)
    let ratios = [below, above].compactMap { $0 }.map(ratio)
    throw RunError.configuration(
      "--branch_ratio \(branchRatio) gives ConvNN \(found) and the other branch \(width - found) of "
        + "\(width) channels: these must be multiples of --convnn_heads \(convnnHeads) and "
        + "--num_heads \(numHeads)\(found == 0 ? ", and at least 1" : "").\n"
        + (ratios.isEmpty
          ? "No ratio works with these heads: choose others, or another --d_hidden."
          : "The nearest ratios that work: \(ratios.joined(separator: " and "))."))
  }

  private func branchesWork(convnn: Int) -> Bool {
    (convnn == 0 || convnn % convnnHeads == 0)
      && (convnn == width || (width - convnn) % numHeads == 0)
  }

  /// The shortest decimal number r with ⌊r·D⌋ = `convnn`.
  private func ratio(convnn: Int) -> String {
    var scale = 1.0
    while scale < 1e15 {
      let candidate = (Double(convnn) / Double(width) * scale).rounded(.up) / scale
      if candidate <= 1, Int(candidate * Double(width)) == convnn { return "\(candidate)" }
      scale *= 10
    }
    return "\(Double(convnn) / Double(width))"
  }
}
