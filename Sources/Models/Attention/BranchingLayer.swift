// Two layers side by side, each on its share of the channels (`BranchConv`, `BranchAttention`).
import Tensors

// B images, T tokens, Q output tokens, D width, w channels of the first branch.

/// y = [a(x[0..<w]), b(x[w..<D])] · Wᵀ + bias. A branch without channels is left out, and with it the
/// map W: the layer is the other branch alone.
///
/// The branches read and write ranges of columns in place. Nothing of this layer lies in the shared
/// scratch memory, which the branches use.
public final class BranchingLayer: AttentionLayer {
  public let parameters: [ParameterSpec]
  public let needsAllTokens: Bool

  /// A branch, and where it lies.
  public struct Branch {
    let name: String
    let width: Int
    let layer: any AttentionLayer

    /// - Parameter name: what the names of its parameters begin with.
    public init(name: String, width: Int, layer: any AttentionLayer) {
      self.name = name
      self.width = width
      self.layer = layer
    }
  }

  private struct Place {
    let layer: any AttentionLayer
    let column: Int
    let parameters: Int
    /// Added to the number of every random sequence, so that branches never share one.
    let firstPart: Int
  }

  private let width: Int
  private let branches: [Place]
  /// Offset of W among the parameters.
  private let pointwise: Int
  /// What the branches return [B·Q, D], then its gradient.
  private let joined: FloatSlab

  /// - Parameter branches: one or two, in the order of their channels.
  public init(_ branches: [Branch], tokens: Int, capacity: Int) {
    precondition(branches.count == 1 || branches.count == 2)
    width = branches.reduce(0) { $0 + $1.width }
    var places: [Place] = []
    var (column, offset) = (0, 0)
    for (index, branch) in branches.enumerated() {
      places.append(
        Place(
          layer: branch.layer, column: column, parameters: offset,
          firstPart: index * LayerPass.partsOfBranch))
      column += branch.width
      offset += branch.layer.parameterCount
    }
    pointwise = offset
    self.branches = places
    parameters = Self.parameters(
      of: branches.map { ($0.name, $0.layer.parameters) }, width: width)
    needsAllTokens = branches.contains { $0.layer.needsAllTokens }
    joined = FloatSlab(count: branches.count > 1 ? capacity * tokens * width : 0)
  }

  /// Those of the branches, and of W where there are two.
  static func parameters(
    of branches: [(name: String, parameters: [ParameterSpec])], width: Int
  ) -> [ParameterSpec] {
    let own = branches.flatMap { branch in
      branch.parameters.map { $0.prefixed(branch.name + ".") }
    }
    guard branches.count > 1 else { return own }
    return own + [
      .linear("pointwise_linear.weight", outputs: width, inputs: width),
      .bias("pointwise_linear.bias", outputs: width, fanIn: width),
    ]
  }

  private var isSingle: Bool { branches.count == 1 }

  public func operations(outputTokens: Int) -> Int {
    branches.reduce(isSingle ? 0 : 2 * outputTokens * width * width) {
      $0 + $1.layer.operations(outputTokens: outputTokens)
    }
  }

  public func forward(_ pass: LayerPass, input: Rows, output: Rows) {
    let rows = pass.images * pass.outputTokens
    let joined = isSingle ? output : Rows(self.joined.base, stride: width)
    for branch in branches {
      branch.layer.forward(
        part(pass, branch), input: input.columns(from: branch.column),
        output: joined.columns(from: branch.column))
    }
    guard !isSingle else { return }
    let weight = pass.parameters + pointwise
    Linear.forward(
      rows: rows, inputs: width, outputs: width, x: joined, weight: weight,
      bias: weight + width * width, y: output)
  }

  public func backward(_ pass: LayerPass, input: Rows, dOutput: Rows, dInput: Rows) {
    let rows = pass.images * pass.outputTokens
    var dJoined = dOutput
    if !isSingle {
      let joined = Rows(self.joined.base, stride: width)
      let gradients = pass.gradients! + pointwise
      Linear.backwardWeight(
        rows: rows, inputs: width, outputs: width, dY: dOutput, x: joined, dWeight: gradients,
        beta: pass.gradientBeta)
      Linear.backwardBias(
        rows: rows, outputs: width, dY: dOutput, dBias: gradients + width * width,
        accumulate: pass.accumulate)
      // The branches' results are not read again: their memory takes their gradient.
      Linear.backwardInput(
        rows: rows, inputs: width, outputs: width, dY: dOutput,
        weight: pass.parameters + pointwise, dX: joined)
      dJoined = joined
    }
    for branch in branches {
      branch.layer.backward(
        part(pass, branch), input: input.columns(from: branch.column),
        dOutput: dJoined.columns(from: branch.column),
        dInput: dInput.columns(from: branch.column))
    }
  }

  private func part(_ pass: LayerPass, _ branch: Place) -> LayerPass {
    var part = pass.part(offset: branch.parameters)
    part.firstPart += branch.firstPart
    return part
  }
}
