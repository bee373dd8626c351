// The convolution with kernel K and stride K over each token's neighbours.
import CKernels
import Tensors

// Q tokens, T tokens, K neighbours, d head width, e channels of v that are read (d, or d + 1).

/// y[i, c] = Σ_r Σ_e g[c, e, r] w[i, r] v[neighbour(i, r), e], without bias: depthwise (e = c), standard,
/// or depthwise followed by a pointwise map. Never holds tokens x K x channels: a standard convolution
/// gathers blocks of rows that fit the cache.
final class ConvNNAttentionConvolution {
  private let plan: ConvNNAttentionPlan
  private let neighbours: Int
  private let outputs: Int  // d
  private let inputs: Int  // e
  /// Depthwise taps [K, e], the parameter transposed, and their gradient.
  private let taps: FloatSlab
  private let dTaps: FloatSlab
  /// Standard kernel [d, K·e], the parameter with neighbours before channels, and its gradient.
  private let kernel: FloatSlab
  private let dKernel: FloatSlab
  /// Depthwise results that a pointwise map reads [B, H, Q, e].
  private let middle: FloatSlab
  /// v with its coordinate, and its gradient [T, e].
  private let extended: ScratchRegion
  private let dExtended: ScratchRegion
  /// Gathered rows of a block, and their gradient [block, K·e]; or the gradient of `middle` of one head.
  private let block: ScratchRegion
  private let dBlock: ScratchRegion
  private let dMiddle: ScratchRegion
  /// Rows of a block: half a megabyte of gathered rows, which stays in the second-level cache.
  private let blockRows: Int

  init(plan: ConvNNAttentionPlan, layout: inout ScratchLayout, capacity: Int) {
    self.plan = plan
    neighbours = plan.neighbours
    outputs = plan.headWidth
    inputs = plan.valueWidth
    let isStandard = plan.convolution == .standard
    let tapCount = isStandard ? 0 : neighbours * inputs
    let kernelCount = isStandard ? outputs * neighbours * inputs : 0
    taps = FloatSlab(count: tapCount)
    dTaps = FloatSlab(count: tapCount)
    kernel = FloatSlab(count: kernelCount)
    dKernel = FloatSlab(count: kernelCount)
    middle = FloatSlab(
      count: plan.convolution == .depthwiseSeparable
        ? capacity * plan.heads * plan.tokens * inputs : 0)
    extended = layout.floats(plan.tokens * inputs)
    dExtended = layout.floats(plan.tokens * inputs)
    blockRows = max(1, min(plan.tokens, (1 << 17) / (neighbours * inputs)))
    let blockCount = isStandard ? blockRows * neighbours * inputs : 0
    block = layout.floats(blockCount)
    dBlock = layout.floats(blockCount)
    dMiddle = layout.floats(isStandard ? 0 : plan.tokens * inputs)
  }

  private var readsCoordinate: Bool {
    plan.convolution != .depthwise && plan.valueWidth != plan.headWidth
  }

  /// Rearranges the parameters once per pass.
  func prepare(_ parameters: UnsafePointer<Float>) {
    let (taps, kernel) = (taps.base, kernel.base)
    if plan.convolution == .standard {
      for c in 0..<outputs {
        for e in 0..<inputs {
          for r in 0..<neighbours {
            kernel[(c * neighbours + r) * inputs + e] =
              parameters[(c * inputs + e) * neighbours + r]
          }
        }
      }
    } else {
      for e in 0..<inputs {
        for r in 0..<neighbours { taps[r * inputs + e] = parameters[e * neighbours + r] }
      }
    }
  }

  /// v, or v with its coordinate.
  private func values(_ v: Rows) -> Rows {
    guard readsCoordinate else { return v }
    let extended = extended.rows(stride: inputs)
    let last = Float(max(plan.tokens - 1, 1))
    for token in 0..<plan.tokens {
      let row = extended.row(token)
      row.update(from: v.row(token), count: outputs)
      row[outputs] = (2 * Float(token) - Float(plan.tokens - 1)) / last
    }
    return extended
  }

  /// - Parameters:
  ///   - slot: image · H + head.
  ///   - v: rows of all T tokens; `y`: [Q, d], overwritten.
  func forward(
    _ choice: ConvNNAttentionChoice, slot: Int, rows: Int, parameters: UnsafePointer<Float>,
    v: Rows, y: Rows
  ) {
    let values = values(v)
    switch plan.convolution {
    case .depthwise:
      ck_depthwise_neighbours(
        y.base, y.stride, choice.weights, taps.base, inputs, values.base, values.stride,
        choice.tokens, rows, neighbours, outputs)
    case .depthwiseSeparable:
      let depthwise = middle.base + slot * rows * inputs
      ck_depthwise_neighbours(
        depthwise, inputs, choice.weights, taps.base, inputs, values.base, values.stride,
        choice.tokens, rows, neighbours, inputs)
      Linear.forward(
        rows: rows, inputs: inputs, outputs: outputs, x: Rows(depthwise, stride: inputs),
        weight: parameters + inputs * neighbours, y: y)
    case .standard:
      let block = block.base
      let length = neighbours * inputs
      for first in stride(from: 0, to: rows, by: blockRows) {
        let count = min(blockRows, rows - first)
        ck_gather_neighbours(
          block, choice.weights + first * neighbours, values.base, values.stride,
          choice.tokens + first * neighbours, count, neighbours, inputs)
        Linear.forward(
          rows: count, inputs: length, outputs: outputs, x: Rows(block, stride: length),
          weight: kernel.base, y: Rows(y.row(first), stride: y.stride))
      }
    }
  }

  /// Before the first `backward` of a pass.
  func beginBackward() {
    dTaps.fill(0)
    dKernel.fill(0)
  }

  /// - Parameters:
  ///   - dWeights: [Q, K], overwritten; `dV`: rows of all T tokens, overwritten.
  ///   - pointwiseBeta: 0 to overwrite the gradient of the pointwise map, 1 to add to it.
  func backward(
    _ choice: ConvNNAttentionChoice, slot: Int, rows: Int, parameters: UnsafePointer<Float>,
    gradients: UnsafeMutablePointer<Float>, pointwiseBeta: Float, v: Rows, dY: Rows,
    dWeights: UnsafeMutablePointer<Float>, dV: Rows
  ) {
    let values = values(v)
    let dValues = readsCoordinate ? dExtended.rows(stride: inputs) : dV
    let width = plan.convolution == .depthwise ? outputs : inputs
    for token in 0..<plan.tokens { dValues.row(token).update(repeating: 0, count: width) }
    switch plan.convolution {
    case .depthwise:
      depthwiseBackward(choice, rows: rows, values, dY: dY, dWeights, dValues, width: outputs)
    case .depthwiseSeparable:
      let depthwise = Rows(middle.base + slot * rows * inputs, stride: inputs)
      let pointwise = inputs * neighbours
      Linear.backwardWeight(
        rows: rows, inputs: inputs, outputs: outputs, dY: dY, x: depthwise,
        dWeight: gradients + pointwise, beta: pointwiseBeta)
      let dDepthwise = dMiddle.rows(stride: inputs)
      Linear.backwardInput(
        rows: rows, inputs: inputs, outputs: outputs, dY: dY, weight: parameters + pointwise,
        dX: dDepthwise)
      depthwiseBackward(
        choice, rows: rows, values, dY: dDepthwise, dWeights, dValues, width: inputs)
    case .standard:
      let length = neighbours * inputs
      let (block, dBlock) = (block.base, dBlock.base)
      for first in stride(from: 0, to: rows, by: blockRows) {
        let count = min(blockRows, rows - first)
        let tokens = choice.tokens + first * neighbours
        let weights = choice.weights + first * neighbours
        let dRows = Rows(dY.row(first), stride: dY.stride)
        ck_gather_neighbours(
          block, weights, values.base, values.stride, tokens, count, neighbours, inputs)
        Linear.backwardWeight(
          rows: count, inputs: length, outputs: outputs, dY: dRows,
          x: Rows(block, stride: length), dWeight: dKernel.base, beta: 1)
        Linear.backwardInput(
          rows: count, inputs: length, outputs: outputs, dY: dRows, weight: kernel.base,
          dX: Rows(dBlock, stride: length))
        ck_gather_neighbours_backward(
          dWeights + first * neighbours, dValues.base, dValues.stride, dBlock, weights,
          values.base, values.stride, tokens, count, neighbours, inputs)
      }
    }
    if readsCoordinate {
      for token in 0..<plan.tokens {
        dV.row(token).update(from: dValues.row(token), count: outputs)
      }
    }
  }

  private func depthwiseBackward(
    _ choice: ConvNNAttentionChoice, rows: Int, _ values: Rows, dY: Rows,
    _ dWeights: UnsafeMutablePointer<Float>, _ dValues: Rows, width: Int
  ) {
    ck_depthwise_neighbours_backward(
      dWeights, dTaps.base, dValues.base, dValues.stride, dY.base, dY.stride, choice.weights,
      taps.base, inputs, values.base, values.stride, choice.tokens, rows, neighbours, width)
  }

  /// After the last `backward` of a pass: the gradients of taps or kernel, in the parameters' order.
  func endBackward(_ gradients: UnsafeMutablePointer<Float>, accumulate: Bool) {
    let (dTaps, dKernel) = (dTaps.base, dKernel.base)
    if !accumulate {
      let count = plan.convolution == .standard ? outputs * inputs : inputs
      gradients.update(repeating: 0, count: count * neighbours)
    }
    if plan.convolution == .standard {
      for c in 0..<outputs {
        for e in 0..<inputs {
          for r in 0..<neighbours {
            gradients[(c * inputs + e) * neighbours + r] +=
              dKernel[(c * neighbours + r) * inputs + e]
          }
        }
      }
    } else {
      for e in 0..<inputs {
        for r in 0..<neighbours { gradients[e * neighbours + r] += dTaps[r * inputs + e] }
      }
    }
  }
}
