// Images to tokens: patches, linear map, layer normalisation where the architecture has it, class token, positions.
import CKernels
import Foundation
import Tensors

// B images, G patches a side, P = G² patches, T = P + 1 tokens, D width, p patch side.

/// Sinusoidal positions pe [T, D]: pe[t, 2i] = sin(t · 10000^(−2i/D)), pe[t, 2i+1] = cos(same).
public func positionalEncoding(tokens: Int, width: Int) -> [Float] {
  var pe = [Float](repeating: 0, count: tokens * width)
  for token in 0..<tokens {
    for column in 0..<width {
      let exponent = -Double(column / 2 * 2) / Double(width)
      let angle = Double(token) * pow(10000, exponent)
      pe[token * width + column] = Float(column % 2 == 0 ? sin(angle) : cos(angle))
    }
  }
  return pe
}

final class PatchEmbedding {
  private let imageSize: Int
  private let patchSize: Int
  private let width: Int
  private let grid: Int
  private let patchLength: Int
  private let normalizes: Bool
  /// Patches as rows, channel by channel as the weight stores them [B·P, 3·p·p].
  private let patches: FloatSlab
  private let projected: FloatSlab  // [B·P, D]
  private let mean: FloatSlab
  private let rstd: FloatSlab
  /// Positions that are not learned [T, D].
  private let fixedPositions: FloatSlab?
  private let dProjected: ScratchRegion  // [B·P, D]

  init(_ c: ModelConfiguration, capacity: Int, scratch: Scratch) {
    imageSize = c.imageSize
    patchSize = c.patchSize
    width = c.width
    grid = c.grid
    patchLength = 3 * c.patchSize * c.patchSize
    normalizes = c.architecture.names.patchNorm != nil
    let rows = capacity * grid * grid
    patches = FloatSlab(count: rows * patchLength)
    projected = FloatSlab(count: rows * width)
    mean = FloatSlab(count: normalizes ? rows : 0)
    rstd = FloatSlab(count: normalizes ? rows : 0)
    fixedPositions = c.architecture.learnsPositions ? nil : FloatSlab(count: c.tokens * c.width)
    if let fixedPositions {
      let table = positionalEncoding(tokens: c.tokens, width: c.width)
      fixedPositions.base.update(from: table, count: table.count)
    }
    // No block computes meanwhile.
    var layout = scratch.layout(.block)
    dProjected = layout.floats(rows * width)
  }

  /// Class token; positions if they are learned, and the norm if there is one; weight and bias of the linear map.
  static func parameters(_ c: ModelConfiguration) -> [ParameterSpec] {
    let (names, d, p) = (c.architecture.names, c.width, c.patchSize)
    let token = [1, 1, d]
    // Learned positions tell it apart; timm starts it near 0.
    var specs: [ParameterSpec] = [
      .normal(
        names.classToken, token, deviation: c.architecture.learnsPositions ? 1e-6 : 1, decays: false
      )
    ]
    if c.architecture.learnsPositions {
      specs.append(.normal(names.positions, [1, c.tokens, d], deviation: 0.02, decays: false))
    }
    if let norm = names.patchNorm { specs += ParameterSpec.norm(norm, width: d) }
    let patch = 3 * p * p
    specs.append(ParameterSpec("\(names.patches).weight", [d, 3, p, p], .uniform(fanIn: patch)))
    specs.append(.bias("\(names.patches).bias", outputs: d, fanIn: patch))
    return specs
  }

  // Offsets within these parameters.
  private var positionsOffset: Int { width }
  private var normOffset: Int { width + (fixedPositions == nil ? tokens * width : 0) }
  private var weightOffset: Int { normOffset + (normalizes ? 2 * width : 0) }
  private var biasOffset: Int { weightOffset + width * patchLength }

  private var tokens: Int { grid * grid + 1 }

  /// images [B, 3, S, S] to tokens x [B·T, D].
  func forward(
    images: UnsafePointer<Float>, count: Int, parameters: UnsafePointer<Float>,
    x: UnsafeMutablePointer<Float>
  ) {
    let perImage = grid * grid
    gather(images, count: count)
    Linear.forward(
      rows: count * perImage, inputs: patchLength, outputs: width,
      x: Rows(patches.base, stride: patchLength), weight: parameters + weightOffset,
      bias: parameters + biasOffset, y: Rows(projected.base, stride: width))
    let positions = fixedPositions.map { UnsafePointer($0.base) } ?? parameters + positionsOffset
    for image in 0..<count {
      let row = image * perImage
      let source = projected.base + row * width
      let target = x + image * tokens * width
      target.update(from: parameters, count: width)
      if normalizes {
        ck_layernorm(
          target + width, mean.base + row, rstd.base + row, source, parameters + normOffset,
          parameters + normOffset + width, perImage, width, width, width, Self.normEpsilon)
      } else {
        (target + width).update(from: source, count: perImage * width)
      }
      ck_residual(target, target, positions, nil, nil, tokens, width, width, width, width, 1)
    }
  }

  private static let normEpsilon: Float = 1e-5

  /// Parameter gradients from dX [B·T, D].
  func backward(
    dX: UnsafePointer<Float>, count: Int, parameters: UnsafePointer<Float>,
    gradients: UnsafeMutablePointer<Float>, accumulate: Bool
  ) {
    let perImage = grid * grid
    if !accumulate { gradients.update(repeating: 0, count: weightOffset) }
    let dProjected = dProjected.base
    for image in 0..<count {
      let row = image * perImage
      let source = dX + image * tokens * width
      let target = dProjected + row * width
      ck_column_sums(gradients, source, 1, width, width, 1)
      if fixedPositions == nil {
        let dPositions = gradients + positionsOffset
        ck_residual(
          dPositions, dPositions, source, nil, nil, tokens, width, width, width, width, 1)
      }
      if normalizes {
        ck_layernorm_backward(
          target, gradients + normOffset, gradients + normOffset + width, source + width,
          projected.base + row * width, mean.base + row, rstd.base + row, parameters + normOffset,
          perImage, width, width, width, width, 0)
      } else {
        target.update(from: source + width, count: perImage * width)
      }
    }
    let rows = count * perImage
    let dY = Rows(dProjected, stride: width)
    Linear.backwardBias(
      rows: rows, outputs: width, dY: dY, dBias: gradients + biasOffset, accumulate: accumulate)
    Linear.backwardWeight(
      rows: rows, inputs: patchLength, outputs: width, dY: dY,
      x: Rows(patches.base, stride: patchLength), dWeight: gradients + weightOffset,
      beta: accumulate ? 1 : 0)
  }

  private func gather(_ images: UnsafePointer<Float>, count: Int) {
    let p = patchSize
    var target = patches.base
    for image in 0..<count {
      let planes = images + image * 3 * imageSize * imageSize
      for patchRow in 0..<grid {
        for patchColumn in 0..<grid {
          for channel in 0..<3 {
            var source =
              planes + (channel * imageSize + patchRow * p) * imageSize + patchColumn * p
            for _ in 0..<p {
              target.update(from: source, count: p)
              target += p
              source += imageSize
            }
          }
        }
      }
    }
  }
}
